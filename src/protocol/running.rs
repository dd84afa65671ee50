//! An open connection: its channels, and the run of frames that were read together.

use std::sync::Arc;

use amqp_codec::{
    AMQPClass, Frame, FrameKind, Method, parse_frame, parse_method,
    protocol::{
        basic,
        channel::{self, AMQPMethod},
        queue,
    },
    qos_prefetch_size,
};
use broker_core::{
    broker::ConnectionState,
    queue::Requeued,
    store::{Completion, Ticket},
    vhost::Outcome as Settled,
};

use super::{
    batch::Batch,
    channel::{Channel, Handled},
    content::{Assembly, whole},
    exception::{Exception, Reply},
    inquiry::send_update_secret_ok,
    session::{Barrier, Session},
    unacked::Unacked,
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
}

/// Bytes of messages on their way to the store above which publishers are not read from.
const STORE_BACKLOG: usize = 64 * 1024 * 1024;

/// Bytes of output after which a run ends: a burst of `basic.get` must not be answered all in memory.
pub const OUTPUT_OF_A_RUN: usize = 1024 * 1024;

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
            let Some((frame, length)) = parse_frame(rest, self.session.frame_max)? else {
                break;
            };
            used += length;
            if frame.kind == FrameKind::Heartbeat {
                if frame.channel == 0 {
                    continue;
                }
                return Err(amqp_codec::Error::unexpected_frame(&frame).into());
            }
            if frame.channel == 0 {
                if self.handle_connection_frame(&frame, batch)? {
                    return Ok(Outcome::Closed);
                }
                if self.session.awaits_permission() {
                    used -= length;
                    break;
                }
                continue;
            }
            let rest = rest.get(length..).unwrap_or_default();
            used += self.handle_channel_frame(&frame, rest, batch)?;
            if self.session.awaits_owner() || self.session.awaits_permission() {
                // Not carried out: the frame comes again.
                used -= length;
                break;
            }
            if self.session.answered {
                self.session.answered = false;
                self.session.access.forget_answers();
            }
            self.tell_blocked(batch);
        }
        Ok(Outcome::Used(used))
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
                channel.poll_confirms(durable, &mut batch.out);
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
            channel.poll_confirms(durable, &mut batch.out);
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

    /// Frames of the other channels; says how many bytes behind the frame were taken as well.
    #[inline]
    fn handle_channel_frame(
        &mut self,
        frame: &Frame<'_>,
        rest: &[u8],
        batch: &mut Batch,
    ) -> Result<usize, Exception> {
        let number = frame.channel;
        let Some(channel) = channel_mut(&mut self.channels, number) else {
            return self.handle_unopened(frame, batch).map(|()| 0);
        };
        if channel.closing {
            self.handle_closing(frame, batch);
            return Ok(0);
        }
        let session = &mut self.session;
        let mut taken = 0;
        let handled = if channel.content.is_some() {
            channel.handle_content(frame, session, batch)
        } else if frame.kind != FrameKind::Method {
            Err(not_a_method())
        } else {
            match parse_method(frame.payload)? {
                Method::Publish(method) => {
                    let largest = session.max_message_size;
                    match whole(method, rest, number, session.frame_max, largest) {
                        Some((published, length)) => {
                            taken = length;
                            channel.publish(&published, session, batch)
                        }
                        None => {
                            channel.content = Some(Box::new(Assembly::new(&method)));
                            Ok(())
                        }
                    }
                }
                Method::Ack(ack) => {
                    let id = (60, 80);
                    channel.acknowledge(ack.delivery_tag, ack.multiple, id, session, batch)
                }
                Method::Other(AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
                    if session.await_owner(declare.queue.as_str()) =>
                {
                    Ok(())
                }
                method => self.handle_rare(number, method, frame.payload, batch),
            }
        };
        match handled {
            Ok(()) => Ok(taken),
            Err(_) if self.session.is_undecided() => Ok(0),
            Err(Exception::Channel(reply)) => {
                self.fail_channel(number, &reply, batch, |_| Requeued::Failed);
                Ok(taken)
            }
            Err(exception) => Err(exception),
        }
    }

    fn handle_rare(
        &mut self,
        number: u16,
        method: Method<'_>,
        payload: &[u8],
        batch: &mut Batch,
    ) -> Handled {
        let id = method.id();
        self.flush(batch);
        let Self {
            channels, session, ..
        } = self;
        let Some(channel) = channel_mut(channels, number) else {
            return Ok(());
        };
        match method {
            Method::Nack(m) => {
                let outcome = refused(m.requeue, Requeued::Unprocessed);
                channel.refuse((m.delivery_tag, m.multiple), outcome, id, session, batch)
            }
            Method::Reject(m) => {
                let outcome = refused(m.requeue, Requeued::Failed);
                channel.refuse((m.delivery_tag, false), outcome, id, session, batch)
            }
            Method::Other(AMQPClass::Basic(basic::AMQPMethod::Qos(_)))
                if qos_prefetch_size(payload) != 0 =>
            {
                let size = qos_prefetch_size(payload);
                let text = format!("prefetch_size!=0 ({size})");
                Err(Exception::not_implemented(&text, id))
            }
            Method::Other(AMQPClass::Basic(basic::AMQPMethod::Cancel(m))) => {
                self.cancel(number, m.consumer_tag.as_str(), m.nowait, batch);
                Ok(())
            }
            Method::Other(AMQPClass::Basic(basic::AMQPMethod::CancelOk(m))) => {
                self.cancel(number, m.consumer_tag.as_str(), true, batch);
                Ok(())
            }
            Method::Other(AMQPClass::Channel(AMQPMethod::Close(_))) => {
                self.close_channel(number, batch, |_| Requeued::Failed);
                self.channels.get_mut(usize::from(number)).map(Option::take);
                let answer = AMQPMethod::CloseOk(channel::CloseOk {});
                self.session.send(number, AMQPClass::Channel(answer), batch);
                Ok(())
            }
            Method::Other(class) => channel.handle_method(class, session, batch),
            _ => Err(Exception::command_invalid("unimplemented method", id)),
        }
    }

    /// Does what the run has gathered so far, before a method that could see the difference.
    fn flush(&mut self, batch: &mut Batch) {
        self.session.flush_publishes(batch);
        self.session.settle(batch);
    }

    fn handle_unopened(&mut self, frame: &Frame<'_>, batch: &mut Batch) -> Handled {
        if frame.kind != FrameKind::Method {
            return Err(not_a_method());
        }
        let method = parse_method(frame.payload)?;
        let id = method.id();
        let Method::Other(AMQPClass::Channel(AMQPMethod::Open(_))) = method else {
            return Err(Exception::channel_error("expected 'channel.open'", id));
        };
        self.open_channel(frame.channel, batch)
    }

    fn open_channel(&mut self, number: u16, batch: &mut Batch) -> Handled {
        let open = self.channels.iter().flatten().count();
        if number > self.channel_max || open >= usize::from(self.channel_max) {
            let text = format!(
                "number of channels opened ({open}) has reached the negotiated channel_max ({})",
                self.channel_max
            );
            return Err(Exception::not_allowed(&text, (0, 0)));
        }
        let session = &self.session;
        let permitted = session.broker.check_channel_limit(&session.place);
        permitted.map_err(|error| Exception::of(&error, (0, 0)))?;
        let index = usize::from(number);
        if self.channels.len() <= index {
            self.channels.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.channels.get_mut(index) {
            let channel = Channel::new(number);
            self.session.entry.add_channel(&channel.entry);
            *slot = Some(Box::new(channel));
        }
        self.session.count_channels(1);
        let answer = AMQPMethod::OpenOk(channel::OpenOk {});
        self.session.send(number, AMQPClass::Channel(answer), batch);
        Ok(())
    }

    /// After a channel exception everything is swallowed until the client says that it has heard of it.
    fn handle_closing(&mut self, frame: &Frame<'_>, batch: &mut Batch) {
        if frame.kind != FrameKind::Method {
            return;
        }
        match parse_method(frame.payload) {
            Ok(Method::Other(AMQPClass::Channel(AMQPMethod::CloseOk(_)))) => {
                self.channels
                    .get_mut(usize::from(frame.channel))
                    .map(Option::take);
            }
            Ok(Method::Other(AMQPClass::Channel(AMQPMethod::Close(_)))) => {
                let answer = AMQPMethod::CloseOk(channel::CloseOk {});
                self.session
                    .send(frame.channel, AMQPClass::Channel(answer), batch);
            }
            _ => {}
        }
    }

    /// Ends a channel by an exception. What it held comes back, counted as `requeued` says.
    pub(super) fn fail_channel(
        &mut self,
        number: u16,
        reply: &Reply,
        batch: &mut Batch,
        requeued: impl Fn(&Unacked) -> Requeued,
    ) {
        self.flush(batch);
        self.close_channel(number, batch, requeued);
        if let Some(channel) = channel_mut(&mut self.channels, number) {
            **channel = Channel {
                closing: true,
                ..Channel::new(number)
            };
        }
        tracing::warn!(
            connection = self.session.entry.name,
            user = &*self.session.user,
            vhost = &*self.session.vhost.name,
            channel = number,
            "channel exception: {}",
            reply.text
        );
        let (class_id, method_id) = reply.method;
        let close = AMQPMethod::Close(channel::Close {
            reply_code: reply.code,
            reply_text: amqp_codec::ShortString::try_new(reply.text.as_str()).unwrap_or_default(),
            class_id,
            method_id,
        });
        self.session.send(number, AMQPClass::Channel(close), batch);
    }

    fn tell_blocked(&mut self, batch: &mut Batch) {
        if let Some(reason) = &self.blocked
            && self.session.publishes
            && !self.told_blocked
        {
            self.told_blocked = true;
            self.session.entry.set_state(ConnectionState::Blocked);
            self.session.send_blocked(&Arc::clone(reason), batch);
        }
    }

    /// Shows those who look from outside what the connection does.
    fn show_state(&self) {
        let state = match (&self.blocked, &self.paused) {
            (Some(_), _) if self.session.publishes => ConnectionState::Blocked,
            (Some(_), _) => ConnectionState::Blocking,
            (None, Some(_)) => ConnectionState::Flow,
            (None, None) => ConnectionState::Running,
        };
        self.session.entry.set_state(state);
    }

    /// An alarm starts.
    pub fn block(&mut self, reason: Arc<str>, batch: &mut Batch) {
        self.blocked = Some(reason);
        self.tell_blocked(batch);
        self.show_state();
    }

    /// The alarms have ended.
    pub fn unblock(&mut self, batch: &mut Batch) {
        self.blocked = None;
        self.show_state();
        if std::mem::take(&mut self.told_blocked) {
            self.session.send_unblocked(batch);
        }
    }
}

impl Channel {
    /// Takes a frame of a publish's content.
    fn handle_content(
        &mut self,
        frame: &Frame<'_>,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let Some(mut content) = self.content.take() else {
            return Ok(());
        };
        if content.push(frame, session.max_message_size)? {
            let handled = self.publish(&content.published(), session, batch);
            if handled.is_err() && session.access.has_open_question() {
                content.take_back(frame);
                self.content = Some(content);
            }
            return handled;
        }
        self.content = Some(content);
        Ok(())
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

/// What `basic.nack` or `basic.reject` asks for.
fn refused(requeue: bool, requeued: Requeued) -> Settled {
    match requeue {
        true => Settled::Requeued(requeued),
        false => Settled::Rejected,
    }
}

fn not_a_method() -> Exception {
    Exception::unexpected_frame(
        "expected method frame, got non method frame instead",
        (0, 0),
    )
}
