//! The core of Leveret: exchanges route messages into queues, queues hand them to consumers, stores keep them.
//!
//! No sockets, no AMQP framing and no clock here: callers pass the time in, and what has to reach a client is put into
//! its connection's outbox.

pub mod alarms;
pub mod arguments;
pub mod authentication;
pub mod broker;
pub mod definitions;
pub mod definitions_file;
pub mod error;
pub mod exchange;
pub mod journal;
pub mod liveness;
pub mod message;
pub mod moving;
pub mod outbox;
pub mod paging;
pub mod pattern;
pub mod permissions;
pub mod policy;
pub mod queue;
pub mod spill;
pub mod statistics;
pub mod store;
pub mod users;
pub mod vhost;

pub use error::Error;
