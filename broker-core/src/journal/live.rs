//! Which positions of a run are alive: nothing as long as all of them are, otherwise one bit each, or a list where they lie
//! too far apart for that.

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
    /// These, in order.
    Few(Vec<Position>),
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

    /// Goes over to a list.
    pub(super) fn scatter(&mut self) {
        if let Self::Bits { origin, words } = self {
            let mut few = Vec::new();
            for (word, base) in words.iter().zip((*origin..).step_by(BITS as usize)) {
                let bits = (0..BITS).filter(|bit| word >> bit & 1 == 1);
                few.extend(bits.map(|bit| base + bit));
            }
            *self = Self::Few(few);
        }
    }

    /// Whether what was read can be what was written: positions in order, bits with positions that exist.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::All => true,
            Self::Bits { origin, words } => {
                let span = (words.len() as u64).checked_mul(BITS);
                origin % BITS == 0 && span.and_then(|span| origin.checked_add(span)).is_some()
            }
            Self::Few(few) => few.is_sorted_by(|a, b| a < b),
        }
    }

    /// Adds all positions from `from` to `to`. Not to be called where all are alive.
    pub(super) fn set(&mut self, from: Position, to: Position) {
        let (origin, words) = match self {
            Self::All => return,
            Self::Bits { origin, words } => (origin, words),
            Self::Few(few) => {
                let place = few.partition_point(|position| *position < from);
                let end = few.partition_point(|position| *position <= to);
                few.splice(place..end, from..=to);
                return;
            }
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

    /// Takes all positions from `from` to `to` out and says how many were there. Not to be called where all are alive.
    pub(super) fn clear(&mut self, from: Position, to: Position) -> u32 {
        let (origin, words) = match self {
            Self::All => return 0,
            Self::Bits { origin, words } => (origin, words),
            Self::Few(few) => {
                let before = few.len();
                few.retain(|position| !(from..=to).contains(position));
                return (before - few.len()) as u32;
            }
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
            Self::Few(few) => few.binary_search(&position).is_ok(),
        }
    }

    /// Whether some position from `from` to `to`, which lie within the run, is alive.
    pub(super) fn any(&self, from: Position, to: Position) -> bool {
        let (origin, words) = match self {
            Self::All => return from <= to,
            Self::Bits { origin, words } => (origin, words),
            Self::Few(few) => {
                let place = few.partition_point(|position| *position < from);
                return few.get(place).is_some_and(|position| *position <= to);
            }
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

    /// The lowest live position, unless all are alive.
    pub(super) fn first(&self) -> Option<Position> {
        let (origin, words) = match self {
            Self::All => return None,
            Self::Bits { origin, words } => (origin, words),
            Self::Few(few) => return few.first().copied(),
        };
        let (index, word) = words.iter().enumerate().find(|(_, word)| **word != 0)?;
        Some(*origin + index as u64 * BITS + u64::from(word.trailing_zeros()))
    }

    /// The highest live position, unless all are alive.
    pub(super) fn last(&self) -> Option<Position> {
        let (origin, words) = match self {
            Self::All => return None,
            Self::Bits { origin, words } => (origin, words),
            Self::Few(few) => return few.last().copied(),
        };
        let (index, word) = words
            .iter()
            .enumerate()
            .rev()
            .find(|(_, word)| **word != 0)?;
        Some(*origin + index as u64 * BITS + u64::from(BITS as u32 - 1 - word.leading_zeros()))
    }

    /// Only the positions that are in `other` too; says how many. Not to be called where all are alive.
    pub(super) fn retain(&mut self, other: impl Fn(Position) -> bool) -> u32 {
        let (origin, words) = match self {
            Self::All => return 0,
            Self::Bits { origin, words } => (origin, words),
            Self::Few(few) => {
                few.retain(|position| other(*position));
                return few.len() as u32;
            }
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
        fn bits_agree_with_a_set(changes in prop::collection::vec((any::<bool>(), 0u64..400, 0u64..150), 1..40), few in 0usize..40) {
            let mut live = Live::none(200);
            let mut set = BTreeSet::new();
            for (index, (add, from, more)) in changes.into_iter().enumerate() {
                if index == few {
                    live.scatter();
                }
                prop_assert!(live.is_sound());
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
