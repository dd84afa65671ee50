//! The consumer timeout: a channel whose client holds a delivery for too long without an answer is closed, and what it
//! held goes back (<https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout>).
//!
//! A delivery costs nothing for it but the time that is written beside it. One moment for the whole connection says when
//! to look again; what is found then says when to look after that. The timeouts of queues are asked for at each look, so
//! a policy takes effect within [`LOOK_EVERY`].

use broker_core::{
    outbox::SubscriptionKey,
    queue::{Millis, Requeued},
};

use super::{
    batch::Batch,
    exception::Exception,
    running::Running,
    session::{Session, Subscribed},
    unacked::{Sent, Unackeds},
};

/// The longest time between two looks while there are deliveries without an answer, in milliseconds (RabbitMQ:
/// `channel_tick_interval`).
pub const LOOK_EVERY: Millis = 60_000;

/// The shortest time between two looks, in milliseconds.
const LOOK_AT_MOST_EVERY: Millis = 50;

/// When to look for deliveries that were held too long.
#[derive(Debug)]
pub struct Watch {
    /// The next look.
    due: Millis,
    /// No consumer of the connection has a shorter timeout, or has had since the last look.
    shortest: Millis,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            due: Millis::MAX,
            shortest: Millis::MAX,
        }
    }
}

impl Watch {
    /// Notes the timeout of a consumer, `None` for none.
    pub fn include(&mut self, timeout: Option<Millis>) {
        self.shortest = self.shortest.min(timeout.unwrap_or(Millis::MAX));
    }

    /// Notes that something was delivered that has to be answered.
    #[inline]
    pub fn delivered(&mut self, now: Millis) {
        let look = now.saturating_add(self.shortest.min(LOOK_EVERY));
        self.due = self.due.min(look);
    }

    /// When [`Running::handle_unanswered`] is to be called.
    pub fn due(&self) -> Millis {
        self.due
    }
}

/// The timeouts of all consumers of a connection, as of one look.
struct Timeouts(Vec<Option<Millis>>);

impl Timeouts {
    fn of(session: &Session) -> Self {
        let last = session.subscriptions.iter().next_back();
        let mut timeouts = vec![None; last.map_or(0, |(key, _)| key + 1)];
        for (key, subscribed) in &session.subscriptions {
            if let Some(timeout) = timeouts.get_mut(key) {
                *timeout = session.timeout_of(subscribed);
            }
        }
        Self(timeouts)
    }

    fn shortest(&self) -> Millis {
        let timeouts = self.0.iter().flatten();
        timeouts.min().copied().unwrap_or(Millis::MAX)
    }

    /// When a delivery is held too long, and the timeout that says so.
    fn end(&self, key: SubscriptionKey, sent: Sent, now: Millis) -> Option<(Millis, Millis)> {
        let timeout = self.0.get(key.0 as usize).copied().flatten()?;
        Some((sent.millis(now).saturating_add(timeout), timeout))
    }

    /// The timeout of the oldest delivery that is held too long, or else when to look again.
    fn look(&self, unackeds: &Unackeds, now: Millis) -> Result<Millis, Millis> {
        let shortest = self.shortest();
        let mut next = Millis::MAX;
        for unacked in unackeds.iter() {
            // Those behind were sent later still.
            let earliest = unacked.sent.millis(now).saturating_add(shortest);
            if earliest > now {
                return Ok(next.min(earliest));
            }
            match self.end(unacked.subscription, unacked.sent, now) {
                Some((end, timeout)) if end <= now => return Err(timeout),
                Some((end, _)) => next = next.min(end),
                None => {}
            }
        }
        Ok(next)
    }
}

impl Session {
    /// How long the deliveries of a consumer may stay without an answer. `None` is for ever.
    pub(super) fn timeout_of(&self, subscribed: &Subscribed) -> Option<Millis> {
        let (queue, _) = subscribed.queue()?;
        let timeout = queue.consumer_timeout(subscribed.timeout, self.consumer_timeout);
        (timeout > 0 && !subscribed.no_ack).then_some(timeout)
    }
}

impl Running {
    /// Closes the channels that hold a delivery too long, if the time for a look has come.
    pub fn handle_unanswered(&mut self, batch: &mut Batch) {
        let now = batch.now;
        if now < self.session.watch.due {
            return;
        }
        let timeouts = Timeouts::of(&self.session);
        let mut next = Millis::MAX;
        let mut late = Vec::new();
        for channel in self.channels.iter().flatten() {
            match timeouts.look(&channel.unackeds, now) {
                Ok(moment) => next = next.min(moment),
                Err(timeout) => late.push((channel.number, timeout)),
            }
        }
        let unanswered = next < Millis::MAX || self.holds_deliveries();
        self.session.watch = Watch {
            shortest: timeouts.shortest(),
            due: match unanswered {
                true => next.clamp(now + LOOK_AT_MOST_EVERY, now + LOOK_EVERY),
                false => Millis::MAX,
            },
        };
        for (number, timeout) in late {
            self.time_out(number, timeout, &timeouts, batch);
        }
    }

    fn holds_deliveries(&self) -> bool {
        let mut channels = self.channels.iter().flatten();
        channels.any(|channel| channel.unackeds.iter().next().is_some())
    }

    /// What was held too long comes back as unprocessed; the rest of the channel as at any end of a channel.
    fn time_out(&mut self, number: u16, timeout: Millis, timeouts: &Timeouts, batch: &mut Batch) {
        let now = batch.now;
        let text = format!(
            "delivery acknowledgement on channel {number} timed out. Timeout value used: {timeout} ms. This timeout \
             value can be configured, see consumers doc guide to learn more"
        );
        let (Exception::Channel(reply) | Exception::Connection(reply)) =
            Exception::precondition_failed(&text, (0, 0));
        self.fail_channel(number, &reply, batch, |unacked| {
            match timeouts.end(unacked.subscription, unacked.sent, now) {
                Some((end, _)) if end <= now => Requeued::Unprocessed,
                _ => Requeued::Failed,
            }
        });
    }
}

#[cfg(test)]
mod tests;
