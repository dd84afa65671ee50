//! A set of places that lie near each other: one bit for each.

use std::collections::BTreeMap;

use crate::store::Position;

const BITS: u64 = u64::BITS as u64;

/// Places of a queue.
#[derive(Debug, Default)]
pub struct PlaceSet {
    /// By place divided by 64. None of them is 0.
    words: BTreeMap<u64, u64>,
}

impl PlaceSet {
    /// Adds a place.
    pub(super) fn insert(&mut self, place: Position) {
        *self.words.entry(place / BITS).or_default() |= 1 << (place % BITS);
    }

    /// Whether the place is in it.
    pub(super) fn contains(&self, place: Position) -> bool {
        let word = self.words.get(&(place / BITS));
        word.is_some_and(|word| word >> (place % BITS) & 1 == 1)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// How many words it takes.
    pub(super) fn words(&self) -> usize {
        self.words.len()
    }

    /// Drops about all places before this one; some near to it may stay.
    pub(super) fn forget_before(&mut self, place: Position) {
        while let Some(word) = self.words.first_entry()
            && *word.key() < place / BITS
        {
            word.remove();
        }
    }

    /// The places from `from` to `to`, both included, in their order.
    pub(super) fn range(&self, from: Position, to: Position) -> impl Iterator<Item = Position> {
        let words = self.words.range(from / BITS..=(to / BITS).max(from / BITS));
        let places = words.flat_map(|(index, word)| {
            let bits = (0..BITS).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| index * BITS + bit)
        });
        places.filter(move |place| (from..=to).contains(place))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn places_are_a_set(places in vec(0..500_u64, 0..80), before in 0..500_u64, span in 0..300_u64) {
            let mut set = PlaceSet::default();
            places.iter().for_each(|&place| set.insert(place));
            let model: BTreeSet<_> = places.into_iter().collect();
            let all: Vec<_> = (0..600).filter(|&place| set.contains(place)).collect();
            prop_assert_eq!(&all, &model.iter().copied().collect::<Vec<_>>());
            let range: Vec<_> = set.range(before, before + span).collect();
            prop_assert_eq!(range, model.range(before..=before + span).copied().collect::<Vec<_>>());
            set.forget_before(before);
            prop_assert!(model.range(before..).all(|&place| set.contains(place)));
            set.forget_before(1_000);
            prop_assert!(set.is_empty());
        }
    }
}
