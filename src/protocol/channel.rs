//! One channel of a connection, and where its methods go.
//!
//! ```text
//!  channel.open ──> open ──exception──> closing ──channel.close-ok──> gone
//!                     └──channel.close──────────────────────────────> gone
//! ```
//! While it is closing, everything that the client had sent before it heard of the exception is swallowed
//! (AMQP 0-9-1, 1.5.2.5; RabbitMQ does the same).

use std::{collections::HashMap, sync::Arc};

use amqp_codec::{
    AMQPClass,
    protocol::{access, basic, channel, confirm, exchange, queue, tx},
};
use broker_core::{
    broker::ChannelEntry, outbox::SubscriptionKey, queue::ChannelCredit, vhost::Route,
};

use super::{
    batch::Batch,
    confirms::Confirms,
    content::Assembly,
    exception::{Exception, MethodId},
    session::Session,
    transactions::Pending,
    unacked::Unackeds,
};

/// The state of an open channel.
#[derive(Debug, Default)]
pub struct Channel {
    /// Its number.
    pub number: u16,
    /// What others see of it.
    pub entry: Arc<ChannelEntry>,
    /// An exception was sent; the client's `channel.close-ok` is awaited.
    pub closing: bool,
    /// Deliveries without an answer.
    pub unackeds: Unackeds,
    /// The prefetch limit of consumers that start from now on.
    pub prefetch: u16,
    /// The prefetch limit of the channel as a whole.
    pub credit: Arc<ChannelCredit>,
    /// Its consumers by tag.
    pub consumers: HashMap<Arc<str>, SubscriptionKey>,
    /// Confirm mode.
    pub confirms: Option<Box<Confirms>>,
    /// Transaction mode.
    pub transaction: Option<Box<Pending>>,
    /// What an empty queue name stands for.
    pub last_queue: String,
    /// Where the last publish went.
    pub route: Option<Arc<Route>>,
    /// A publish whose content is still arriving.
    pub content: Option<Box<Assembly>>,
    /// The consumer of direct replies.
    pub replies: Option<SubscriptionKey>,
}

/// A method of a channel, with the number that answers go to.
pub type Handled = Result<(), Exception>;

impl Channel {
    /// A new channel.
    pub fn new(number: u16) -> Self {
        Self {
            number,
            entry: ChannelEntry::new(number),
            ..Self::default()
        }
    }

    /// Carries out any method but those that travel with every message, and those that end something (`channel.close`,
    /// `basic.cancel`), which need the connection.
    pub fn handle_method(
        &mut self,
        method: AMQPClass,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let id = (method.get_amqp_class_id(), method.get_amqp_method_id());
        match method {
            AMQPClass::Channel(method) => self.handle_channel(method, id, session, batch),
            AMQPClass::Exchange(method) => self.handle_exchange(method, id, session, batch),
            AMQPClass::Queue(method) => self.handle_queue(method, id, session, batch),
            AMQPClass::Basic(method) => self.handle_basic(method, id, session, batch),
            AMQPClass::Tx(method) => self.handle_tx(method, id, session, batch),
            AMQPClass::Confirm(confirm::AMQPMethod::Select(select)) => {
                self.select_confirms(select.nowait, id, session, batch)
            }
            AMQPClass::Access(access::AMQPMethod::Request(_)) => {
                let answer = access::AMQPMethod::RequestOk(access::RequestOk {});
                session.send(self.number, AMQPClass::Access(answer), batch);
                Ok(())
            }
            _ => Err(unimplemented(id)),
        }
    }

    fn handle_channel(
        &mut self,
        method: channel::AMQPMethod,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        match method {
            channel::AMQPMethod::Open(_) => {
                Err(Exception::channel_error("second 'channel.open' seen", id))
            }
            channel::AMQPMethod::Flow(flow) if flow.active => {
                let answer = channel::AMQPMethod::FlowOk(channel::FlowOk { active: true });
                session.send(self.number, AMQPClass::Channel(answer), batch);
                Ok(())
            }
            channel::AMQPMethod::Flow(_) => Err(Exception::not_implemented("active=false", id)),
            channel::AMQPMethod::FlowOk(_) => Ok(()),
            _ => Err(unimplemented(id)),
        }
    }

    fn handle_exchange(
        &mut self,
        method: exchange::AMQPMethod,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        match method {
            exchange::AMQPMethod::Declare(m) => self.declare_exchange(m, id, session, batch),
            exchange::AMQPMethod::Delete(m) => self.delete_exchange(m, id, session, batch),
            exchange::AMQPMethod::Bind(m) => self.bind_exchange(m, id, session, batch),
            exchange::AMQPMethod::Unbind(m) => self.unbind_exchange(m, id, session, batch),
            _ => Err(unimplemented(id)),
        }
    }

    fn handle_queue(
        &mut self,
        method: queue::AMQPMethod,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        match method {
            queue::AMQPMethod::Declare(m) => self.declare_queue(m, id, session, batch),
            queue::AMQPMethod::Bind(m) => self.bind_queue(m, id, session, batch),
            queue::AMQPMethod::Unbind(m) => self.unbind_queue(m, id, session, batch),
            queue::AMQPMethod::Purge(m) => self.purge_queue(m, id, session, batch),
            queue::AMQPMethod::Delete(m) => self.delete_queue(m, id, session, batch),
            _ => Err(unimplemented(id)),
        }
    }

    fn handle_basic(
        &mut self,
        method: basic::AMQPMethod,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        match method {
            basic::AMQPMethod::Qos(m) => self.set_prefetch(m, session, batch),
            basic::AMQPMethod::Consume(m) => self.consume(m, id, session, batch),
            basic::AMQPMethod::Get(m) => self.get(m, id, session, batch),
            basic::AMQPMethod::Recover(m) => {
                self.recover(m.requeue, session, batch);
                let answer = basic::AMQPMethod::RecoverOk(basic::RecoverOk {});
                session.send(self.number, AMQPClass::Basic(answer), batch);
                Ok(())
            }
            basic::AMQPMethod::RecoverAsync(m) => {
                self.recover(m.requeue, session, batch);
                Ok(())
            }
            _ => Err(unimplemented(id)),
        }
    }

    fn handle_tx(
        &mut self,
        method: tx::AMQPMethod,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        match method {
            tx::AMQPMethod::Select(_) => self.select_transactions(id, session, batch),
            tx::AMQPMethod::Commit(_) => self.commit(id, session, batch),
            tx::AMQPMethod::Rollback(_) => self.rollback(id, session, batch),
            _ => Err(unimplemented(id)),
        }
    }

    fn select_confirms(
        &mut self,
        nowait: bool,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        if self.transaction.is_some() {
            let text = "cannot switch from tx to confirm mode";
            return Err(Exception::precondition_failed(text, id));
        }
        self.confirms.get_or_insert_default();
        self.show_mode();
        if !nowait {
            let answer = confirm::AMQPMethod::SelectOk(confirm::SelectOk {});
            session.send(self.number, AMQPClass::Confirm(answer), batch);
        }
        Ok(())
    }

    /// The queue that a method names; an empty name is the one declared last.
    pub fn queue_name(&self, given: &str, id: MethodId) -> Result<String, Exception> {
        if !given.is_empty() {
            return Ok(given.to_owned());
        }
        if self.last_queue.is_empty() {
            let text = "no previously declared queue";
            return Err(Exception::not_found(text, id));
        }
        Ok(self.last_queue.clone())
    }
}

fn unimplemented(id: MethodId) -> Exception {
    Exception::command_invalid("unimplemented method", id)
}
