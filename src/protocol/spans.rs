//! The spans that a connection's log lines stand in: which client it is about, and which of its channels.
//!
//! A span is made for the line that stands in it and not kept, so neither messages nor idle connections pay for it. They
//! are of the level of errors: whatever lines the log admits, it says whom they are about (`crate::logging`). Lines are
//! written inside of their span instead of naming it as their parent: the log as JSON lists only spans that were entered.

use std::net::SocketAddr;

use tracing::{Span, error_span, field::Empty};

use super::session::Session;

/// Writes a line of details in a span, which is made only if the log wants such lines.
macro_rules! debug_in {
    ($span:expr, $($line:tt)+) => {
        if tracing::enabled!(tracing::Level::DEBUG) {
            $span.in_scope(|| tracing::debug!($($line)+));
        }
    };
}
pub(crate) use debug_in;

/// A connection that has not logged in yet, by both ends of its socket.
pub fn of_socket(peer: SocketAddr, local: SocketAddr) -> Span {
    let connection = format!("{peer} -> {local}");
    error_span!("connection", connection)
}

impl Session {
    /// The connection, with the name that its client gave it, if it did.
    pub fn span(&self) -> Span {
        let (connection, user) = (&*self.entry.name, &*self.user);
        let vhost = &*self.vhost.name;
        let span = error_span!("connection", connection, client = Empty, user, vhost);
        if let Some(client) = self.entry.facts.provided_name() {
            span.record("client", client);
        }
        span
    }

    /// A channel of the connection.
    pub fn channel_span(&self, channel: u16) -> Span {
        error_span!(parent: &self.span(), "channel", channel)
    }
}
