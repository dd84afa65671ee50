//! How messages expire on time wherever they stand in a queue.
//!
//! Two things say when: the queue's time to live, for which the front of each lane is enough, and the messages' own,
//! which are noted in [`Expirations`] once they stay. Both are followed together, in the order of time, so dead letters
//! leave in the order in which they expire. Much that expires at once goes in slices: between two of them others get the
//! lock, and what stands at the front is looked at before it is delivered. Of very many messages those that have expired
//! are looked for every few milliseconds only, and whenever the queue is used.
//!
//! What lies on disk is handled by `expire_paged.rs`.

use std::{
    cmp::Reverse,
    sync::{Arc, atomic::Ordering},
};

use super::{
    NEVER, Queue, Work,
    effects::{DeadReason, Effects},
    entry::{Entry, Millis},
    expirations::{BATCH, Due, Expirations},
    expire_paged::{Reading, Unscanned},
    lane::Lane,
    lanes::Lanes,
    limits::{Limits, own_expiry},
    row::{Hint, Row},
    state::QueueState,
};
use crate::store::{Position, Ticket};

/// Most messages that expire under one hold of the lock: a few milliseconds.
pub(super) const SLICE: usize = 10_000;

/// What a lane knows of messages that expire by their own word.
#[derive(Debug, Default)]
pub struct Expiring {
    /// When which of them does.
    pub(super) notes: Expirations,
    /// What is due and lies on disk, while it is read.
    pub(super) reading: Option<Reading>,
    /// The part of a backlog of which nobody knows what it says.
    pub(super) unscanned: Option<Unscanned>,
}

/// Where a message was found.
pub(super) enum Found {
    /// In memory; it is taken out now.
    Here(Entry),
    /// In a page.
    OnDisk,
    /// It has left before.
    Gone,
}

/// What expires next in a lane.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// The first of those that came back, by the queue's time to live.
    Returned,
    /// The first of those that were never delivered.
    Ready,
    /// One by its own word.
    Noted(Due),
}

impl Lane {
    /// Notes a message that enters at the end, if need be. It is looked at when it has not been delivered at once.
    pub(super) fn enters(&mut self, entry: &Entry) {
        if entry.may_expire {
            self.fresh = self.fresh.min(entry.position);
        }
    }

    /// Notes when a message expires that others have entered behind.
    pub(super) fn note(&mut self, entry: &Entry) {
        if let Some(due) = own_due(entry) {
            self.expiring.get_or_insert_default().notes.add(due);
        }
    }

    /// Notes a message that has come back.
    pub(super) fn note_returned(&mut self, entry: &Entry) {
        if let Some(due) = own_due(entry) {
            let expiring = self.expiring.get_or_insert_default();
            expiring.notes.add_returned(due);
        }
    }

    /// Forgets a message that had come back and has been taken out.
    pub(super) fn forget_returned(&mut self, entry: &Entry) {
        if let Some(expiring) = &mut self.expiring {
            if let Some(due) = own_due(entry) {
                expiring.notes.remove_returned(due);
            }
            self.forget_stale_notes();
        }
    }

    /// Notes what has entered and has stayed.
    fn note_fresh(&mut self) {
        if self.fresh == Position::MAX {
            return;
        }
        let from = std::mem::replace(&mut self.fresh, Position::MAX);
        let row = match &self.pages {
            None => &self.ready,
            Some(pages) => &pages.tail,
        };
        for due in row.iter_from(from).filter_map(own_due) {
            self.expiring.get_or_insert_default().notes.add(due);
        }
    }

    /// An empty lane has nothing to know.
    pub(super) fn forget_stale_notes(&mut self) {
        if self.count() == 0 {
            self.forget_all_notes();
        }
    }

    /// Nothing that waits expires by its own word.
    pub(super) fn forget_all_notes(&mut self) {
        self.expiring = None;
        self.fresh = Position::MAX;
    }

    /// Drops notes of messages that are gone. Says whether there is anything left to know.
    fn prune_notes(&mut self) -> bool {
        let front = self.first_undelivered();
        self.leaving.passed(front.saturating_sub(1));
        let waiting = self.count() - self.returned.len();
        let left = !self.leaving.is_empty();
        let Some(expiring) = &mut self.expiring else {
            return left;
        };
        expiring.notes.prune(front, waiting);
        let busy = expiring.unscanned.is_some() || expiring.reading.is_some();
        if !busy && expiring.notes.is_empty() {
            self.expiring = None;
        }
        left || self.expiring.is_some()
    }

    /// The first place of all that waits and was never delivered, or the next one that will be taken.
    pub(super) fn first_undelivered(&self) -> Position {
        let place = |row: &Row| row.front().map(|entry| entry.position);
        let pages = self.pages.as_ref();
        place(&self.ready)
            .or_else(|| Some(pages?.first()?.first))
            .or_else(|| place(&pages?.tail))
            .unwrap_or(self.next_position)
    }

    /// When the next message expires, or has to be looked at because it lies on disk.
    fn next_expiry(&self, limits: &Limits) -> Option<Millis> {
        let on_disk = match self.front() {
            Some(_) => None,
            None => self.loadable().and_then(|page| limits.end(page.oldest)),
        };
        let next = self.next_due(limits).map(|((at, _), _)| at);
        on_disk.into_iter().chain(next).min()
    }

    /// The next message that expires in memory, or by its own word.
    fn next_due(&self, limits: &Limits) -> Option<(Due, Next)> {
        let end = |entry: &Entry| Some((limits.end(entry.entered)?, entry.position));
        let mut next = None;
        if limits.has_ttl() {
            let returned = self.returned.values().next().and_then(end);
            let ready = self.ready.front().and_then(end);
            let returned = returned.map(|due| (due, Next::Returned));
            next = earlier(returned, ready.map(|due| (due, Next::Ready)));
        }
        match &self.expiring {
            // What is due after something that is being read comes after it.
            Some(expiring) if expiring.reading.is_none() => {
                let noted = expiring.notes.next();
                earlier(next, noted.map(|due| (due, Next::Noted(due))))
            }
            _ => next,
        }
    }

    /// Takes a message out wherever it is. `hint` helps to find neighbours, one after the other.
    pub(super) fn take_one(&mut self, position: Position, hint: &mut Hint) -> Found {
        if let Some(entry) = self.returned.remove(&position) {
            self.ready_bytes -= entry.message.body_length();
            self.forget_returned(&entry);
            return Found::Here(entry);
        }
        let Some(entry) = self.take_resident(position, hint) else {
            return match self.is_paged(position) {
                true => Found::OnDisk,
                false => Found::Gone,
            };
        };
        self.leaving.add(&entry, false);
        self.forget_stale_notes();
        Found::Here(entry)
    }

    pub(super) fn take_resident(&mut self, position: Position, hint: &mut Hint) -> Option<Entry> {
        let Some(pages) = &mut self.pages else {
            let entry = self.ready.remove_near(position, hint)?;
            self.ready_bytes -= entry.message.body_length();
            return Some(entry);
        };
        let last = self.ready.back();
        let (row, row_bytes) = match last.is_some_and(|last| position <= last.position) {
            true => (&mut self.ready, &mut pages.front_bytes),
            false => (&mut pages.tail, &mut pages.tail_bytes),
        };
        let entry = row.remove(position)?;
        let bytes = entry.message.body_length();
        *row_bytes -= bytes;
        self.ready_bytes -= bytes;
        Some(entry)
    }

    /// Whether something that has expired is being read.
    pub(super) fn is_reading(&self) -> bool {
        let expiring = self.expiring.as_ref();
        expiring.is_some_and(|expiring| expiring.reading.is_some())
    }
}

fn earlier(a: Option<(Due, Next)>, b: Option<(Due, Next)>) -> Option<(Due, Next)> {
    match (a, b) {
        (Some(a), Some(b)) if b.0 < a.0 => Some(b),
        (None, b) => b,
        (a, _) => a,
    }
}

/// When a message expires by its own word, and its place.
pub(super) fn own_due(entry: &Entry) -> Option<Due> {
    own_expiry(entry).map(|at| (at, entry.position))
}

impl Lanes {
    /// The earliest moment at which something expires, or has to be looked at because it lies on disk.
    fn next_expiry(&self, limits: &Limits) -> Option<Millis> {
        let lanes = self.occupied();
        lanes.filter_map(|lane| lane.next_expiry(limits)).min()
    }

    /// The next message that expires before `limit`, and its lane. Higher priorities come first within a millisecond.
    fn next_due(&self, limits: &Limits, limit: Millis) -> Option<(u8, Next)> {
        let next = self.occupied().filter_map(|lane| {
            let ((at, _), next) = lane.next_due(limits)?;
            (at < limit).then_some((at, lane.number, next))
        });
        let first = next.min_by_key(|(at, number, _)| (*at, Reverse(*number)));
        first.map(|(_, number, next)| (number, next))
    }

    /// Whether there are very many messages that expire by their own word.
    fn expire_together(&self) -> bool {
        let mut noted = self.occupied().filter_map(|lane| lane.expiring.as_ref());
        noted.any(|expiring| expiring.notes.are_many())
    }

    /// Whether any message lies on disk only, or behind one that does.
    fn has_pages(&self) -> bool {
        self.occupied().any(|lane| lane.pages.is_some())
    }

    /// Calls `each` with every lane that holds something.
    pub(super) fn for_each_occupied(&mut self, mut each: impl FnMut(&mut Lane)) {
        self.change(0, &mut each);
        for lane in self.occupied_higher().iter() {
            self.change(lane, &mut each);
        }
    }
}

impl QueueState {
    /// Drops or dead-letters what has expired, as far as it is done in one go ([`Self::is_overdue`]), and asks for what
    /// of it lies on disk.
    pub fn expire(&mut self, now: Millis, effects: &mut Effects) {
        self.expire_before(now.saturating_add(1), effects);
        if self.limits.has_ttl()
            && let Some(lane) = self.page_expires(now)
        {
            self.ask_for_load(lane, effects);
        }
    }

    /// The same without what expires at `limit` or later.
    pub(super) fn expire_before(&mut self, limit: Millis, effects: &mut Effects) {
        self.overdue = false;
        if !self.limits.has_ttl() && !self.expires {
            return;
        }
        let gone = match self.limits.has_ttl() || self.lanes.has_pages() {
            true => self.expire_each(limit, effects),
            false => self.expire_noted(limit, effects),
        };
        self.overdue = gone == SLICE;
    }

    /// One after the other. Says how many.
    fn expire_each(&mut self, limit: Millis, effects: &mut Effects) -> usize {
        for gone in 0..SLICE {
            let Some((lane, next)) = self.lanes.next_due(&self.limits, limit) else {
                return gone;
            };
            let expired = self.lanes.change(lane, |lane| match next {
                Next::Returned => lane.pop_returned(),
                Next::Ready => lane.pop_ready(),
                Next::Noted(due) => lane.take_noted(due, limit, effects),
            });
            if let Some(entry) = expired {
                self.bury_expired(entry, effects);
            }
        }
        SLICE
    }

    /// The same where all that goes is noted and in memory: it is taken out in the order of places, so that neighbours
    /// are found together, and buried in the order of time.
    fn expire_noted(&mut self, limit: Millis, effects: &mut Effects) -> usize {
        let mut due = Vec::new();
        while due.len() < SLICE
            && let Some((lane, Next::Noted((_, position)))) =
                self.lanes.next_due(&self.limits, limit)
        {
            let notes = self.lanes.get_mut(lane).expiring.as_mut();
            notes.and_then(|expiring| expiring.notes.take());
            due.push((lane, position, due.len()));
        }
        let gone = due.len();
        due.sort_unstable();
        let mut expired = Vec::new();
        expired.resize_with(gone, || None);
        let mut hint = Hint::default();
        for (lane, position, order) in due {
            let found = |lane: &mut Lane| lane.take_one(position, &mut hint);
            if let Found::Here(entry) = self.lanes.change(lane, found)
                && let Some(place) = expired.get_mut(order)
            {
                *place = Some(entry);
            }
        }
        for entry in expired.into_iter().flatten() {
            self.bury_expired(entry, effects);
        }
        gone
    }

    /// Whether there is more that has expired than [`Self::expire`] did in one go.
    pub fn is_overdue(&self) -> bool {
        self.overdue
    }

    /// Whether a message that does not expire before `limit` is at the front. Looks at `most` that do at most.
    #[inline]
    pub(super) fn live_front(
        &mut self,
        limit: Millis,
        most: &mut usize,
        effects: &mut Effects,
    ) -> bool {
        loop {
            let lane = self.lanes.front_lane();
            let Some(front) = lane.front() else {
                return false;
            };
            let late = self.overdue || lane.is_reading();
            if !late || self.limits.expiry(front) >= limit {
                return true;
            }
            if *most == 0 {
                return false;
            }
            *most -= 1;
            if let Some(entry) = self.lanes.pop() {
                self.bury_expired(entry, effects);
            }
        }
    }

    /// When the next message expires, or has to be looked at because it lies on disk, or has waited for its next try. If
    /// there are very many that expire, that is a little later for those that nobody could get: then they go together.
    pub fn next_expiry(&self) -> Option<Millis> {
        let delayed = self.next_delayed();
        if !self.limits.has_ttl() && !self.expires {
            return delayed;
        }
        let Some(next) = self.lanes.next_expiry(&self.limits) else {
            return delayed;
        };
        let next = match self.lanes.expire_together() {
            true => next.checked_next_multiple_of(BATCH).unwrap_or(next),
            false => next,
        };
        Some(delayed.map_or(next, |delayed| next.min(delayed)))
    }

    /// Notes what has entered and was not delivered at once.
    pub(super) fn note_fresh(&mut self) {
        if self.expires {
            self.lanes.for_each_occupied(Lane::note_fresh);
        }
    }

    /// Drops notes of messages that are gone.
    pub(super) fn prune_notes(&mut self) {
        if self.expires {
            let mut expires = false;
            self.lanes
                .for_each_occupied(|lane| expires |= lane.prune_notes());
            self.expires = expires;
        }
    }

    /// Notes a batch of the store, which may settle what has expired.
    pub(super) fn note_settled(&mut self, ticket: Ticket) {
        if self.expires {
            self.settled = ticket;
        }
    }

    /// Its memory is given back without the lock.
    pub(super) fn bury_expired(&mut self, entry: Entry, effects: &mut Effects) {
        self.count_death(DeadReason::Expired);
        if self.limits.dead_letters() {
            effects.dead.push((entry, DeadReason::Expired));
        } else {
            effects.operations.extend(entry.settlement(self.id));
            effects.forgotten.push(entry);
        }
    }
}

impl Lane {
    /// Takes out what is noted first, if it is in memory. Otherwise it is asked for, together with what is due after it.
    fn take_noted(&mut self, due: Due, limit: Millis, effects: &mut Effects) -> Option<Entry> {
        self.expiring.as_mut()?.notes.take();
        match self.take_one(due.1, &mut Hint::default()) {
            Found::Here(entry) => Some(entry),
            Found::OnDisk => {
                self.begin_reading(due, limit);
                effects.read_expired.push(self.number);
                None
            }
            Found::Gone => None,
        }
    }
}

impl Queue {
    /// Runs what expired when the alarm for `at` has come ([`Expiries::take_due`]), takes up the dead letters that somebody
    /// has left over, and says whether the queue itself has to go. An alarm that the queue does not wait for any more does nothing: it would set another alarm beside the
    /// one that the queue waits for.
    pub(crate) fn expire(self: &Arc<Self>, at: Millis, now: Millis, work: &mut Work) -> bool {
        // Acquire, with the release in `schedule`: whoever relied on this alarm changed the state before, and that change
        // has to be seen here.
        let awaited =
            self.scheduled
                .compare_exchange(at, NEVER, Ordering::AcqRel, Ordering::Relaxed);
        if awaited.is_err() {
            return false;
        }
        let in_use = self.change(now, work, |state, effects| {
            if state.expires
                && let Some(buried) = self.dying.last_ticket()
            {
                state.forget_left(buried, self.store.durable());
            }
            effects.scan = state.begin_scan();
            // Deliveries may have been let go on meanwhile, or have waited for what expired.
            state.dispatch(now, effects);
            state.drop_excess(effects);
            state.leave_excess(effects);
            state.consumer_count() > 0
        });
        if self.dying.waits() && !work.dead.iter().any(|it| Arc::ptr_eq(it, self)) {
            work.dead.push(Arc::clone(self));
        }
        match self.idle.due(now) {
            Some(due) if !in_use && due <= now => true,
            Some(due) if !in_use => {
                self.schedule(due);
                false
            }
            _ => false,
        }
    }

    /// Ends what an expiry of very many messages has left to do, for somebody who cannot wait.
    pub(super) fn catch_up(self: &Arc<Self>, now: Millis, work: &mut Work) {
        let overdue = || self.state.lock().is_overdue();
        while overdue() {
            self.change(now, work, |state, effects| state.expire(now, effects));
        }
    }
}

#[cfg(test)]
mod tests;
