//! Messages in memory, by rising position: a queue in blocks.
//!
//! Messages enter at the end and leave at the front, and some leave from the middle when their time has come. A ring of
//! all of them would have to move half a queue for each of those. In blocks of some hundred, taking one out moves a few
//! hundred bytes, finding it is a search over the blocks and one within, and a long queue neither copies itself when it
//! grows nor keeps its room when it has been drained. A short queue is its front block, which lies in place.

use std::{collections::VecDeque, hint::black_box};

use super::entry::Entry;
use crate::store::Position;

/// Most messages of a block: 8 KiB of entries.
const BLOCK: usize = 256;

/// Two neighbours join when they are not longer than this together, so that blocks out of whose middle messages are
/// taken do not keep their room.
const JOINED: usize = BLOCK / 2;

/// Blocks that are looked at one after the other, before all are searched.
const NEAR: usize = 8;

/// Messages that are fetched together: a processor waits for about ten places in memory at a time.
pub(super) const AHEAD: usize = 16;

/// Where a message was found: the block, if not the front.
#[derive(Debug, Default)]
pub(super) struct Hint(Option<usize>);

/// Messages in the order of their positions.
#[derive(Debug, Default)]
pub struct Row {
    /// The first ones. Empty only if there is no message at all.
    front: VecDeque<Entry>,
    /// What follows. No block is empty.
    rest: VecDeque<Block>,
    /// Messages in `rest`.
    behind: usize,
}

#[derive(Debug)]
struct Block {
    /// The place of its first message, or an earlier one; later than all places of the block before.
    first: Position,
    entries: VecDeque<Entry>,
}

impl Row {
    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.front.len() + self.behind
    }

    /// Whether there is none.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    /// The first one.
    #[inline]
    pub(super) fn front(&self) -> Option<&Entry> {
        self.front.front()
    }

    /// Looks at the next messages, so that they come into the processor's cache together. One by one, as they are taken,
    /// a long queue would wait for memory as often as it has messages.
    pub(super) fn fetch_ahead(&self) {
        let next = self.front.iter().take(AHEAD);
        black_box(next.fold(0, |all, entry| all ^ entry.message.size()));
    }

    /// The last one.
    pub(super) fn back(&self) -> Option<&Entry> {
        match self.rest.back() {
            None => self.front.back(),
            Some(block) => block.entries.back(),
        }
    }

    /// Adds a message whose place is behind all others.
    #[inline]
    pub(super) fn push_back(&mut self, entry: Entry) {
        if self.rest.is_empty() && self.front.len() < BLOCK {
            self.front.push_back(entry);
            return;
        }
        self.behind += 1;
        match self.rest.back_mut() {
            Some(block) if block.entries.len() < BLOCK => block.entries.push_back(entry),
            _ => {
                let first = entry.position;
                let mut entries = VecDeque::with_capacity(BLOCK);
                entries.push_back(entry);
                self.rest.push_back(Block { first, entries });
            }
        }
    }

    /// Takes the first message.
    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Entry> {
        let entry = self.front.pop_front()?;
        if self.front.is_empty() {
            self.advance();
        }
        Some(entry)
    }

    fn advance(&mut self) {
        if let Some(block) = self.rest.pop_front() {
            self.behind -= block.entries.len();
            self.front = block.entries;
        }
    }

    /// Adds a message where its place is.
    pub(super) fn insert(&mut self, entry: Entry) {
        let position = entry.position;
        if self.back().is_none_or(|last| last.position < position) {
            self.push_back(entry);
            return;
        }
        let entries = match self.block_of(position) {
            None => &mut self.front,
            Some(index) => match self.rest.get_mut(index) {
                Some(block) => {
                    self.behind += 1;
                    &mut block.entries
                }
                None => return,
            },
        };
        let index = entries.partition_point(|other| other.position < position);
        entries.insert(index, entry);
    }

    /// Takes the message at a place, if there is one.
    pub(super) fn remove(&mut self, position: Position) -> Option<Entry> {
        self.remove_near(position, &mut Hint::default())
    }

    /// The same for several places that rise: the hint says where the last one was.
    pub(super) fn remove_near(&mut self, position: Position, hint: &mut Hint) -> Option<Entry> {
        let index = self.block_near(position, hint.0);
        hint.0 = index;
        let Some(index) = index else {
            let entry = take(&mut self.front, position)?;
            if self.front.is_empty() {
                self.advance();
            }
            return Some(entry);
        };
        let entry = take(&mut self.rest.get_mut(index)?.entries, position)?;
        self.behind -= 1;
        self.join_at(index);
        Some(entry)
    }

    /// The block in `rest` that a place belongs to; `None` for the front.
    fn block_of(&self, position: Position) -> Option<usize> {
        let after = self.rest.partition_point(|block| block.first <= position);
        after.checked_sub(1)
    }

    /// The same, looked for from a block on.
    fn block_near(&self, position: Position, hint: Option<usize>) -> Option<usize> {
        let begins = |index: usize| self.rest.get(index).map(|block| block.first);
        let Some(hint) = hint else {
            return self.block_of(position);
        };
        if begins(hint).is_none_or(|first| first > position) {
            return self.block_of(position);
        }
        let near = (hint..hint + NEAR)
            .find(|&index| begins(index + 1).is_none_or(|behind| behind > position));
        near.or_else(|| self.block_of(position))
    }

    /// Joins a block out of which a message was taken with its neighbour, if both have become short.
    fn join_at(&mut self, index: usize) {
        let length = |at: usize| self.rest.get(at).map(|block| block.entries.len());
        let Some(own) = length(index) else { return };
        if own == 0 {
            self.rest.remove(index);
            return;
        }
        let previous = index.checked_sub(1);
        let joins = |other: Option<usize>| other.is_some_and(|other| own + other <= JOINED);
        let into = match previous {
            Some(previous) if joins(length(previous)) => previous,
            _ if joins(length(index + 1)) => index,
            _ => return,
        };
        let Some(mut block) = self.rest.remove(into + 1) else {
            return;
        };
        if let Some(target) = self.rest.get_mut(into) {
            target.entries.append(&mut block.entries);
        }
    }

    /// All messages.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> + Clone {
        let rest = self.rest.iter().flat_map(|block| &block.entries);
        self.front.iter().chain(rest)
    }

    /// Those at and behind a place.
    pub(super) fn iter_from(&self, position: Position) -> impl Iterator<Item = &Entry> {
        let index = self.block_of(position);
        let front = match index {
            None => Some(&self.front),
            Some(_) => None,
        };
        let rest = self.rest.range(index.unwrap_or(0)..);
        let entries = front
            .into_iter()
            .chain(rest.map(|block| &block.entries))
            .flatten();
        entries.skip_while(move |entry| entry.position < position)
    }

    /// The message that `index` others precede.
    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        let Some(mut index) = index.checked_sub(self.front.len()) else {
            return self.front.get(index);
        };
        for block in &self.rest {
            match index.checked_sub(block.entries.len()) {
                None => return block.entries.get(index),
                Some(behind) => index = behind,
            }
        }
        None
    }

    /// How many messages at the front stand at or before a place.
    pub(super) fn count_to(&self, position: Position) -> usize {
        let to = self.iter().take_while(|entry| entry.position <= position);
        to.count()
    }

    /// Takes everything behind the first `count` messages out.
    pub(super) fn split_off(&mut self, count: usize) -> Self {
        if count < self.front.len() {
            let front = self.front.split_off(count);
            let (rest, behind) = (std::mem::take(&mut self.rest), self.behind);
            self.behind = 0;
            let mut split = Self {
                front,
                rest,
                behind,
            };
            if count == 0 {
                self.front = VecDeque::new();
            }
            split.front.shrink_to(BLOCK);
            return split;
        }
        let mut room = count - self.front.len();
        let whole = self.rest.iter().take_while(|block| {
            let fits = block.entries.len() <= room;
            room -= if fits { block.entries.len() } else { 0 };
            fits
        });
        let whole = whole.count();
        let mut rest = self.rest.split_off(whole.min(self.rest.len()));
        let mut kept = None;
        if room > 0
            && let Some(block) = rest.front_mut()
        {
            let entries = block.entries.split_off(room);
            let head = std::mem::replace(&mut block.entries, entries);
            kept = Some(Block {
                first: block.first,
                entries: head,
            });
            block.first = block.entries.front().map_or(block.first, |e| e.position);
        }
        self.rest.extend(kept);
        let mut split = Self {
            front: VecDeque::new(),
            behind: rest.iter().map(|block| block.entries.len()).sum(),
            rest,
        };
        self.behind -= split.behind;
        split.advance();
        split
    }

    /// Takes all messages of another row, which follow these.
    pub(super) fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            *self = std::mem::take(other);
            return;
        }
        let mut other = std::mem::take(other);
        let first = other.front.front().map(|entry| entry.position);
        let Some(first) = first else { return };
        if other.rest.is_empty() && other.front.len() <= JOINED {
            other
                .front
                .drain(..)
                .for_each(|entry| self.push_back(entry));
            return;
        }
        self.behind += other.len();
        self.rest.push_back(Block {
            first,
            entries: other.front,
        });
        self.rest.append(&mut other.rest);
    }

    /// Takes the first `count` messages out, one after another.
    pub(super) fn drain_front(&mut self, count: usize) -> impl Iterator<Item = Entry> {
        std::iter::from_fn(|| self.pop_front()).take(count)
    }
}

impl Extend<Entry> for Row {
    fn extend<I: IntoIterator<Item = Entry>>(&mut self, entries: I) {
        for entry in entries {
            self.push_back(entry);
        }
    }
}

fn take(entries: &mut VecDeque<Entry>, position: Position) -> Option<Entry> {
    let index = place_of(entries, position)?;
    entries.remove(index)
}

/// Where a message is in its block. Places are nearly even, so reckoning leads next to it, where a search by halves would
/// wait for memory at every step.
fn place_of(entries: &VecDeque<Entry>, position: Position) -> Option<usize> {
    let (first, last) = (entries.front()?.position, entries.back()?.position);
    if !(first..=last).contains(&position) {
        return None;
    }
    let share = u128::from(position - first) * (entries.len() - 1) as u128;
    let mut index = (share / u128::from((last - first).max(1))) as usize;
    while entries.get(index)?.position < position {
        index += 1;
    }
    while entries.get(index)?.position > position {
        index = index.checked_sub(1)?;
    }
    (entries.get(index)?.position == position).then_some(index)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*, sample::Index};

    use super::*;
    use crate::message::Message;

    #[derive(Debug, Clone)]
    enum Step {
        Push(usize),
        Pop(usize),
        Insert(u64),
        Remove(Vec<Index>),
        RemoveAllOf(Index, usize),
        Split(Index),
        Drain(Index),
        Iterate(Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = any::<Index>;
        prop_oneof![
            4 => (1..3 * BLOCK).prop_map(Step::Push),
            3 => (1..2 * BLOCK).prop_map(Step::Pop),
            3 => (0..10_000_u64).prop_map(Step::Insert),
            3 => vec(index(), 1..BLOCK).prop_map(Step::Remove),
            2 => (index(), 1..3 * BLOCK).prop_map(|(from, count)| Step::RemoveAllOf(from, count)),
            2 => index().prop_map(Step::Split),
            1 => index().prop_map(Step::Drain),
            2 => index().prop_map(Step::Iterate),
        ]
    }

    fn entry(message: &Message, position: Position) -> Entry {
        Entry::new(position, message.clone(), 0)
    }

    fn places<'a>(entries: impl Iterator<Item = &'a Entry>) -> Vec<Position> {
        entries.map(|entry| entry.position).collect()
    }

    fn check(row: &Row, model: &BTreeSet<Position>) {
        assert_eq!(row.len(), model.len());
        assert_eq!(row.is_empty(), model.is_empty());
        assert_eq!(row.front().map(|e| e.position), model.first().copied());
        assert_eq!(row.back().map(|e| e.position), model.last().copied());
        assert!(row.rest.iter().all(|block| !block.entries.is_empty()));
        let room: usize = row.rest.iter().map(|b| b.entries.capacity()).sum();
        assert!(
            room <= 8 * (model.len() + BLOCK),
            "room for {room} of {}",
            model.len()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn row_is_like_a_sorted_set(steps in vec(step(), 1..30)) {
            let message = Message::new("", "q", &[0, 0], b"", false);
            let (mut row, mut model) = (Row::default(), BTreeSet::new());
            // Every second place is free for what comes late.
            let mut next = 0;
            for step in steps {
                let place = |index: &Index| {
                    (!model.is_empty()).then(|| *model.iter().nth(index.index(model.len())).unwrap())
                };
                match step {
                    Step::Push(count) => for _ in 0..count {
                        next += 2;
                        row.push_back(entry(&message, next));
                        model.insert(next);
                    },
                    Step::Pop(count) => for _ in 0..count {
                        prop_assert_eq!(row.pop_front().map(|e| e.position), model.pop_first());
                    },
                    Step::Insert(place) => {
                        let late = (place * 2 + 1).min(next + 1);
                        if late % 2 == 1 && model.insert(late) {
                            row.insert(entry(&message, late));
                        }
                        next = next.max(late + 1);
                    }
                    Step::Remove(indexes) => for index in indexes {
                        let Some(place) = place(&index).filter(|place| model.contains(place)) else { continue };
                        prop_assert_eq!(row.remove(place).map(|e| e.position), Some(place));
                        prop_assert!(row.remove(place).is_none());
                        model.remove(&place);
                        break;
                    },
                    Step::RemoveAllOf(from, count) => {
                        let from = place(&from).unwrap_or(0);
                        let gone: Vec<_> = model.range(from..).take(count).copied().collect();
                        let mut hint = Hint::default();
                        for place in gone {
                            prop_assert!(row.remove_near(place, &mut hint).is_some());
                            model.remove(&place);
                        }
                    }
                    Step::Split(index) => {
                        let count = index.index(model.len() + 1);
                        let mut split = row.split_off(count);
                        let behind: BTreeSet<_> = model.iter().skip(count).copied().collect();
                        check(&split, &behind);
                        model.retain(|place| !behind.contains(place));
                        check(&row, &model);
                        row.append(&mut split);
                        model.extend(behind);
                    }
                    Step::Drain(index) => {
                        let count = index.index(model.len() + 1);
                        let drained: Vec<_> = row.drain_front(count).map(|e| e.position).collect();
                        let expected: Vec<_> = model.iter().take(count).copied().collect();
                        model.retain(|place| !expected.contains(place));
                        prop_assert_eq!(drained, expected);
                    }
                    Step::Iterate(index) => {
                        let all: Vec<_> = model.iter().copied().collect();
                        prop_assert_eq!(places(row.iter()), all);
                        let from = place(&index).unwrap_or(0).saturating_sub(1);
                        let expected: Vec<_> = model.range(from..).copied().collect();
                        prop_assert_eq!(places(row.iter_from(from)), expected);
                    }
                }
                check(&row, &model);
            }
            prop_assert_eq!(places(row.iter()), model.into_iter().collect::<Vec<_>>());
        }
    }

    /// A block's room is a size that the allocator has blocks of, so nothing is rounded up; beside it lie 40 bytes.
    #[test]
    fn a_block_fills_the_room_that_it_gets() {
        assert_eq!(BLOCK * size_of::<Entry>(), 8192);
        assert_eq!(VecDeque::<Entry>::with_capacity(BLOCK).capacity(), BLOCK);
        assert_eq!(size_of::<Block>(), 40);
    }
}
