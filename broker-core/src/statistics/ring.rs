//! Changes of an object's counts over a span of time, in slots of one length.
//!
//! Most slots of most columns are empty, so what is kept is a row of bytes: for each slot in which anything changed, how
//! many slots it is behind the one before, a bit for each column that changed, and by how much, all as LEB128. A queue
//! that is busy in three columns costs about fifteen bytes a slot, one that does nothing costs nothing.

use std::collections::VecDeque;

use super::column::Counts;

/// The changes of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot<const N: usize> {
    /// The slot's number since the epoch.
    pub(super) number: u32,
    /// By how much each column changed. A fall is a very large rise.
    pub(super) change: Counts<N>,
}

/// The slots of one length.
#[derive(Debug)]
pub(super) struct Ring<const N: usize> {
    /// Seconds.
    pub(super) length: u32,
    /// How many slots are kept.
    kept: u32,
    bytes: VecDeque<u8>,
    /// The number of the slot before the first one in `bytes`.
    before: u32,
    /// The number of the last one in `bytes`.
    last: u32,
    /// The slot that is being filled, and what the counts were when it began.
    open: u32,
    at_open: Counts<N>,
}

impl<const N: usize> Ring<N> {
    /// A ring that begins with these counts in this second.
    pub(super) fn new(length: u32, kept: u32, second: u32, counts: Counts<N>) -> Self {
        let now = second / length;
        Self {
            length,
            kept,
            bytes: VecDeque::new(),
            before: now,
            last: now,
            open: now,
            at_open: counts,
        }
    }

    /// Notes what the counts are in this second. The ones of a slot are what they were in its last second.
    pub(super) fn record(&mut self, second: u32, before: &Counts<N>) {
        let now = second / self.length;
        if now > self.open {
            let mut change = Counts::default();
            change.add_change(before, &self.at_open);
            if change != Counts::default() {
                self.push(self.open, &change);
            }
            self.at_open = *before;
            self.open = now;
        }
        self.forget(now);
    }

    /// All slots that are kept, oldest first, and what has changed in the one that is being filled.
    pub(super) fn slots(&self, total: &Counts<N>) -> Vec<Slot<N>> {
        let mut slots = Vec::new();
        let mut bytes = self.bytes.iter().copied();
        let mut number = self.before;
        while let Some(slot) = read_slot(&mut bytes, number) {
            number = slot.number;
            slots.push(slot);
        }
        let mut change = Counts::default();
        change.add_change(total, &self.at_open);
        slots.push(Slot {
            number: self.open,
            change,
        });
        slots
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn push(&mut self, number: u32, change: &Counts<N>) {
        write_number(&mut self.bytes, u64::from(number.wrapping_sub(self.last)));
        let mask = change.0.iter().enumerate();
        let mask = mask.fold(0, |mask, (column, &by)| {
            mask | (u64::from(by != 0) << column)
        });
        write_number(&mut self.bytes, mask);
        for &by in change.0.iter().filter(|by| **by != 0) {
            write_number(&mut self.bytes, zigzag(by));
        }
        self.last = number;
    }

    /// Forgets what is older than the ring's span.
    pub(super) fn forget(&mut self, now: u32) {
        let oldest = now.saturating_sub(self.kept);
        while !self.bytes.is_empty() {
            let mut bytes = self.bytes.iter().copied();
            let Some(slot) = read_slot::<N>(&mut bytes, self.before) else {
                self.bytes.clear();
                return;
            };
            if slot.number >= oldest {
                return;
            }
            let used = self.bytes.len() - bytes.len();
            self.bytes.drain(..used);
            self.before = slot.number;
        }
        self.bytes.shrink_to(0);
    }
}

fn read_slot<const N: usize>(bytes: &mut impl Iterator<Item = u8>, before: u32) -> Option<Slot<N>> {
    let number = before.wrapping_add(read_number(bytes)? as u32);
    let mask = read_number(bytes)?;
    let mut change = Counts::default();
    for (column, by) in change.0.iter_mut().enumerate() {
        if mask & (1 << column) != 0 {
            *by = unzigzag(read_number(bytes)?);
        }
    }
    Some(Slot { number, change })
}

fn write_number(bytes: &mut VecDeque<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push_back(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push_back(number as u8);
}

fn read_number(bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.next()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Small falls become small numbers.
fn zigzag(change: u64) -> u64 {
    (change << 1) ^ (change.cast_signed() >> 63).cast_unsigned()
}

fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ 0u64.wrapping_sub(number & 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_come_back_as_they_were_rises_and_falls() {
        let mut ring = Ring::<3>::new(1, 60, 100, Counts::default());
        let counts = [[0, 0, 0], [5, 0, 1 << 40], [5, 7, 3], [5, 7, 3], [1, 7, 3]];
        for (second, counts) in (100..).zip(counts) {
            ring.record(second + 1, &Counts(counts));
        }
        let slots = ring.slots(&Counts([2, 7, 3]));
        let fall = |by: u64| 0u64.wrapping_sub(by);
        let expected = [
            (101, [5, 0, 1 << 40]),
            (102, [0, 7, fall((1 << 40) - 3)]),
            (104, [fall(4), 0, 0]),
            (105, [1, 0, 0]),
        ];
        let found: Vec<_> = slots.iter().map(|s| (s.number, s.change.0)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_older_than_the_span_is_forgotten_and_gives_its_memory_back() {
        let mut ring = Ring::<1>::new(10, 6, 0, Counts::default());
        for second in 0..1000 {
            ring.record(second, &Counts([u64::from(second)]));
        }
        let slots = ring.slots(&Counts([999]));
        assert_eq!(slots.first().map(|s| s.number), Some(93));
        assert!(ring.bytes.len() <= 6 * 3, "{} bytes", ring.bytes.len());
        ring.forget(1000);
        assert_eq!(ring.bytes.capacity(), 0);
    }
}
