//! The messages of a queue in one order: what was published first comes first.
//!
//! Messages lie in two places. `ready` holds those that were never delivered, in publishing order. `returned` holds
//! those that came back. Whatever came back was once taken from the front of `ready`, so all of `returned` precedes all
//! of `ready`, and a message comes back to its original position without moving the others. Unacknowledged deliveries
//! are kept by the channels that owe an answer for them.
//!
//! When memory is short, and after a start, a part of the lane lies on disk only: behind `ready` come the
//! [`pages`](super::page), which end in a tail in memory. `page_out.rs` says what may be forgotten, `page_in.rs` how it
//! comes back. Without pages nothing of that costs anything.
//!
//! A lane knows no limits, no consumers and no time: those are the queue's ([`QueueState`](super::QueueState)).

use std::collections::{BTreeMap, VecDeque};

use super::{
    Millis, delayed::Delayed, effects::Effects, entry::Entry, entry::NEVER, expire::Expiring,
    leaving::Leaving, page::Pages, row::Row,
};
use crate::store::{Operation, Position, QueueId, Ticket};

/// How often a message may come back before it lets another one go first each time. As often as a quorum queue lets it
/// fail.
const PATIENCE: u16 = 20;

/// Room for reserved places that a lane keeps.
const KEPT_RESERVED: usize = 64;

/// One order of messages, and the places in it.
#[derive(Debug)]
pub struct Lane {
    /// What the store knows its queue by.
    queue: QueueId,
    /// Which of the queue's lanes it is.
    pub(super) number: u8,
    /// By rising position.
    pub(super) ready: Row,
    pub(super) returned: BTreeMap<Position, Entry>,
    /// What follows `ready`, once something lies on disk only.
    pub(super) pages: Option<Box<Pages>>,
    /// Moves whenever the first page begins elsewhere than before: what was read under another one is not what comes
    /// next.
    pub(super) epoch: u64,
    /// Bytes of all bodies that wait, on disk or not.
    pub(super) ready_bytes: usize,
    pub(super) next_position: Position,
    /// Places that were set aside and are not taken yet, by rising position.
    pub(super) reserved: VecDeque<Position>,
    /// First places of messages whose records went to the store after those of later places, with the ticket that they
    /// are written with.
    late: VecDeque<(Position, Ticket)>,
    /// The latest position that was ever taken out of `ready`. At or before it, what waits has delivered messages
    /// between it.
    pub(super) taken: Position,
    /// What an operator has moved away and may still be read.
    pub(super) leaving: Leaving,
    /// The place of the message that was taken last, if it has come back so often that it gives way; else 0.
    gives_way: Position,
    /// No message gives way.
    keeps_order: bool,
    /// Places from here on are of messages that have entered and may have to be noted in `expiring`, if they stay.
    pub(super) fresh: Position,
    /// What is known of messages that expire by their own word, once one of them has stayed.
    pub(super) expiring: Option<Box<Expiring>>,
    /// How often expired messages were asked for that lie on disk. It never falls: a reader that was asked before
    /// everything was forgotten must not end a later reading.
    pub(super) readings: u64,
}

impl Lane {
    /// An empty lane of a queue.
    pub(super) fn new(queue: QueueId, number: u8) -> Self {
        Self {
            queue,
            number,
            ready: Row::default(),
            returned: BTreeMap::new(),
            pages: None,
            epoch: 0,
            ready_bytes: 0,
            next_position: 1,
            reserved: VecDeque::new(),
            late: VecDeque::new(),
            taken: 0,
            leaving: Leaving::default(),
            gives_way: 0,
            keeps_order: false,
            fresh: Position::MAX,
            expiring: None,
            readings: 0,
        }
    }

    /// An empty lane of the same queue, of a higher priority.
    pub(super) fn above(&self, number: u8) -> Self {
        Self {
            keeps_order: self.keeps_order,
            ..Self::new(self.queue, number)
        }
    }

    /// Lets no message give way: whoever has one consumer at a time wants the order above all, and has a delivery limit
    /// for what always fails.
    pub(super) fn keep_order(&mut self) {
        self.keeps_order = true;
    }

    /// What the store knows it by.
    pub(super) fn id(&self) -> QueueId {
        self.queue.lane(self.number)
    }

    /// Messages that wait, on disk or not.
    pub(super) fn count(&self) -> usize {
        let paged = self.pages.as_ref().map_or(0, |p| p.count + p.tail.len());
        self.ready.len() + self.returned.len() + paged
    }

    /// Messages that lie on disk only.
    pub(super) fn paged(&self) -> usize {
        self.pages.as_ref().map_or(0, |pages| pages.count)
    }

    /// The next place at the end.
    pub(super) fn take_position(&mut self) -> Position {
        let position = self.next_position;
        self.next_position += 1;
        position
    }

    /// Sets a place aside.
    pub(super) fn reserve(&mut self) -> Position {
        let position = self.take_position();
        self.reserved.push_back(position);
        position
    }

    /// Sets `count` places aside that follow each other, and returns the first.
    pub(super) fn reserve_row(&mut self, count: usize) -> Position {
        let first = self.next_position;
        self.next_position += count as u64;
        self.reserved.extend(first..self.next_position);
        first
    }

    /// Those who reserve insert in the same order, mostly: the place is found at the front.
    pub(super) fn unreserve(&mut self, position: Position) {
        if let Ok(index) = self.reserved.binary_search(&position) {
            self.reserved.remove(index);
        }
        if self.reserved.is_empty() {
            self.reserved.shrink_to(KEPT_RESERVED);
        }
    }

    /// Notes that messages come to `count` places from `first` on whose records are in the store with `ticket`. If other
    /// messages have entered behind them meanwhile, the store may have written those before. `durable` says what the
    /// store's last durable ticket is.
    pub(super) fn note_records(
        &mut self,
        first: Position,
        count: usize,
        ticket: Ticket,
        durable: impl FnOnce() -> Ticket,
    ) {
        if first.saturating_add(count as u64) < self.next_position {
            self.forget_late(durable());
            self.late.push_back((first, ticket));
        }
    }

    /// How far the store can read without a gap, when it has `written` what is there and its last durable ticket is
    /// what `durable` says.
    pub(super) fn readable(
        &mut self,
        written: Position,
        durable: impl FnOnce() -> Ticket,
    ) -> Position {
        if self.late.is_empty() {
            return written;
        }
        self.forget_late(durable());
        let late = self.late.iter().map(|(first, _)| first.saturating_sub(1));
        late.fold(written, Position::min)
    }

    fn forget_late(&mut self, durable: Ticket) {
        self.late.retain(|(_, ticket)| *ticket > durable);
    }

    /// Puts a message at the end.
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        self.enters(&entry);
        let bytes = entry.message.body_length();
        self.ready_bytes += bytes;
        match &mut self.pages {
            None => self.ready.push_back(entry),
            Some(pages) => {
                pages.tail_bytes += bytes;
                pages.tail.push_back(entry);
            }
        }
    }

    /// Puts a message where its position belongs: later ones may have entered since the place was reserved. Nothing is
    /// paged out beyond a reserved place, so it never belongs into a page.
    pub(super) fn push_in_order(&mut self, entry: Entry) {
        let bytes = entry.message.body_length();
        self.ready_bytes += bytes;
        let row = match &self.pages {
            None => &self.ready,
            Some(pages) => &pages.tail,
        };
        match row.back() {
            Some(last) if last.position > entry.position => self.note(&entry),
            _ => self.enters(&entry),
        }
        match &mut self.pages {
            None => self.ready.insert(entry),
            Some(pages) => {
                pages.tail_bytes += bytes;
                pages.tail.insert(entry);
            }
        }
    }

    /// Brings a delivery back to its place.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.ready_bytes += entry.message.body_length();
        self.note_returned(&entry);
        self.returned.insert(entry.position, entry);
    }

    /// The first message, `None` also when it lies on disk.
    #[inline]
    pub(super) fn front(&self) -> Option<&Entry> {
        match self.next_returned() {
            Some(position) => self.returned.get(&position),
            None => self.ready.front(),
        }
    }

    /// When the first message entered, or an earlier moment where it lies on disk.
    pub(super) fn first_entered(&self) -> Option<Millis> {
        let in_memory = self.front().map(|entry| entry.entered);
        let on_disk = || Some(self.pages.as_ref()?.first()?.oldest);
        in_memory.or_else(on_disk).filter(|at| *at != NEVER)
    }

    /// The place of the first message that came back, unless it gives way and others wait. A message that comes back for
    /// ever must not be all that consumers get: once it has come back [`PATIENCE`] times, each time that it was delivered
    /// one that stands behind it comes next. Several such messages take turns.
    #[inline]
    fn next_returned(&self) -> Option<Position> {
        let first = *self.returned.first_key_value()?.0;
        if first > self.gives_way {
            return Some(first);
        }
        let mut behind = self.returned.range(self.gives_way + 1..);
        match behind.next() {
            Some((position, _)) => Some(*position),
            None => self.ready.is_empty().then_some(first),
        }
    }

    /// Whether the lane has only messages that give way, so that a lower lane comes next.
    pub(super) fn gives_way(&self) -> bool {
        self.gives_way > 0
            && self.ready.is_empty()
            && self.pages.is_none()
            && self.returned.range(self.gives_way + 1..).next().is_none()
    }

    /// Ends its giving way: another lane had its turn.
    pub(super) fn has_given_way(&mut self) {
        self.gives_way = 0;
    }

    /// Brings the next [`AHEAD`](super::row::AHEAD) messages into the processor's cache.
    pub(super) fn fetch_ahead(&self) {
        self.ready.fetch_ahead();
    }

    /// Takes the first message, unless it lies on disk.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = match self.next_returned() {
            Some(position) => self.take_returned(position)?,
            None => self.pop_ready()?,
        };
        let gives_way = entry.counts.acquired >= PATIENCE && !self.keeps_order;
        self.gives_way = if gives_way { entry.position } else { 0 };
        Some(entry)
    }

    /// Takes the first message of those that came back, whoever gives way.
    pub(super) fn pop_returned(&mut self) -> Option<Entry> {
        let position = *self.returned.keys().next()?;
        self.take_returned(position)
    }

    fn take_returned(&mut self, position: Position) -> Option<Entry> {
        let entry = self.returned.remove(&position)?;
        self.ready_bytes -= entry.message.body_length();
        self.forget_returned(&entry);
        Some(entry)
    }

    /// Takes the first message of those that were never delivered, unless it lies on disk.
    #[inline]
    pub(super) fn pop_ready(&mut self) -> Option<Entry> {
        let entry = self.ready.pop_front()?;
        let bytes = entry.message.body_length();
        self.taken = self.taken.max(entry.position);
        self.ready_bytes -= bytes;
        if let Some(pages) = &mut self.pages {
            pages.front_bytes -= bytes;
        }
        if self.expiring.is_some() {
            self.forget_stale_notes();
        }
        Some(entry)
    }

    /// Takes everything that waits out of the lane, and with `durable` out of the store. Its memory goes to `garbage`.
    pub(super) fn purge(
        &mut self,
        durable: bool,
        elsewhere: Elsewhere,
        effects: &mut Effects,
        garbage: &mut Garbage,
    ) {
        if durable {
            self.settle_returned(elsewhere, effects);
            self.settle_ready(elsewhere.in_flight, effects);
        }
        self.clear(garbage);
    }

    /// Takes everything that came back out of the store: as one range, if nobody holds or awaits what lies between.
    fn settle_returned(&self, elsewhere: Elsewhere, effects: &mut Effects) {
        let ends = (
            self.returned.first_key_value(),
            self.returned.last_key_value(),
        );
        let (Some((&first, _)), Some((&last, _))) = ends else {
            return;
        };
        let held = elsewhere.unacknowledged || elsewhere.in_flight || self.leaving.is_settling();
        let awaited = self.reserved.front().is_some_and(|&place| place < last);
        if held || awaited {
            let returned = self.returned.values();
            let settled = returned.filter_map(|entry| entry.settlement(self.queue));
            effects.operations.extend(settled);
        } else {
            effects.operations.push(Operation::SettleRange {
                queue: self.id(),
                from: first,
                to: last,
            });
        }
    }

    /// Forgets everything that waits. Its memory goes to `garbage`.
    pub(super) fn clear(&mut self, garbage: &mut Garbage) {
        if self.count() > 0 {
            garbage.lanes.push(Held {
                _ready: std::mem::take(&mut self.ready),
                _returned: std::mem::take(&mut self.returned),
                _pages: self.pages.take(),
                _expiring: self.expiring.take(),
            });
        }
        self.forget_all_notes();
        self.epoch += 1;
        self.ready_bytes = 0;
    }

    /// Takes everything that was never delivered out of the store. Up to the latest place that was ever delivered,
    /// that is message by message (few came late to reserved places there); behind it everything waits here but what
    /// is to take a reserved place, so it is one range and one more for each of those. What has left from the
    /// middle and not yet from the store is spared too.
    fn settle_ready(&mut self, in_flight: bool, effects: &mut Effects) {
        let taken = self.taken;
        let settled = self.ready.iter().take_while(|e| e.position <= taken);
        effects
            .operations
            .extend(settled.filter_map(|e| e.settlement(self.queue)));
        let Some(last) = self.last_position().filter(|&last| last > self.taken) else {
            return;
        };
        let id = self.id();
        let mut range = |from, to| {
            if from <= to {
                let queue = id;
                let range = Operation::SettleRange { queue, from, to };
                effects.operations.push(range);
            }
        };
        // What has left the middle before the first that waits may still be on its way to a dead-letter exchange.
        let mut from = self.first_undelivered().max(self.taken + 1);
        if let Some(first) = self.ready.iter_from(from).next() {
            from = from.max(first.position);
        }
        let mut spared: Vec<_> = self.reserved.iter().copied().collect();
        if in_flight || self.leaving.is_settling() {
            spared.extend(self.leaving.range(from, last));
            spared.sort_unstable();
        }
        for place in spared {
            if (from..=last).contains(&place) {
                range(from, place.saturating_sub(1));
                from = place + 1;
            }
        }
        range(from, last);
    }

    /// The last place of all that was never delivered.
    fn last_position(&self) -> Option<Position> {
        let paged = self.pages.as_ref();
        let tail = paged.and_then(|p| Some(p.tail.back()?.position));
        tail.or_else(|| paged.and_then(|p| p.last_position()))
            .or_else(|| Some(self.ready.back()?.position))
    }
}

/// Where messages of a queue are that do not wait in it. The store still has them.
#[derive(Debug, Clone, Copy)]
pub struct Elsewhere {
    /// Some are with consumers.
    pub unacknowledged: bool,
    /// Some are still on their way to a dead-letter exchange.
    pub in_flight: bool,
}

/// Messages that were taken out in bulk; dropping it gives their memory back.
#[derive(Debug, Default)]
pub struct Garbage {
    lanes: Vec<Held>,
    _delayed: Option<Box<Delayed>>,
}

impl Garbage {
    /// Adds what waits for its next try.
    pub(super) fn take_delayed(&mut self, delayed: &mut Option<Box<Delayed>>) {
        self._delayed = delayed.take();
    }
}

/// What one lane held.
#[derive(Debug)]
struct Held {
    _ready: Row,
    _returned: BTreeMap<Position, Entry>,
    _pages: Option<Box<Pages>>,
    _expiring: Option<Box<Expiring>>,
}
