//! How a connection ends: by its client, by an exception, or because its socket is gone.

use std::io;

use amqp_codec::{
    AMQPClass, FrameKind, Method, parse_frame, parse_method,
    protocol::connection::{self, AMQPMethod},
};
use broker_core::queue::Millis;

use super::{Connection, Phase};
use crate::protocol::{
    batch::Batch,
    exception::{Exception, Reply},
    handshake,
    spans::debug_in,
};

/// Milliseconds that a client has to answer `connection.close`.
const CLOSING_TIMEOUT: Millis = 5_000;

/// Reply code of what was not the client's fault: the log has one line with the reason, be it the end of the broker, the
/// audit of a deletion or the end of a token, and need not have another one for each connection.
const CONNECTION_FORCED: u16 = 320;

impl Connection {
    /// Swallows everything until the client has heard that the connection is closed.
    pub(super) fn handle_closing(&mut self, input: &[u8]) -> usize {
        if let Phase::Closing { skip, .. } = &mut self.phase
            && *skip > 0
        {
            let skipped = input.len().min(*skip);
            *skip -= skipped;
            return skipped;
        }
        let (frame, length) = match parse_frame(input, self.settings.frame_max as usize) {
            Ok(Some(found)) => found,
            Ok(None) => return 0,
            // In step with the client no more, perhaps since before: nothing of it is kept.
            Err(_) => return input.len(),
        };
        if frame.kind == FrameKind::Method
            && frame.channel == 0
            && let Ok(Method::Other(AMQPClass::Connection(method))) = parse_method(frame.payload)
            && matches!(method, AMQPMethod::CloseOk(_) | AMQPMethod::Close(_))
        {
            self.phase = Phase::Closed;
        }
        length
    }

    /// The client wants to close: everything ends before the answer.
    pub(super) fn close(&mut self, batch: &mut Batch) {
        if let Phase::Running(running) = &mut self.phase {
            running.end_run(batch);
        }
        self.terminate(batch);
        handshake::send(AMQPMethod::CloseOk(connection::CloseOk {}), batch);
        self.phase = Phase::Closed;
    }

    /// Ends the connection by an exception, and says so in the log.
    pub(super) fn fail(&mut self, exception: Exception, batch: &mut Batch) {
        let (Exception::Connection(reply) | Exception::Channel(reply)) = &exception;
        let text = &reply.text;
        match reply.code {
            CONNECTION_FORCED => debug_in!(self.span(), "connection closed: {text}"),
            _ => self
                .span()
                .in_scope(|| tracing::warn!("connection closed: {text}")),
        }
        self.refuse(exception, batch);
    }

    /// The same where the log knows already.
    pub(super) fn refuse(&mut self, exception: Exception, batch: &mut Batch) {
        let (Exception::Connection(reply) | Exception::Channel(reply)) = exception;
        let skip = match &self.phase {
            Phase::Running(running) => running.missing_of_frame(),
            _ => 0,
        };
        self.terminate(batch);
        self.send_close(&reply, skip, batch);
    }

    fn send_close(&mut self, reply: &Reply, skip: usize, batch: &mut Batch) {
        let (class_id, method_id) = reply.method;
        let reply_text = amqp_codec::ShortString::try_new(reply.text.as_str());
        let close = AMQPMethod::Close(connection::Close {
            reply_code: reply.code,
            reply_text: reply_text.unwrap_or_default(),
            class_id,
            method_id,
        });
        handshake::send(close, batch);
        self.phase = Phase::Closing {
            until: batch.now + CLOSING_TIMEOUT,
            skip,
        };
    }

    /// Says that the socket is gone. RabbitMQ's words for a client that was logged in and did not say good-bye
    /// (`rabbit_reader:log_connection_exception`); health checks and port scans leave no line.
    pub fn log_loss(&self, error: &io::Error) {
        let Phase::Running(running) = &self.phase else {
            debug_in!(self.span(), "connection lost: {error}");
            return;
        };
        running.session.span().in_scope(|| match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                tracing::warn!("client unexpectedly closed TCP connection");
            }
            _ => tracing::warn!("connection lost: {error}"),
        });
    }

    /// Gives back everything that the connection holds. To be called when its socket is gone.
    pub fn terminate(&mut self, batch: &mut Batch) {
        if let Phase::Running(running) = &mut self.phase {
            running.terminate(batch);
            self.phase = Phase::Closed;
        }
    }

    /// The client is given up on.
    pub(super) fn abandon(&mut self) {
        self.phase = Phase::Closed;
        self.abandoned = true;
    }
}
