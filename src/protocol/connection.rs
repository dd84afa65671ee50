//! A connection from its first byte to its last.
//!
//! ```text
//! header ─> handshake ─> running ──connection.close──> closed
//!                           └──exception──> closing ──connection.close-ok or time──> closed
//! ```

mod closing;
mod time;

use std::{net::SocketAddr, sync::Arc};

use amqp_codec::{FrameKind, PROTOCOL_HEADER, ProtocolHeader, parse_frame, parse_protocol_header};
use broker_core::{
    broker::{Broker, ConnectionEntry, ConnectionFacts},
    liveness::Liveness,
    outbox::Outbox,
    queue::Millis,
};
use slab::Slab;
use tracing::Span;

use self::time::STOP_CHECK;
use super::{
    Settings,
    batch::Batch,
    consumer_timeout::Watch,
    exception::Exception,
    handshake::{Certificate, Failed, Handshake, Opened, Surroundings},
    inquiry::{Finding, Inquiry, Validity},
    running::{Outcome, Running},
    session::Session,
    spans::{self, debug_in},
};

/// The largest frame before the limits are agreed: a token in `connection.start-ok` fits, an attack does not. Half of
/// the 64 KiB that a connection may cost before it has logged in, for a buffer can be twice as large as what is in it.
const HANDSHAKE_FRAME_MAX: usize = 24_576;

enum Phase {
    Header,
    Handshake(Handshake),
    Running(Box<Running>),
    /// The client was told, and may answer until then. So many bytes of the frame that it was sending come before.
    Closing {
        until: Millis,
        skip: usize,
    },
    Closed,
}

/// The state machine of one connection.
pub struct Connection {
    broker: Arc<Broker>,
    settings: Arc<Settings>,
    peer: SocketAddr,
    local: SocketAddr,
    certificate: Option<Certificate>,
    encrypted: bool,
    outbox: Arc<Outbox>,
    phase: Phase,
    login_until: Millis,
    stop_check_at: Millis,
    /// Milliseconds between heartbeats, 0 for none.
    heartbeat: Millis,
    received_at: Millis,
    sent_at: Millis,
    /// A heartbeat is due that does not wait for what the output waits for.
    beats: bool,
    abandoned: bool,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(
        broker: Arc<Broker>,
        settings: Arc<Settings>,
        (peer, local): (SocketAddr, SocketAddr),
        now: Millis,
    ) -> Self {
        Self {
            broker,
            login_until: now + settings.login_timeout,
            stop_check_at: now + STOP_CHECK,
            settings,
            peer,
            local,
            certificate: None,
            encrypted: false,
            outbox: Outbox::new(),
            phase: Phase::Header,
            heartbeat: 0,
            received_at: now,
            sent_at: now,
            beats: false,
            abandoned: false,
        }
    }

    /// The same, of a client that has shown this certificate.
    #[must_use]
    pub fn with_certificate(self, certificate: Option<Certificate>) -> Self {
        Self {
            certificate,
            ..self
        }
    }

    /// The same over a stream that is encrypted, if it is.
    #[must_use]
    pub fn with_encryption(self, encrypted: bool) -> Self {
        Self { encrypted, ..self }
    }

    /// Counts bytes that came.
    pub fn count_received(&self, bytes: usize) {
        if let Phase::Running(running) = &self.phase {
            let entry = &running.session.entry;
            entry.octets.received.add(bytes as u64);
            entry.octets.receives.add(1);
            entry.note();
        }
    }

    /// Counts bytes that were written.
    pub fn count_sent(&self, bytes: usize) {
        if let Phase::Running(running) = &self.phase {
            let entry = &running.session.entry;
            entry.octets.sent.add(bytes as u64);
            entry.octets.sends.add(1);
            entry.note();
        }
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Where deliveries and events for this connection arrive.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Where others ask whether the client is still there; `None` while it holds nothing that could make them.
    pub fn liveness(&self) -> Option<&Liveness> {
        match &self.phase {
            Phase::Running(running) if !running.session.exclusive_queues.is_empty() => {
                Some(&running.session.entry.liveness)
            }
            _ => None,
        }
    }

    /// Whether the client's input is not read until others have done something: for nobody knows how long in an alarm,
    /// perhaps for ever when two connections wait for each other's clients.
    pub fn waits_for_others(&self) -> bool {
        match &self.phase {
            Phase::Running(running) => running.waits_for_others(),
            _ => false,
        }
    }

    /// Whether the socket can be closed once everything is written.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether more input is wanted now.
    pub fn reads(&self) -> bool {
        match &self.phase {
            Phase::Running(running) => running.reads(),
            Phase::Handshake(handshake) => !handshake.waits(),
            Phase::Closed => false,
            _ => true,
        }
    }

    /// Whether what was answered may be written now, or has to wait for the disk.
    pub fn poll_writable(&mut self) -> bool {
        match &mut self.phase {
            Phase::Running(running) => running.poll_barrier(),
            _ => true,
        }
    }

    /// Whether the client was given up on: what it has not taken by now, it will not take.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Notes a sign of life other than input.
    pub fn handle_alive(&mut self, now: Millis) {
        self.received_at = now;
    }

    /// Notes that bytes were written, which count as a heartbeat.
    pub fn handle_written(&mut self, now: Millis) {
        self.sent_at = now;
    }

    /// Takes bytes from the client; says how many were used up. The rest is to be given again, with more behind it.
    pub fn handle_input(&mut self, input: &[u8], batch: &mut Batch) -> usize {
        self.received_at = batch.now;
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            match self.step(rest, batch) {
                Ok(0) => return used,
                Ok(length) => used += length,
                Err(exception) => {
                    self.fail(exception, batch);
                    return input.len();
                }
            }
            if self.is_closed() {
                return input.len();
            }
        }
    }

    fn step(&mut self, input: &[u8], batch: &mut Batch) -> Result<usize, Exception> {
        match &mut self.phase {
            Phase::Header => Ok(self.handle_header(input, batch)),
            Phase::Handshake(_) => self.handle_handshake(input, batch),
            Phase::Running(running) => {
                let outcome = running.handle_input(input, batch);
                if matches!(outcome, Ok(Outcome::Used(_))) {
                    running.end_run(batch);
                }
                match outcome? {
                    Outcome::Used(used) => Ok(used),
                    Outcome::Closed => {
                        self.close(batch);
                        Ok(input.len())
                    }
                }
            }
            Phase::Closing { .. } => Ok(self.handle_closing(input)),
            Phase::Closed => Ok(0),
        }
    }

    fn handle_header(&mut self, input: &[u8], batch: &mut Batch) -> usize {
        match parse_protocol_header(input) {
            ProtocolHeader::Incomplete => 0,
            ProtocolHeader::Amqp091 => {
                self.phase = Phase::Handshake(Handshake::start(
                    &self.settings,
                    self.certificate.is_some(),
                    batch,
                ));
                PROTOCOL_HEADER.len()
            }
            ProtocolHeader::Other => {
                let span = self.span();
                span.in_scope(|| tracing::warn!("not AMQP 0-9-1: connection refused"));
                batch.out.frames.extend_from_slice(&PROTOCOL_HEADER);
                self.phase = Phase::Closed;
                input.len()
            }
        }
    }

    fn handle_handshake(&mut self, input: &[u8], batch: &mut Batch) -> Result<usize, Exception> {
        let Phase::Handshake(handshake) = &mut self.phase else {
            return Ok(0);
        };
        if handshake.waits() {
            return Ok(0);
        }
        let Some((frame, length)) = parse_frame(input, HANDSHAKE_FRAME_MAX)? else {
            return Ok(0);
        };
        if frame.kind == FrameKind::Heartbeat {
            return Ok(length);
        }
        if frame.kind != FrameKind::Method || frame.channel != 0 {
            return Err(amqp_codec::Error::unexpected_frame(&frame).into());
        }
        let around = Surroundings {
            broker: &self.broker,
            settings: &self.settings,
            peer: self.peer,
            local: self.local,
            certificate: self.certificate.as_ref(),
        };
        let handled = handshake.handle_method(frame.payload, &around, batch);
        self.advance(handled, batch)?;
        Ok(length)
    }

    /// Goes on with what came out of a step of the handshake.
    fn advance(
        &mut self,
        handled: Result<Option<Opened>, Failed>,
        batch: &mut Batch,
    ) -> Result<(), Exception> {
        match handled {
            Ok(None) => {}
            Ok(Some(opened)) => self.open(opened, batch.now),
            Err(Failed::Exception(exception)) => return Err(exception),
            Err(Failed::Refused(exception)) => self.refuse(exception, batch),
            Err(Failed::Silently) => self.phase = Phase::Closed,
        }
        Ok(())
    }

    /// The handshake, while there is one.
    fn handshake(&mut self) -> Option<(&mut Handshake, Surroundings<'_>)> {
        let Phase::Handshake(handshake) = &mut self.phase else {
            return None;
        };
        let around = Surroundings {
            broker: &self.broker,
            settings: &self.settings,
            peer: self.peer,
            local: self.local,
            certificate: self.certificate.as_ref(),
        };
        Some((handshake, around))
    }

    /// What somebody is to be asked where nobody waits; [`Self::handle_finding`] has to follow.
    pub fn poll_inquiry(&mut self) -> Option<Inquiry> {
        match &mut self.phase {
            Phase::Handshake(handshake) => handshake.poll_inquiry(),
            Phase::Running(running) => running.session.poll_inquiry(),
            _ => None,
        }
    }

    /// Takes what came out of an [`Inquiry`].
    pub fn handle_finding(&mut self, finding: Finding, batch: &mut Batch) {
        let handled = if let Phase::Running(running) = &mut self.phase {
            running.handle_finding(finding, batch)
        } else if let Some((handshake, around)) = self.handshake() {
            let handled = handshake.handle_finding(finding, &around, batch);
            self.advance(handled, batch)
        } else {
            Ok(())
        };
        if let Err(exception) = handled {
            self.fail(exception, batch);
        }
    }

    fn handle_refusal_time(&mut self, batch: &mut Batch) {
        let Phase::Handshake(handshake) = &mut self.phase else {
            return;
        };
        match handshake.handle_refusal_time() {
            Failed::Exception(exception) => self.fail(exception, batch),
            Failed::Refused(exception) => self.refuse(exception, batch),
            Failed::Silently => self.phase = Phase::Closed,
        }
    }

    fn open(&mut self, opened: Opened, now: Millis) {
        let Opened {
            agreed,
            mechanism,
            vhost,
            place,
            identity,
            access,
        } = opened;
        let id = self.broker.new_connection_id();
        let facts = ConnectionFacts {
            peer: self.peer,
            local: self.local,
            auth_mechanism: mechanism.into(),
            client_properties: agreed.client_properties,
            frame_max: agreed.frame_max,
            channel_max: agreed.channel_max,
            timeout: agreed.heartbeat,
            connected_at: now,
            ssl: self.encrypted,
            internal_user: identity.is_internal(),
        };
        let entry = ConnectionEntry::new(
            id,
            Arc::clone(&self.outbox),
            (Arc::clone(&agreed.user), Arc::clone(&vhost.name)),
            facts,
            &vhost.statistics,
        );
        self.broker.add_connection(id, Arc::clone(&entry));
        self.heartbeat = Millis::from(agreed.heartbeat) * 1000;
        let session = Session {
            id,
            place,
            validity: Validity::of(&identity, &access, now),
            identity,
            peer: self.peer,
            awaited: None,
            answered: false,
            access,
            broker: Arc::clone(&self.broker),
            entry,
            vhost,
            user: agreed.user,
            client: agreed.client,
            frame_max: agreed.frame_max as usize,
            max_message_size: self.settings.max_message_size,
            consumer_timeout: self.settings.consumer_timeout,
            watch: Watch::default(),
            outbox: Arc::clone(&self.outbox),
            subscriptions: Slab::new(),
            exclusive_queues: Vec::new(),
            barrier: None,
            asked_owner: None,
            publishes: false,
        };
        debug_in!(session.span(), "connection opened");
        let running = Running::new(session, agreed.channel_max);
        self.phase = Phase::Running(Box::new(running));
    }

    /// What lines of the log about this connection stand in.
    pub fn span(&self) -> Span {
        match &self.phase {
            Phase::Running(running) => running.session.span(),
            _ => spans::of_socket(self.peer, self.local),
        }
    }

    /// Writes what has arrived in the outbox.
    pub fn deliver(&mut self, batch: &mut Batch) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        if let Some(reason) = running.deliver(batch) {
            self.fail(Exception::connection_forced(&reason), batch);
        }
    }

    /// Everything delivered so far is written: queues that were held off are asked again. Says whether there were any.
    pub fn revive(&mut self, batch: &mut Batch) -> bool {
        match &mut self.phase {
            Phase::Running(running) => running.revive(batch),
            _ => false,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
