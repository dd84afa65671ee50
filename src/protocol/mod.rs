//! The state machine of a connection and its channels: bytes in, bytes out, no sockets, no clock, no tokio.
//!
//! `handle_*` take what happened, `poll_*` say what comes next, everything that is to be written goes into the
//! [`Batch`](batch::Batch). The network driver calls; the machine calls the broker core directly.

pub mod acknowledge;
pub mod authorization;
pub mod batch;
pub mod channel;
pub mod confirms;
pub mod connection;
pub mod consume;
pub mod consumer_timeout;
pub mod content;
mod counting;
pub mod deliver;
pub mod exception;
pub mod exchanges;
pub mod handshake;
pub mod inquiry;
pub mod output;
pub mod publish;
pub mod queues;
pub mod running;
pub mod server_properties;
pub mod session;
pub mod spans;
pub mod transactions;
pub mod unacked;

use self::server_properties::Greeting;

/// What connections are allowed, from the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What clients are greeted with.
    pub greeting: Greeting,
    /// The heartbeat that is proposed, in seconds; 0 for none.
    pub heartbeat: u16,
    /// The most channels that are granted.
    pub channel_max: u16,
    /// The largest frame that is granted, in bytes, envelope included.
    pub frame_max: u32,
    /// The largest message body in bytes.
    pub max_message_size: u64,
    /// Milliseconds that a delivery may stay without an answer where neither the consumer nor its queue says so; 0 for
    /// ever.
    pub consumer_timeout: u64,
    /// Milliseconds that a login may take.
    pub login_timeout: u64,
    /// The most open connections of the broker; 0 for any number.
    pub connection_max: usize,
    /// Users that may log in from this machine only.
    pub loopback_users: Vec<String>,
}
