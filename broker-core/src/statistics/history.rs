//! What an object's counts were: the last minute by seconds, the last hour by ten seconds, the last day by five minutes.

use std::collections::VecDeque;

use super::{column::Counts, ring::Ring};

/// Seconds over which a rate is measured (RabbitMQ: `collect_statistics_interval`).
pub const RATE_SECONDS: u32 = 5;

/// Slots of the three rings: seconds of one, and how many are kept.
const RINGS: [(u32, u32); 3] = [(1, 60), (10, 360), (300, 288)];

/// The counts of one object over time.
#[derive(Debug)]
pub struct History<const N: usize> {
    total: Counts<N>,
    /// The second of the last record.
    second: u32,
    /// The second in which anything last changed.
    last_change: u32,
    /// What the counts were in the last seconds, as far as they have changed since.
    recent: VecDeque<(u32, Counts<N>)>,
    rings: [Ring<N>; 3],
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample<const N: usize> {
    /// Seconds since the epoch.
    pub second: u32,
    /// What they were.
    pub counts: Counts<N>,
}

/// Which samples somebody wants to see: `lengths_age` and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// How far they go back, in seconds.
    pub age: u32,
    /// Seconds between two of them.
    pub step: u32,
}

impl<const N: usize> History<N> {
    /// A history that begins with nothing in this second.
    pub fn new(second: u32) -> Self {
        Self::beginning_with(Counts::default(), second)
    }

    /// A history of what was so before this second already, as far as anybody knows.
    pub fn beginning_with(counts: Counts<N>, second: u32) -> Self {
        Self {
            total: counts,
            second,
            last_change: second,
            recent: VecDeque::from([(second.saturating_sub(1), counts)]),
            rings: RINGS.map(|(length, kept)| Ring::new(length, kept, second, counts)),
        }
    }

    /// Notes what the counts are in this second; says whether they have changed since the last time.
    pub fn record(&mut self, second: u32, counts: &Counts<N>) -> bool {
        for ring in &mut self.rings {
            ring.record(second, &self.total);
        }
        let changed = self.total != *counts;
        if changed {
            self.last_change = second;
            let before = second.saturating_sub(1);
            if self.recent.back().is_none_or(|(at, _)| *at < before) {
                self.recent.push_back((before, self.total));
            }
            self.recent.push_back((second, *counts));
        }
        let first = second.saturating_sub(RATE_SECONDS);
        while self.recent.get(1).is_some_and(|(at, _)| *at <= first) {
            self.recent.pop_front();
        }
        self.total = *counts;
        self.second = second;
        changed
    }

    /// Forgets what is too old to be told; says whether anything is left.
    pub fn forget(&mut self, second: u32) -> bool {
        for ring in &mut self.rings {
            ring.record(second, &self.total);
        }
        if self.second.saturating_add(RATE_SECONDS) < second {
            self.recent = VecDeque::new();
        }
        self.rings.iter().any(|ring| !ring.is_empty())
    }

    /// The second in which anything last changed.
    pub fn last_change(&self) -> u32 {
        self.last_change
    }

    /// What the last record said.
    pub fn total(&self) -> &Counts<N> {
        &self.total
    }

    /// By how much each column has changed within the last [`RATE_SECONDS`], per second.
    pub fn rates(&self, now: u32) -> [f64; N] {
        let first = now.saturating_sub(RATE_SECONDS);
        if self.second < first {
            return [0.0; N];
        }
        let mut since = self.recent.front();
        for entry in &self.recent {
            if entry.0 <= first {
                since = Some(entry);
            }
        }
        let Some((at, since)) = since else {
            return [0.0; N];
        };
        let seconds = f64::from(now.saturating_sub(*at).clamp(1, RATE_SECONDS));
        let mut change = Counts::default();
        change.add_change(&self.total, since);
        change.0.map(|by| by.cast_signed() as f64 / seconds)
    }

    /// The counts at each step of a range that ends now, latest first. They come from the finest ring that goes back far
    /// enough.
    pub fn samples(&self, range: Range, now: u32) -> Vec<Sample<N>> {
        let [finest, rest @ ..] = &self.rings;
        let fits = |(ring, (length, kept)): &(&Ring<N>, (u32, u32))| {
            ring.length == *length && length * kept >= range.age
        };
        let mut rings = self.rings.iter().zip(RINGS);
        let ring = rings.find(fits).map(|(ring, _)| ring);
        let ring = ring.or(rest.last()).unwrap_or(finest);
        let mut slots = ring.slots(&self.total);
        let step = range.step.max(1);
        let last = now / step * step;
        let mut counts = self.total;
        let mut samples = Vec::new();
        for back in (0..=range.age).step_by(step as usize) {
            let second = last.saturating_sub(back);
            // A slot's changes count from its end on; the one that is being filled ends now.
            while let Some(slot) = slots.last() {
                let end = slot.number.saturating_add(1).saturating_mul(ring.length) - 1;
                if end.min(self.second) <= second {
                    break;
                }
                let mut earlier = Counts::default();
                earlier.add_change(&counts, &slot.change);
                counts = earlier;
                slots.pop();
            }
            samples.push(Sample { second, counts });
        }
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(counts: impl IntoIterator<Item = u64>) -> History<1> {
        let mut history = History::new(1000);
        for (second, count) in (1000..).zip(counts) {
            history.record(second, &Counts([count]));
        }
        history
    }

    #[test]
    fn a_rate_is_the_change_of_the_last_five_seconds() {
        let history = history((1..=20).map(|n| n * 10));
        assert_eq!(history.rates(1019), [10.0]);
    }

    #[test]
    fn a_rate_begins_with_the_first_second_and_ends_when_nothing_comes_any_more() {
        assert_eq!(history([30]).rates(1000), [30.0]);
        let quiet = history([30, 30, 30, 30, 30, 30, 30]);
        assert_eq!(quiet.rates(1006), [0.0]);
        assert_eq!(history([30]).rates(2000), [0.0], "nobody looked since");
    }

    #[test]
    fn what_was_there_at_the_beginning_has_not_come_since() {
        let mut history = History::beginning_with(Counts([7]), 1000);
        history.record(1000, &Counts([7]));
        history.record(1001, &Counts([9]));
        let range = Range { age: 60, step: 5 };
        let oldest = history.samples(range, 1001).pop().unwrap();
        assert_eq!(oldest.counts, Counts([7]));
        assert_eq!(
            history.rates(1001),
            [1.0],
            "in the two seconds that are known"
        );
    }

    #[test]
    fn samples_tell_what_the_counts_were_latest_first() {
        let history = history([1, 2, 4, 8, 16, 16, 3]);
        let range = Range { age: 4, step: 2 };
        let samples = history.samples(range, 1006);
        let found: Vec<_> = samples.iter().map(|s| (s.second, s.counts.0)).collect();
        assert_eq!(found, [(1006, [3]), (1004, [16]), (1002, [4])]);
    }

    #[test]
    fn a_long_range_comes_from_a_coarser_ring() {
        let history = history((0..2000).map(|n| n * 2));
        let samples = history.samples(
            Range {
                age: 1200,
                step: 600,
            },
            2999,
        );
        for sample in samples {
            let exact = u64::from(sample.second - 1000) * 2;
            let found = sample.counts.get(super::super::Column::Publish);
            assert!(exact.abs_diff(found) <= 20, "{sample:?}");
        }
    }

    #[test]
    fn a_busy_day_costs_a_few_kilobytes() {
        let history = history((0..100_000).map(|n| n * 1000));
        let bytes: usize = history
            .rings
            .iter()
            .map(|r| r.slots(&Counts([0])).len())
            .sum();
        assert!(bytes <= 60 + 360 + 288 + 6);
        assert!(history.recent.len() <= 8);
    }
}
