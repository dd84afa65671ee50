//! The I/O around a queue whose messages lie on disk, always without the queue's lock.
//!
//! Reader threads call [`Queue::load`], the evictor [`Queue::evict`]. Whoever cannot go on without the messages at the
//! front (`basic.get`, a limit on the length, a purge that has to spare what has expired) loads them on its own thread.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Effects, Entry, Millis, Queue, QueueState, Work,
    lane::Lane,
    page::{Load, cost},
    page_in::Damage,
    page_out::{PageOut, PagedOut, Spilling},
};
use crate::{Error, statistics::Column, store::Position};

/// Of a queue that somebody consumes this much stays in memory when that is short, so that it is not read back at once;
/// and no more than this is read then.
const KEPT: usize = 64 * 1024;

/// Most loads that a publisher waits for.
const MOST_LOADS: usize = 8;

/// What `basic.get` finds under the lock.
enum Got {
    Message(Entry, usize),
    Nothing,
    /// More has expired than went in one go: that comes first.
    Late,
    OnDisk(Load),
    Damage(Damage),
}

impl Queue {
    /// Takes the first message, and says how many remain (`basic.get`).
    ///
    /// # Errors
    /// 541 when the queue's messages cannot be read.
    pub fn get(
        self: &Arc<Self>,
        no_ack: bool,
        now: Millis,
        work: &mut Work,
    ) -> Result<Option<(Entry, usize)>, Error> {
        self.used();
        let mut got = self.change(now, work, |state, effects| match state.is_overdue() {
            true => Got::Late,
            false => get(state, no_ack, now, effects),
        });
        loop {
            match got {
                Got::Message(entry, remaining) => return Ok(Some((entry, remaining))),
                Got::Nothing => return Ok(None),
                Got::Damage(damage) => return Err(Error::Internal(damage.to_string())),
                Got::Late => {
                    self.catch_up(now, work);
                    got = self.change(now, work, |state, effects| get(state, no_ack, now, effects));
                }
                Got::OnDisk(load) => {
                    got = self.finish(&load, now, work, |state, effects| {
                        let got = get(state, no_ack, now, effects);
                        state.dispatch(now, effects);
                        got
                    });
                }
            }
        }
    }

    /// Loads what comes next in a lane, as a reader thread does when it was asked to.
    pub(crate) fn load(self: &Arc<Self>, lane: u8, now: Millis, work: &mut Work) {
        self.load_next(Some(lane), now, work, true);
    }

    /// Loads what comes next in a lane, or at the front of the queue, if there is anything and it can be read. With
    /// `leave`, what the queue then has too much is left to the reader threads.
    fn load_next(
        self: &Arc<Self>,
        lane: Option<u8>,
        now: Millis,
        work: &mut Work,
        leave: bool,
    ) -> bool {
        let next = self.state.lock().begin_load(lane);
        let Ok(Some(mut load)) = next else {
            return false;
        };
        if self.pager.is_over() {
            load.most_bytes = load.most_bytes.min(KEPT);
        }
        self.finish(&load, now, work, |state, effects| {
            state.drop_excess(effects);
            if leave {
                state.leave_excess(effects);
            }
            state.dispatch(now, effects);
        });
        true
    }

    /// Reads, and hands the messages to the queue together with what is to be done `then`.
    fn finish<R>(
        self: &Arc<Self>,
        load: &Load,
        now: Millis,
        work: &mut Work,
        then: impl FnOnce(&mut QueueState, &mut Effects) -> R,
    ) -> R {
        match load.read(&*self.store) {
            Ok(mut loaded) => self.change(now, work, |state, effects| {
                let count = loaded.entries.len() as u64;
                state.counters.add(Column::DiskReads, count);
                state.loaded(&mut loaded);
                then(state, effects)
            }),
            Err(error) => {
                let text = self.damage_text(&error);
                self.change(now, work, |state, effects| {
                    if state.fail(load, &text) {
                        tracing::error!("{text}");
                    }
                    then(state, effects)
                })
            }
        }
    }

    pub(super) fn damage_text(&self, error: &Error) -> String {
        let (name, vhost) = (&self.properties.name, &self.properties.vhost);
        format!(
            "queue '{name}' in vhost '{vhost}' holds messages that cannot be read: {error}; purge or delete the queue, \
             or stop the broker and run 'leveret journal repair'"
        )
    }

    /// Drops what is too much for the queue's limits and lies on disk. A publisher adds less than one load has, so this
    /// ends soon, unless a policy has just set a much lower limit: that is left to the reader threads.
    pub(super) fn make_room(self: &Arc<Self>, now: Millis, work: &mut Work) {
        let mut loads = 0;
        while std::mem::take(&mut work.effects.excess) {
            loads += 1;
            if !self.load_next(None, now, work, loads == MOST_LOADS) {
                return;
            }
        }
    }

    /// Lets everything at the front expire that is due, also what lies on disk.
    pub(super) fn expire_pages(self: &Arc<Self>, now: Millis, work: &mut Work) {
        while let Some(lane) = self.expires_on_disk(now)
            && self.load_next(Some(lane), now, work, true)
        {}
    }

    fn expires_on_disk(&self, now: Millis) -> Option<u8> {
        self.state.lock().page_expires(now)
    }

    /// What its messages cost in memory.
    pub(crate) fn resident(&self) -> usize {
        self.resident.load(Ordering::Relaxed)
    }

    /// Tells the pager what the messages cost now. If that is too much, pages out what needs no I/O, or hands out what is
    /// to be written if it is far too much; says whether there is more to be done.
    pub(super) fn account(&self, state: &mut QueueState, effects: &mut Effects) -> bool {
        let (before, after) = (self.resident(), state.resident());
        if before == after {
            return false;
        }
        self.report(before, after);
        if after < before {
            return false;
        }
        let over = self.pager.is_over();
        if let Some(lane) = state.long_lane(over) {
            let how = PageOut {
                readable: self.readable(state, lane),
                keep: self.pager.chunk(),
                front: false,
                spill: self.pager.spilling(),
            };
            if let PagedOut::Spill(entries) = state.page_out(lane, how, &mut effects.forgotten) {
                effects.spill = Some(entries);
            }
            self.report(after, state.resident());
        }
        over && self.pager.is_over()
    }

    /// How far the store can read a lane of this queue without a gap.
    fn readable(&self, state: &mut QueueState, lane: u8) -> Position {
        let written = self.store.readable(self.id.lane(lane));
        state.readable(lane, written, || self.store.durable())
    }

    fn report(&self, before: usize, after: usize) {
        if before != after {
            self.resident.store(after, Ordering::Relaxed);
            self.pager.account(before, after);
        }
    }

    /// Pages out what can be paged out, lowest priorities first, until `enough` says so. Says whether there was anything.
    pub(crate) fn evict(&self, enough: &dyn Fn() -> bool) -> bool {
        let mut progress = false;
        let mut forgotten = Vec::new();
        let mut lane = 0;
        while !enough() {
            let mut state = self.state.lock();
            let consumed = state.lanes.front_number() == lane && state.consumers().any_waits();
            let how = PageOut {
                readable: self.readable(&mut state, lane),
                keep: if consumed { KEPT } else { 0 },
                front: true,
                spill: match self.pager.spill() {
                    Some(_) => Spilling::Now,
                    None => Spilling::Never,
                },
            };
            let done = state.page_out(lane, how, &mut forgotten);
            let higher = state.lanes.occupied_above(lane);
            self.report(self.resident(), state.resident());
            drop(state);
            forgotten.clear();
            match done {
                PagedOut::Nothing => match higher {
                    Some(higher) => lane = higher,
                    None => return progress,
                },
                PagedOut::Forgotten => progress = true,
                PagedOut::Spill(entries) if self.write_to_spill(&entries) => progress = true,
                PagedOut::Spill(_) => return progress,
            }
        }
        progress
    }

    pub(super) fn write_to_spill(&self, entries: &Arc<Vec<Entry>>) -> bool {
        let Some(spill) = self.pager.spill() else {
            return false;
        };
        match spill.write(entries) {
            Ok(block) => {
                let mut state = self.state.lock();
                let unused = state.spilled(entries, block);
                self.report(self.resident(), state.resident());
                drop(state);
                drop(unused);
                self.pager.note_spill(true);
                true
            }
            Err(error) => {
                self.pager.note_spill(false);
                tracing::warn!("messages stay in memory beyond the budget: {error}");
                false
            }
        }
    }
}

/// Memory that nobody counts any more.
impl Drop for Queue {
    fn drop(&mut self) {
        self.pager.account(self.resident(), 0);
    }
}

fn get(state: &mut QueueState, no_ack: bool, now: Millis, effects: &mut Effects) -> Got {
    if let Some(damage) = state.damage() {
        return Got::Damage(Arc::clone(damage));
    }
    if state.paused {
        state.expire(now, effects);
        state.counters.add(Column::GetEmpty, 1);
        return Got::Nothing;
    }
    if let Some(entry) = state.get(no_ack, now, effects) {
        return Got::Message(entry, state.ready_count());
    }
    match state.next_load(None) {
        Ok(Some(load)) => Got::OnDisk(load),
        Ok(None) => {
            state.counters.add(Column::GetEmpty, 1);
            Got::Nothing
        }
        Err(damage) => Got::Damage(damage),
    }
}

impl QueueState {
    /// The lowest lane that is worth paging out.
    fn long_lane(&self, over: bool) -> Option<u8> {
        let mut lanes = self.lanes.occupied();
        let long = lanes.find(|lane| lane.is_long(self.chunk, over));
        long.map(|lane| lane.number)
    }
}

impl Lane {
    /// Whether it is worth the while to page out behind the front: when memory is short, what is more than a chunk; and
    /// in a queue that has far more on disk anyway, what would only have to be paged out later, when it has left the
    /// processor's cache.
    fn is_long(&self, chunk: usize, over: bool) -> bool {
        match &self.pages {
            Some(pages) => {
                let tail = cost(pages.tail.len(), pages.tail_bytes);
                let far = cost(pages.count, pages.bytes) > FAR * chunk;
                (over || far) && tail > chunk / 4
            }
            None => over && cost(self.ready.len(), self.ready_bytes) > 2 * chunk,
        }
    }
}

/// So many chunks on disk make a queue so long that it will hardly be drained before its tail has to go too.
const FAR: usize = 16;
