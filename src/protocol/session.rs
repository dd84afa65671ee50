//! What all channels of a connection share.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
};

use amqp_codec::{AMQPClass, encode};
use broker_core::{
    authentication::Identity,
    broker::{Broker, ConnectionEntry, Place},
    liveness::Question,
    outbox::{Outbox, SubscriptionKey},
    permissions::{Access, Operation, Resource},
    queue::{ChannelCredit, ConnectionId, ConsumerHandle, Queue},
    store::{Completion, Ticket},
    vhost::{BindingRequest, ReplyAddress, Vhost},
};
use slab::Slab;

use super::{
    batch::Batch,
    consumer_timeout::Watch,
    exception::{Exception, MethodId},
    inquiry::{Awaited, Validity},
};

/// A consumer, or the deliveries of a `basic.get`.
#[derive(Debug)]
pub struct Subscribed {
    /// Its channel.
    pub channel: u16,
    /// The consumer tag; empty for `basic.get`.
    pub tag: Arc<str>,
    /// Where its messages come from.
    pub source: Source,
    /// The prefetch limit that it shares with the other consumers of its channel; none for `basic.get`.
    pub credit: Option<Arc<ChannelCredit>>,
    /// Deliveries need no answer.
    pub no_ack: bool,
    /// Milliseconds that one may stay without an answer, if the consumer says so; 0 for ever.
    pub timeout: Option<u64>,
    /// Deliveries that were sent and not answered.
    pub unacked: u32,
    /// It gets no more messages; forgotten when everything is answered.
    pub ended: bool,
}

/// Where a consumer's messages come from.
#[derive(Debug)]
pub enum Source {
    /// A queue; the handle is missing for `basic.get`.
    Queue(Arc<Queue>, Option<ConsumerHandle>),
    /// Direct reply-to.
    Replies(ReplyAddress),
}

impl Subscribed {
    /// The queue and the consumer's handle there, if it has a queue.
    pub fn queue(&self) -> Option<(&Arc<Queue>, Option<ConsumerHandle>)> {
        match &self.source {
            Source::Queue(queue, handle) => Some((queue, *handle)),
            Source::Replies(_) => None,
        }
    }
}

/// What the client said it understands (`capabilities` in `connection.start-ok`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientCapabilities {
    /// A refused login is answered by `connection.close`.
    pub authentication_failure_close: bool,
    /// `basic.cancel` from the broker.
    pub consumer_cancel_notify: bool,
    /// `connection.blocked`.
    pub connection_blocked: bool,
}

/// Something that must have come before what was answered may be sent and the next frame is taken.
#[derive(Debug, Clone)]
pub enum Barrier {
    /// A declaration is on disk.
    Definitions(Ticket),
    /// A transaction is on disk.
    Messages(Ticket),
    /// It is known whether this connection's client, who has an exclusive queue that was asked for, is still there.
    Owner(Arc<ConnectionEntry>, Question),
}

/// The state of an open connection that its channels share.
pub struct Session {
    /// The connection's number.
    pub id: ConnectionId,
    /// The broker.
    pub broker: Arc<Broker>,
    /// What others see of this connection.
    pub entry: Arc<ConnectionEntry>,
    /// The vhost that was opened.
    pub vhost: Arc<Vhost>,
    /// The name of who logged in.
    pub user: Arc<str>,
    /// Who that is.
    pub identity: Arc<Identity>,
    /// Where the client is.
    pub peer: SocketAddr,
    /// How long the login and what it permits are good.
    pub validity: Validity,
    /// What has to be known before the next frame is taken.
    pub awaited: Option<Awaited>,
    /// An answer was brought for the frame that comes again.
    pub answered: bool,
    /// Its place among the connections that are limited.
    pub place: Place,
    /// What they may do, as of the last look.
    pub access: Arc<Access>,
    /// What the client understands.
    pub client: ClientCapabilities,
    /// The largest frame in bytes, envelope included.
    pub frame_max: usize,
    /// The largest message body in bytes.
    pub max_message_size: u64,
    /// Milliseconds that a delivery may stay without an answer where nobody says otherwise; 0 for ever.
    pub consumer_timeout: u64,
    /// When to look for deliveries without an answer.
    pub watch: Watch,
    /// Where deliveries for this connection arrive.
    pub outbox: Arc<Outbox>,
    /// Consumers of all channels.
    pub subscriptions: Slab<Subscribed>,
    /// Queues that end with the connection.
    pub exclusive_queues: Vec<Arc<Queue>>,
    /// Set when the answers so far must wait.
    pub barrier: Option<Barrier>,
    /// Whose client was asked after for the frame that comes again.
    pub asked_owner: Option<ConnectionId>,
    /// The client has published, so alarms concern it.
    pub publishes: bool,
}

impl Session {
    /// Writes a rare method.
    pub fn send(&self, channel: u16, method: AMQPClass, batch: &mut Batch) {
        if let Err(error) = encode::method(&mut batch.out.frames, channel, &method) {
            let span = self.channel_span(channel);
            span.in_scope(|| tracing::error!(%error, "cannot encode a method"));
        }
    }

    /// The consumer with this key.
    pub fn subscription(&mut self, key: SubscriptionKey) -> Option<&mut Subscribed> {
        self.subscriptions.get_mut(key.0 as usize)
    }

    /// Adds a consumer.
    pub fn subscribe(&mut self, subscribed: Subscribed) -> SubscriptionKey {
        self.watch.include(self.timeout_of(&subscribed));
        SubscriptionKey(self.subscriptions.insert(subscribed) as u32)
    }

    /// Notes that `count` deliveries were answered, gives their channel its credit back, and forgets an ended consumer
    /// that has none left. To be called before their queue looks for the next message.
    pub fn answered(&mut self, key: SubscriptionKey, count: u32) {
        if let Some(subscribed) = self.subscription(key) {
            subscribed.unacked = subscribed.unacked.saturating_sub(count);
            if let Some(credit) = &subscribed.credit {
                credit.release(count);
            }
        }
        self.forget_if_done(key);
    }

    /// Ends a consumer: it is forgotten once everything is answered.
    pub fn end(&mut self, key: SubscriptionKey) {
        if let Some(subscribed) = self.subscription(key) {
            subscribed.ended = true;
        }
        self.forget_if_done(key);
    }

    /// What the user may do in the vhost now.
    #[inline]
    pub fn access(&mut self) -> &Arc<Access> {
        if self.access.generation() != self.broker.access_generation() {
            self.access = self.broker.access_of(&self.identity, &self.vhost.name);
        }
        &self.access
    }

    /// Checks that the user may do this.
    ///
    /// # Errors
    /// 403, blaming `method`.
    pub fn permit(
        &mut self,
        operation: Operation,
        resource: Resource<'_>,
        method: MethodId,
    ) -> Result<(), Exception> {
        let permitted = self.access().check(operation, resource);
        permitted.map_err(|error| Exception::of(&error, method))
    }

    /// Checks that the user may make or take away a binding.
    ///
    /// # Errors
    /// 403, blaming `method`.
    pub fn permit_bind(
        &mut self,
        request: &BindingRequest,
        method: MethodId,
    ) -> Result<(), Exception> {
        let access = Arc::clone(self.access());
        let permitted = self.vhost.permit_bind(request, &access);
        permitted.map_err(|error| Exception::of(&error, method))
    }

    /// Holds the answers back until a declaration is on disk.
    pub fn await_definitions(&mut self, ticket: Ticket) {
        let definitions = self.broker.definitions();
        if ticket > definitions.durable() {
            self.barrier = Some(Barrier::Definitions(ticket));
            definitions.notify(ticket, Arc::clone(&self.outbox) as Arc<dyn Completion>);
        }
    }

    /// Holds the answers back until a transaction is on disk.
    pub fn await_messages(&mut self, ticket: Ticket) {
        let store = self.broker.store();
        if ticket > store.durable() {
            self.barrier = Some(Barrier::Messages(ticket));
            store.notify(ticket, Arc::clone(&self.outbox) as Arc<dyn Completion>);
        }
    }

    /// Before a queue is declared: true when another connection has it to itself and its task has to say first whether
    /// its client is still there. The declaration is then not carried out but comes again, and meets either no queue or
    /// an owner who is alive. A client that lost its connection and is back at once can thus declare its queue again,
    /// where RabbitMQ answers 405 until it has noticed the loss.
    pub fn await_owner(&mut self, queue: &str) -> bool {
        let asked = self.asked_owner.take();
        let owner = self.vhost.exclusive_owner(queue);
        let Some(owner) = owner.filter(|owner| *owner != self.id && asked != Some(*owner)) else {
            return false;
        };
        let Some(entry) = self.broker.connection(owner) else {
            return false;
        };
        let Some(question) = entry.liveness.ask(Arc::clone(&self.outbox)) else {
            return false;
        };
        self.barrier = Some(Barrier::Owner(entry, question));
        self.asked_owner = Some(owner);
        true
    }

    /// Whether the last frame was not carried out for want of an answer of an exclusive queue's owner.
    pub fn awaits_owner(&self) -> bool {
        matches!(self.barrier, Some(Barrier::Owner(..)))
    }

    /// Counts a channel that was opened (1) or closed (-1), for those who look at the connection from outside.
    pub fn count_channels(&self, change: i64) {
        let channels = &self.entry.channels;
        channels.fetch_add(change.cast_unsigned(), Ordering::Relaxed);
        self.place.count_channels(change);
    }

    /// Notes that an exclusive queue ends with this connection.
    pub fn own(&mut self, queue: &Arc<Queue>) {
        if !self.exclusive_queues.iter().any(|q| Arc::ptr_eq(q, queue)) {
            self.exclusive_queues.push(Arc::clone(queue));
        }
    }

    /// Forgets an exclusive queue that was deleted before.
    pub fn disown(&mut self, name: &str) {
        self.exclusive_queues
            .retain(|queue| **queue.name() != *name);
    }

    fn forget_if_done(&mut self, key: SubscriptionKey) {
        let index = key.0 as usize;
        if self
            .subscriptions
            .get(index)
            .is_some_and(|s| s.ended && s.unacked == 0)
        {
            self.subscriptions.remove(index);
        }
    }
}
