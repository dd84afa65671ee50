//! When the messages of a lane expire that say so themselves, wherever they stand.
//!
//! The queue's own time to live needs no index: messages enter in the order of time, so the first one is the first to
//! expire. A message's own `expiration` may end anywhere, so each message that has one and stays in the queue is noted
//! here; one that is delivered at once never is.
//!
//! Only the notes that come next are in order, in a small heap. The others lie in leaves by their time, without any order
//! within a leaf: a note is added to the end of one, and a leaf that has become long is divided in two. When its time has
//! come, a leaf is poured into the heap. So a million of them cost a little more than eight megabytes, and adding and
//! taking one touches memory that was just touched. Nobody looks for the note of a message that is delivered: those that
//! have lost their sense are thinned out when there are too many of them. Messages that came back are few and have an
//! ordered set of their own, without such notes.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use super::entry::Millis;
use crate::store::Position;

/// A leaf with so many notes is divided, and a heap with so many makes a leaf of half of them. A power of two.
const LEAF: usize = if cfg!(test) { 32 } else { 8 * 1024 };

/// Bits of a note in a leaf that say the place.
const PLACE_BITS: u32 = 40;

/// Milliseconds that a leaf spans at most: as many as the other bits of a note can say, four hours and a half.
const SPAN: Millis = 1 << (u64::BITS - PLACE_BITS);

/// Places before that of a leaf's first note that it takes too: some messages come late to reserved places.
const EARLIER: u64 = 1 << 20;

/// So many notes may have lost their sense whatever the length of the queue.
const KEPT_STALE: usize = 256;

/// More notes than these are looked at every [`BATCH`].
const MANY: usize = 16 * 1024;

/// How much time passes, in milliseconds, between two looks at what has expired if there is very much of it: messages may
/// go so much late, and the more of them go together the less each costs.
pub(super) const BATCH: Millis = 50;

/// Notes that are looked at for thinning at a time: a fraction of a millisecond.
const THINNED: usize = if cfg!(test) { 4 * 1024 } else { 256 * 1024 };

/// What a look at a leaf costs, in notes.
const LOOK: usize = 16;

/// A moment and a place.
pub type Due = (Millis, Position);

/// The notes of one lane.
#[derive(Debug, Default)]
pub struct Expirations {
    /// Of messages that were never delivered: what comes next. All of it comes before the leaves, but for what no leaf can
    /// say.
    soon: BinaryHeap<Reverse<Due>>,
    /// What comes later, by the first moment of a leaf. None is empty.
    later: BTreeMap<Millis, Leaf>,
    /// How many notes there are in the heap and the leaves. Some may be of messages that are gone.
    count: usize,
    /// Where thinning goes on.
    thinned: Millis,
    /// Of messages that came back; exact.
    returned: BTreeSet<Due>,
}

/// Notes from one moment on until that of the next leaf, in any order.
#[derive(Debug)]
struct Leaf {
    /// Places count from here.
    base: Position,
    /// Milliseconds after the leaf's moment above, places behind the base below.
    notes: Vec<u64>,
}

impl Leaf {
    fn at(position: Position) -> Self {
        Self {
            base: position.saturating_sub(EARLIER),
            notes: Vec::new(),
        }
    }

    /// Takes a note if it can be said in a leaf that starts then.
    fn take(&mut self, start: Millis, (at, position): Due) -> bool {
        let after = at.checked_sub(start).filter(|after| *after < SPAN);
        let place = position.checked_sub(self.base);
        let place = place.filter(|place| *place < 1 << PLACE_BITS);
        let (Some(after), Some(place)) = (after, place) else {
            return false;
        };
        self.notes.push(after << PLACE_BITS | place);
        true
    }

    fn unpack(&self, start: Millis, note: u64) -> Due {
        let place = note & ((1 << PLACE_BITS) - 1);
        (start + (note >> PLACE_BITS), self.base + place)
    }

    /// Drops the notes of places before this one, and says how many there were.
    fn forget_before(&mut self, front: Position) -> usize {
        let (count, from) = (self.notes.len(), front.saturating_sub(self.base));
        let place = |note: u64| note & ((1 << PLACE_BITS) - 1);
        self.notes.retain(|note| place(*note) >= from);
        self.notes.shrink_to(2 * self.notes.len());
        count - self.notes.len()
    }

    /// Divides a leaf at a moment in the middle of its notes, and gives the later part with its first moment. `None` if
    /// all are of the same millisecond.
    fn divide(&mut self, start: Millis) -> Option<(Millis, Self)> {
        let middle = self.notes.len() / 2;
        let (_, &mut median, _) = self.notes.select_nth_unstable(middle);
        let moments = self.notes.iter().map(|note| note >> PLACE_BITS);
        let first = moments.clone().min()?;
        let cut = match median >> PLACE_BITS {
            median if median > first => median,
            _ => moments.filter(|moment| *moment > first).min()?,
        };
        let later = self.notes.extract_if(.., |note| *note >> PLACE_BITS >= cut);
        let notes = later.map(|note| note - (cut << PLACE_BITS)).collect();
        let base = self.base;
        Some((start + cut, Self { base, notes }))
    }
}

impl Expirations {
    /// Notes a message that was never delivered.
    pub(super) fn add(&mut self, due: Due) {
        self.count += 1;
        let first = self.later.first_key_value();
        if first.is_some_and(|(start, _)| due.0 >= *start) {
            self.add_later(due);
            return;
        }
        self.soon.push(Reverse(due));
        if self.soon.len() >= LEAF && self.soon.len().is_power_of_two() {
            self.give_away();
        }
    }

    fn add_later(&mut self, due: Due) {
        // Leaves start at their first note or where one was divided, and never reach beyond a multiple of their span.
        let era = due.0 - due.0 % SPAN;
        let found = self.later.range_mut(era..=due.0).next_back();
        let (start, leaf) = match found {
            Some((start, leaf)) => (*start, leaf),
            None => {
                let leaf = self.later.entry(era);
                (era, leaf.or_insert_with(|| Leaf::at(due.1)))
            }
        };
        if !leaf.take(start, due) {
            self.soon.push(Reverse(due));
            return;
        }
        if leaf.notes.len() >= LEAF
            && leaf.notes.len().is_power_of_two()
            && let Some((start, divided)) = leaf.divide(start)
        {
            self.later.insert(start, divided);
        }
    }

    /// Keeps the sooner half of what comes next, and makes leaves of the rest.
    fn give_away(&mut self) {
        let mut notes = std::mem::take(&mut self.soon).into_vec();
        notes.sort_unstable_by_key(|Reverse(due)| *due);
        let moment = |index: usize| notes.get(index).map(|Reverse((at, _))| *at);
        let first = moment(0);
        let middle = moment(notes.len() / 2).filter(|middle| first < Some(*middle));
        // Unless most of them are of the first millisecond.
        let cut = middle.or_else(|| {
            let moments = notes.iter().map(|Reverse((at, _))| *at);
            moments.into_iter().find(|at| first < Some(*at))
        });
        if let Some(cut) = cut {
            let kept = notes.partition_point(|Reverse((at, _))| *at < cut);
            let mut rest: Vec<Due> = notes.drain(kept..).map(|Reverse(due)| due).collect();
            rest.sort_unstable_by_key(|(_, position)| *position);
            let lowest = rest.first().map_or(0, |(_, position)| *position);
            self.later.insert(cut, Leaf::at(lowest));
            self.soon = notes.into();
            rest.into_iter().for_each(|due| self.add_later(due));
            self.pour();
        } else {
            self.soon = notes.into();
        }
    }

    /// Puts in order what comes next.
    fn pour(&mut self) {
        while let Some(leaf) = self.later.first_entry() {
            let start = *leaf.key();
            let next = self.soon.peek();
            if next.is_some_and(|Reverse((at, _))| *at < start) {
                return;
            }
            let leaf = leaf.remove();
            let notes = leaf.notes.iter();
            self.soon
                .extend(notes.map(|note| Reverse(leaf.unpack(start, *note))));
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
        let soon = self.soon.peek().map(|Reverse(due)| *due);
        let returned = self.returned.first().copied();
        match (soon, returned) {
            (Some(soon), Some(returned)) => Some(soon.min(returned)),
            (soon, returned) => soon.or(returned),
        }
    }

    /// Takes the earliest note.
    pub(super) fn take(&mut self) -> Option<Due> {
        let returned = self.returned.first().copied();
        let soon = self.soon.peek().map(|Reverse(due)| *due);
        if soon.is_none() || returned.is_some_and(|returned| Some(returned) < soon) {
            return self.returned.pop_first();
        }
        self.soon.pop();
        self.count -= 1;
        self.pour();
        soon
    }

    /// Whether there are so many notes that it is better to look at what is due all at once now and then.
    pub(super) fn are_many(&self) -> bool {
        self.count > MANY
    }

    /// Drops what is known to be gone if there is too much of it: `front` is the first place of all that were never
    /// delivered, and there are `waiting` of those. A part at a time.
    pub(super) fn prune(&mut self, front: Position, waiting: usize) {
        if self.count <= 2 * waiting + KEPT_STALE {
            return;
        }
        let before = self.soon.len();
        self.soon.retain(|Reverse((_, place))| *place >= front);
        self.soon.shrink_to(KEPT_STALE.max(2 * self.soon.len()));
        let mut gone = before - self.soon.len();
        let (mut empty, mut room) = (Vec::new(), THINNED);
        let from = std::mem::take(&mut self.thinned);
        for (start, leaf) in self.later.range_mut(from..) {
            if room == 0 {
                self.thinned = *start;
                break;
            }
            room = room.saturating_sub(leaf.notes.len() + LOOK);
            gone += leaf.forget_before(front);
            if leaf.notes.is_empty() {
                empty.push(*start);
            }
        }
        for start in empty {
            self.later.remove(&start);
        }
        self.count -= gone;
        self.pour();
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
                        let most = 2 * model.waiting.len() + KEPT_STALE;
                        for _ in 0..=expirations.later.len() / 64 {
                            expirations.prune(front, model.waiting.len());
                        }
                        prop_assert!(expirations.count <= most);
                    }
                }
                let leaves = expirations.later.values().map(|leaf| leaf.notes.len());
                let count = expirations.soon.len() + leaves.sum::<usize>();
                prop_assert_eq!(count, expirations.count);
                prop_assert!(expirations.later.values().all(|leaf| !leaf.notes.is_empty()));
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

    fn scattered(place: u64) -> u64 {
        place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 44
    }

    /// Bytes of memory that notes take or keep.
    fn room(expirations: &Expirations) -> usize {
        let leaves = expirations.later.values();
        let leaves: usize = leaves.map(|leaf| 8 * leaf.notes.capacity()).sum();
        16 * expirations.soon.capacity() + leaves
    }

    #[test]
    fn many_notes_cost_few_bytes_each_and_come_in_order() {
        const NOTES: u64 = 300_000;
        let mut expirations = Expirations::default();
        for place in 0..NOTES {
            expirations.add((1_700_000_000_000 + scattered(place), place));
        }
        let room = room(&expirations);
        assert!(room <= 24 * NOTES as usize, "room for {room} bytes");
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
        let room = room(&expirations);
        assert!(room <= 16 * 4 * KEPT_STALE, "room for {room} bytes");
    }

    #[test]
    fn notes_of_a_backlog_that_is_delivered_are_thinned_out_a_part_at_a_time() {
        const NOTES: u64 = 50_000;
        let mut expirations = Expirations::default();
        for place in 0..NOTES {
            expirations.add((1_000_000 + scattered(place), place));
        }
        let mut most = 0;
        for front in (0..=NOTES).step_by(100) {
            let (before, waiting) = (expirations.count, (NOTES - front) as usize);
            expirations.prune(front, waiting);
            most = most.max(before - expirations.count);
            assert!(expirations.count <= 3 * waiting + NOTES as usize / 8);
        }
        assert!(most < NOTES as usize / 4, "{most} at once");
    }

    #[test]
    fn a_note_costs_eight_bytes_and_is_in_order_sixteen() {
        let mut leaf = Leaf::at(1);
        assert!(leaf.take(0, (1, 1)));
        assert_eq!(size_of_val(leaf.notes.as_slice()), 8);
        assert_eq!(size_of::<Reverse<Due>>(), 16);
    }
}
