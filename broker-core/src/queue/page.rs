//! The part of a queue that lies on disk only.
//!
//! A page stands for a run of neighbouring messages: how many there are, how long their bodies are, when the first of
//! them entered, and where they can be read. What of it expires by its own word is noted beside it (`expire_paged.rs`). Stored messages are read back from the message store, so pages of them
//! join, and a backlog of millions is one page. Transient messages (and mixtures) are written to the
//! [spill](crate::spill), a block for each page.

use std::{collections::VecDeque, sync::Arc};

use super::{
    delivery_counts::DeliveryCounts,
    entry::{Entry, Millis, NEVER},
    row::Row,
};
use crate::{
    error::Error,
    spill::Block,
    store::{Backlog, MessageStore, Position, QueueId, StoredMessage},
};

/// Reckoned for each message in memory on top of its body: its entry, its header, its names and the allocator's share.
const OVERHEAD: usize = 128;

/// What so many messages cost in memory, with so many bytes of body between them.
pub fn cost(count: usize, bytes: usize) -> usize {
    count.saturating_mul(OVERHEAD).saturating_add(bytes)
}

/// Where the messages of a page are.
#[derive(Debug, Clone)]
pub enum Source {
    /// In the message store.
    Store,
    /// On their way to the spill, or refused by it: still in memory.
    Held(Arc<Vec<Entry>>),
    /// In the spill.
    Spill(Arc<Block>),
}

/// A run of messages. Everything of its queue from `first` to `last` that is in `source` belongs to it.
#[derive(Debug)]
pub struct Page {
    /// The place of the first message, or an earlier one.
    pub first: Position,
    /// The place of the last message.
    pub last: Position,
    /// How many messages there are.
    pub count: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// When the first of them entered, or an earlier moment.
    pub oldest: Millis,
    /// Where they are.
    pub source: Source,
}

impl Page {
    /// What a store holds of a queue at start.
    pub fn of_backlog(backlog: &Backlog) -> Self {
        Self {
            first: backlog.first,
            last: backlog.last,
            count: backlog.count,
            bytes: backlog.bytes,
            oldest: backlog.oldest,
            source: Source::Store,
        }
    }

    /// Stands for these messages, as if the store had them.
    pub fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let mut page = Self {
            first: Position::MAX,
            last: 0,
            count: 0,
            bytes: 0,
            oldest: NEVER,
            source: Source::Store,
        };
        for entry in entries {
            page.first = page.first.min(entry.position);
            page.last = entry.position;
            page.count += 1;
            page.bytes += entry.message.body_length();
            page.oldest = page.oldest.min(entry.entered);
        }
        page
    }

    /// Takes `next`, which follows it, in; gives it back if the two cannot join.
    fn join(&mut self, next: Self) -> Option<Self> {
        if !matches!((&self.source, &next.source), (Source::Store, Source::Store)) {
            return Some(next);
        }
        self.last = next.last;
        self.count += next.count;
        self.bytes += next.bytes;
        self.oldest = self.oldest.min(next.oldest);
        None
    }

    fn held(&self) -> usize {
        match self.source {
            Source::Held(_) => cost(self.count, self.bytes),
            _ => 0,
        }
    }
}

/// The pages of a queue and the messages in memory behind them. In the order of positions: the queue's resident front,
/// the pages, the tail.
#[derive(Debug, Default)]
pub struct Pages {
    pages: VecDeque<Page>,
    /// What was published since.
    pub tail: Row,
    /// Bytes of the bodies in the tail.
    pub tail_bytes: usize,
    /// Bytes of the bodies in the resident front.
    pub front_bytes: usize,
    /// Messages in the pages.
    pub count: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// What the pages cost that are still in memory.
    held: usize,
    /// The epoch in which a reader thread was asked to load, while it does.
    pub loading: Option<u64>,
    /// Why the first page cannot be read.
    pub damage: Option<Arc<str>>,
}

impl Pages {
    /// No page yet, between a front with so many bytes of body and a tail.
    pub fn between(front_bytes: usize, tail: Row, tail_bytes: usize) -> Self {
        Self {
            tail,
            tail_bytes,
            front_bytes,
            ..Self::default()
        }
    }

    /// The first page.
    pub fn first(&self) -> Option<&Page> {
        self.pages.front()
    }

    /// The pages, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Page> {
        self.pages.iter()
    }

    /// The first page that ends at this place or behind it.
    pub fn at(&self, position: Position) -> Option<&Page> {
        let index = self.pages.partition_point(|page| page.last < position);
        self.pages.get(index)
    }

    /// Takes a message out of the page that holds its place, if one does. The page is not written anew: whoever reads it
    /// has to know of the gap.
    pub fn take_out(&mut self, entry: &Entry) -> Option<Gap> {
        let index = self
            .pages
            .partition_point(|page| page.last < entry.position);
        let page = self.pages.get_mut(index)?;
        if page.first > entry.position || page.count == 0 {
            return None;
        }
        let held = page.held();
        // What a store says at start may be an estimate.
        let bytes = entry.message.body_length().min(page.bytes);
        page.count -= 1;
        page.bytes -= bytes;
        self.count -= 1;
        self.bytes -= bytes;
        self.held -= held - page.held();
        let in_block = !matches!(page.source, Source::Store);
        let empty = page.count == 0;
        Some(Gap {
            bytes,
            in_block,
            empty,
        })
    }

    /// Moves pages of which nothing is left to `garbage`.
    pub fn remove_empty(&mut self, garbage: &mut Vec<Page>) {
        if self.pages.iter().any(|page| page.count == 0) {
            let (empty, kept) = std::mem::take(&mut self.pages)
                .into_iter()
                .partition::<Vec<_>, _>(|page| page.count == 0);
            self.pages = kept.into();
            garbage.extend(empty);
        }
    }

    /// The place of the last message in a page.
    pub fn last_position(&self) -> Option<Position> {
        self.pages.back().map(|page| page.last)
    }

    /// How many pages there are.
    pub fn len(&self) -> usize {
        self.pages.len()
    }

    /// Whether there is no page.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// What is not in pages costs nothing here; what is on its way to the spill does.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Adds a page behind the others.
    pub fn push_back(&mut self, page: Page) {
        self.add(&page);
        let rest = match self.pages.back_mut() {
            Some(last) => last.join(page),
            None => Some(page),
        };
        self.pages.extend(rest);
    }

    /// Adds a page before the others.
    pub fn push_front(&mut self, mut page: Page) {
        self.add(&page);
        if let Some(next) = self.pages.pop_front()
            && let Some(next) = page.join(next)
        {
            self.pages.push_front(next);
        }
        self.pages.push_front(page);
    }

    fn add(&mut self, page: &Page) {
        self.count += page.count;
        self.bytes += page.bytes;
        self.held += page.held();
    }

    /// Takes what was loaded off the first page. Says by how much the messages' bodies are longer (or shorter) than was
    /// reckoned.
    pub fn take_loaded(&mut self, loaded: &mut Loaded) -> Option<isize> {
        let front = self.pages.front_mut()?;
        let (count, bytes) = match loaded.end {
            End::Whole if loaded.to == front.last => {
                if loaded.entries.len() != front.count {
                    let (found, count, from) = (loaded.entries.len(), front.count, front.first);
                    tracing::error!("found {found} messages from place {from} on, not {count}");
                }
                let taken = (front.count, front.bytes);
                self.held -= front.held();
                loaded.done = self.pages.pop_front();
                taken
            }
            End::Whole => front.shorten(loaded, loaded.to),
            End::Partial(last) => front.shorten(loaded, last),
        };
        self.count -= count;
        self.bytes -= bytes;
        self.front_bytes += loaded.bytes;
        Some(loaded.bytes as isize - bytes as isize)
    }

    /// The page that waits for `entries` to be written, found again.
    fn waiting(&mut self, first: Position, entries: &Arc<Vec<Entry>>) -> Option<&mut Page> {
        let index = self.pages.partition_point(|page| page.last < first);
        let page = self.pages.get_mut(index)?;
        match &page.source {
            Source::Held(held) if Arc::ptr_eq(held, entries) => Some(page),
            _ => None,
        }
    }

    /// Notes that a page is in the spill now. Gives the block back if the page is gone.
    pub fn spilled(&mut self, entries: &Arc<Vec<Entry>>, block: Arc<Block>) -> Option<Arc<Block>> {
        let first = entries.first().map_or(0, |entry| entry.position);
        let Some(page) = self.waiting(first, entries) else {
            return Some(block);
        };
        let held = page.held();
        page.source = Source::Spill(block);
        self.held -= held;
        None
    }
}

impl Page {
    /// Takes off what was loaded up to place `last`. Says how many messages and bytes that was.
    fn shorten(&mut self, loaded: &Loaded, last: Position) -> (usize, usize) {
        let count = loaded.entries.len().min(self.count);
        let bytes = loaded.bytes.min(self.bytes);
        self.first = last.saturating_add(1);
        self.count -= count;
        self.bytes -= bytes;
        (count, bytes)
    }
}

/// What a message leaves that is taken out of a page.
#[derive(Debug, Clone, Copy)]
pub struct Gap {
    /// How many bytes of body were reckoned for it.
    pub bytes: usize,
    /// Whether it can still be read in a block of the spill.
    pub in_block: bool,
    /// Whether nothing is left of its page.
    pub empty: bool,
}

impl Loaded {
    /// Keeps some of the messages only.
    pub fn retain(&mut self, keep: impl FnMut(&Entry) -> bool) {
        self.entries.retain(keep);
        self.bytes = self.entries.iter().map(|e| e.message.body_length()).sum();
    }

    /// The place up to which was read.
    pub fn reached(&self) -> Position {
        match self.end {
            End::Whole => self.to,
            End::Partial(last) => last,
        }
    }
}

/// What is to be read of a page.
#[derive(Debug)]
pub struct Load {
    /// What the store knows the lane by that it is for.
    pub queue: QueueId,
    /// The lane's number.
    pub lane: u8,
    /// The lane's, so that what comes too late is noticed.
    pub epoch: u64,
    /// The first place.
    pub from: Position,
    /// The last place.
    pub to: Position,
    /// Where.
    pub source: Source,
    /// How much of it, if it is in the store.
    pub most_bytes: usize,
}

/// Messages that were read back.
#[derive(Debug)]
pub struct Loaded {
    /// The lane that they are for.
    pub lane: u8,
    /// The lane's when they were asked for.
    pub epoch: u64,
    /// The place up to which they were to be read.
    pub to: Position,
    /// The messages.
    pub entries: Vec<Entry>,
    /// Bytes of their bodies.
    pub bytes: usize,
    end: End,
    /// The page that is done with now: dropping it may remove a file.
    done: Option<Page>,
}

/// How far a load went.
#[derive(Debug, Clone, Copy)]
enum End {
    /// To the end.
    Whole,
    /// To this place.
    Partial(Position),
}

impl Load {
    /// Reads. Takes its time, so never under a queue's lock.
    ///
    /// # Errors
    /// The store's or the spill's.
    pub fn read(&self, store: &dyn MessageStore) -> Result<Loaded, Error> {
        let mut loaded = Loaded {
            lane: self.lane,
            epoch: self.epoch,
            to: self.to,
            entries: Vec::new(),
            bytes: 0,
            end: End::Whole,
            done: None,
        };
        match &self.source {
            Source::Store => self.read_stored(store, &mut loaded)?,
            Source::Held(entries) => loaded.entries.extend(entries.iter().cloned()),
            Source::Spill(block) => block.read(&mut loaded.entries)?,
        }
        for entry in &mut loaded.entries {
            entry.lane = self.lane;
            loaded.bytes += entry.message.body_length();
        }
        Ok(loaded)
    }

    fn read_stored(&self, store: &dyn MessageStore, loaded: &mut Loaded) -> Result<(), Error> {
        let mut each = |stored: StoredMessage| {
            loaded.entries.push(restored(stored));
        };
        store.read(self.queue, self.from, self.to, self.most_bytes, &mut each)?;
        // Whatever the reason for which the store stopped early: there may be more.
        if let Some(last) = loaded.entries.last()
            && last.position < self.to
        {
            loaded.end = End::Partial(last.position);
        }
        Ok(())
    }
}

/// A stored message as it was before the queue forgot it.
pub(super) fn restored(stored: StoredMessage) -> Entry {
    Entry {
        counts: DeliveryCounts::from_bits(stored.delivery_count),
        stored: true,
        redelivered: stored.redelivered,
        ..Entry::new(stored.position, stored.message, stored.enqueued_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_costs_56_bytes() {
        assert_eq!(size_of::<Page>(), 56);
    }
}
