//! Queues: messages wait here in order until a consumer takes them.

pub mod arguments;
