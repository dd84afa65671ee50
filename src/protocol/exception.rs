//! What a client did wrong, with the scope that the answer has: the channel or the whole connection.
//!
//! Codes and scopes are AMQP 0-9-1's (1.2, "Reply codes"), texts are RabbitMQ's: people search the web for them.

use broker_core::Error;

/// A method's class and number, as `connection.close` and `channel.close` name the culprit. Zeros when there is none.
pub type MethodId = (u16, u16);

/// The longest reply text: it travels as a short string.
const LONGEST_TEXT: usize = 255;

/// A reply code with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The code.
    pub code: u16,
    /// `NAME - explanation`.
    pub text: String,
    /// The method that caused it.
    pub method: MethodId,
}

impl Reply {
    fn new(code: u16, name: &str, explanation: &str, method: MethodId) -> Self {
        let mut text = format!("{name} - {explanation}");
        while text.len() > LONGEST_TEXT {
            text.pop();
        }
        Self { code, text, method }
    }
}

/// An AMQP exception, by scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Exception {
    /// Ends the channel; the connection lives on.
    #[error("channel exception: {}", .0.text)]
    Channel(Reply),
    /// Ends the connection.
    #[error("connection exception: {}", .0.text)]
    Connection(Reply),
}

impl Exception {
    /// 406 on the channel.
    pub fn precondition_failed(explanation: &str, method: MethodId) -> Self {
        Self::Channel(Reply::new(406, "PRECONDITION_FAILED", explanation, method))
    }

    /// 403 on the channel.
    pub fn access_refused(explanation: &str, method: MethodId) -> Self {
        Self::Channel(Reply::new(403, "ACCESS_REFUSED", explanation, method))
    }

    /// 404 on the channel.
    pub fn not_found(explanation: &str, method: MethodId) -> Self {
        Self::Channel(Reply::new(404, "NOT_FOUND", explanation, method))
    }

    /// 403 on the connection: the login was refused.
    pub fn login_refused(mechanism: &str, method: MethodId) -> Self {
        let explanation = format!(
            "Login was refused using authentication mechanism {mechanism}. For details see the broker logfile."
        );
        Self::Connection(Reply::new(403, "ACCESS_REFUSED", &explanation, method))
    }

    /// 530 on the connection.
    pub fn not_allowed(explanation: &str, method: MethodId) -> Self {
        Self::Connection(Reply::new(530, "NOT_ALLOWED", explanation, method))
    }

    /// 320 on the connection.
    pub fn connection_forced(explanation: &str) -> Self {
        Self::Connection(Reply::new(320, "CONNECTION_FORCED", explanation, (0, 0)))
    }

    /// 501 on the connection.
    pub fn frame_error(explanation: &str, method: MethodId) -> Self {
        Self::Connection(Reply::new(501, "FRAME_ERROR", explanation, method))
    }

    /// 503 on the connection.
    pub fn command_invalid(explanation: &str, method: MethodId) -> Self {
        Self::Connection(Reply::new(503, "COMMAND_INVALID", explanation, method))
    }

    /// 504 on the connection.
    pub fn channel_error(explanation: &str, method: MethodId) -> Self {
        Self::Connection(Reply::new(504, "CHANNEL_ERROR", explanation, method))
    }

    /// 505 on the connection.
    pub fn unexpected_frame(explanation: &str, method: MethodId) -> Self {
        Self::Connection(Reply::new(505, "UNEXPECTED_FRAME", explanation, method))
    }

    /// 540 on the connection.
    pub fn not_implemented(explanation: &str, method: MethodId) -> Self {
        Self::Connection(Reply::new(540, "NOT_IMPLEMENTED", explanation, method))
    }

    /// 541 on the connection.
    pub fn internal_error(explanation: &str) -> Self {
        Self::Connection(Reply::new(541, "INTERNAL_ERROR", explanation, (0, 0)))
    }

    /// An error of the core, caused by this method.
    pub fn of(error: &Error, method: MethodId) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound(_) => Self::not_found(&text, method),
            Error::PreconditionFailed(_) => Self::precondition_failed(&text, method),
            Error::AccessRefused(_) => Self::access_refused(&text, method),
            Error::ResourceLocked(_) => {
                Self::Channel(Reply::new(405, "RESOURCE_LOCKED", &text, method))
            }
            Error::NotAllowed(_) => Self::not_allowed(&text, method),
            Error::CommandInvalid(_) => Self::command_invalid(&text, method),
            Error::NotImplemented(_) => Self::not_implemented(&text, method),
            Error::Internal(_) => {
                Self::Connection(Reply::new(541, "INTERNAL_ERROR", &text, method))
            }
        }
    }
}

impl From<amqp_codec::Error> for Exception {
    fn from(error: amqp_codec::Error) -> Self {
        Self::Connection(Reply::new(
            error.reply_code(),
            error.reply_name(),
            &error.to_string(),
            error.method(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_text_is_cut_to_a_short_string_at_a_character() {
        let Exception::Channel(reply) = Exception::not_found(&"ä".repeat(200), (50, 10)) else {
            panic!("not a channel exception");
        };
        assert!(reply.text.len() <= 255);
        assert!(reply.text.starts_with("NOT_FOUND - ä"));
    }
}
