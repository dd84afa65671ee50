//! Messages that leave a queue from the middle, because an operator moves them.
//!
//! Consumers take messages from the front, so what lies on disk only was never delivered and a page holds all of its
//! range. A message that is moved leaves a gap in that range. Its record stays in the store until the batch is written
//! that moves it, and in a block of the spill for good; so the lane remembers what has left as long as a page that is
//! read might bring it back.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Places, Queue, Work,
    entry::{Entry, Millis},
    lane::Lane,
    page::{Loaded, Page},
    row::Row,
};
use crate::{
    message::Message,
    store::{Position, Ticket},
};

/// The places of a lane whose messages have left and may still be read.
#[derive(Debug, Default)]
pub(super) struct Leaving(BTreeMap<Position, Trace>);

/// Where a message that has left can still be read.
#[derive(Debug)]
struct Trace {
    /// In a block of the spill, until the queue has come past it.
    in_block: bool,
    /// In the store, until this batch is written; `None` as long as there is no batch.
    settled: Option<Ticket>,
}

impl Leaving {
    /// Whether the message of this place has left.
    pub(super) fn contains(&self, position: Position) -> bool {
        self.0.contains_key(&position)
    }

    /// Notes a message that is taken out now.
    fn add(&mut self, entry: &Entry, in_block: bool) {
        let settled = (!entry.stored).then_some(Ticket::NONE);
        if in_block || settled.is_none() {
            let trace = Trace { in_block, settled };
            self.0.insert(entry.position, trace);
        }
    }

    /// Notes the batch that settles messages which were taken out.
    fn settled(&mut self, positions: impl Iterator<Item = Position>, ticket: Ticket) {
        for position in positions {
            if let Some(trace) = self.0.get_mut(&position) {
                trace.settled = Some(trace.settled.unwrap_or(ticket));
            }
        }
    }

    /// Forgets what cannot be read any more.
    fn forget(&mut self, durable: Ticket) -> bool {
        let before = self.0.len();
        self.0.retain(|_, trace| {
            let written = trace.settled.is_some_and(|ticket| ticket <= durable);
            trace.in_block || !written
        });
        self.0.len() < before
    }

    /// The queue has come past the blocks up to this place, for [`Position::MAX`] past all of them.
    pub(super) fn passed(&mut self, last: Position) {
        let passed = self.0.range_mut(..=last);
        passed.for_each(|(_, trace)| trace.in_block = false);
        self.0
            .retain(|_, trace| trace.in_block || trace.settled != Some(Ticket::NONE));
    }

    /// Takes out of what was read whatever has left.
    pub(super) fn take_out_of(&self, loaded: &mut Loaded) {
        if !self.0.is_empty() {
            loaded.retain(|entry| !self.contains(entry.position));
        }
    }
}

/// Messages that were taken out, and what is to be dropped without the lock.
#[derive(Debug, Default)]
pub(super) struct TakenOut {
    /// The messages, by rising position.
    pub(super) entries: Vec<Entry>,
    /// Pages of which nothing is left.
    pub(super) pages: Vec<Page>,
}

impl Lane {
    /// Takes those of `wanted` out that still wait, wherever they are by now. `wanted` was read from this lane and is in
    /// the order of positions. The others keep their places.
    pub(super) fn take_out(&mut self, wanted: Vec<Entry>) -> TakenOut {
        let mut out = TakenOut::default();
        let mut rest = Vec::with_capacity(wanted.len());
        for entry in wanted {
            match self.returned.remove(&entry.position) {
                Some(entry) => out.entries.push(entry),
                None if self.leaving.contains(entry.position) => {}
                None => rest.push(entry),
            }
        }
        let mut in_memory = take_from(&mut self.ready, &rest);
        if let Some(pages) = &mut self.pages {
            pages.front_bytes -= bytes(&in_memory);
            let mut tail = take_from(&mut pages.tail, &rest);
            pages.tail_bytes -= bytes(&tail);
            in_memory.append(&mut tail);
        }
        out.entries.append(&mut in_memory);
        self.ready_bytes -= bytes(&out.entries);
        for entry in &out.entries {
            self.leaving.add(entry, false);
        }
        self.take_out_of_pages(rest, &mut out);
        out.entries.sort_unstable_by_key(|entry| entry.position);
        out
    }

    fn take_out_of_pages(&mut self, wanted: Vec<Entry>, out: &mut TakenOut) {
        let Some(pages) = &mut self.pages else { return };
        for entry in wanted {
            let Some(gap) = pages.take_out(&entry) else {
                continue;
            };
            self.ready_bytes -= gap.bytes;
            self.leaving.add(&entry, gap.in_block);
            out.entries.push(entry);
        }
        pages.remove_empty(&mut out.pages);
        if pages.is_empty() {
            self.join_tail();
        }
        // What is being read now was read before.
        self.epoch += 1;
    }

    /// Notes the batch that settles messages which [`Self::take_out`] has given.
    pub(super) fn settled(&mut self, positions: impl Iterator<Item = Position>, ticket: Ticket) {
        self.leaving.settled(positions, ticket);
    }

    /// Forgets what has left and cannot be read any more, when the store's last durable ticket is `durable`.
    pub(super) fn forget_left(&mut self, durable: Ticket) {
        if self.leaving.forget(durable) {
            // What is being read now may have been read before.
            self.epoch += 1;
        }
    }
}

impl Queue {
    /// Takes those of `wanted` out that still wait in a lane, and are to go elsewhere. They were read from there and are
    /// in the order of positions. To be followed by [`Self::note_left`].
    pub(crate) fn take_out(
        self: &Arc<Self>,
        lane: u8,
        wanted: Vec<Entry>,
        now: Millis,
        work: &mut Work,
    ) -> Vec<Entry> {
        let out = self.change(now, work, |state, _effects| match state.is_deleted() {
            true => TakenOut::default(),
            false => state.lanes.change(lane, |lane| lane.take_out(wanted)),
        });
        out.entries
    }

    /// Notes that messages which were taken out are settled by the batch `ticket` or an earlier one.
    pub(crate) fn note_left(&self, lane: u8, left: &[Entry], ticket: Ticket) {
        let positions = left.iter().map(|entry| entry.position);
        let mut state = self.state.lock();
        state.lanes.get_mut(lane).settled(positions, ticket);
    }

    /// Forgets what has left and cannot be read any more.
    pub(crate) fn forget_left(&self, lane: u8) {
        let durable = self.store.durable();
        self.state.lock().lanes.get_mut(lane).forget_left(durable);
    }

    /// Whether a message has expired and only waits to come to the front.
    pub(crate) fn has_expired(&self, entry: &Entry, now: Millis) -> bool {
        self.state.lock().limits.expiry(entry) <= now
    }

    /// When a message expires, [`NEVER`](super::NEVER) if it does not.
    pub fn expiry_of(&self, entry: &Entry) -> Millis {
        self.state.lock().limits.expiry(entry)
    }

    /// Puts messages that were moved here at the places that [`Self::reserve_row`] has set aside for them, after the batch
    /// with their records was appended. A full queue takes them too.
    pub(crate) fn insert_moved(
        self: &Arc<Self>,
        mut places: Places,
        messages: &[Message],
        now: Millis,
        work: &mut Work,
    ) {
        let ticket = work.ticket;
        self.change(now, work, |state, effects| {
            state.note_records(&places, ticket, &|| self.store.durable());
            for message in messages {
                let position = state.next_place(message, &mut places);
                state.insert_moved(position, message.clone(), now, effects);
            }
            state.end_run(now, effects);
        });
        self.make_room(now, work);
    }
}

/// Takes those of `wanted` out of a row that are in it.
fn take_from(row: &mut Row, wanted: &[Entry]) -> Vec<Entry> {
    let places = wanted.iter().map(|entry| entry.position);
    places.filter_map(|position| row.remove(position)).collect()
}

fn bytes(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.message.body().len()).sum()
}
