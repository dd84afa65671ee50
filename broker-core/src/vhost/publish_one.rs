//! Publishing one message for somebody who has no channel: the HTTP API.
//!
//! The checks are those of a channel, in RabbitMQ's order: `rabbit_channel` and `rabbit_basic`.

use std::iter;

use amqp_codec::{FieldTable, Properties, delivery_mode, parse_table};

use super::{DIRECT_REPLY_TO, Vhost, carbon_copies, without_blind_copies};
use crate::{
    Error,
    exchange::ExchangeKind,
    message::{Flags, Message},
    permissions::{Access, Operation, Resource},
    queue::{Millis, Work},
    statistics::Column,
    store::Ticket,
};

/// The delivery mode of persistent messages.
const PERSISTENT: u8 = 2;

/// The largest time to live in milliseconds, ten years (RabbitMQ: `MAX_EXPIRY_TIMER`... plus a day's grace).
const MAX_EXPIRY: i128 = 315_360_000_000;

/// A message that somebody wants to be published.
#[derive(Debug, Clone)]
pub struct Publication<'a> {
    /// The exchange.
    pub exchange: &'a str,
    /// The key.
    pub routing_key: &'a str,
    /// Property flags and fields as in a content header.
    pub properties: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Whether any queue was found for it.
    pub routed: bool,
    /// Whether a full queue refused it.
    pub refused: bool,
    /// Durable in the store of messages when the message is safe.
    pub ticket: Ticket,
}

impl Vhost {
    /// Publishes a message as `user`.
    ///
    /// # Errors
    /// 404: no such exchange. 403: no permission, or an internal exchange. 406: a property that the broker looks at is
    /// wrong.
    pub fn publish_one(
        &self,
        publication: &Publication<'_>,
        user: &str,
        access: &Access,
        now: Millis,
    ) -> Result<Published, Error> {
        let (name, key) = (publication.exchange, publication.routing_key);
        access.check(Operation::Write, Resource::Exchange(name))?;
        let exchange = self.existing_exchange(name)?;
        if exchange.internal {
            let text = self.exchange_text(name);
            return Err(Error::AccessRefused(format!(
                "cannot publish to internal {text}"
            )));
        }
        let examined = Examined::of(publication.properties)?;
        if exchange.kind == ExchangeKind::Topic {
            let copies = examined.copies.iter().map(String::as_str);
            for key in iter::once(key).chain(copies) {
                access.check_topic(Operation::Write, name, key)?;
            }
        }
        if let Some(claimed) = &examined.user_id
            && claimed != user
            && !access.impersonates()
        {
            return Err(Error::PreconditionFailed(format!(
                "user_id property set to '{claimed}' but authenticated user was '{user}'"
            )));
        }
        let (properties, body) = (publication.properties, publication.body);
        let persistent = delivery_mode(properties) == Some(PERSISTENT);
        let flags = examined.flags.and_if(persistent, Flags::PERSISTENT);
        let message = Message::with_flags(name, key, properties, body, flags);
        let headers = examined.headers.as_ref();
        let route = self.route(&exchange, key, &examined.copies, headers);
        let (mut work, mut refused) = (Work::default(), Vec::new());
        let queues = route.queues.len() as u64;
        exchange.count(1, queues, &self.statistics);
        self.statistics.count(Column::Publish, 1);
        self.statistics.count(Column::Routed, queues);
        self.publish(&route, &mut vec![message], now, &mut work, &mut refused);
        self.bury(now, &mut work);
        Ok(Published {
            routed: !route.queues.is_empty(),
            refused: !refused.is_empty(),
            ticket: work.ticket,
        })
    }
}

/// What the properties of a message say to the broker.
struct Examined {
    headers: Option<FieldTable>,
    /// The keys of CC and BCC.
    copies: Vec<String>,
    user_id: Option<String>,
    flags: Flags,
}

impl Examined {
    fn of(raw: &[u8]) -> Result<Self, Error> {
        let refused = |error: amqp_codec::Error| Error::PreconditionFailed(error.to_string());
        let properties = Properties::parse(raw).map_err(refused)?;
        if let Some(expiration) = properties.expiration {
            check_expiration(expiration)?;
        }
        if properties.reply_to == Some(DIRECT_REPLY_TO) {
            let text = "fast reply consumer does not exist".to_owned();
            return Err(Error::PreconditionFailed(text));
        }
        let mut examined = Self {
            headers: None,
            copies: Vec::new(),
            user_id: properties.user_id.map(str::to_owned),
            flags: Flags::default(),
        };
        if let Some(headers) = properties.headers {
            let mut headers = parse_table(headers).map_err(refused)?;
            examined.copies = carbon_copies(&headers)?;
            if headers.contains_key("BCC") {
                headers = without_blind_copies(&headers);
                examined.flags = Flags::HIDDEN_COPIES;
            }
            examined.headers = Some(headers);
        }
        Ok(examined)
    }
}

/// Checks the property `expiration` (RabbitMQ: `rabbit_basic:parse_expiration`).
///
/// # Errors
/// 406 with RabbitMQ's text.
pub fn check_expiration(text: &str) -> Result<(), Error> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let number_length = text.len()
        - digits
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .len();
    let (number, rest) = text.split_at_checked(number_length).unwrap_or((text, ""));
    let reason = match (number.parse::<i128>(), rest) {
        (Err(_), _) => "no_integer".to_owned(),
        (Ok(_), rest) if !rest.is_empty() => format!("{{leftover_string,{rest:?}}}"),
        (Ok(value), _) if value < 0 => format!("{{value_negative,{value}}}"),
        (Ok(value), _) if value > MAX_EXPIRY => format!("{{value_too_large,{value}}}"),
        (Ok(_), _) => return Ok(()),
    };
    Err(Error::PreconditionFailed(format!(
        "invalid expiration '{text}': {reason}"
    )))
}
