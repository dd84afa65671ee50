//! Which messages a queue may forget, and what it remembers of them.
//!
//! Never delivered ones only, which lie behind the latest place that was ever delivered: so a page holds all of its
//! range, and a purge can settle it as one. Nothing at or beyond a reserved place either, for a message will come there.
//! Stored messages can go as soon as the store can read them back ([`readable`](crate::store::MessageStore::readable));
//! others are written to the spill. What is on its way there stays at hand until it is written.
//!
//! The tail goes first, from its front, so that pages join. If there is still too much in memory, the resident front
//! goes from its end, back to where it came from.

use std::sync::Arc;

use super::{
    entry::Entry,
    lane::Lane,
    page::{Page, Pages, Source, cost},
    page_in::body_bytes,
    state::QueueState,
};
use crate::{spill::Block, store::Position};

/// A run of stored messages that is shorter goes to the spill with its neighbours: pages cost memory too.
const SHORTEST_RUN: usize = 64;

/// Most messages that are paged out under one hold of the lock.
const MOST: usize = 8 * 1024;

/// Bytes of messages that are written to the spill at once.
const BLOCK: usize = 256 * 1024;

/// What paging out may do.
#[derive(Debug, Clone, Copy)]
pub struct PageOut {
    /// How far the store can read the lane.
    pub readable: Position,
    /// How much of the front is to stay in memory, as [`cost`] reckons.
    pub keep: usize,
    /// Whether the front may go that is in memory already because somebody wanted it.
    pub front: bool,
    /// What becomes of messages that the store does not hold.
    pub spill: Spilling,
}

/// What becomes of messages that the store cannot give back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spilling {
    /// There is no spill.
    Never,
    /// The caller cannot write: somebody else will.
    Later,
    /// The caller writes them.
    Now,
}

/// What was done.
#[derive(Debug)]
pub enum PagedOut {
    /// There is nothing to page out.
    Nothing,
    /// Stored messages were forgotten. There may be more.
    Forgotten,
    /// These are to be written to the spill, and then [`QueueState::spilled`] is to be called.
    Spill(Arc<Vec<Entry>>),
}

/// A run at one end of a row of messages.
#[derive(Debug, Clone, Copy)]
enum Run {
    Stored(usize),
    Spill(usize),
}

impl Lane {
    /// Pages out one run. The messages go to `forgotten`, to be freed without the lock.
    pub(super) fn page_out(&mut self, how: PageOut, forgotten: &mut Vec<Entry>) -> PagedOut {
        if !self.split(how) {
            return PagedOut::Nothing;
        }
        let (bound, taken) = (self.bound(), self.taken);
        let Some(pages) = &mut self.pages else {
            return PagedOut::Nothing;
        };
        let run = run(pages.tail.iter(), pages.tail.len(), how, taken, bound);
        if let Some(run) = run {
            let (page, done) = run.take(pages.tail.drain_front(run.length()), forgotten);
            pages.tail_bytes -= page.bytes;
            pages.push_back(page);
            return done;
        }
        let front = cost(self.ready.len(), pages.front_bytes);
        if how.front && front > how.keep && pages.loading.is_none() && !pages.is_empty() {
            let run = self::run(self.ready.iter().rev(), self.ready.len(), how, taken, bound);
            if let Some(run) = run {
                let mut end = self.ready.split_off(self.ready.len() - run.length());
                let (page, done) = run.take(end.drain_front(run.length()), forgotten);
                pages.front_bytes -= page.bytes;
                pages.push_front(page);
                self.epoch += 1;
                return done;
            }
        }
        if pages.is_empty() {
            self.join_tail();
        }
        PagedOut::Nothing
    }

    /// Notes that messages are in the spill now, or could not be written. What is to be dropped without the lock is
    /// given back.
    pub(super) fn spilled(
        &mut self,
        entries: &Arc<Vec<Entry>>,
        block: Block,
    ) -> Option<Arc<Block>> {
        let block = Arc::new(block);
        match &mut self.pages {
            Some(pages) => pages.spilled(entries, block),
            None => Some(block),
        }
    }

    /// The place at which paging out ends.
    fn bound(&self) -> Position {
        self.reserved.front().copied().unwrap_or(Position::MAX)
    }

    /// Separates the front from what may be paged out, if that has not been done yet. False if all of it is to stay.
    fn split(&mut self, how: PageOut) -> bool {
        if self.pages.is_some() {
            return true;
        }
        let late = self.ready.count_to(self.taken);
        let kept = self.front_worth(how.keep).max(late);
        let (rest, length) = (self.ready.iter().skip(kept), self.ready.len() - kept);
        if run(rest, length, how, self.taken, self.bound()).is_none() {
            return false;
        }
        let tail = self.ready.split_off(kept);
        let front_bytes = body_bytes(self.ready.iter());
        let returned_bytes = body_bytes(self.returned.values());
        let tail_bytes = self.ready_bytes - front_bytes - returned_bytes;
        self.pages = Some(Box::new(Pages::between(front_bytes, tail, tail_bytes)));
        true
    }

    /// How many messages at the front are worth `keep`.
    fn front_worth(&self, keep: usize) -> usize {
        let mut room = keep;
        let fits = self.ready.iter().take_while(|entry| {
            let cost = cost(1, entry.message.body_length());
            let fits = cost <= room;
            room = room.saturating_sub(cost);
            fits
        });
        fits.count()
    }
}

impl QueueState {
    /// Pages out one run of a lane. The messages go to `forgotten`, to be freed without the lock.
    pub fn page_out(&mut self, lane: u8, how: PageOut, forgotten: &mut Vec<Entry>) -> PagedOut {
        if self.deleted {
            return PagedOut::Nothing;
        }
        self.lanes
            .change(lane, |lane| lane.page_out(how, forgotten))
    }

    /// Notes that messages are in the spill now, or could not be written. What is to be dropped without the lock is
    /// given back.
    pub fn spilled(&mut self, entries: &Arc<Vec<Entry>>, block: Block) -> Option<Arc<Block>> {
        let lane = entries.first().map_or(0, |entry| entry.lane);
        self.lanes.get_mut(lane).spilled(entries, block)
    }
}

/// The run at the beginning of a row of that `length` that can become one page.
fn run<'a>(
    row: impl Iterator<Item = &'a Entry> + Clone,
    length: usize,
    how: PageOut,
    taken: Position,
    bound: Position,
) -> Option<Run> {
    let free = |entry: &Entry| entry.position > taken && entry.position < bound;
    let readable = |entry: &Entry| entry.stored && entry.position <= how.readable;
    let stored = row.clone().take(MOST);
    let stored = stored.take_while(|e| free(e) && readable(e)).count();
    let long = stored >= SHORTEST_RUN || stored == length;
    if stored > 0 && (long || how.spill == Spilling::Never) {
        return Some(Run::Stored(stored));
    }
    if how.spill != Spilling::Now {
        return None;
    }
    // What the store will soon give back is not written twice; a store that never gives anything back is no help.
    let waits = |entry: &Entry| how.readable > 0 && entry.stored && entry.position > how.readable;
    let mut room = BLOCK;
    let spilled = row.take(MOST).take_while(|entry| {
        let begins = room > 0;
        room = room.saturating_sub(cost(1, entry.message.body_length()));
        begins && free(entry) && !waits(entry)
    });
    match spilled.count() {
        0 => None,
        count => Some(Run::Spill(count)),
    }
}

impl Run {
    fn length(&self) -> usize {
        let (Self::Stored(length) | Self::Spill(length)) = self;
        *length
    }

    /// Makes a page of the messages of the run.
    fn take(
        self,
        taken: impl Iterator<Item = Entry>,
        forgotten: &mut Vec<Entry>,
    ) -> (Page, PagedOut) {
        match self {
            Self::Stored(_) => {
                let from = forgotten.len();
                forgotten.extend(taken);
                let page = Page::of(forgotten.iter().skip(from));
                (page, PagedOut::Forgotten)
            }
            Self::Spill(_) => {
                let entries = Arc::new(taken.collect::<Vec<_>>());
                let mut page = Page::of(entries.iter());
                page.source = Source::Held(Arc::clone(&entries));
                (page, PagedOut::Spill(entries))
            }
        }
    }
}
