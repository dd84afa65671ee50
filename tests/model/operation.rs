//! What can happen. Names and keys come from small sets, so that operations meet.

use proptest::prelude::*;

use crate::features::FEATURES;

/// The exchanges and their types; the first is the default exchange, which is always there.
pub const EXCHANGES: [(&str, &str); 4] = [
    ("", "direct"),
    ("direct", "direct"),
    ("fanout", "fanout"),
    ("topic", "topic"),
];

/// The queues.
pub const QUEUES: [&str; 3] = ["q0", "q1", "q2"];

/// Binding keys; the first [`ROUTING_KEYS`] of them are published with.
pub const KEYS: [&str; 9] = ["a", "a.b", "a.b.c", "b", "", "#", "*", "a.*", "#.b.#"];

const ROUTING_KEYS: usize = 5;

/// Indexes are into [`EXCHANGES`], [`QUEUES`] and [`KEYS`].
#[derive(Clone, Debug)]
pub enum Operation {
    /// Declares a queue, if it is not there with the features with this index into [`FEATURES`], and learns its length.
    DeclareQueue { queue: usize, features: usize },
    /// Deletes a queue, or learns that it was not there.
    DeleteQueue(usize),
    /// Empties a queue of what is ready.
    Purge(usize),
    /// Declares an exchange.
    DeclareExchange(usize),
    /// Deletes an exchange, and its bindings with it.
    DeleteExchange(usize),
    /// Binds a queue to an exchange.
    Bind {
        queue: usize,
        exchange: usize,
        key: usize,
    },
    /// Removes a binding, or does nothing.
    Unbind {
        queue: usize,
        exchange: usize,
        key: usize,
    },
    /// Publishes a mandatory message with confirms.
    Publish {
        exchange: usize,
        routing_key: &'static str,
        /// In milliseconds: nothing or an hour.
        expiration: Option<u64>,
        priority: u8,
    },
    /// Gets a message.
    Get { queue: usize, no_ack: bool },
    /// Acknowledges one of the unacknowledged messages, or all up to it.
    Ack {
        index: prop::sample::Index,
        multiple: bool,
    },
    /// Refuses in the same way.
    Nack {
        index: prop::sample::Index,
        multiple: bool,
        requeue: bool,
    },
    /// Refuses one and gives it back, which is a failure.
    Reject(prop::sample::Index),
    /// Gives back everything that is unacknowledged.
    Recover,
    /// Closes the channel, which gives back everything too, as a failure, and opens another one.
    ReopenChannel,
}

fn queue() -> std::ops::Range<usize> {
    0..QUEUES.len()
}

fn named_exchange() -> std::ops::Range<usize> {
    1..EXCHANGES.len()
}

fn publish() -> impl Strategy<Value = Operation> {
    let by_name = queue().prop_map(|queue| (0, QUEUES[queue]));
    let by_key = (named_exchange(), 0..ROUTING_KEYS).prop_map(|(x, key)| (x, KEYS[key]));
    let expiration = prop_oneof![6 => Just(None), 1 => Just(Some(0)), 1 => Just(Some(3_600_000))];
    let where_to = prop_oneof![by_name, by_key];
    (where_to, expiration, 0..5_u8).prop_map(|((exchange, routing_key), expiration, priority)| {
        Operation::Publish {
            exchange,
            routing_key,
            expiration,
            priority,
        }
    })
}

fn declare_queue() -> impl Strategy<Value = Operation> {
    let features = prop_oneof![1 => Just(0), 4 => 0..FEATURES.len()];
    (queue(), features).prop_map(|(queue, features)| Operation::DeclareQueue { queue, features })
}

fn bind() -> impl Strategy<Value = Operation> {
    (queue(), named_exchange(), 0..KEYS.len()).prop_map(|(queue, exchange, key)| Operation::Bind {
        queue,
        exchange,
        key,
    })
}

fn unbind() -> impl Strategy<Value = Operation> {
    (queue(), named_exchange(), 0..KEYS.len()).prop_map(|(queue, exchange, key)| {
        Operation::Unbind {
            queue,
            exchange,
            key,
        }
    })
}

fn get() -> impl Strategy<Value = Operation> {
    (queue(), prop::bool::weighted(0.2))
        .prop_map(|(queue, no_ack)| Operation::Get { queue, no_ack })
}

fn ack() -> impl Strategy<Value = Operation> {
    (any::<prop::sample::Index>(), prop::bool::weighted(0.3))
        .prop_map(|(index, multiple)| Operation::Ack { index, multiple })
}

fn nack() -> impl Strategy<Value = Operation> {
    (
        any::<prop::sample::Index>(),
        prop::bool::weighted(0.3),
        prop::bool::weighted(0.8),
    )
        .prop_map(|(index, multiple, requeue)| Operation::Nack {
            index,
            multiple,
            requeue,
        })
}

/// Any operation, those that are frequent in a real broker more often.
pub fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => declare_queue(),
        1 => queue().prop_map(Operation::DeleteQueue),
        1 => queue().prop_map(Operation::Purge),
        4 => named_exchange().prop_map(Operation::DeclareExchange),
        1 => named_exchange().prop_map(Operation::DeleteExchange),
        8 => bind(),
        3 => unbind(),
        16 => publish(),
        12 => get(),
        4 => ack(),
        4 => nack(),
        2 => any::<prop::sample::Index>().prop_map(Operation::Reject),
        1 => Just(Operation::Recover),
        1 => Just(Operation::ReopenChannel),
    ]
}
