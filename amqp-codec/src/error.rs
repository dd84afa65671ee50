//! What can be wrong with bytes from the wire, and which AMQP reply it deserves.
//!
//! Every error of this crate closes the connection: after one, the peer cannot be trusted to mean what it sends. The
//! texts are RabbitMQ's (`rabbit_reader`, `rabbit_command_assembler`), because people search the web for them; where
//! RabbitMQ crashes instead of answering, the code is the specification's (AMQP 0-9-1, 1.2 "Reply codes").

use std::fmt::Write;

use crate::Frame;

/// How many bytes of a method RabbitMQ's text can show at most: a reply text is limited to 255 characters anyway.
const SHOWN_FIELDS: usize = 64;

/// How many bytes of a payload RabbitMQ shows in the text of a frame error.
const SHOWN_PAYLOAD: usize = 16;

/// A malformed frame, method, header or table.
///
/// `Display` gives the text that follows `FRAME_ERROR - ` (or the name of the other code) in `connection.close`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A frame announces more payload than the negotiated frame-max allows (501).
    #[error(
        "type {frame_type}, all octets = <<>>: {{frame_too_large,{payload_size},{largest_payload}}}"
    )]
    Oversize {
        /// The frame's type octet.
        frame_type: u8,
        /// The announced payload size in bytes.
        payload_size: u32,
        /// The largest payload that frame-max allows, in bytes.
        largest_payload: usize,
    },
    /// The octet after the payload is not 206 (501).
    #[error("type {frame_type}, {payload}: {{invalid_frame_end_marker,{marker}}}")]
    BadEnd {
        /// The frame's type octet.
        frame_type: u8,
        /// The start of the payload, in RabbitMQ's notation.
        payload: Box<str>,
        /// The octet that stood in place of 206.
        marker: u8,
    },
    /// A frame of no known type, or one too short for its type (501).
    #[error("type {frame_type}, {payload}: unknown_frame")]
    UnknownType {
        /// The frame's type octet.
        frame_type: u8,
        /// The start of the payload, in RabbitMQ's notation.
        payload: Box<str>,
    },
    /// A frame that is well formed and has no place where it came (505).
    #[error("type {frame_type}, {payload}")]
    UnexpectedFrame {
        /// The frame's type octet.
        frame_type: u8,
        /// The start of the payload, in RabbitMQ's notation.
        payload: Box<str>,
    },
    /// A class or method number that AMQP 0-9-1 with RabbitMQ's extensions does not have (503).
    #[error("unknown method id {{{class_id},{method_id}}}")]
    UnknownMethod {
        /// The class that was asked for.
        class_id: u16,
        /// The method that was asked for.
        method_id: u16,
    },
    /// The arguments do not fill the method's fields exactly (501).
    #[error("cannot decode {fields}")]
    Undecodable {
        /// The method's class.
        class_id: u16,
        /// The method.
        method_id: u16,
        /// The start of the arguments, in RabbitMQ's notation.
        fields: Box<str>,
    },
    /// A short string that is not UTF-8 where a name is needed (501).
    #[error("Malformed UTF-8 in shortstr")]
    MalformedUtf8 {
        /// The method's class.
        class_id: u16,
        /// The method; 0 in a content header.
        method_id: u16,
    },
    /// A field table or a property list that breaks the grammar (502).
    #[error("{reason}")]
    Syntax {
        /// The method's class; 0 when the bytes stand alone.
        class_id: u16,
        /// The method; 0 when the bytes stand alone or belong to a content header.
        method_id: u16,
        /// What is wrong, for the reply text.
        reason: &'static str,
    },
    /// A content header with a weight other than 0 (505).
    #[error("expected content header for class {class_id}, got non content header frame instead")]
    Weight {
        /// The class that the header names.
        class_id: u16,
    },
    /// A value that the wire format cannot carry was to be sent (541).
    #[error("cannot encode: {0}")]
    Encode(Box<str>),
}

impl Error {
    /// The AMQP reply code for `connection.close`.
    pub fn reply_code(&self) -> u16 {
        match self {
            Self::Oversize { .. } | Self::BadEnd { .. } | Self::UnknownType { .. } => 501,
            Self::Undecodable { .. } | Self::MalformedUtf8 { .. } => 501,
            Self::Syntax { .. } => 502,
            Self::UnknownMethod { .. } => 503,
            Self::Weight { .. } | Self::UnexpectedFrame { .. } => 505,
            Self::Encode(_) => 541,
        }
    }

    /// The name of the reply code, which RabbitMQ puts in front of the text.
    pub fn reply_name(&self) -> &'static str {
        match self.reply_code() {
            501 => "FRAME_ERROR",
            502 => "SYNTAX_ERROR",
            503 => "COMMAND_INVALID",
            505 => "UNEXPECTED_FRAME",
            _ => "INTERNAL_ERROR",
        }
    }

    /// The class and method that `connection.close` must name; 0 and 0 when no method is to blame.
    pub fn method(&self) -> (u16, u16) {
        match *self {
            Self::UnknownMethod {
                class_id,
                method_id,
            }
            | Self::Undecodable {
                class_id,
                method_id,
                ..
            }
            | Self::MalformedUtf8 {
                class_id,
                method_id,
            }
            | Self::Syntax {
                class_id,
                method_id,
                ..
            } => (class_id, method_id),
            // only basic.publish brings content to a broker
            Self::Weight { class_id } => (class_id, 40),
            Self::Oversize { .. }
            | Self::BadEnd { .. }
            | Self::UnknownType { .. }
            | Self::UnexpectedFrame { .. }
            | Self::Encode(_) => (0, 0),
        }
    }

    /// The error for a frame that has no place where it came: a heartbeat on a channel, content on channel 0.
    #[cold]
    pub fn unexpected_frame(frame: &Frame<'_>) -> Self {
        Self::UnexpectedFrame {
            frame_type: frame.kind as u8,
            payload: snippet(frame.payload),
        }
    }

    /// The error for a frame that does not end where it should. Of the payload, the start is enough.
    #[cold]
    pub fn bad_end(frame_type: u8, payload: &[u8], marker: u8) -> Self {
        Self::BadEnd {
            frame_type,
            payload: snippet(payload),
            marker,
        }
    }

    #[cold]
    pub(crate) fn unknown_type(frame_type: u8, payload: &[u8]) -> Self {
        Self::UnknownType {
            frame_type,
            payload: snippet(payload),
        }
    }

    #[cold]
    pub(crate) fn undecodable(class_id: u16, method_id: u16, fields: &[u8]) -> Self {
        Self::Undecodable {
            class_id,
            method_id,
            fields: numbers(fields.get(..SHOWN_FIELDS).unwrap_or(fields)).into(),
        }
    }

    #[cold]
    pub(crate) fn syntax(reason: &'static str) -> Self {
        Self::Syntax {
            class_id: 0,
            method_id: 0,
            reason,
        }
    }

    /// Names the method to blame, once it is known.
    pub(crate) fn of(mut self, class: u16, method: u16) -> Self {
        if let Self::Syntax {
            class_id,
            method_id,
            ..
        }
        | Self::MalformedUtf8 {
            class_id,
            method_id,
        } = &mut self
        {
            (*class_id, *method_id) = (class, method);
        }
        self
    }
}

/// `all octets = <<...>>` or `first 16 octets = <<...>>`, as `rabbit_reader:payload_snippet` has it.
fn snippet(payload: &[u8]) -> Box<str> {
    match payload.get(..SHOWN_PAYLOAD) {
        Some(start) if payload.len() > SHOWN_PAYLOAD => {
            format!("first 16 octets = {}", binary(start)).into()
        }
        _ => format!("all octets = {}", binary(payload)).into(),
    }
}

/// An Erlang binary as `~p` prints it: text when all of it is printable ASCII, else numbers.
fn binary(bytes: &[u8]) -> String {
    let printable = |byte: &u8| matches!(byte, b' '..=b'~');
    if bytes.is_empty() || !bytes.iter().all(printable) {
        return numbers(bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    format!(
        "<<\"{}\">>",
        text.replace('\\', "\\\\").replace('"', "\\\"")
    )
}

/// An Erlang binary as `~w` prints it.
fn numbers(bytes: &[u8]) -> String {
    let mut text = String::from("<<");
    for (position, byte) in bytes.iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        // writing to a String cannot fail
        let _ = write!(text, "{comma}{byte}");
    }
    text + ">>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_error_texts_are_those_of_rabbitmq() {
        let error = Error::bad_end(1, b"hello", 0);
        assert_eq!(
            error.to_string(),
            "type 1, all octets = <<\"hello\">>: {invalid_frame_end_marker,0}"
        );
        let error = Error::unknown_type(9, &[7; 20]);
        assert_eq!(
            error.to_string(),
            "type 9, first 16 octets = <<7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7>>: unknown_frame"
        );
        let error = Error::undecodable(60, 10, &[1, 2]);
        assert_eq!(error.to_string(), "cannot decode <<1,2>>");
        assert_eq!((error.reply_code(), error.method()), (501, (60, 10)));
    }
}
