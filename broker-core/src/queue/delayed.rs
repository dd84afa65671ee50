//! Messages that came back and wait for a while before they are delivered again: the delayed retry of quorum queues.
//!
//! They lie beside the lanes, by the moment at which something becomes of them: they take their places again, or expire.
//! They are no ready messages, but count towards the queue's length limits as in RabbitMQ
//! (`rabbit_fifo:messages_ready_plus_delayed`); what makes room are ready ones. The store knows nothing of a delay: it
//! has the message and how often it came back. So after a start those that came back wait anew, from the start on.
//!
//! A queue without delayed retry has a null pointer here.

use std::collections::BTreeMap;

use super::{
    Requeued,
    arguments::DelayedRetry,
    effects::Effects,
    entry::{Entry, Millis, NEVER},
    expire::SLICE,
    lane::Lane,
    page::{Loaded, cost},
    row::Hint,
    state::QueueState,
};
use crate::store::Position;

/// When something becomes of a message, and its place.
type Key = (Millis, u8, Position);

/// What a queue knows that delays what comes back, or did until a policy changed.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    rule: Option<DelayedRetry>,
    waiting: BTreeMap<Key, Waiting>,
    /// Bytes of their bodies.
    bytes: usize,
    /// When the messages that the queue had at a start begin to wait; [`NEVER`] until the time is known. `None` for a queue
    /// that was empty then.
    since: Option<Millis>,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    /// When it takes its place again.
    until: Millis,
}

/// Messages that wait for their next try at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DelayedCounts {
    /// How many.
    pub count: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// When the first of them is ready again, or expires; milliseconds since the epoch.
    pub next_at: Option<Millis>,
    /// When the last of them is.
    pub last_at: Option<Millis>,
}

impl Delayed {
    fn is_needed(&self) -> bool {
        self.rule.is_some() || !self.waiting.is_empty()
    }

    fn take(&mut self, before: Millis) -> Option<Waiting> {
        let first = self.waiting.first_entry()?;
        if first.key().0 > before {
            return None;
        }
        let waiting = first.remove();
        self.bytes -= waiting.entry.message.body_length();
        Some(waiting)
    }

    fn counts(&self) -> DelayedCounts {
        let at = |key: Option<(&Key, &Waiting)>| key.map(|((at, ..), _)| *at);
        DelayedCounts {
            count: self.waiting.len(),
            bytes: self.bytes,
            next_at: at(self.waiting.first_key_value()),
            last_at: at(self.waiting.last_key_value()),
        }
    }
}

impl QueueState {
    /// Puts another rule in force, for what comes back from now on.
    pub(super) fn set_delayed_retry(&mut self, rule: Option<DelayedRetry>) {
        match &mut self.delayed {
            Some(delayed) => delayed.rule = rule,
            None if rule.is_some() => self.delayed.get_or_insert_default().rule = rule,
            None => {}
        }
        // The time to live may be another one too.
        if let Some(delayed) = &mut self.delayed {
            let waiting = std::mem::take(&mut delayed.waiting);
            delayed.bytes = 0;
            waiting
                .into_values()
                .for_each(|Waiting { entry, until }| self.delay(entry, until));
        }
        self.forget_unneeded();
    }

    fn forget_unneeded(&mut self) {
        self.delayed.take_if(|delayed| !delayed.is_needed());
    }

    /// Messages that wait for their next try.
    pub fn delayed_counts(&self) -> DelayedCounts {
        let delayed = self.delayed.as_ref();
        delayed.map_or_else(DelayedCounts::default, |delayed| delayed.counts())
    }

    /// How many they are and how many bytes, as the length limits count them.
    #[inline]
    pub(super) fn delayed_length(&self) -> (usize, usize) {
        match &self.delayed {
            None => (0, 0),
            Some(delayed) => (delayed.waiting.len(), delayed.bytes),
        }
    }

    /// What they cost in memory: they stay there.
    pub(super) fn delayed_resident(&self) -> usize {
        let (count, bytes) = self.delayed_length();
        cost(count, bytes)
    }

    /// When the next of them is ready again, or expires.
    #[inline]
    pub(super) fn next_delayed(&self) -> Option<Millis> {
        let delayed = self.delayed.as_ref()?;
        let (at, ..) = delayed.waiting.first_key_value()?.0;
        Some(*at)
    }

    /// Until when a message waits that has come back like this, if it does.
    pub(super) fn delayed_until(
        &self,
        entry: &Entry,
        requeued: Requeued,
        now: Millis,
    ) -> Option<Millis> {
        let rule = self.delayed.as_ref()?.rule?;
        let delay = rule.delay(entry.counts, requeued)?;
        Some(now.saturating_add(delay))
    }

    /// Lets a message wait.
    pub(super) fn delay(&mut self, entry: Entry, until: Millis) {
        let at = until.min(self.limits.expiry(&entry));
        let delayed = self.delayed.get_or_insert_default();
        delayed.bytes += entry.message.body_length();
        let key = (at, entry.lane, entry.position);
        delayed.waiting.insert(key, Waiting { entry, until });
    }

    /// Puts messages back whose time has come, as many as is done in one go. What has expired meanwhile is dropped or
    /// dead-lettered.
    #[inline]
    pub(super) fn end_delays(&mut self, now: Millis, effects: &mut Effects) {
        if self.delayed.is_some() {
            self.end_some_delays(now, effects);
        }
    }

    fn end_some_delays(&mut self, now: Millis, effects: &mut Effects) {
        if let Some(delayed) = &mut self.delayed
            && delayed.since == Some(NEVER)
        {
            delayed.since = Some(now);
        }
        for _ in 0..SLICE {
            let delayed = self.delayed.as_mut();
            let Some(Waiting { entry, until }) = delayed.and_then(|delayed| delayed.take(now))
            else {
                break;
            };
            if self.limits.expiry(&entry) <= now {
                self.bury_expired(entry, effects);
            } else if until > now {
                self.delay(entry, until);
            } else {
                self.expires |= entry.may_expire;
                self.lanes.change(entry.lane, |lane| lane.end_delay(entry));
            }
        }
        self.forget_unneeded();
    }

    /// Takes all of them out of the queue, and out of the store if it has them.
    pub(super) fn purge_delayed(&mut self, effects: &mut Effects) -> Vec<Entry> {
        let Some(delayed) = &mut self.delayed else {
            return Vec::new();
        };
        delayed.bytes = 0;
        let waiting = std::mem::take(&mut delayed.waiting).into_values();
        let purged: Vec<_> = waiting.map(|waiting| waiting.entry).collect();
        let settled = purged.iter().filter_map(|entry| entry.settlement(self.id));
        effects.operations.extend(settled);
        self.forget_unneeded();
        purged
    }

    /// Notes that the store has messages from before a start. Those that came back wait anew, as soon as the time is known.
    pub(super) fn delay_recovered(&mut self) {
        if let Some(delayed) = &mut self.delayed {
            delayed.since = Some(NEVER);
        }
    }

    /// Which of the messages that were read had come back before the start, and until when they wait.
    fn delayed_since_start(&self, loaded: &Loaded) -> Vec<(Position, Millis)> {
        let Some(delayed) = &self.delayed else {
            return Vec::new();
        };
        let since = delayed.since.filter(|since| *since != NEVER);
        let (Some(since), Some(rule)) = (since, delayed.rule) else {
            return Vec::new();
        };
        let until =
            |entry: &Entry| Some(since.saturating_add(rule.delay_after_start(entry.counts)?));
        let waiting = loaded.entries.iter();
        let waiting = waiting.filter_map(|entry| Some((entry.position, until(entry)?)));
        waiting.collect()
    }

    /// Puts what was read at the end of its lane's resident front, if it is what comes next. The caller makes room and
    /// dispatches. `loaded` keeps what is not needed, to be dropped without the lock.
    pub fn loaded(&mut self, loaded: &mut Loaded) {
        let waiting = self.delayed_since_start(loaded);
        self.lanes.change(loaded.lane, |lane| lane.loaded(loaded));
        for (position, until) in waiting {
            let taken = |lane: &mut Lane| lane.begin_delay(position);
            if let Some(entry) = self.lanes.change(loaded.lane, taken) {
                self.delay(entry, until);
            }
        }
    }
}

impl Lane {
    /// Takes out a message that is to wait, if it is in memory.
    fn begin_delay(&mut self, position: Position) -> Option<Entry> {
        let entry = self.take_resident(position, &mut Hint::default())?;
        // Nothing before it is paged out now, so no page holds its place.
        self.taken = self.taken.max(position);
        self.forget_stale_notes();
        Some(entry)
    }

    /// Brings a message back to its place. Those from before a start may have others before it that were never delivered.
    fn end_delay(&mut self, entry: Entry) {
        let before = self.ready.front().map(|first| first.position);
        if before.is_none_or(|before| before > entry.position) {
            self.put_back(entry);
            return;
        }
        let bytes = entry.message.body_length();
        self.ready_bytes += bytes;
        if let Some(pages) = &mut self.pages {
            pages.front_bytes += bytes;
        }
        self.note(&entry);
        self.ready.insert(entry);
    }
}

#[cfg(test)]
mod tests;
