//! Conformance: what a client may rely on, checked over sockets by a scripted peer, one rule a test. A name says the
//! rule; a text in quotes is the whole text that RabbitMQ sends.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed step is a failed test, and its panic is the report"
)]

mod acknowledge;
mod alarms;
mod bindings;
mod blocked;
mod channels;
mod confirms;
mod consume;
mod consumer_timeout;
mod copies;
mod dead_letter;
mod delayed_retry;
mod delivery_limit;
mod direct_reply_to;
mod durability;
mod exchanges;
mod exclusive;
mod handshake;
mod headers;
mod heartbeats;
mod limits;
mod malformed;
mod policies;
mod priorities;
mod publish;
mod queue_arguments;
mod queues;
mod rabbitmq;
mod random_methods;
mod routing;
mod shutdown;
mod single_active_consumer;
#[path = "../support/mod.rs"]
mod support;
mod transactions;
mod ttl;

#[test]
fn the_peer_writes_frames_as_the_specification_lays_them_out() {
    let frame = support::peer::method_bytes(1, support::channel::Open {});
    assert_eq!(frame, [1, 0, 1, 0, 0, 0, 5, 0, 20, 0, 10, 0, 0xCE]);
}
