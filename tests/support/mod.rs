//! What every test over sockets needs: a broker to talk to and a peer to talk with.
//!
//! [`broker`] starts the real `leveret` binary on free ports and a temporary data directory; [`peer`] is a scripted
//! AMQP client whose every step is a frame sent or a frame expected. The frames are made and read with `amq-protocol`
//! directly, not with our own `amqp-codec`, so that an error in the codec cannot hide by standing on both sides.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed step is a failed test, and its panic is the report"
)]

pub mod broker;
pub mod certificates;
pub mod content;
pub mod handshake;
pub mod http;
pub mod method;
pub mod operations;
pub mod peer;
pub mod table;

pub use amq_protocol::protocol::{
    AMQPClass, access, basic, basic::AMQPProperties, channel, confirm, connection, exchange, queue,
    tx,
};
pub use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};
pub use broker::{Broker, foreign_broker, pause};
pub use content::{Delivery, Got, Returned};
pub use handshake::Login;
pub use method::{Method, NoMethod};
pub use operations::{durable_queue, unique};
pub use peer::Peer;
pub use table::{longstr, table};

use std::{
    panic::{RefUnwindSafe, catch_unwind},
    time::Duration,
};

/// How long a step may take before the test fails. Nothing waits this long when all is well; it only has to be more
/// than the worst pause of a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Tries it with the first of these times, and with a longer one if that fails: a busy machine may have been too slow for it.
/// Only the last failure counts.
pub fn with_time_enough<T: Copy + RefUnwindSafe>(
    times: [T; 3],
    attempt: impl Fn(T) + RefUnwindSafe,
) {
    let [shorter @ .., longest] = times;
    if !shorter
        .iter()
        .any(|time| catch_unwind(|| attempt(*time)).is_ok())
    {
        attempt(longest);
    }
}

/// Leaves a test whose rule the broker named by `LEVERET_TEST_AMQP` does not share, with the reason.
#[macro_export]
macro_rules! leveret_only {
    ($reason:expr) => {
        if $crate::support::foreign_broker() {
            eprintln!("not run against another broker: {}", $reason);
            return;
        }
    };
}
