//! What the time asks of a connection: heartbeats, and the end of what takes too long.

use amqp_codec::encode;
use broker_core::queue::Millis;

use super::{Connection, Phase};
use crate::protocol::{batch::Batch, exception::Exception};

/// Milliseconds after which a connection that has not logged in looks whether the broker stops: it is in no list yet,
/// so nobody tells it.
pub(super) const STOP_CHECK: Millis = 1_000;

impl Connection {
    /// When [`Self::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Millis> {
        match &self.phase {
            Phase::Header => Some(self.login_until.min(self.stop_check_at)),
            Phase::Handshake(handshake) => {
                let refusal = handshake.poll_refusal_time().unwrap_or(Millis::MAX);
                Some(self.login_until.min(self.stop_check_at).min(refusal))
            }
            Phase::Closing { until, .. } => Some(*until),
            Phase::Running(running) => {
                let session = &running.session;
                let due = session.watch.due().min(session.validity.ends);
                let due = due.min(self.heartbeat_time());
                (due != Millis::MAX).then_some(due)
            }
            Phase::Closed => None,
        }
    }

    /// When a heartbeat is to be sent, or has been missing for too long.
    fn heartbeat_time(&self) -> Millis {
        if self.heartbeat == 0 {
            return Millis::MAX;
        }
        let send = self.sent_at + self.heartbeat / 2;
        send.min(self.received_at + self.heartbeat * 2)
    }

    /// Whether nothing of the client was read for so long that it is given up on. If the broker itself stood still
    /// meanwhile, what the client has sent may only not have been read yet: whoever knows says so
    /// ([`Self::handle_alive`]) before [`Self::handle_timeout`].
    pub fn seems_silent(&self, now: Millis) -> bool {
        self.heartbeat > 0 && now >= self.received_at + self.heartbeat * 2
    }

    /// Does what the time asks for: a heartbeat, the end of a connection that keeps silent, or of channels that owe
    /// answers.
    pub fn handle_timeout(&mut self, batch: &mut Batch) {
        let now = batch.now;
        match &mut self.phase {
            Phase::Header | Phase::Handshake(_) if now >= self.login_until => {
                let span = self.span();
                span.in_scope(|| tracing::warn!("login took too long: connection closed"));
                self.abandon();
            }
            Phase::Header | Phase::Handshake(_) if self.broker.is_stopping() => self.abandon(),
            Phase::Handshake(handshake)
                if handshake.poll_refusal_time().is_some_and(|at| now >= at) =>
            {
                self.handle_refusal_time(batch);
            }
            Phase::Header | Phase::Handshake(_) => self.stop_check_at = now + STOP_CHECK,
            Phase::Closing { until, .. } if now >= *until => self.abandon(),
            Phase::Running(running) if now >= running.session.validity.ends => {
                self.handle_expiry(batch);
            }
            Phase::Running(running) => {
                running.handle_unanswered(batch);
                if self.heartbeat > 0 {
                    self.handle_heartbeat_time(batch);
                }
            }
            _ => {}
        }
    }

    /// The token that the client has logged in with is good no more (RabbitMQ: `rabbit_reader`, `credential_expired`).
    fn handle_expiry(&mut self, batch: &mut Batch) {
        let span = self.span();
        span.in_scope(
            || tracing::warn!(target: "audit", "connection closed: credential has expired"),
        );
        self.fail(Exception::connection_forced("credential expired"), batch);
    }

    fn handle_heartbeat_time(&mut self, batch: &mut Batch) {
        if !self.reads() {
            // What the client sends is not looked at, so it cannot be missed.
            self.received_at = batch.now;
        }
        if self.seems_silent(batch.now) {
            let seconds = self.heartbeat / 1000;
            self.span()
                .in_scope(|| tracing::warn!("missed heartbeats from client, timeout: {seconds}s"));
            self.terminate(batch);
            self.abandon();
        } else if batch.now >= self.sent_at + self.heartbeat / 2 {
            match self.poll_writable() {
                true => encode::heartbeat(&mut batch.out.frames),
                false => self.beats = true,
            }
            self.sent_at = batch.now;
        }
    }

    /// Whether a heartbeat is to be sent while the output has to wait. It says nothing of what is waited for, and a client
    /// that misses it would go away.
    pub fn take_beat(&mut self) -> bool {
        std::mem::take(&mut self.beats)
    }
}
