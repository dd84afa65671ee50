//! An open connection: its channels, and the run of frames that were read together.

mod alarms;
mod body_frame;
mod frames;

use std::sync::Arc;

use amqp_codec::{AMQPClass, Frame, FrameKind, Method, parse_frame, parse_method};
use broker_core::store::{Completion, Ticket};

use self::body_frame::BodyFrame;
use super::{
    batch::Batch,
    channel::Channel,
    exception::Exception,
    inquiry::send_update_secret_ok,
    session::{Barrier, Session},
};

/// The channels of an open connection and what they share.
pub struct Running {
    /// Shared by the channels.
    pub session: Session,
    /// By number.
    pub channels: Vec<Option<Box<Channel>>>,
    /// The highest channel number that was agreed.
    pub channel_max: u16,
    /// Why publishers are blocked, while they are.
    pub blocked: Option<Arc<str>>,
    /// The client was told that it is blocked.
    pub told_blocked: bool,
    /// Consumers were passed over because the outbox was full.
    pub starved: bool,
    /// The store has more than enough to write: nothing is read until it has written this.
    pub paused: Option<Ticket>,
    /// A body frame has begun whose rest has not arrived.
    open_frame: Option<Box<BodyFrame>>,
}

/// Bytes of messages on their way to the store above which publishers are not read from.
const STORE_BACKLOG: usize = 64 * 1024 * 1024;

/// Bytes of output after which a run ends: a burst of `basic.get` must not be answered all in memory.
pub const OUTPUT_OF_A_RUN: usize = 1024 * 1024;

/// What a part of the input came to.
enum Step {
    /// This many bytes were used up, and there may be more.
    Taken(usize),
    /// This many bytes were used up, and what follows has to wait.
    Last(usize),
    /// The client closed the connection.
    Closed,
}

/// What a run of frames came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This many bytes were used up.
    Used(usize),
    /// The client closed the connection.
    Closed,
}

impl Running {
    /// A connection without channels.
    pub fn new(session: Session, channel_max: u16) -> Self {
        Self {
            session,
            channels: Vec::new(),
            channel_max,
            blocked: None,
            told_blocked: false,
            starved: false,
            paused: None,
            open_frame: None,
        }
    }

    /// Takes all whole frames of `input`, up to a declaration that has to reach the disk first.
    ///
    /// # Errors
    /// What ends the connection.
    pub fn handle_input(&mut self, input: &[u8], batch: &mut Batch) -> Result<Outcome, Exception> {
        if batch.now >= self.session.validity.look_again {
            self.look_again(batch.now);
        }
        let mut used = 0;
        while self.reads() && batch.out.len() < OUTPUT_OF_A_RUN {
            let rest = input.get(used..).unwrap_or_default();
            let step = match self.open_frame.take() {
                None => self.handle_frame(rest, batch)?,
                Some(open) => self.continue_body_frame(open, rest, batch)?,
            };
            match step {
                Step::Taken(bytes) => used += bytes,
                Step::Last(bytes) => {
                    used += bytes;
                    break;
                }
                Step::Closed => return Ok(Outcome::Closed),
            }
            if self.session.answered {
                self.session.answered = false;
                self.session.access.forget_answers();
            }
            if self.blocked.is_some() {
                self.tell_blocked(batch);
            }
        }
        Ok(Outcome::Used(used))
    }

    /// Takes the next frame, if all of it is there.
    #[inline]
    fn handle_frame(&mut self, input: &[u8], batch: &mut Batch) -> Result<Step, Exception> {
        let Some((frame, length)) = parse_frame(input, self.session.frame_max)? else {
            return Ok(Step::Last(self.begin_body_frame(input)));
        };
        let mut taken = length;
        if frame.kind == FrameKind::Heartbeat {
            if frame.channel != 0 {
                return Err(amqp_codec::Error::unexpected_frame(&frame).into());
            }
        } else if frame.channel == 0 {
            if self.handle_connection_frame(&frame, batch)? {
                return Ok(Step::Closed);
            }
        } else {
            let rest = input.get(length..).unwrap_or_default();
            taken += self.handle_channel_frame(&frame, rest, batch)?;
        }
        // What was not carried out comes again.
        let waits = self.session.awaits_owner() || self.session.awaits_permission();
        Ok(if waits {
            Step::Last(0)
        } else {
            Step::Taken(taken)
        })
    }

    /// Whether frames are taken: not behind a declaration that is on its way to the disk, not while somebody is asked
    /// for a permission, and not from a publisher during an alarm.
    pub fn reads(&self) -> bool {
        let session = &self.session;
        let waits = session.barrier.is_some() || session.awaited.is_some();
        !waits && self.paused.is_none() && !self.is_blocked()
    }

    /// Whether nothing is read until others have done something.
    pub fn waits_for_others(&self) -> bool {
        let session = &self.session;
        self.is_blocked() || session.awaits_owner() || session.awaited.is_some()
    }

    /// Whether an alarm concerns this connection.
    pub fn is_blocked(&self) -> bool {
        self.blocked.is_some() && self.session.publishes
    }

    /// Ends a run: publishes enter their queues, acknowledgements are settled, confirms are sent or wait for the store.
    pub fn end_run(&mut self, batch: &mut Batch) {
        self.session.flush_publishes(batch);
        let ticket = std::mem::take(&mut batch.work.ticket);
        self.session.settle(batch);
        self.seal_confirms(ticket, batch);
        if ticket > Ticket::NONE {
            self.pause(ticket);
        }
    }

    /// Holds a publisher back that is faster than the disk.
    fn pause(&mut self, ticket: Ticket) {
        let store = self.session.broker.store();
        if store.pending_bytes() > STORE_BACKLOG && ticket > store.durable() {
            self.paused = Some(ticket);
            self.show_state();
            store.notify(
                ticket,
                Arc::clone(&self.session.outbox) as Arc<dyn Completion>,
            );
        }
    }

    fn seal_confirms(&mut self, ticket: Ticket, batch: &mut Batch) {
        if batch.confirming.is_empty() {
            return;
        }
        let durable = self.session.broker.store().durable();
        let mut waits = false;
        for number in std::mem::take(&mut batch.confirming) {
            let Some(channel) = channel_mut(&mut self.channels, number) else {
                continue;
            };
            if let Some(confirms) = &mut channel.confirms {
                let of_channel = batch.refused.iter().filter(|r| r.channel == number);
                let mut refused: Vec<u64> = of_channel.map(|refusal| refusal.number).collect();
                refused.sort_unstable();
                refused.dedup();
                confirms.seal(ticket, refused);
                channel.poll_confirms(durable, &mut batch.out.frames);
                waits |= channel.confirms.as_ref().is_some_and(|it| it.waits());
            }
        }
        batch.refused.clear();
        if waits {
            let outbox = Arc::clone(&self.session.outbox) as Arc<dyn Completion>;
            self.session.broker.store().notify(ticket, outbox);
        }
    }

    /// Sends the confirms that became due, and reads on if the store has caught up.
    pub fn poll_confirms(&mut self, batch: &mut Batch) {
        let durable = self.session.broker.store().durable();
        if self.paused.is_some_and(|ticket| ticket <= durable) {
            self.paused = None;
            self.show_state();
        }
        for channel in self.channels.iter_mut().flatten() {
            channel.poll_confirms(durable, &mut batch.out.frames);
        }
    }

    /// Lifts the barrier if what it waits for has come; says whether the way is free.
    pub fn poll_barrier(&mut self) -> bool {
        let broker = &self.session.broker;
        let passed = match &self.session.barrier {
            None => true,
            Some(Barrier::Definitions(ticket)) => broker.definitions().durable() >= *ticket,
            Some(Barrier::Messages(ticket)) => broker.store().durable() >= *ticket,
            Some(Barrier::Owner(owner, question)) => owner.liveness.is_answered(*question),
        };
        if passed && self.session.barrier.take().is_some() {
            // What became durable meanwhile was not looked at.
            self.session.outbox.durable(Ticket::NONE);
        }
        passed
    }

    /// Frames of channel 0; true when the client closed the connection.
    fn handle_connection_frame(
        &mut self,
        frame: &Frame<'_>,
        batch: &mut Batch,
    ) -> Result<bool, Exception> {
        use amqp_codec::protocol::connection::AMQPMethod;
        if frame.kind != FrameKind::Method {
            return Err(amqp_codec::Error::unexpected_frame(frame).into());
        }
        let method = parse_method(frame.payload)?;
        let id = method.id();
        match method {
            Method::Other(AMQPClass::Connection(AMQPMethod::Close(_))) => Ok(true),
            Method::Other(AMQPClass::Connection(AMQPMethod::UpdateSecret(update))) => {
                let secret = update.new_secret.as_bytes();
                let reason = update.reason.as_str();
                match self.session.update_secret(secret, reason, id) {
                    Ok(true) => {
                        self.cancel_unpermitted(batch);
                        send_update_secret_ok(batch);
                    }
                    Ok(false) => {}
                    Err(_) if self.session.is_undecided() => {}
                    Err(exception) => return Err(exception),
                }
                Ok(false)
            }
            Method::Other(AMQPClass::Connection(AMQPMethod::CloseOk(_))) => Ok(false),
            _ => Err(Exception::channel_error(
                "unexpected method in connection state running",
                id,
            )),
        }
    }

    /// Does what the run has gathered so far, before a method that could see the difference.
    fn flush(&mut self, batch: &mut Batch) {
        self.session.flush_publishes(batch);
        self.session.settle(batch);
    }
}

/// The channel with this number.
#[inline]
pub fn channel_mut(
    channels: &mut [Option<Box<Channel>>],
    number: u16,
) -> Option<&mut Box<Channel>> {
    channels.get_mut(usize::from(number))?.as_mut()
}
