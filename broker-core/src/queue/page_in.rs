//! How a queue's messages come back from disk.
//!
//! One load at a time is asked of the reader threads, early enough that consumers need not wait: as soon as about half
//! of the last load is delivered. Who cannot wait (`basic.get`, a limit on the length) reads on its own thread. Neither
//! holds the queue's lock while it reads, so when the messages arrive the queue looks whether they still are what comes
//! next; what arrives twice or too late is dropped.

use std::sync::Arc;

use super::{
    effects::Effects,
    entry::{Entry, Millis},
    lane::Lane,
    limits::Limits,
    page::{Load, Loaded, Page, Pages, cost},
    state::QueueState,
};
use crate::store::{Backlog, Position};

/// Why nothing can be loaded.
pub type Damage = Arc<str>;

impl Lane {
    /// Leaves the places up to `last` alone: the store still knows something of them.
    pub(super) fn begin_behind(&mut self, last: Position) {
        self.next_position = self.next_position.max(last.saturating_add(1));
    }

    /// Takes over at start what the store holds, without reading it.
    pub(super) fn recover(&mut self, backlog: &Backlog) {
        self.begin_behind(backlog.last);
        if backlog.may_expire {
            self.begin_scan(backlog.first, backlog.last);
        }
        let page = Page::of_backlog(backlog);
        self.ready_bytes += page.bytes;
        let pages = self.pages.get_or_insert_default();
        pages.push_back(page);
    }

    /// Why the queue cannot deliver, if so.
    pub(super) fn damage(&self) -> Option<&Damage> {
        self.pages.as_ref()?.damage.as_ref()
    }

    /// The page to be loaded next, unless somebody does so or nobody can.
    pub(super) fn loadable(&self) -> Option<&Page> {
        let pages = self.pages.as_ref()?;
        match (&pages.loading, &pages.damage) {
            (None, None) => pages.first(),
            _ => None,
        }
    }

    /// Notes that the next load is asked for. False if there is nothing to load or somebody does so.
    fn begin_loading(&mut self) -> bool {
        if self.loadable().is_none() {
            return false;
        }
        let epoch = self.epoch;
        self.pages.as_mut().is_some_and(|pages| {
            pages.loading = Some(epoch);
            true
        })
    }

    /// Whether the front lies on disk and may have expired.
    pub(super) fn page_expires(&self, limits: &Limits, now: Millis) -> bool {
        let first = self.pages.as_ref().and_then(|pages| pages.first());
        self.front().is_none()
            && first.is_some_and(|page| limits.end(page.oldest).is_some_and(|end| end <= now))
    }

    /// What to read next. `None` when nothing lies on disk.
    ///
    /// # Errors
    /// Why that cannot be read, found out earlier.
    pub(super) fn next_load(&self, chunk: usize) -> Result<Option<Load>, Damage> {
        let Some(pages) = &self.pages else {
            return Ok(None);
        };
        if let Some(damage) = &pages.damage {
            return Err(Arc::clone(damage));
        }
        Ok(pages.first().map(|page| Load {
            queue: self.id(),
            lane: self.number,
            epoch: self.epoch,
            from: page.first,
            to: page.last,
            source: page.source.clone(),
            most_bytes: chunk,
        }))
    }

    /// Puts what was read at the end of the resident front, if it is what comes next. The caller makes room and
    /// dispatches. `loaded` keeps what is not needed, to be dropped without the lock.
    pub(super) fn loaded(&mut self, loaded: &mut Loaded) {
        let Some(pages) = &mut self.pages else { return };
        pages.finish_loading(loaded.epoch);
        if loaded.epoch != self.epoch {
            return;
        }
        self.leaving.take_out_of(loaded);
        self.look_through(loaded);
        let Some(pages) = &mut self.pages else { return };
        let Some(difference) = pages.take_loaded(loaded) else {
            return;
        };
        self.epoch += 1;
        self.ready_bytes = self.ready_bytes.saturating_add_signed(difference);
        self.ready.extend(loaded.entries.drain(..));
        if pages.is_empty() {
            self.join_tail();
        }
    }

    /// Everything is in memory again.
    pub(super) fn join_tail(&mut self) {
        let Some(mut pages) = self.pages.take() else {
            return;
        };
        self.ready.append(&mut pages.tail);
    }

    /// Notes that what was to be loaded in `epoch` cannot be read. Says whether that is news.
    pub(super) fn fail(&mut self, epoch: u64, text: &str) -> bool {
        let Some(pages) = &mut self.pages else {
            return false;
        };
        pages.finish_loading(epoch);
        if pages.damage.is_some() || epoch != self.epoch {
            return false;
        }
        pages.damage = Some(text.into());
        true
    }

    /// What the messages cost that wait in memory.
    pub(super) fn resident(&self) -> usize {
        let (count, bytes) = (self.ready.len() + self.returned.len(), self.ready_bytes);
        match &self.pages {
            None => cost(count, bytes),
            Some(pages) => {
                cost(count + pages.tail.len(), bytes.saturating_sub(pages.bytes)) + pages.held()
            }
        }
    }
}

impl QueueState {
    /// Leaves the places of a lane up to `last` alone: the store still knows something of them.
    pub fn begin_behind(&mut self, lane: u8, last: Position) {
        if last > 0 {
            self.lanes.get_mut(lane).begin_behind(last);
        }
    }

    /// Takes over at start what the store holds of a lane, without reading it.
    pub fn recover(&mut self, lane: u8, backlog: &Backlog) {
        self.expires |= backlog.may_expire;
        self.lanes.change(lane, |lane| lane.recover(backlog));
    }

    /// Why the queue cannot deliver, if so.
    pub fn damage(&self) -> Option<&Damage> {
        self.lanes.occupied().find_map(Lane::damage)
    }

    /// The lane whose front lies on disk and may have expired, if there is one.
    pub(super) fn page_expires(&self, now: Millis) -> Option<u8> {
        let mut lanes = self.lanes.occupied();
        let due = lanes.find(|lane| lane.page_expires(&self.limits, now));
        due.map(|lane| lane.number)
    }

    /// Asks for the next load if consumers are about to run out of messages.
    pub(super) fn read_ahead(&mut self, delivered: bool, effects: &mut Effects) {
        let front = self.lanes.front_lane();
        let Some(pages) = &front.pages else { return };
        let resident = cost(front.ready.len(), pages.front_bytes);
        if resident < self.chunk && (delivered || self.consumers.can_take()) {
            self.ask_for_load(self.lanes.front_number(), effects);
        }
    }

    /// Asks for the next load of a lane, if there is something to load and nobody does.
    pub(super) fn ask_for_load(&mut self, lane: u8, effects: &mut Effects) {
        if self.lanes.get_mut(lane).begin_loading() {
            effects.loads.push(lane);
        }
    }

    /// Leaves what is too much for the queue, and lies on disk, to the reader threads.
    pub(super) fn leave_excess(&mut self, effects: &mut Effects) {
        if std::mem::take(&mut effects.excess) {
            self.ask_for_load(self.lanes.front_number(), effects);
        }
    }

    /// What to read next of a lane, or of the front of the queue. `None` when nothing of it lies on disk.
    ///
    /// # Errors
    /// Why that cannot be read, found out earlier.
    pub fn next_load(&self, lane: Option<u8>) -> Result<Option<Load>, Damage> {
        let lane = lane.unwrap_or_else(|| self.lanes.front_number());
        let lane = self.lanes.get(lane);
        lane.map_or(Ok(None), |lane| lane.next_load(self.chunk))
    }

    /// The same for one who reads it now. What has left from the middle may have moved the epoch since the load was asked
    /// for; the load ends with the one that it begins with.
    ///
    /// # Errors
    /// As [`Self::next_load`].
    pub fn begin_load(&mut self, lane: Option<u8>) -> Result<Option<Load>, Damage> {
        let number = lane.unwrap_or_else(|| self.lanes.front_number());
        let lane = self.lanes.get_mut(number);
        let epoch = lane.epoch;
        if let Some(pages) = &mut lane.pages {
            pages.loading = Some(epoch);
        }
        self.next_load(Some(number))
    }

    /// Notes that what was to be loaded cannot be read: consumers are cancelled, for their queue has come to its end.
    /// Says whether that is news.
    pub fn fail(&mut self, load: &Load, text: &str) -> bool {
        let news = self.lanes.get_mut(load.lane).fail(load.epoch, text);
        if news {
            self.cancel_consumers();
        }
        news
    }

    /// What the messages cost that wait in memory.
    pub fn resident(&self) -> usize {
        let ready: usize = self.lanes.occupied().map(Lane::resident).sum();
        ready + self.delayed_resident()
    }
}

impl Pages {
    fn finish_loading(&mut self, epoch: u64) {
        if self.loading == Some(epoch) {
            self.loading = None;
        }
    }
}

/// Bytes of the bodies.
pub(super) fn body_bytes<'a>(entries: impl Iterator<Item = &'a Entry>) -> usize {
    entries.map(|entry| entry.message.body_length()).sum()
}
