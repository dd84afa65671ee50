//! Which of the lanes above the lowest hold messages.

/// The bits of one word.
const BITS: u8 = 64;

/// A set of lanes by their numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Occupied([u64; 4]);

impl Occupied {
    /// Puts a lane in or takes it out.
    pub(super) fn set(&mut self, number: u8, occupied: bool) {
        let bit = 1 << (number % BITS);
        if let Some(word) = self.0.get_mut(usize::from(number / BITS)) {
            *word = if occupied { *word | bit } else { *word & !bit };
        }
    }

    /// The highest lane.
    pub(super) fn highest(&self) -> Option<u8> {
        let words = self.0.iter().enumerate().rev();
        let mut words = words.filter(|&(_, &word)| word != 0);
        let (index, word) = words.next()?;
        Some(index as u8 * BITS + highest_bit(*word))
    }

    /// The highest lane below `number`.
    pub(super) fn highest_below(&self, number: u8) -> Option<u8> {
        let mut lower = *self;
        for (first, word) in (0..).step_by(BITS.into()).zip(&mut lower.0) {
            let kept = u32::from(number).saturating_sub(first);
            *word &= 1_u64.checked_shl(kept).map_or(u64::MAX, |bit| bit - 1);
        }
        lower.highest()
    }

    /// The lowest lane above `number`.
    pub(super) fn lowest_above(&self, number: u8) -> Option<u8> {
        let first = usize::from(number / BITS);
        let words = self.0.iter().enumerate().skip(first);
        let mut words = words.map(|(index, word)| match index == first {
            // Twice, for a word has no 64 bits to be shifted out.
            true => (index, word >> (number % BITS) >> 1 << (number % BITS) << 1),
            false => (index, *word),
        });
        let (index, word) = words.find(|(_, word)| *word != 0)?;
        Some(index as u8 * BITS + word.trailing_zeros() as u8)
    }

    /// All lanes, from the lowest up.
    pub(super) fn iter(&self) -> impl Iterator<Item = u8> + use<> {
        let words = self.0.into_iter().enumerate();
        words.flat_map(|(index, mut word)| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as u8;
                word &= word.wrapping_sub(1);
                (bit < BITS).then(|| index as u8 * BITS + bit)
            })
        })
    }
}

fn highest_bit(word: u64) -> u8 {
    BITS - 1 - word.leading_zeros() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_knows_its_highest_and_gives_all_in_order() {
        let mut set = Occupied::default();
        assert_eq!((set.highest(), set.iter().count()), (None, 0));
        for number in [200, 1, 63, 255, 64] {
            set.set(number, true);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 63, 64, 200, 255]);
        let below = [255, 201, 200, 65, 64, 63, 2, 1].map(|number| set.highest_below(number));
        let expected = [200, 200, 64, 64, 63, 1, 1].map(Some);
        assert_eq!(below.split_last().unwrap(), (&None, &expected[..]));
        let above = [0, 1, 62, 63, 64, 199, 254, 255].map(|number| set.lowest_above(number));
        let expected = [1, 63, 63, 64, 200, 200, 255].map(Some);
        assert_eq!(above.split_last().unwrap(), (&None, &expected[..]));
        for highest in [255, 200, 64, 63, 1] {
            assert_eq!(set.highest(), Some(highest));
            set.set(highest, false);
        }
        assert_eq!(set.highest(), None);
        set.set(7, false);
        assert_eq!(set.iter().count(), 0);
    }
}
