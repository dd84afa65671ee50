//! Messages that leave a queue from the middle: an operator moves them, or they expire before others.
//!
//! Consumers take messages from the front, so what lies on disk only was never delivered and a page holds all of its
//! range. A message that leaves from the middle makes a gap in that range. Its record stays in the store until the batch
//! is written that settles it, and in a block of the spill for good; so the lane remembers what has left as long as a
//! page might bring it back. That costs a bit for each place.

use std::sync::Arc;

use super::{
    Places, Queue, Work,
    entry::{Entry, Millis},
    lane::Lane,
    page::{Loaded, Page},
    places::PlaceSet,
    row::Row,
    state::QueueState,
};
use crate::{
    message::Message,
    store::{Position, Ticket},
};

/// So many words of places are kept until the front of the queue has passed them: 64 KiB.
const KEPT_WORDS: usize = 4096;

/// The places of a lane whose messages have left and may still be read.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    left: PlaceSet,
    /// Some of them are in blocks of the spill.
    in_blocks: bool,
    /// How many were taken out whose batch is not made yet.
    unsettled: usize,
    /// The last batch that settles some of them.
    settled: Ticket,
}

impl Leaving {
    /// Whether the message of this place has left.
    pub(super) fn contains(&self, position: Position) -> bool {
        self.left.contains(position)
    }

    /// Notes a message that leaves now. Also one that was in memory alone: somebody who has looked at it earlier must not
    /// take it out of a page that is made of its neighbours.
    pub(super) fn add(&mut self, entry: &Entry, in_block: bool) {
        self.left.insert(entry.position);
        self.in_blocks |= in_block;
    }

    /// Notes the batch that settles `count` messages which were taken out.
    fn settled(&mut self, count: usize, ticket: Ticket) {
        self.unsettled = self.unsettled.saturating_sub(count);
        self.settled = self.settled.max(ticket);
    }

    /// Whether there are messages that have left the queue and not yet the store.
    pub(super) fn is_settling(&self) -> bool {
        self.unsettled > 0
    }

    /// Whether nothing that has left can be read.
    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether so many places are remembered that it is worth while to look which can be forgotten.
    fn is_large(&self) -> bool {
        self.left.words() >= KEPT_WORDS
    }

    /// The places from `from` to `to`.
    pub(super) fn range(&self, from: Position, to: Position) -> impl Iterator<Item = Position> {
        self.left.range(from, to)
    }

    /// Nothing at or before this place can be read any more.
    pub(super) fn passed(&mut self, last: Position) {
        self.left.forget_before(last.saturating_add(1));
    }

    /// Takes out of what was read whatever has left.
    pub(super) fn take_out_of(&self, loaded: &mut Loaded) {
        if !self.left.is_empty() {
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
                Some(entry) => {
                    self.forget_returned(&entry);
                    out.entries.push(entry);
                }
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
        self.leaving.unsettled += out.entries.len();
        self.forget_stale_notes();
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

    /// Takes one message that was read out of its page.
    pub(super) fn take_from_page(&mut self, entry: &Entry) -> Option<Page> {
        let gap = self.pages.as_mut()?.take_out(entry)?;
        self.ready_bytes -= gap.bytes;
        self.leaving.add(entry, gap.in_block);
        if !gap.empty {
            return None;
        }
        let mut removed = Vec::new();
        let pages = self.pages.as_mut()?;
        pages.remove_empty(&mut removed);
        if pages.is_empty() {
            self.join_tail();
        }
        self.epoch += 1;
        self.forget_stale_notes();
        removed.pop()
    }

    /// Notes the batch that settles `count` messages which [`Self::take_out`] has given.
    pub(super) fn settled(&mut self, count: usize, ticket: Ticket) {
        self.leaving.settled(count, ticket);
    }

    /// Forgets what has left and cannot be read any more, when the store's last durable ticket is `durable`. Until that
    /// is much it stays, for whoever has looked at it.
    pub(super) fn forget_left(&mut self, durable: Ticket) {
        let leaving = &mut self.leaving;
        let few = !leaving.is_large();
        if few || leaving.is_settling() || leaving.settled > durable {
            return;
        }
        if self.pages.is_some() {
            if leaving.in_blocks {
                return;
            }
            // What is being read now may have been read before.
            self.epoch += 1;
        }
        leaving.left = PlaceSet::default();
        leaving.in_blocks = false;
    }
}

impl QueueState {
    /// Forgets what has left from the middle of the queue and cannot be read any more. `buried` is the batch with which
    /// the last dead letter has left, and `durable` the store's last durable ticket.
    pub(super) fn forget_left(&mut self, buried: Ticket, durable: Ticket) {
        if self.settled.max(buried) <= durable {
            self.lanes
                .for_each_occupied(|lane| lane.forget_left(durable));
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
        let out = self.change(now, work, |state, effects| {
            if state.is_deleted() {
                return TakenOut::default();
            }
            state.expires = true;
            let out = state.lanes.change(lane, |lane| lane.take_out(wanted));
            // Others may have come to the front, or be on disk with nobody at it any more to read them.
            state.dispatch(now, effects);
            out
        });
        out.entries
    }

    /// Notes that messages which were taken out are settled by the batch `ticket` or an earlier one.
    pub(crate) fn note_left(&self, lane: u8, left: &[Entry], ticket: Ticket) {
        let mut state = self.state.lock();
        state.lanes.get_mut(lane).settled(left.len(), ticket);
    }

    /// Forgets what has left from the middle and cannot be read any more.
    pub(crate) fn forget_left(&self) {
        let mut state = self.state.lock();
        if let Some(buried) = self.dying.last_ticket() {
            state.forget_left(buried, self.store.durable());
        }
    }

    /// The same if there is much of it: what a full queue has refused adds to it as long as nobody takes anything.
    pub(super) fn forget_much_left(&self, state: &mut QueueState) {
        let large = |state: &QueueState| state.lanes.occupied().any(|it| it.leaving.is_large());
        if state.expires
            && large(state)
            && let Some(buried) = self.dying.last_ticket()
        {
            state.forget_left(buried, self.store.durable());
        }
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
                let place = state.next_place(message, &mut places);
                state.insert_moved(place, message.clone(), now, effects);
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
    entries
        .iter()
        .map(|entry| entry.message.body_length())
        .sum()
}
