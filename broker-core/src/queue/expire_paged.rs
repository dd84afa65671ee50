//! How messages expire that lie on disk.
//!
//! What a page holds stays noted. When it is due it is read alone, on a reader thread, and taken out of its page: the
//! page knows one message less, and the lane remembers the gap (`leaving.rs`). What
//! falls due meanwhile waits, so the order of time is kept.
//!
//! Of a backlog nobody knows after a start what its messages say. If the store says that some of them may expire, the
//! reader threads look through it, a chunk at a time.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Queue, Work,
    effects::Effects,
    entry::{Entry, Millis},
    expirations::Due,
    expire::{Found, own_due},
    lane::Lane,
    page::{Loaded, Pages, Source, restored},
    row::Hint,
    state::QueueState,
};
use crate::{
    error::Error,
    store::{MessageStore, Position, QueueId, StoredMessage},
};

/// Most messages that are read at once because they have expired.
const MOST: usize = 256;

/// Stored messages that are not further from each other are read together.
const NEAR: u64 = 16;

/// What is due, in the order of time, from the first message on that lies on disk.
#[derive(Debug)]
pub struct Reading {
    number: u64,
    due: Vec<Due>,
}

/// Places of a backlog, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unscanned {
    queue: QueueId,
    lane: u8,
    from: Position,
    to: Position,
    /// A reader thread knows.
    pub(super) asked: bool,
}

/// What was found in a backlog.
#[derive(Debug)]
pub(super) struct Scanned {
    lane: u8,
    /// The last place.
    to: Position,
    due: Vec<Due>,
}

/// What is to be read because it has expired.
#[derive(Debug)]
pub struct Expired {
    queue: QueueId,
    lane: u8,
    number: u64,
    /// By rising position.
    places: Vec<(Position, Source)>,
}

impl Lane {
    /// Whether a place belongs to a message in a page.
    pub(super) fn is_paged(&self, position: Position) -> bool {
        let pages = self.pages.as_ref();
        let paged = pages.is_some_and(|pages| pages.source_of(position).is_some());
        paged && !self.leaving.contains(position)
    }

    /// Gathers what is due, from a message on that lies on disk.
    pub(super) fn begin_reading(&mut self, first: Due, limit: Millis) {
        let Some(expiring) = &mut self.expiring else {
            return;
        };
        let mut due = vec![first];
        while due.len() < MOST && expiring.notes.next().is_some_and(|(at, _)| at < limit) {
            due.extend(expiring.notes.take());
        }
        self.readings += 1;
        let number = self.readings;
        expiring.reading = Some(Reading { number, due });
    }

    /// What of it is to be read.
    fn expired_on_disk(&self) -> Option<Expired> {
        let reading = self.expiring.as_ref()?.reading.as_ref()?;
        let pages = self.pages.as_ref();
        let source = |(_, place): &Due| Some((*place, pages?.source_of(*place)?.clone()));
        let mut places: Vec<_> = reading.due.iter().filter_map(source).collect();
        places.sort_unstable_by_key(|(place, _)| *place);
        Some(Expired {
            queue: self.id(),
            lane: self.number,
            number: reading.number,
            places,
        })
    }

    /// Ends the reading with this number and says what was due.
    fn end_reading(&mut self, number: u64) -> Vec<Due> {
        let expiring = self.expiring.as_mut();
        let reading = expiring
            .and_then(|expiring| expiring.reading.take_if(|reading| reading.number == number));
        reading.map_or_else(Vec::new, |reading| reading.due)
    }

    /// Takes out what is due, wherever it is by now. If it lies on disk and was not asked for, because it was in memory
    /// then, it stays noted.
    fn take_due(&mut self, due: Due, asked: bool, read: Option<Entry>) -> Option<Entry> {
        match self.take_one(due.1, &mut Hint::default()) {
            Found::Here(entry) => Some(entry),
            Found::OnDisk => {
                if !asked {
                    self.expiring.get_or_insert_default().notes.add(due);
                }
                let entry = read?;
                self.take_from_page(&entry);
                Some(entry)
            }
            Found::Gone => None,
        }
    }

    /// Notes of what was loaded when it expires, if nobody has looked at it yet.
    pub(super) fn look_through(&mut self, loaded: &Loaded) {
        let expiring = self.expiring.as_ref();
        if expiring.is_some_and(|expiring| expiring.unscanned.is_some()) {
            let due = loaded.entries.iter().filter_map(own_due).collect();
            let (lane, to) = (self.number, loaded.reached());
            self.scanned(Scanned { lane, to, due });
        }
    }

    /// Notes what was found in a backlog.
    fn scanned(&mut self, seen: Scanned) {
        let Some(expiring) = &mut self.expiring else {
            return;
        };
        let Some(rest) = &mut expiring.unscanned else {
            return;
        };
        let from = rest.from;
        rest.from = rest.from.max(seen.to.saturating_add(1));
        if rest.from > rest.to {
            expiring.unscanned = None;
        }
        let new = seen.due.into_iter().filter(|(_, place)| *place >= from);
        new.for_each(|due| expiring.notes.add(due));
    }

    /// Begins to look through a backlog.
    pub(super) fn begin_scan(&mut self, from: Position, to: Position) {
        let unscanned = Unscanned {
            queue: self.id(),
            lane: self.number,
            from,
            to,
            asked: false,
        };
        let expiring = self.expiring.get_or_insert_default();
        expiring.unscanned = Some(unscanned);
    }
}

impl Pages {
    /// Where the page with this place is.
    fn source_of(&self, position: Position) -> Option<&Source> {
        let page = self.at(position)?;
        (page.first <= position).then_some(&page.source)
    }
}

impl Unscanned {
    /// Reads what comes next of the backlog. Takes its time, so never under a queue's lock.
    pub(super) fn read(
        &self,
        store: &dyn MessageStore,
        max_bytes: usize,
    ) -> Result<Scanned, Error> {
        let (mut due, mut last) = (Vec::new(), None);
        let mut each = |stored: StoredMessage| {
            let entry = restored(stored);
            last = Some(entry.position);
            due.extend(own_due(&entry));
        };
        store.read(self.queue, self.from, self.to, max_bytes, &mut each)?;
        let to = last.unwrap_or(self.to);
        let lane = self.lane;
        Ok(Scanned { lane, to, due })
    }
}

impl Scanned {
    /// Nothing, for what cannot be read.
    fn all_of(rest: &Unscanned) -> Self {
        Self {
            lane: rest.lane,
            to: rest.to,
            due: Vec::new(),
        }
    }
}

impl Expired {
    fn asks_for(&self, place: Position) -> bool {
        let found = self
            .places
            .binary_search_by_key(&place, |(other, _)| *other);
        found.is_ok()
    }

    fn restored(&self, stored: StoredMessage) -> Entry {
        Entry {
            lane: self.lane,
            ..restored(stored)
        }
    }

    /// Reads, by rising position, and as far as it can be read. Takes its time, so never under a queue's lock.
    pub(super) fn read(
        &self,
        store: &dyn MessageStore,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Error> {
        let near = |(a, s): &(Position, Source), (b, t): &(Position, Source)| match (s, t) {
            (Source::Store, Source::Store) => b - a <= NEAR,
            (Source::Held(s), Source::Held(t)) => Arc::ptr_eq(s, t),
            (Source::Spill(s), Source::Spill(t)) => Arc::ptr_eq(s, t),
            _ => false,
        };
        for places in self.places.chunk_by(near) {
            let (Some((from, source)), Some((to, _))) = (places.first(), places.last()) else {
                continue;
            };
            let wanted = |place: Position| places.binary_search_by_key(&place, |(p, _)| *p).is_ok();
            let mut each = |entry: Entry| entries.extend(wanted(entry.position).then_some(entry));
            match source {
                Source::Store => {
                    let mut each = |stored: StoredMessage| each(self.restored(stored));
                    store.read(self.queue, *from, *to, usize::MAX, &mut each)?;
                }
                Source::Held(held) => held.iter().cloned().for_each(&mut each),
                Source::Spill(block) => {
                    for (place, _) in places {
                        let read = block.read_expiring(*place)?;
                        entries.extend(read.map(|entry| Entry {
                            lane: self.lane,
                            ..entry
                        }));
                    }
                }
            }
        }
        Ok(())
    }
}

impl QueueState {
    /// The next part of a backlog of which nobody knows when it expires.
    pub(super) fn unscanned(&self) -> Option<Unscanned> {
        let mut lanes = self.lanes.occupied();
        lanes.find_map(|lane| lane.expiring.as_ref()?.unscanned)
    }

    /// Notes what was found in a backlog. The caller dispatches.
    pub(super) fn scanned(&mut self, seen: Scanned) {
        self.lanes.change(seen.lane, |lane| lane.scanned(seen));
    }

    /// What has expired and is to be read.
    pub(super) fn expired_on_disk(&self, lane: u8) -> Option<Expired> {
        self.lanes.get(lane)?.expired_on_disk()
    }

    /// Whether there is a backlog of which nobody knows when it expires, and nobody has been told to look.
    pub(super) fn begin_scan(&mut self) -> bool {
        let mut begins = false;
        if self.expires {
            self.lanes.for_each_occupied(|lane| {
                let expiring = lane.expiring.as_mut();
                if let Some(rest) = expiring.and_then(|expiring| expiring.unscanned.as_mut()) {
                    begins |= !std::mem::replace(&mut rest.asked, true);
                }
            });
        }
        begins
    }

    /// Drops or dead-letters what was due, in the order of time: what was in memory, and what was read.
    pub(super) fn expire_read(
        &mut self,
        expired: &Expired,
        read: Vec<Entry>,
        effects: &mut Effects,
    ) {
        let read = read.into_iter().map(|entry| (entry.position, entry));
        let mut read: BTreeMap<_, _> = read.collect();
        let due = self
            .lanes
            .change(expired.lane, |lane| lane.end_reading(expired.number));
        for due in due {
            let (asked, read) = (expired.asks_for(due.1), read.remove(&due.1));
            let taken = |lane: &mut Lane| lane.take_due(due, asked, read);
            if let Some(entry) = self.lanes.change(expired.lane, taken) {
                self.bury_expired(entry, effects);
            }
        }
    }
}

impl Queue {
    /// Reads what has expired on disk, and drops or dead-letters it.
    pub(crate) fn expire_on_disk(self: &Arc<Self>, lane: u8, now: Millis, work: &mut Work) {
        let Some(expired) = self.expired_on_disk(lane) else {
            return;
        };
        let mut read = Vec::new();
        if let Err(error) = expired.read(&*self.store, &mut read) {
            tracing::error!("{}", self.damage_text(&error));
        }
        self.change(now, work, |state, effects| {
            state.expire_read(&expired, read, effects);
            state.dispatch(now, effects);
        });
    }

    fn expired_on_disk(&self, lane: u8) -> Option<Expired> {
        self.state.lock().expired_on_disk(lane)
    }

    /// Lets everything expire that is due, in slices, also what lies on disk.
    pub(super) fn expire_all(self: &Arc<Self>, now: Millis, work: &mut Work) {
        self.expire_pages(now, work);
        loop {
            let (more, reading) = self.change(now, work, |state, effects| {
                state.expire(now, effects);
                let reading = state.lanes.occupied().find(|lane| lane.is_reading());
                (state.is_overdue(), reading.map(|lane| lane.number))
            });
            match reading {
                Some(lane) => self.expire_on_disk(lane, now, work),
                None if more => {}
                None => return,
            }
        }
    }

    /// Looks through a backlog for messages that expire.
    pub(crate) fn scan(self: &Arc<Self>, now: Millis, work: &mut Work) {
        while let Some(rest) = self.unscanned() {
            let seen = match rest.read(&*self.store, self.pager.chunk()) {
                Ok(seen) => seen,
                Err(error) => {
                    tracing::error!("{}", self.damage_text(&error));
                    Scanned::all_of(&rest)
                }
            };
            self.change(now, work, |state, effects| {
                state.scanned(seen);
                state.dispatch(now, effects);
            });
        }
    }

    fn unscanned(&self) -> Option<Unscanned> {
        self.state.lock().unscanned()
    }
}
