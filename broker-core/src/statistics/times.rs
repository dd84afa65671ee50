//! How long messages stayed in a queue over the last day. The percentiles of the last minute are looked at every few
//! seconds and kept as the counts are, in a [`History`]: what has not changed costs nothing, and a queue that nothing goes
//! through keeps nothing.

use super::{Counts, History, Range};
use crate::queue::{Quantiles, QueueTimes};

/// Seconds between two looks: percentiles are of a whole minute, and take a look at all of its buckets.
pub(super) const EVERY: u32 = 5;

/// Seconds without a change after which a queue has no times any more.
pub(super) const QUIET: u32 = 6;

/// Two percentiles of two times.
const COLUMNS: usize = 4;

/// The times of a queue in the past.
#[derive(Debug)]
pub struct TimesHistory(History<COLUMNS>);

/// Half of the messages, and 99 of 100, needed at most so many milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of them.
    pub p50: u64,
    /// 99 of 100.
    pub p99: u64,
}

/// What the times were in the minute before a moment; `None` without messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimesSample {
    /// Seconds since the epoch.
    pub second: u32,
    /// Until messages were delivered for the first time.
    pub time_in_queue: Option<Percentiles>,
    /// Until they were acknowledged.
    pub publish_to_ack: Option<Percentiles>,
}

impl TimesHistory {
    /// A history that begins in this second.
    pub(super) fn new(second: u32) -> Self {
        Self(History::new(second))
    }

    /// Notes what the times are in this second.
    pub(super) fn record(&mut self, second: u32, times: &QueueTimes) {
        let [a, b] = pair(times.time_in_queue);
        let [c, d] = pair(times.publish_to_ack);
        self.0.record(second, &Counts([a, b, c, d]));
    }

    /// Forgets what is too old to be told; says whether anything is left.
    pub(super) fn forget(&mut self, second: u32) -> bool {
        self.0.forget(second)
    }

    /// The times at each step of a range that ends now, latest first.
    pub fn samples(&self, range: Range, now: u32) -> Vec<TimesSample> {
        let samples = self.0.samples(range, now).into_iter();
        let samples = samples.map(|sample| {
            let Counts([a, b, c, d]) = sample.counts;
            TimesSample {
                second: sample.second,
                time_in_queue: percentiles(a, b),
                publish_to_ack: percentiles(c, d),
            }
        });
        samples.collect()
    }
}

/// As it is kept: one more than it is, since 0 is for nothing.
fn pair(times: Option<Quantiles>) -> [u64; 2] {
    times.map_or([0, 0], |it| [it.p50 + 1, it.p99 + 1])
}

fn percentiles(p50: u64, p99: u64) -> Option<Percentiles> {
    let (p50, p99) = (p50.checked_sub(1)?, p99.checked_sub(1)?);
    Some(Percentiles { p50, p99 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(p50: u64) -> QueueTimes {
        let quantiles = Quantiles {
            count: 1,
            p50,
            p99: p50 * 2,
            p999: p50 * 2,
            max: p50 * 2,
        };
        QueueTimes {
            time_in_queue: Some(quantiles),
            publish_to_ack: None,
        }
    }

    #[test]
    fn times_are_told_where_there_were_messages_and_nothing_elsewhere() {
        let mut history = TimesHistory::new(1000);
        history.record(1000, &times(0));
        history.record(1005, &times(7));
        history.record(1010, &QueueTimes::default());
        let samples = history.samples(Range { age: 20, step: 5 }, 1015);
        let found: Vec<_> = samples
            .iter()
            .map(|it| {
                let times = it.time_in_queue.map(|it| (it.p50, it.p99));
                (it.second, times, it.publish_to_ack)
            })
            .collect();
        let expected = [
            (1015, None, None),
            (1010, None, None),
            (1005, Some((7, 14)), None),
            (1000, Some((0, 0)), None),
            (995, None, None),
        ];
        assert_eq!(found, expected);
    }
}
