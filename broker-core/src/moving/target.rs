//! Where moved messages go, and in what form they arrive.

use std::sync::Arc;

use amqp_codec::{FieldTable, Properties, parse_table};

use crate::{
    Error,
    exchange::ExchangeKind,
    message::{Flags, Message},
    permissions::{Access, Operation, Resource},
    queue::{ConnectionId, Queue},
    vhost::{Exchange, Origin, Vhost, carbon_copies},
};

/// No connection has this number: an exclusive queue belongs to somebody else.
pub(super) const NOBODY: ConnectionId = ConnectionId(0);

/// Where messages are moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Into the queue of this name, as they are.
    Queue(String),
    /// They are published to an exchange.
    Exchange {
        /// Its name.
        exchange: String,
        /// The key to be routed by; `None` for the keys that each message has, those of its header `CC` included.
        routing_key: Option<String>,
    },
    /// Dead letters go back into the queue in which they died first.
    OriginalQueue,
    /// Dead letters are published once more to the exchange and with the keys that they were published with.
    OriginalExchange,
}

/// Where one message goes.
#[derive(Debug)]
pub struct Destination {
    /// The message in the form in which it arrives.
    pub message: Message,
    /// The queues that it goes to, each once; never none.
    pub queues: Vec<Arc<Queue>>,
}

/// Why a message stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stays {
    /// No queue would get it.
    Unroutable,
    /// It was never dead-lettered, so nobody knows where it came from.
    NotDead,
    /// The user may not write there.
    Refused(Error),
}

impl Target {
    /// Looks for what would be wrong with every message.
    ///
    /// # Errors
    /// 404, 403 and 405, as for one who publishes or consumes.
    pub fn check(&self, vhost: &Vhost, source: &Queue, access: &Access) -> Result<(), Error> {
        match self {
            Self::Queue(name) => {
                let queue = vhost.existing_queue(name)?;
                if queue.id == source.id {
                    let text = format!("{} is the source too", vhost.queue_text(name));
                    return Err(Error::PreconditionFailed(text));
                }
                vhost.check_exclusive(&queue, NOBODY)?;
                access.decide(|| access.check(Operation::Write, Resource::Queue(name)))
            }
            Self::Exchange { exchange, .. } => {
                let resource = Resource::Exchange(exchange);
                access.decide(|| access.check(Operation::Write, resource))?;
                let found = vhost.existing_exchange(exchange)?;
                match found.internal {
                    false => Ok(()),
                    true => Err(Error::AccessRefused(format!(
                        "cannot publish to internal {}",
                        vhost.exchange_text(exchange)
                    ))),
                }
            }
            Self::OriginalQueue | Self::OriginalExchange => Ok(()),
        }
    }

    /// Where this message goes.
    ///
    /// # Errors
    /// Why it stays.
    pub fn of(
        &self,
        message: &Message,
        vhost: &Vhost,
        access: &Access,
    ) -> Result<Destination, Stays> {
        match self {
            Self::Queue(name) => into_queue(name, message.clone(), vhost, access),
            Self::Exchange {
                exchange,
                routing_key,
            } => published(exchange, routing_key.as_deref(), message, vhost, access),
            Self::OriginalQueue => {
                let origin = Origin::of(message).ok_or(Stays::NotDead)?;
                into_queue(&origin.queue, origin.revive(message), vhost, access)
            }
            Self::OriginalExchange => {
                let origin = Origin::of(message).ok_or(Stays::NotDead)?;
                let exchange = vhost.exchange(&origin.exchange);
                let exchange = exchange.ok_or(Stays::Unroutable)?;
                let (key, copies) = origin.routing_keys.split_first().ok_or(Stays::Unroutable)?;
                let revived = origin.revive(message);
                route(&exchange, key, copies, revived, vhost, access)
            }
        }
    }
}

fn into_queue(
    name: &str,
    message: Message,
    vhost: &Vhost,
    access: &Access,
) -> Result<Destination, Stays> {
    let queue = vhost.queue(name).ok_or(Stays::Unroutable)?;
    let permitted = access.decide(|| access.check(Operation::Write, Resource::Queue(name)));
    permitted
        .and_then(|()| vhost.check_exclusive(&queue, NOBODY))
        .map_err(Stays::Refused)?;
    Ok(Destination {
        message,
        queues: vec![queue],
    })
}

fn published(
    exchange: &str,
    routing_key: Option<&str>,
    message: &Message,
    vhost: &Vhost,
    access: &Access,
) -> Result<Destination, Stays> {
    let exchange = vhost.exchange(exchange).ok_or(Stays::Unroutable)?;
    let key = routing_key.unwrap_or(message.routing_key());
    let flags = message.flags();
    let copies = match routing_key {
        None if !flags.contain(Flags::NO_COPIES) => {
            carbon_copies(&headers_of(message.properties())).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let moved = Message::with_flags(
        &exchange.name,
        key,
        message.properties(),
        message.body(),
        flags.and_if(routing_key.is_some(), Flags::NO_COPIES),
    );
    route(&exchange, key, &copies, moved, vhost, access)
}

fn route(
    exchange: &Arc<Exchange>,
    key: &str,
    copies: &[String],
    message: Message,
    vhost: &Vhost,
    access: &Access,
) -> Result<Destination, Stays> {
    let permitted = access.decide(|| permit_publish(exchange, key, copies, access));
    permitted.map_err(Stays::Refused)?;
    let headers = headers_of(&message.visible_properties());
    let queues = vhost.route(exchange, key, copies, Some(&headers)).queues;
    match queues.is_empty() {
        true => Err(Stays::Unroutable),
        false => Ok(Destination { message, queues }),
    }
}

/// What a client needs to publish this.
fn permit_publish(
    exchange: &Exchange,
    key: &str,
    copies: &[String],
    access: &Access,
) -> Result<(), Error> {
    access.check(Operation::Write, Resource::Exchange(&exchange.name))?;
    if exchange.kind != ExchangeKind::Topic {
        return Ok(());
    }
    let copies = copies.iter().map(String::as_str);
    let mut keys = std::iter::once(key).chain(copies);
    keys.try_for_each(|key| access.check_topic(Operation::Write, &exchange.name, key))
}

fn headers_of(properties: &[u8]) -> FieldTable {
    let properties = Properties::parse(properties).unwrap_or_default();
    let headers = properties.headers.and_then(|raw| parse_table(raw).ok());
    headers.unwrap_or_default()
}
