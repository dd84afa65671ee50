//! From the outbox to the wire, and what ends consumers and channels.
//!
//! Whatever ends a consumer first stops its queue from picking it, then takes what is already in the outbox: so every
//! delivery is either sent before the answer or goes back to its queue.

use std::sync::Arc;

use amqp_codec::{
    AMQPClass, ShortString, encode,
    protocol::{
        basic::{self, AMQPMethod},
        connection,
    },
};
use broker_core::{
    outbox::{Delivery, Event, SubscriptionKey},
    queue::{Queue, Requeued},
};

use super::{
    batch::Batch,
    running::{Running, channel_mut},
    session::{Session, Source},
    unacked::{Sent, Unacked},
};

impl Running {
    /// Writes what is in the outbox. Gives the text with which the broker wants to close the connection, if it does.
    pub fn deliver(&mut self, batch: &mut Batch) -> Option<Arc<str>> {
        let taken = self
            .session
            .outbox
            .take(&mut batch.deliveries, &mut batch.events);
        self.starved |= taken.starved;
        let mut deliveries = std::mem::take(&mut batch.deliveries);
        let mut rest = deliveries.drain(..).peekable();
        while let Some(first) = rest.peek() {
            let key = first.subscription;
            let run = std::iter::from_fn(|| rest.next_if(|d| d.subscription == key));
            self.deliver_run(key, run, batch);
        }
        drop(rest);
        batch.deliveries = deliveries;
        if taken.durable {
            self.poll_confirms(batch);
        }
        self.handle_events(batch)
    }

    /// Writes deliveries of one consumer.
    fn deliver_run(
        &mut self,
        key: SubscriptionKey,
        run: impl Iterator<Item = Delivery>,
        batch: &mut Batch,
    ) {
        let Self {
            session, channels, ..
        } = self;
        let frame_max = session.frame_max;
        let subscribed = session.subscriptions.get_mut(key.0 as usize);
        let channel = subscribed
            .as_ref()
            .and_then(|s| channel_mut(channels, s.channel));
        let (Some(subscribed), Some(channel)) = (subscribed, channel) else {
            let span = session.span();
            span.in_scope(|| tracing::error!("deliveries for a consumer that is not there"));
            run.for_each(drop);
            return;
        };
        let sent = Sent::at(batch.now);
        let (mut count, mut redelivered) = (0, 0);
        for delivery in run {
            let entry = delivery.entry;
            count += 1;
            redelivered += u64::from(entry.redelivered);
            let tag = channel.unackeds.next_tag();
            encode::deliver(
                &mut batch.out.frames,
                subscribed.channel,
                &*subscribed.tag,
                tag,
                entry.redelivered,
                entry.message.exchange_bytes(),
                entry.message.routing_key_bytes(),
            );
            batch.out.content(
                subscribed.channel,
                frame_max,
                &entry.properties(),
                &entry.message,
            );
            if subscribed.no_ack {
                channel.unackeds.skip();
            } else {
                subscribed.unacked += 1;
                channel.unackeds.push(Unacked {
                    subscription: key,
                    sent,
                    entry,
                });
            }
        }
        channel.count_deliveries(count, redelivered, subscribed.no_ack);
        if !subscribed.no_ack {
            session.watch.delivered(batch.now);
        }
    }

    fn handle_events(&mut self, batch: &mut Batch) -> Option<Arc<str>> {
        for event in std::mem::take(&mut batch.events) {
            match event {
                Event::ConsumerCancelled(key) => self.consumer_cancelled(key, batch),
                Event::Blocked(reason) => self.block(reason, batch),
                Event::Unblocked => self.unblock(batch),
                Event::Close(reason) => return Some(reason),
            }
        }
        None
    }

    /// Asks the queues again whose consumers were passed over; says whether there were any.
    pub fn revive(&mut self, batch: &mut Batch) -> bool {
        if !std::mem::take(&mut self.starved) {
            return false;
        }
        for (_, subscribed) in &self.session.subscriptions {
            if let Some((queue, Some(handle))) = subscribed.queue() {
                queue.dispatch(Some(handle), batch.now, &mut batch.work);
            }
        }
        self.session.vhost.bury(batch.now, &mut batch.work);
        true
    }

    /// The queue of a consumer is gone: the client is told if it understands.
    fn consumer_cancelled(&mut self, key: SubscriptionKey, batch: &mut Batch) {
        let Some(subscribed) = self.session.subscription(key) else {
            return;
        };
        if subscribed.ended {
            return;
        }
        let number = subscribed.channel;
        let tag = Arc::clone(&subscribed.tag);
        if let Some(channel) = channel_mut(&mut self.channels, number) {
            channel.consumers.remove(&tag);
            channel.entry.remove_consumer(&tag);
        }
        self.session.end(key);
        self.send_cancel(number, &tag, batch);
    }

    /// Ends a consumer that the user may not have any more.
    pub(super) fn withdraw(&mut self, key: SubscriptionKey, batch: &mut Batch) {
        let Some(subscribed) = self.session.subscription(key) else {
            return;
        };
        let (number, tag) = (subscribed.channel, Arc::clone(&subscribed.tag));
        let (span, consumer) = (self.session.channel_span(number), &*tag);
        let text = "consumer cancelled: read access refused after a credential update";
        span.in_scope(|| tracing::warn!(consumer, "{text}"));
        if let Some(channel) = channel_mut(&mut self.channels, number) {
            channel.consumers.remove(&tag);
            channel.entry.remove_consumer(&tag);
        }
        let vacant = self.end_consumers(&[key], number, batch);
        self.hand_over(vacant, batch);
        self.send_cancel(number, &tag, batch);
    }

    fn send_cancel(&self, number: u16, tag: &str, batch: &mut Batch) {
        if self.session.client.consumer_cancel_notify
            && let Ok(consumer_tag) = ShortString::try_new(tag)
        {
            let cancel = AMQPMethod::Cancel(basic::Cancel {
                consumer_tag,
                nowait: true,
            });
            self.session.send(number, AMQPClass::Basic(cancel), batch);
        }
    }

    /// `basic.cancel`. Cancelling an unknown consumer succeeds.
    pub(super) fn cancel(&mut self, number: u16, tag: &str, nowait: bool, batch: &mut Batch) {
        let channel = channel_mut(&mut self.channels, number);
        let key = channel.and_then(|channel| {
            channel.entry.remove_consumer(tag);
            channel.consumers.remove(tag)
        });
        if let Some(key) = key {
            let vacant = self.end_consumers(&[key], number, batch);
            self.hand_over(vacant, batch);
        }
        if nowait {
            return;
        }
        if let Ok(consumer_tag) = ShortString::try_new(tag) {
            let answer = AMQPMethod::CancelOk(basic::CancelOk { consumer_tag });
            self.session.send(number, AMQPClass::Basic(answer), batch);
        }
    }

    /// Ends a channel's consumers and gives its unanswered deliveries back, counted as `requeued` says.
    pub(super) fn close_channel(
        &mut self,
        number: u16,
        batch: &mut Batch,
        requeued: impl Fn(&Unacked) -> Requeued,
    ) {
        let Some(channel) = channel_mut(&mut self.channels, number) else {
            return;
        };
        let keys: Vec<_> = channel.consumers.drain().map(|(_, key)| key).collect();
        channel.replies = None;
        let vacant = self.end_consumers(&keys, number, batch);
        let Some(channel) = channel_mut(&mut self.channels, number) else {
            self.hand_over(vacant, batch);
            return;
        };
        let mut unanswered = Vec::new();
        if let Some(pending) = channel.transaction.take() {
            unanswered.extend(pending.answers.into_iter().map(|(_, _, unacked)| unacked));
        }
        channel
            .unackeds
            .take_up_to(0, |unacked| unanswered.push(unacked));
        self.session
            .requeue(unanswered, requeued, Vec::new(), batch);
        self.hand_over(vacant, batch);
        self.session.count_channels(-1);
        self.session.entry.remove_channel(number);
    }

    /// Lets other consumers take over from those that have left queues with a single active one, now that their
    /// unanswered deliveries have come back.
    fn hand_over(&self, vacant: Vec<Arc<Queue>>, batch: &mut Batch) {
        if vacant.is_empty() {
            return;
        }
        for queue in vacant {
            queue.hand_over(batch.now, &mut batch.work);
        }
        self.session.vhost.bury(batch.now, &mut batch.work);
    }

    /// Gives the queues with a single active consumer back that one of them leaves: to be followed by
    /// [`Self::hand_over`].
    #[must_use]
    fn end_consumers(
        &mut self,
        keys: &[SubscriptionKey],
        number: u16,
        batch: &mut Batch,
    ) -> Vec<Arc<Queue>> {
        let (mut unused, mut vacant) = (Vec::new(), Vec::new());
        for &key in keys {
            let Some(subscribed) = self.session.subscriptions.get(key.0 as usize) else {
                continue;
            };
            match &subscribed.source {
                Source::Queue(queue, Some(handle)) => {
                    let left = queue.cancel(*handle);
                    unused.extend(left.last.then(|| Arc::clone(queue)));
                    vacant.extend(left.single_active.then(|| Arc::clone(queue)));
                }
                Source::Queue(_, None) => {}
                Source::Replies(address) => {
                    self.session.vhost.close_reply_address(address);
                    if let Some(channel) = channel_mut(&mut self.channels, number) {
                        channel.replies = None;
                    }
                }
            }
        }
        let closing = self.deliver(batch);
        if let Some(reason) = closing {
            self.session.outbox.post(Event::Close(reason));
        }
        for &key in keys {
            self.session.end(key);
        }
        for queue in unused {
            let dropped = self
                .session
                .vhost
                .drop_unused_queue(&queue, &mut batch.work);
            if let Err(error) = dropped {
                let (span, queue) = (self.session.span(), &**queue.name());
                span.in_scope(
                    || tracing::error!(queue, %error, "cannot delete an auto-delete queue"),
                );
            }
        }
        vacant
    }

    /// The connection is gone or about to go: everything it held goes back, and its exclusive queues end.
    pub fn terminate(&mut self, batch: &mut Batch) {
        self.session.flush_publishes(batch);
        self.session.settle(batch);
        batch.confirming.clear();
        batch.refused.clear();
        let (mut unused, mut vacant) = (Vec::new(), Vec::new());
        for (_, subscribed) in &self.session.subscriptions {
            match &subscribed.source {
                Source::Queue(queue, Some(handle)) if !subscribed.ended => {
                    let left = queue.cancel(*handle);
                    unused.extend(left.last.then(|| Arc::clone(queue)));
                    vacant.extend(left.single_active.then(|| Arc::clone(queue)));
                }
                Source::Replies(address) => self.session.vhost.close_reply_address(address),
                Source::Queue(..) => {}
            }
        }
        let unsent = self.session.outbox.close();
        self.give_back(unsent, batch);
        self.hand_over(vacant, batch);
        unused.append(&mut self.session.exclusive_queues);
        for queue in unused {
            let vhost = &self.session.vhost;
            let dropped = match queue.properties.exclusive_owner {
                Some(_) => vhost.drop_queue(&queue, &mut batch.work).map(drop),
                None => vhost.drop_unused_queue(&queue, &mut batch.work),
            };
            if let Err(error) = dropped {
                let (span, queue) = (self.session.span(), &**queue.name());
                span.in_scope(|| tracing::error!(queue, %error, "cannot delete a queue"));
            }
        }
        self.session.entry.liveness.end();
        self.session.broker.remove_connection(self.session.id);
        batch.work.ticket = broker_core::store::Ticket::NONE;
    }

    fn give_back(&mut self, unsent: Vec<Delivery>, batch: &mut Batch) {
        let mut seen = Vec::new();
        for channel in self.channels.iter_mut().flatten() {
            channel.unackeds.take_up_to(0, |unacked| seen.push(unacked));
            if let Some(pending) = channel.transaction.take() {
                seen.extend(pending.answers.into_iter().map(|(_, _, unacked)| unacked));
            }
        }
        let unsent = unsent.into_iter().filter(|delivery| {
            let subscribed = self
                .session
                .subscriptions
                .get(delivery.subscription.0 as usize);
            subscribed.is_some_and(|s| !s.no_ack)
        });
        let unseen = unsent
            .map(|delivery| Unacked {
                subscription: delivery.subscription,
                sent: Sent::at(batch.now),
                entry: delivery.entry,
            })
            .collect();
        self.session
            .requeue(seen, |_| Requeued::Failed, unseen, batch);
    }
}

impl Session {
    pub(super) fn send_blocked(&self, reason: &str, batch: &mut Batch) {
        if self.client.connection_blocked {
            let reason = ShortString::try_new(reason).unwrap_or_default();
            let blocked = connection::AMQPMethod::Blocked(connection::Blocked { reason });
            self.send(0, AMQPClass::Connection(blocked), batch);
        }
    }

    pub(super) fn send_unblocked(&self, batch: &mut Batch) {
        if self.client.connection_blocked {
            let unblocked = connection::AMQPMethod::Unblocked(connection::Unblocked {});
            self.send(0, AMQPClass::Connection(unblocked), batch);
        }
    }
}
