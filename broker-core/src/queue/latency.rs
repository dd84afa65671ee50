//! How long messages stay in a queue, and how long it takes until they are acknowledged: over the last minute.
//!
//! Times are counted in buckets that grow with the time, as in an HDR histogram: below 8 ms each millisecond has its
//! own, above there are four for each doubling, so a time is known to within an eighth. A message costs a comparison:
//! neighbours that came and went together are counted together. A queue that nothing goes through keeps nothing.

use std::collections::VecDeque;

use super::{Queue, entry::Entry, entry::Millis, state::QueueState};

/// Times below this, in milliseconds, have a bucket each.
const EXACT: u64 = 8;

/// Buckets of each doubling, as a power of two.
const PARTS: u32 = 2;

/// Longer times count as this: about 49 days.
const LONGEST: u64 = u32::MAX as u64;

/// Buckets of a histogram.
const BUCKETS: usize = 8 + 29 * 4;

/// How long one histogram counts, in milliseconds.
const SLOT: Millis = 15_000;

/// How far back is told, in milliseconds.
const WINDOW: Millis = 60_000;

/// Some time of many messages over the last minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantiles {
    /// How many messages.
    pub count: u64,
    /// Half of them needed at most so many milliseconds.
    pub p50: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p999: u64,
    /// All of them.
    pub max: u64,
}

/// What a queue knows of times; `None` without messages in the last minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueTimes {
    /// From the moment a message enters until it is first delivered.
    pub time_in_queue: Option<Quantiles>,
    /// From the moment a message enters until it is acknowledged.
    pub publish_to_ack: Option<Quantiles>,
}

/// The histograms of one queue.
#[derive(Debug, Default)]
pub(super) struct Times {
    in_queue: Window,
    to_ack: Window,
    /// Something was counted since [`QueueState::forget_times`] asked last.
    fresh: bool,
}

/// A time, measured on messages that follow each other.
#[derive(Debug, Default)]
pub(super) struct Run {
    time: Millis,
    count: u32,
}

impl Run {
    /// One message alone.
    pub(super) fn of(entry: &Entry, now: Millis) -> Self {
        let time = now.saturating_sub(entry.entered);
        Self { time, count: 1 }
    }

    /// Adds a message that entered then; gives what is to be counted because this one differs.
    #[inline]
    pub(super) fn add(&mut self, entry: &Entry, now: Millis) -> Option<Self> {
        let time = now.saturating_sub(entry.entered);
        if time == self.time {
            self.count += 1;
            return None;
        }
        Some(std::mem::replace(self, Self { time, count: 1 }))
    }
}

#[derive(Debug, Default)]
struct Window(VecDeque<Slot>);

#[derive(Debug)]
struct Slot {
    since: Millis,
    counts: Box<[u32; BUCKETS]>,
}

impl Window {
    fn record(&mut self, run: &Run, now: Millis) {
        if run.count == 0 {
            return;
        }
        if self.0.back().is_none_or(|slot| slot.since + SLOT <= now) {
            self.forget(now);
            self.0.push_back(Slot {
                since: now,
                counts: Box::new([0; BUCKETS]),
            });
        }
        let counts = self.0.back_mut().map(|slot| &mut slot.counts);
        let count = counts.and_then(|counts| counts.get_mut(bucket(run.time)));
        if let Some(count) = count {
            *count = count.saturating_add(run.count);
        }
    }

    fn forget(&mut self, now: Millis) {
        while let Some(oldest) = self.0.front()
            && oldest.since + SLOT + WINDOW <= now
        {
            self.0.pop_front();
        }
    }

    fn quantiles(&self, now: Millis) -> Option<Quantiles> {
        let recent = |slot: &&Slot| slot.since + SLOT + WINDOW > now;
        let mut counts = [0; BUCKETS];
        for slot in self.0.iter().filter(recent) {
            for (sum, count) in counts.iter_mut().zip(slot.counts.iter()) {
                *sum += u64::from(*count);
            }
        }
        let count: u64 = counts.iter().sum();
        let at = |share: f64| {
            let wanted = (count as f64 * share).ceil() as u64;
            let mut seen = 0;
            let place = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            place.map_or(0, longest)
        };
        (count > 0).then(|| Quantiles {
            count,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: at(1.0),
        })
    }
}

/// The bucket of a time.
fn bucket(time: Millis) -> usize {
    let time = time.min(LONGEST);
    if time < EXACT {
        return time as usize;
    }
    let doubling = time.ilog2();
    let part = (time >> (doubling - PARTS)) & ((1 << PARTS) - 1);
    let below = (doubling - EXACT.ilog2()) << PARTS;
    (EXACT + u64::from(below) + part) as usize
}

/// The longest time of a bucket.
fn longest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let Some(behind) = bucket.checked_sub(EXACT) else {
        return bucket;
    };
    let doubling = EXACT.ilog2() + (behind >> PARTS) as u32;
    let part = behind & ((1 << PARTS) - 1);
    let width = 1_u64 << (doubling - PARTS);
    (1 << doubling) + (part + 1) * width - 1
}

impl QueueState {
    /// Counts messages that were delivered for the first time.
    pub(super) fn note_delivered(&mut self, run: &Run, now: Millis) {
        if run.count > 0 {
            let times = self.times.get_or_insert_default();
            times.fresh = true;
            times.in_queue.record(run, now);
        }
    }

    /// Counts messages that were acknowledged.
    pub(super) fn note_acknowledged(&mut self, run: &Run, now: Millis) {
        if run.count > 0 {
            let times = self.times.get_or_insert_default();
            times.fresh = true;
            times.to_ack.record(run, now);
        }
    }

    fn forget_times(&mut self) {
        let stale = |times: &mut Box<Times>| !std::mem::take(&mut times.fresh);
        drop(self.times.take_if(stale));
    }
}

impl Queue {
    /// How long messages have stayed in the queue in the last minute or a little more.
    pub fn times(&self, now: Millis) -> QueueTimes {
        let state = self.state.lock();
        let times = state.times.as_ref();
        times.map_or_else(QueueTimes::default, |times| QueueTimes {
            time_in_queue: times.in_queue.quantiles(now),
            publish_to_ack: times.to_ack.quantiles(now),
        })
    }

    /// Gives the memory back if nothing was counted since the last call, which is some minutes ago.
    pub(crate) fn forget_times(&self) {
        self.state.lock().forget_times();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(time: Millis, count: u32) -> Run {
        Run { time, count }
    }

    #[test]
    fn bucket_of_a_time_ends_at_most_a_quarter_above_it() {
        let mut last = 0;
        for time in (0..100_000).chain([LONGEST / 2, LONGEST - 1, LONGEST, Millis::MAX]) {
            let place = bucket(time);
            assert!(place < BUCKETS && place >= last, "{time}");
            last = place;
            let (time, end) = (time.min(LONGEST), longest(place));
            assert!(
                (time..=time + time / 4).contains(&end),
                "{time} ends at {end}"
            );
        }
        assert!((0..8).all(|time| longest(bucket(time)) == time));
    }

    #[test]
    fn quantiles_are_those_of_all_messages() {
        let mut window = Window::default();
        assert_eq!(window.quantiles(0), None);
        window.record(&run(1, 980), 1000);
        window.record(&run(5, 15), 1000);
        window.record(&run(1000, 4), 1000);
        window.record(&run(60_000, 1), 1000);
        let found = window.quantiles(1000).unwrap();
        assert_eq!((found.count, found.p50, found.p99), (1000, 1, 5));
        assert!((1000..=1250).contains(&found.p999), "{found:?}");
        assert!((60_000..=75_000).contains(&found.max), "{found:?}");
    }

    #[test]
    fn what_is_older_than_the_window_counts_no_more() {
        let mut window = Window::default();
        for second in 0..300 {
            window.record(&run(second, 1), second * 1000);
        }
        assert!(window.0.len() <= 6, "{} slots", window.0.len());
        let found = window.quantiles(299_000).unwrap();
        assert!((60..=90).contains(&found.count), "{found:?}");
        assert_eq!(window.quantiles(400_000), None);
    }

    #[test]
    fn neighbours_with_the_same_time_are_counted_together() {
        let message = crate::message::Message::new("", "q", &[0, 0], b"", false);
        let entry = |entered| Entry::new(1, message.clone(), entered);
        let mut current = Run::default();
        let flushed: Vec<_> = [100, 100, 90, 90, 90, 100]
            .into_iter()
            .filter_map(|entered| current.add(&entry(entered), 100))
            .filter(|run| run.count > 0)
            .map(|run| (run.time, run.count))
            .collect();
        assert_eq!(flushed, [(0, 2), (10, 3)]);
        assert_eq!((current.time, current.count), (0, 1));
    }
}
