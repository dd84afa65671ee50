//! Everything that can go wrong in the core, each with the reply code and text that RabbitMQ sends.
//!
//! The protocol layer decides the scope (channel or connection) from the kind and puts the code's name in front:
//! `NOT_FOUND - no queue 'x' in vhost '/'`.

/// An error of the broker core. `Display` gives RabbitMQ's reply text without the leading code name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 404: something that was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// 406: an argument, a property or a state does not allow it.
    #[error("{0}")]
    PreconditionFailed(String),
    /// 403: the user or the name is not allowed to.
    #[error("{0}")]
    AccessRefused(String),
    /// 405: another connection holds it exclusively.
    #[error("{0}")]
    ResourceLocked(String),
    /// 530 (connection): the broker's rules forbid it.
    #[error("{0}")]
    NotAllowed(String),
    /// 503 (connection): the method makes no sense with these values.
    #[error("{0}")]
    CommandInvalid(String),
    /// 540 (connection): valid AMQP that the broker does not implement.
    #[error("{0}")]
    NotImplemented(String),
    /// 541 (connection): the broker could not do its work, the disk for example.
    #[error("{0}")]
    Internal(String),
}
