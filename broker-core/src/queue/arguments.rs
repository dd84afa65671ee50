//! The optional arguments of queues and consumers, validated and parsed once.
//!
//! What RabbitMQ 4.3 refuses is refused here with its texts (`rabbit_amqqueue:check_declare_arguments` and
//! `check_consume_arguments`); what it does not know is accepted, and shown from the table that the queue keeps. Each
//! argument is described at <https://www.rabbitmq.com/docs/queues#optional-arguments>.

mod check;
mod delayed_retry;

use std::sync::Arc;

pub use self::delayed_retry::{DelayedRetry, DelayedRetryType};
pub use crate::arguments::{assert_arguments_equivalent, inequivalent_attribute, type_name};
use crate::{
    Error,
    arguments::{AMQPValue, FieldTable, assert_argument_equivalent, bytes, integer, lookup, text},
};

pub(crate) const QUEUE_TYPE: &str = "x-queue-type";

/// How often a message may fail in a quorum queue without `x-delivery-limit` (RabbitMQ: `DEFAULT_DELIVERY_LIMIT`).
pub const DEFAULT_DELIVERY_LIMIT: i64 = 20;

/// The kinds of queue that a client can ask for with `x-queue-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum QueueType {
    /// One copy on one node; what a queue is when nothing is asked for.
    #[default]
    Classic,
    /// Replicated in RabbitMQ. Here it is one copy too, with the rules of a quorum queue.
    Quorum,
}

impl QueueType {
    /// The name that clients use for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }

    /// The name that RabbitMQ's reply texts use for it.
    fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
        }
    }

    /// The type of the queue that has this table, which was [parsed](QueueArguments::parse) before.
    fn of(table: &FieldTable) -> Self {
        match lookup(table, QUEUE_TYPE).and_then(text) {
            Some("quorum") => Self::Quorum,
            _ => Self::Classic,
        }
    }
}

/// What happens when a queue is full (`x-overflow`, <https://www.rabbitmq.com/docs/maxlength#overflow-behaviour>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// The oldest messages make room, and are dead-lettered.
    #[default]
    DropHead,
    /// New messages are refused: nacked where confirms are on.
    RejectPublish,
    /// The same, and the refused messages are dead-lettered.
    RejectPublishDlx,
}

impl Overflow {
    /// The behaviour of that name; the default for any other name.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "reject-publish" => Self::RejectPublish,
            "reject-publish-dlx" => Self::RejectPublishDlx,
            _ => Self::DropHead,
        }
    }

    /// What a queue of this type makes of it: quorum queues do not dead-letter what they refuse
    /// (`rabbit_quorum_queue:overflow`).
    pub(crate) fn on(self, queue_type: QueueType) -> Self {
        match (self, queue_type) {
            (Self::RejectPublishDlx, QueueType::Quorum) => Self::DropHead,
            (other, _) => other,
        }
    }
}

/// How surely messages are dead-lettered (`x-dead-letter-strategy`, quorum queues only).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeadLetterStrategy {
    /// They are published without waiting for a confirm.
    #[default]
    AtMostOnce,
    /// They stay until their targets have confirmed them.
    AtLeastOnce,
}

impl DeadLetterStrategy {
    /// The strategy of that name; the default for any other name.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "at-least-once" => Self::AtLeastOnce,
            _ => Self::AtMostOnce,
        }
    }
}

/// The arguments of a queue as the broker understands them. `None` is always "not given".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueueArguments {
    /// `x-queue-type`.
    pub queue_type: QueueType,
    /// `x-expires`: the queue is deleted after so many milliseconds without use; at least 1.
    pub expires_ms: Option<u64>,
    /// `x-message-ttl`: milliseconds until a message expires; 0 delivers at once or never.
    pub message_ttl_ms: Option<u64>,
    /// `x-max-length`: the most ready messages.
    pub max_length: Option<u64>,
    /// `x-max-length-bytes`: the most bytes of bodies of ready messages.
    pub max_length_bytes: Option<u64>,
    /// `x-overflow`.
    pub overflow: Overflow,
    /// `x-dead-letter-exchange`: where dropped messages are published again; empty for the default exchange.
    pub dead_letter_exchange: Option<Arc<str>>,
    /// `x-dead-letter-routing-key`: instead of the message's own keys.
    pub dead_letter_routing_key: Option<Arc<str>>,
    /// `x-dead-letter-strategy`.
    pub dead_letter_strategy: DeadLetterStrategy,
    /// `x-max-priority`: the highest priority that makes a difference; classic queues only.
    pub max_priority: Option<u8>,
    /// `x-single-active-consumer`: one consumer at a time, the others stand by.
    pub single_active_consumer: bool,
    /// `x-delivery-limit`: how often a message may fail before it is dropped, below 0 for any number. Quorum queues have
    /// 20 when it is not given, others no limit.
    pub delivery_limit: Option<i64>,
    /// `x-consumer-timeout`: milliseconds that a consumer may hold a message unacknowledged; 0 for any time.
    pub consumer_timeout_ms: Option<u64>,
    /// `x-delayed-retry-type`: what of that which comes back waits before it is delivered again; quorum queues only.
    pub delayed_retry_type: DelayedRetryType,
    /// `x-delayed-retry-min`: milliseconds that a message waits that has failed once; after more failures so many times as
    /// long. Nothing waits without it.
    pub delayed_retry_min_ms: Option<u64>,
    /// `x-delayed-retry-max`: the most milliseconds that it waits; the least when it is not given.
    pub delayed_retry_max_ms: Option<u64>,
}

impl QueueArguments {
    /// Validates the arguments of a queue.declare. `resource` names the queue as in `queue 'x' in vhost '/'`.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] for a wrong type or value (`invalid arg 'x-message-ttl' for queue 'x' in vhost
    /// '/': {value_negative,-1}`) and for an argument of another type of queue. Streams are no known type.
    pub fn parse(table: &FieldTable, resource: &str) -> Result<Self, Error> {
        check::queue(table, resource)?;
        let unsigned = |key| {
            lookup(table, key)
                .and_then(integer)
                .and_then(|it| u64::try_from(it).ok())
        };
        let word = |key| lookup(table, key).and_then(text).unwrap_or_default();
        Ok(Self {
            queue_type: QueueType::of(table),
            expires_ms: unsigned("x-expires"),
            message_ttl_ms: unsigned("x-message-ttl"),
            max_length: unsigned("x-max-length"),
            max_length_bytes: unsigned("x-max-length-bytes"),
            overflow: Overflow::named(word("x-overflow")).on(QueueType::of(table)),
            dead_letter_exchange: name(table, "x-dead-letter-exchange"),
            dead_letter_routing_key: name(table, "x-dead-letter-routing-key"),
            dead_letter_strategy: DeadLetterStrategy::named(word("x-dead-letter-strategy")),
            max_priority: unsigned("x-max-priority").and_then(|it| u8::try_from(it).ok()),
            single_active_consumer: matches!(
                lookup(table, "x-single-active-consumer"),
                Some(AMQPValue::Boolean(true))
            ),
            delivery_limit: lookup(table, "x-delivery-limit").and_then(integer),
            consumer_timeout_ms: unsigned("x-consumer-timeout"),
            delayed_retry_type: DelayedRetryType::named(word("x-delayed-retry-type")),
            delayed_retry_min_ms: unsigned("x-delayed-retry-min"),
            delayed_retry_max_ms: unsigned("x-delayed-retry-max"),
        })
    }

    /// For how long what comes back waits, if anything does (`rabbit_quorum_queue:get_delayed_retry_config`).
    pub fn delayed_retry(&self) -> Option<DelayedRetry> {
        if self.queue_type != QueueType::Quorum
            || self.delayed_retry_type == DelayedRetryType::Disabled
        {
            return None;
        }
        let min_ms = self.delayed_retry_min_ms.filter(|min| *min > 0)?;
        let max_ms = self.delayed_retry_max_ms.filter(|max| *max > 0);
        Some(DelayedRetry {
            retry_type: self.delayed_retry_type,
            min_ms,
            max_ms: max_ms.unwrap_or(min_ms),
        })
    }

    /// How often a message may fail before it is dropped; `u32::MAX` is any number.
    pub fn most_deliveries(&self) -> u32 {
        let by_type = match self.queue_type {
            QueueType::Classic => -1,
            QueueType::Quorum => DEFAULT_DELIVERY_LIMIT,
        };
        let limit = self.delivery_limit.unwrap_or(by_type);
        u32::try_from(limit).unwrap_or(u32::MAX)
    }

    /// Checks the flags of a queue.declare against the type of queue: a quorum queue is durable and shared.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`]: `invalid property 'non-durable' for queue 'x' in vhost '/'` and the like.
    pub fn check_properties(
        &self,
        resource: &str,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
    ) -> Result<(), Error> {
        let property = match self.queue_type {
            QueueType::Classic => return Ok(()),
            QueueType::Quorum if auto_delete => "auto-delete",
            QueueType::Quorum if exclusive => "exclusive-owner",
            QueueType::Quorum if !durable => "non-durable",
            QueueType::Quorum => return Ok(()),
        };
        Err(Error::PreconditionFailed(format!(
            "invalid property '{property}' for {resource}"
        )))
    }

    /// Checks that a queue of this type may go without a name of its own.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`]: `Cannot declare a server-named queue for type rabbit_quorum_queue`.
    pub fn check_server_named(&self) -> Result<(), Error> {
        match self.queue_type {
            QueueType::Classic => Ok(()),
            QueueType::Quorum => Err(Error::PreconditionFailed(format!(
                "Cannot declare a server-named queue for type {}",
                self.queue_type.module()
            ))),
        }
    }
}

/// Compares the arguments of a queue with those of a redeclaration: all that its type of queue knows, by value.
///
/// # Errors
/// [`Error::PreconditionFailed`] for the first that differs.
pub fn assert_queue_arguments_equivalent(
    resource: &str,
    current: &FieldTable,
    received: &FieldTable,
) -> Result<(), Error> {
    for key in check::known_to(QueueType::of(current)) {
        if *key == QUEUE_TYPE {
            assert_type_equivalent(resource, current, received)?;
        } else {
            let (current, received) = (lookup(current, key), lookup(received, key));
            assert_argument_equivalent(resource, key, current, received)?;
        }
    }
    Ok(())
}

/// A queue whose type is not given is a classic one, which RabbitMQ writes into its arguments.
fn assert_type_equivalent(
    resource: &str,
    current: &FieldTable,
    received: &FieldTable,
) -> Result<(), Error> {
    let (current, received) = (QueueType::of(current), QueueType::of(received));
    inequivalent_attribute(resource, QUEUE_TYPE, received.as_str(), current.as_str())
}

/// The arguments of a consumer as the broker understands them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConsumerArguments {
    /// `x-priority`: consumers with a larger one are served first (<https://www.rabbitmq.com/docs/consumer-priority>).
    /// Values beyond 32 bits count as the nearest.
    pub priority: i32,
    /// `x-consumer-timeout`: milliseconds that it may hold a message unacknowledged, whatever its queue says; 0 for any
    /// time.
    pub consumer_timeout_ms: Option<u64>,
}

impl ConsumerArguments {
    /// Validates the arguments of a basic.consume for a queue of the given type, named by `resource` as in
    /// `queue 'x' in vhost '/'`.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] for a wrong type or value, and for an argument of another type of queue.
    pub fn parse(table: &FieldTable, queue_type: QueueType, resource: &str) -> Result<Self, Error> {
        check::consumer(table, queue_type, resource)?;
        let number = |key| lookup(table, key).and_then(integer);
        let priority = number("x-priority").unwrap_or_default();
        Ok(Self {
            priority: priority.clamp(i32::MIN.into(), i32::MAX.into()) as i32,
            consumer_timeout_ms: number("x-consumer-timeout").and_then(|it| u64::try_from(it).ok()),
        })
    }
}

/// A name or key. Those that are no UTF-8 cannot have been declared, so it does not matter what they become.
fn name(table: &FieldTable, key: &str) -> Option<Arc<str>> {
    lookup(table, key)
        .and_then(bytes)
        .map(|it| String::from_utf8_lossy(it).into())
}

#[cfg(test)]
mod tests;
