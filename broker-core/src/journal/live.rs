//! Which positions of a run are alive: nothing as long as all of them are, otherwise one bit each.

use serde::{Deserialize, Serialize};

use crate::store::Position;

const BITS: u64 = u64::BITS as u64;

/// The live positions between a first and a last one, which the run knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Live {
    /// All of them.
    All,
    /// Those whose bit is set. The origin is a multiple of 64.
    Bits {
        /// The position of the first bit.
        origin: Position,
        /// The bits.
        words: Vec<u64>,
    },
}

impl Live {
    /// Makes a bit for every position from `first` to `last`, so that single ones can change.
    pub(super) fn make_bits(&mut self, first: Position, last: Position) {
        if *self == Self::All {
            *self = Self::none(first);
            self.set(first, last);
        }
    }

    /// No position at all, with room from `first` on.
    pub(super) fn none(first: Position) -> Self {
        Self::Bits {
            origin: first / BITS * BITS,
            words: Vec::new(),
        }
    }

    /// Adds all positions from `from` to `to`. To be called on bits.
    pub(super) fn set(&mut self, from: Position, to: Position) {
        let Self::Bits { origin, words } = self else {
            return;
        };
        if from < *origin {
            let lower = from / BITS * BITS;
            let added = ((*origin - lower) / BITS) as usize;
            words.splice(0..0, std::iter::repeat_n(0, added));
            *origin = lower;
        }
        let needed = ((to - *origin) / BITS + 1) as usize;
        if words.len() < needed {
            words.resize(needed, 0);
        }
        for_words(*origin, from, to, |index, mask| {
            if let Some(word) = words.get_mut(index) {
                *word |= mask;
            }
        });
    }

    /// Takes all positions from `from` to `to` out and says how many were there. To be called on bits.
    pub(super) fn clear(&mut self, from: Position, to: Position) -> u32 {
        let Self::Bits { origin, words } = self else {
            return 0;
        };
        let end = *origin + words.len() as u64 * BITS;
        let (from, to) = (from.max(*origin), to.min(end.saturating_sub(1)));
        let mut cleared = 0;
        if from <= to {
            for_words(*origin, from, to, |index, mask| {
                if let Some(word) = words.get_mut(index) {
                    cleared += (*word & mask).count_ones();
                    *word &= !mask;
                }
            });
        }
        cleared
    }

    /// Whether the position, which lies within the run, is alive.
    pub(super) fn contains(&self, position: Position) -> bool {
        match self {
            Self::All => true,
            Self::Bits { origin, words } => position.checked_sub(*origin).is_some_and(|offset| {
                let word = words.get((offset / BITS) as usize);
                word.is_some_and(|word| word >> (offset % BITS) & 1 == 1)
            }),
        }
    }

    /// Whether some position from `from` to `to`, which lie within the run, is alive.
    pub(super) fn any(&self, from: Position, to: Position) -> bool {
        let Self::Bits { origin, words } = self else {
            return from <= to;
        };
        let end = *origin + words.len() as u64 * BITS;
        let (from, to) = (from.max(*origin), to.min(end.saturating_sub(1)));
        let mut found = false;
        if from <= to && !words.is_empty() {
            for_words(*origin, from, to, |index, mask| {
                found |= words.get(index).is_some_and(|word| *word & mask != 0);
            });
        }
        found
    }

    /// The lowest live position, if there are bits.
    pub(super) fn first(&self) -> Option<Position> {
        let Self::Bits { origin, words } = self else {
            return None;
        };
        let (index, word) = words.iter().enumerate().find(|(_, word)| **word != 0)?;
        Some(*origin + index as u64 * BITS + u64::from(word.trailing_zeros()))
    }

    /// The highest live position, if there are bits.
    pub(super) fn last(&self) -> Option<Position> {
        let Self::Bits { origin, words } = self else {
            return None;
        };
        let (index, word) = words
            .iter()
            .enumerate()
            .rev()
            .find(|(_, word)| **word != 0)?;
        Some(*origin + index as u64 * BITS + u64::from(BITS as u32 - 1 - word.leading_zeros()))
    }

    /// Only the positions that are in `other` too. Both are bits.
    pub(super) fn retain(&mut self, other: impl Fn(Position) -> bool) -> u32 {
        let Self::Bits { origin, words } = self else {
            return 0;
        };
        let mut kept = 0;
        for (index, word) in words.iter_mut().enumerate() {
            let base = *origin + index as u64 * BITS;
            let mut rest = *word;
            while rest != 0 {
                let bit = rest.trailing_zeros();
                rest &= rest - 1;
                if !other(base + u64::from(bit)) {
                    *word &= !(1 << bit);
                }
            }
            kept += word.count_ones();
        }
        kept
    }
}

/// Calls `each` with every word that positions `from` to `to` touch, and the mask of their bits in it.
fn for_words(origin: Position, from: Position, to: Position, mut each: impl FnMut(usize, u64)) {
    let (from, to) = (from - origin, to - origin);
    for index in from / BITS..=to / BITS {
        let base = index * BITS;
        let low = from.saturating_sub(base).min(BITS - 1);
        let high = (to - base).min(BITS - 1);
        let mask = (u64::MAX << low) & (u64::MAX >> (BITS - 1 - high));
        each(index as usize, mask);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use super::*;

    proptest! {
        #[test]
        fn bits_agree_with_a_set(changes in prop::collection::vec((any::<bool>(), 0u64..400, 0u64..150), 1..40)) {
            let mut live = Live::none(200);
            let mut set = BTreeSet::new();
            for (add, from, more) in changes {
                let to = from + more;
                if add {
                    live.set(from, to);
                    set.extend(from..=to);
                } else {
                    let before = set.len();
                    set.retain(|p| !(from..=to).contains(p));
                    prop_assert_eq!(live.clear(from, to) as usize, before - set.len());
                }
                prop_assert_eq!(live.any(from, to), set.range(from..=to).next().is_some());
                prop_assert_eq!(live.first(), set.first().copied());
                prop_assert_eq!(live.last(), set.last().copied());
                for position in 0..600 {
                    prop_assert_eq!(live.contains(position), set.contains(&position));
                }
            }
        }
    }
}
