//! When the messages of a lane expire that say so themselves, wherever they stand.
//!
//! The queue's own time to live needs no index: messages enter in the order of time, so the first one is the first to
//! expire. A message's own `expiration` may end anywhere, so each message that has one and stays in the queue is noted
//! here; one that is delivered at once never is.
//!
//! Notes are gathered in chunks, by rising place: within a chunk eight bytes hold the moment and the place, in a heap.
//! So a million of them cost eight megabytes, and when the front of the queue has passed a chunk, all its notes go
//! at once: nobody looks for the note of a message that is delivered. Messages that came back are few and have an
//! ordered set of their own, without notes that have lost their sense.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
};

use super::entry::Millis;
use crate::store::Position;

/// Most notes of a chunk.
const CHUNK: usize = 256 * 1024;

/// Bits of a note that say the place.
const PLACE_BITS: u32 = 24;

/// Places before a chunk's first that it takes too: some messages come late to reserved places.
const EARLIER: u64 = 1 << 20;

/// Milliseconds before the moment of a chunk's first note that it takes too: half of what a note can say, 17 years.
const SOONER: u64 = 1 << 39;

/// So many notes may have lost their sense whatever the length of the queue.
const KEPT_STALE: usize = 256;

/// A moment and a place.
pub type Due = (Millis, Position);

/// The notes of one lane.
#[derive(Debug, Default)]
pub struct Expirations {
    /// Of messages that were never delivered, by rising places, mostly. Notes may be of messages that are gone.
    chunks: Vec<Chunk>,
    /// How many notes there are in chunks.
    count: usize,
    /// The earliest note in chunks, and the chunk's index.
    earliest: Option<(Due, usize)>,
    /// Of messages that came back; exact.
    returned: BTreeSet<Due>,
}

#[derive(Debug)]
struct Chunk {
    /// Places and moments count from here.
    base: Due,
    /// The lowest place.
    first: Position,
    /// The highest place.
    last: Position,
    /// Milliseconds after the base's moment above, places behind the base's below.
    notes: BinaryHeap<Reverse<u64>>,
}

impl Chunk {
    fn starting_with((at, position): Due) -> Self {
        Self {
            base: (at.saturating_sub(SOONER), position.saturating_sub(EARLIER)),
            first: position,
            last: position,
            notes: BinaryHeap::new(),
        }
    }

    fn pack(&self, (at, position): Due) -> Option<u64> {
        let place = position.checked_sub(self.base.1)?;
        let after = at.checked_sub(self.base.0)?;
        let fits = place < 1 << PLACE_BITS && after < 1 << (u64::BITS - PLACE_BITS);
        fits.then_some(after << PLACE_BITS | place)
    }

    fn unpack(&self, note: u64) -> Due {
        let place = note & ((1 << PLACE_BITS) - 1);
        (self.base.0 + (note >> PLACE_BITS), self.base.1 + place)
    }

    /// Takes a note if there is room and it can be said.
    fn take(&mut self, due: Due) -> bool {
        if self.notes.len() >= CHUNK {
            return false;
        }
        let Some(note) = self.pack(due) else {
            return false;
        };
        self.notes.push(Reverse(note));
        self.first = self.first.min(due.1);
        self.last = self.last.max(due.1);
        true
    }

    fn earliest(&self) -> Option<Due> {
        self.notes.peek().map(|Reverse(note)| self.unpack(*note))
    }
}

impl Expirations {
    /// Notes a message that was never delivered.
    pub(super) fn add(&mut self, due: Due) {
        if !self.chunks.last_mut().is_some_and(|last| last.take(due)) {
            let mut chunk = Chunk::starting_with(due);
            chunk.take(due);
            self.chunks.push(chunk);
        }
        self.count += 1;
        if self.earliest.is_none_or(|(earliest, _)| due < earliest) {
            self.earliest = Some((due, self.chunks.len() - 1));
        }
    }

    /// Notes a message that came back.
    pub(super) fn add_returned(&mut self, due: Due) {
        self.returned.insert(due);
    }

    /// Forgets a message that came back, for it leaves again.
    pub(super) fn remove_returned(&mut self, due: Due) {
        self.returned.remove(&due);
    }

    /// The earliest note. The message may be gone.
    pub(super) fn next(&self) -> Option<Due> {
        let returned = self.returned.first().copied();
        match (self.earliest, returned) {
            (Some((due, _)), Some(returned)) => Some(due.min(returned)),
            (Some((due, _)), None) => Some(due),
            (None, returned) => returned,
        }
    }

    /// Takes the earliest note.
    pub(super) fn take(&mut self) -> Option<Due> {
        let returned = self.returned.first();
        let Some((due, index)) = self.earliest else {
            return self.returned.pop_first();
        };
        if returned.is_some_and(|returned| *returned < due) {
            return self.returned.pop_first();
        }
        if let Some(chunk) = self.chunks.get_mut(index) {
            chunk.notes.pop();
            self.count -= 1;
            if chunk.notes.is_empty() {
                self.chunks.remove(index);
            }
        }
        self.find_earliest();
        Some(due)
    }

    /// A hundred million notes are 400 chunks: few enough to look at each.
    fn find_earliest(&mut self) {
        let chunks = self.chunks.iter().enumerate();
        let earliest = chunks.filter_map(|(index, chunk)| Some((chunk.earliest()?, index)));
        self.earliest = earliest.min();
    }

    /// Drops what is known to be gone: `front` is the first place of all that were never delivered, and there are
    /// `waiting` of those. Touches few chunks, and those seldom.
    pub(super) fn prune(&mut self, front: Position, waiting: usize) {
        let passed = |chunk: &Chunk| chunk.last < front;
        let stale = self.count > 2 * waiting + KEPT_STALE;
        if !stale && !self.chunks.first().is_some_and(passed) {
            return;
        }
        for chunk in &mut self.chunks {
            let first = chunk.base.1;
            if passed(chunk) {
                chunk.notes.clear();
            } else if stale && chunk.first < front {
                let from = front.saturating_sub(first);
                let place = |note: u64| note & ((1 << PLACE_BITS) - 1);
                chunk.notes.retain(|Reverse(note)| place(*note) >= from);
                chunk.notes.shrink_to(KEPT_STALE.max(2 * chunk.notes.len()));
                chunk.first = front;
            }
        }
        self.chunks.retain(|chunk| !chunk.notes.is_empty());
        self.count = self.chunks.iter().map(|chunk| chunk.notes.len()).sum();
        self.find_earliest();
    }

    /// Whether there is no note at all.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0 && self.returned.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// Messages enter, with these times to live.
        Enter(Vec<u64>),
        /// One comes late, so many places back.
        Late(u64, u64),
        /// So many are delivered, and every third of them comes back.
        Deliver(usize),
        /// Time passes.
        Pass(u64),
        Prune,
    }

    fn step() -> impl Strategy<Value = Step> {
        let ttl = || prop_oneof![Just(0), 0..50_u64, Just(315_360_000_000)];
        prop_oneof![
            4 => vec(ttl(), 1..60).prop_map(Step::Enter),
            1 => (ttl(), 1..20_u64).prop_map(|(ttl, back)| Step::Late(ttl, back)),
            3 => (0..80_usize).prop_map(Step::Deliver),
            3 => (0..20_u64).prop_map(Step::Pass),
            2 => Just(Step::Prune),
        ]
    }

    /// The same without any order.
    #[derive(Default)]
    struct Model {
        waiting: BTreeSet<Position>,
        /// Late places that were ever used.
        used: BTreeSet<Position>,
        notes: Vec<Due>,
        returned: Vec<Due>,
    }

    impl Model {
        fn due(&mut self, now: Millis) -> Vec<Due> {
            let mut due: Vec<Due> = self.notes.extract_if(.., |due| due.0 <= now).collect();
            due.retain(|(_, place)| self.waiting.remove(place));
            due.extend(self.returned.extract_if(.., |due| due.0 <= now));
            due.sort_unstable();
            due
        }
    }

    fn deliver(expirations: &mut Expirations, model: &mut Model, count: usize) {
        let count = count.min(model.waiting.len());
        for index in 0..count {
            let place = model.waiting.pop_first().unwrap();
            let note = model.notes.iter().find(|due| due.1 == place);
            if let Some(&due) = note
                && index % 3 == 0
            {
                expirations.add_returned(due);
                model.returned.push(due);
            }
        }
        if let Some(due) = model.returned.pop() {
            expirations.remove_returned(due);
        }
    }

    proptest! {
        #[test]
        fn notes_come_in_the_order_of_their_time(steps in vec(step(), 1..50)) {
            let (mut expirations, mut model) = (Expirations::default(), Model::default());
            let (mut now, mut next) = (1_700_000_000_000, 1);
            for step in steps {
                match step {
                    Step::Enter(ttls) => for ttl in ttls {
                        expirations.add((now + ttl, next));
                        model.notes.push((now + ttl, next));
                        model.waiting.insert(next);
                        next += 2;
                    },
                    Step::Late(ttl, back) => {
                        let place = (next + 1).saturating_sub(2 * back);
                        if place % 2 == 0 && model.used.insert(place) {
                            model.waiting.insert(place);
                            expirations.add((now + ttl, place));
                            model.notes.push((now + ttl, place));
                        }
                    }
                    Step::Deliver(count) => deliver(&mut expirations, &mut model, count),
                    Step::Pass(time) => now += time,
                    Step::Prune => {
                        let front = model.waiting.first().copied().unwrap_or(next);
                        expirations.prune(front, model.waiting.len());
                        let most = 2 * model.waiting.len() + KEPT_STALE;
                        prop_assert!(expirations.count <= most);
                    }
                }
                let mut due = Vec::new();
                while expirations.next().is_some_and(|due| due.0 <= now) {
                    let (at, place) = expirations.take().unwrap();
                    let gone = !model.waiting.contains(&place) && !model.returned.contains(&(at, place));
                    if !gone {
                        // It may be known twice: since it entered, and since it came back.
                        expirations.remove_returned((at, place));
                        due.push((at, place));
                    }
                }
                prop_assert_eq!(due, model.due(now));
            }
            prop_assert_eq!(expirations.is_empty(), expirations.next().is_none());
        }
    }

    #[test]
    fn many_notes_cost_eight_bytes_each_and_come_in_order() {
        const NOTES: u64 = 300_000;
        let mut expirations = Expirations::default();
        for place in 0..NOTES {
            let scattered = place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44;
            expirations.add((1_700_000_000_000 + scattered, place));
        }
        let room: usize = expirations.chunks.iter().map(|c| c.notes.capacity()).sum();
        assert!(room <= NOTES as usize + CHUNK, "room for {room} notes");
        let mut last = (0, 0);
        for _ in 0..NOTES {
            let due = expirations.take().unwrap();
            assert!(due > last);
            last = due;
        }
        assert!(expirations.is_empty());
    }

    #[test]
    fn notes_of_delivered_messages_do_not_gather() {
        let mut expirations = Expirations::default();
        for place in 1..100_000 {
            expirations.add((u64::MAX / 2, place));
            expirations.prune(place, 1);
            assert!(expirations.count <= KEPT_STALE + 2);
        }
        let room: usize = expirations.chunks.iter().map(|c| c.notes.capacity()).sum();
        assert!(room <= 4 * KEPT_STALE, "room for {room} notes");
    }
}
