//! What enters a queue, and what a full queue makes of it (<https://www.rabbitmq.com/docs/maxlength>).
//!
//! Messages come in runs. The rules are those of one message after the other: a message is refused if the queue is full
//! when its turn comes, consumers that wait take theirs before anything is dropped, and only what waits counts. But a run
//! needs one look at the consumers and one at the length: dropping from the front once leaves what dropping after each
//! message would have left, and whether a message finds room can only depend on the consumers where there seems to be
//! none. With priorities a run is put in order first.

use super::{
    QueueState,
    effects::{DeadReason, Effects},
    entry::{Entry, Millis},
    expire::SLICE,
    lanes::Place,
};
use crate::message::Message;

/// What is known while a run of messages enters. To be ended by [`QueueState::end_run`].
#[derive(Debug, Default)]
pub struct Run {
    /// Messages wait though consumers were asked: nobody takes any more.
    exhausted: bool,
    /// Nobody else has the messages any more: dead letters, and what a transaction has committed.
    promised: bool,
}

impl Run {
    /// A run of messages that nobody else has any more. A queue that refuses publishes takes them though it is full,
    /// unless it dead-letters what it refuses.
    pub fn promised() -> Self {
        Self {
            promised: true,
            ..Self::default()
        }
    }
}

impl QueueState {
    /// Puts messages at the end. Returns how many were refused because the queue is full and its overflow behaviour is
    /// to reject: their indices go to `refused`.
    pub fn publish(
        &mut self,
        messages: impl Iterator<Item = Message>,
        now: Millis,
        effects: &mut Effects,
        refused: &mut Vec<usize>,
    ) {
        if self.deleted {
            return;
        }
        let mut run = Run::default();
        for (index, message) in messages.enumerate() {
            if self.is_full_for(&message, now, effects, &mut run) {
                refused.push(index);
                self.refuse(message, now, effects);
                continue;
            }
            let lane = self.lanes.lane_of(&message);
            let position = self.lanes.get_mut(lane).take_position();
            let stored = self.stores(&message);
            self.count_publish(stored);
            if stored {
                let record = self.enqueueing(Place { lane, position }, &message, now);
                effects.operations.push(record);
            }
            let entry = Entry {
                stored,
                lane,
                ..Entry::new(position, message, now)
            };
            self.expires |= entry.may_expire;
            self.lanes.change(lane, |lane| lane.push(entry));
        }
        self.end_run(now, effects);
    }

    /// Puts a message at a reserved place; the store knows it already if it should. Says whether it went in, or the
    /// queue with it: false when the queue is full and refuses publishes.
    pub fn insert(
        &mut self,
        place: Place,
        message: Message,
        now: Millis,
        effects: &mut Effects,
        run: &mut Run,
    ) -> bool {
        let entry = self.take_place(place, message, now);
        if self.deleted {
            // Its record may have followed that of the deletion.
            effects.operations.extend(entry.settlement(self.id));
            return true;
        }
        if self.is_full_for(&entry.message, now, effects, run) {
            self.refuse_recorded(entry, effects);
            return false;
        }
        self.take_in(entry);
        true
    }

    /// The same for a message that an operator has moved here: it has left its queue already, so a full queue takes it
    /// too.
    pub fn insert_moved(
        &mut self,
        place: Place,
        message: Message,
        now: Millis,
        effects: &mut Effects,
    ) {
        let entry = self.take_place(place, message, now);
        match self.deleted {
            true => effects.operations.extend(entry.settlement(self.id)),
            false => self.take_in(entry),
        }
    }

    fn take_place(&mut self, place: Place, message: Message, now: Millis) -> Entry {
        let Place { lane, position } = place;
        self.lanes.get_mut(lane).unreserve(position);
        Entry {
            stored: self.stores(&message),
            lane,
            ..Entry::new(position, message, now)
        }
    }

    fn take_in(&mut self, entry: Entry) {
        self.count_publish(entry.stored);
        self.expires |= entry.may_expire;
        self.lanes
            .change(entry.lane, |lane| lane.push_in_order(entry));
    }

    /// Ends a run of messages: consumers take what they can, then what is too much goes.
    pub fn end_run(&mut self, now: Millis, effects: &mut Effects) {
        self.dispatch(now, effects);
        if self.limits.length_limited() {
            self.drop_excess(effects);
        }
    }

    /// Whether a message of a run is refused. The consumers take what came before it first.
    #[inline]
    fn is_full_for(
        &mut self,
        message: &Message,
        now: Millis,
        effects: &mut Effects,
        run: &mut Run,
    ) -> bool {
        if run.promised && !self.hands_on_refused() {
            return false;
        }
        let bytes = message.body_length();
        if !self.limits.rejects_publishes() || !self.refuses(1, bytes) {
            return false;
        }
        if run.exhausted {
            return true;
        }
        self.dispatch(now, effects);
        run.exhausted = self.ready_count() > 0;
        self.refuses(1, bytes)
    }

    /// Whether a full queue would refuse this many messages with this many bytes of body between them.
    pub fn refuses(&self, count: usize, bytes: usize) -> bool {
        let (delayed, delayed_bytes) = self.delayed_length();
        let count = self.ready_count().saturating_add(delayed + count);
        let bytes = self.ready_bytes().saturating_add(delayed_bytes + bytes);
        self.limits.rejects_publishes() && self.limits.exceeded(count, bytes)
    }

    /// Makes room at the front if the length limits are exceeded and the queue does not refuse publishes instead, as far
    /// as it is done in one go (`is_overlong`).
    pub fn drop_excess(&mut self, effects: &mut Effects) {
        self.overlong = false;
        if self.limits.rejects_publishes() {
            return;
        }
        let mut dropped = 0;
        let (count, bytes) = self.delayed_length();
        while self
            .limits
            .exceeded(self.ready_count() + count, self.ready_bytes() + bytes)
        {
            if dropped == SLICE {
                self.overlong = true;
                return;
            }
            dropped += 1;
            let Some(entry) = self.lanes.pop_oldest() else {
                effects.excess = matches!(self.next_load(None), Ok(Some(_)));
                return;
            };
            self.bury(entry, DeadReason::MaxLength, effects);
        }
    }

    /// Whether a message that a full queue refuses goes on to somebody.
    fn hands_on_refused(&self) -> bool {
        self.limits.dead_letters_refused() && self.limits.dead_letters()
    }

    /// Refuses a message whose record may be in the store already. If it goes on, the record stays until the next queue's
    /// is made, in one batch with the settlement.
    fn refuse_recorded(&mut self, entry: Entry, effects: &mut Effects) {
        if !self.limits.dead_letters_refused() {
            effects.operations.extend(entry.settlement(self.id));
            return;
        }
        if entry.stored && self.hands_on_refused() {
            let lane = self.lanes.get_mut(entry.lane);
            lane.leaving.add(&entry, false);
            self.expires = true;
        }
        self.bury(entry, DeadReason::MaxLength, effects);
    }

    /// Whether there is more to drop than [`Self::drop_excess`] did in one go: after a policy with a much lower limit.
    pub(super) fn is_overlong(&self) -> bool {
        self.overlong
    }

    fn refuse(&mut self, message: Message, now: Millis, effects: &mut Effects) {
        if self.limits.dead_letters_refused() {
            let entry = Entry::new(0, message, now);
            self.bury(entry, DeadReason::MaxLength, effects);
        }
    }
}

#[cfg(test)]
mod tests;
