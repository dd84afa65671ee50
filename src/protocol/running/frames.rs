//! Frames of channels: each is of a method or of content, for a channel that is open, closing, or neither.

use amqp_codec::{
    AMQPClass, Frame, FrameKind, Method, parse_method,
    protocol::{
        basic,
        channel::{self, AMQPMethod},
        queue,
    },
    qos_prefetch_size,
};
use broker_core::{queue::Requeued, vhost::Outcome as Settled};

use super::{Running, channel_mut};
use crate::protocol::{
    batch::Batch,
    channel::{Channel, Handled},
    content::{Assembly, whole},
    exception::{Exception, Reply},
    session::Session,
    unacked::Unacked,
};

/// Reply code of what is not permitted.
const ACCESS_REFUSED: u16 = 403;

impl Running {
    /// Frames of the other channels; says how many bytes behind the frame were taken as well.
    #[inline]
    pub(super) fn handle_channel_frame(
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
        let carried_out = self.conclude(number, handled, batch)?;
        Ok(if carried_out { taken } else { 0 })
    }

    /// What follows from how a frame was handled: a channel that did wrong is closed. Says whether the frame was carried
    /// out; if not, it comes again.
    #[inline]
    pub(super) fn conclude(
        &mut self,
        number: u16,
        handled: Handled,
        batch: &mut Batch,
    ) -> Result<bool, Exception> {
        match handled {
            Ok(()) => Ok(true),
            Err(_) if self.session.is_undecided() => Ok(false),
            Err(Exception::Channel(reply)) => {
                self.fail_channel(number, &reply, batch, |_| Requeued::Failed);
                Ok(true)
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
    pub(in crate::protocol) fn fail_channel(
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
        self.log_exception(number, reply);
        let (class_id, method_id) = reply.method;
        let close = AMQPMethod::Close(channel::Close {
            reply_code: reply.code,
            reply_text: amqp_codec::ShortString::try_new(reply.text.as_str()).unwrap_or_default(),
            class_id,
            method_id,
        });
        self.session.send(number, AMQPClass::Channel(close), batch);
    }

    /// Whoever may not do something is for the audit log.
    fn log_exception(&self, channel: u16, reply: &Reply) {
        let text = &reply.text;
        let span = self.session.channel_span(channel);
        span.in_scope(|| match reply.code {
            ACCESS_REFUSED => tracing::warn!(target: "audit", "channel exception: {text}"),
            _ => tracing::warn!("channel exception: {text}"),
        });
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
        if let Some(content) = &mut self.content {
            let pushed = content.push(frame, session.max_message_size);
            pushed.inspect_err(|_| self.content = None)?;
        }
        self.publish_content(session, batch)
    }

    /// Publishes what was gathered, once it is all there.
    pub(super) fn publish_content(&mut self, session: &mut Session, batch: &mut Batch) -> Handled {
        let Some(mut content) = self.content.take() else {
            return Ok(());
        };
        let Some(published) = content.published() else {
            self.content = Some(content);
            return Ok(());
        };
        let handled = self.publish(&published, session, batch);
        if handled.is_err() && session.access.has_open_question() {
            self.content = Some(content);
        }
        handled
    }
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
