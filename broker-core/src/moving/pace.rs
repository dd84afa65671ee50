//! How many messages may be moved by now, at a given rate.

use std::time::Duration;

use crate::queue::Millis;

/// The longest wait: a move that is cancelled or looked at should answer soon.
const LONGEST: u64 = 100;

/// A rate of messages.
#[derive(Debug)]
pub(super) struct Pace {
    /// Messages a second.
    rate: u64,
    since: Millis,
    moved: u64,
}

impl Pace {
    /// So many messages a second from `now` on, at least one.
    pub(super) fn new(rate: u64, now: Millis) -> Self {
        Self {
            rate: rate.max(1),
            since: now,
            moved: 0,
        }
    }

    /// How many may be moved now.
    pub(super) fn allowed(&mut self, now: Millis) -> usize {
        let elapsed = now.saturating_sub(self.since);
        let due = self.rate.saturating_mul(elapsed) / 1000;
        let allowed = due.saturating_sub(self.moved);
        if allowed > self.rate {
            // Nothing could be moved for a while. That is not made up for: the rate is a promise to the target.
            self.since = now;
            self.moved = 0;
            return 0;
        }
        usize::try_from(allowed).unwrap_or(usize::MAX)
    }

    /// Notes what was moved.
    pub(super) fn moved(&mut self, count: usize) {
        self.moved += count as u64;
    }

    /// How long to wait when nothing is allowed.
    pub(super) fn wait(&self) -> Duration {
        Duration::from_millis((1000 / self.rate).clamp(1, LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_allowed_as_the_rate_and_the_time_say() {
        let mut pace = Pace::new(10, 1000);
        assert_eq!(pace.allowed(1000), 0);
        assert_eq!(pace.allowed(1100), 1);
        assert_eq!(pace.allowed(1500), 5);
        pace.moved(5);
        assert_eq!(pace.allowed(1500), 0);
        assert_eq!(pace.allowed(2000), 5);
    }

    #[test]
    fn time_in_which_nothing_could_be_moved_is_not_made_up_for() {
        let mut pace = Pace::new(10, 0);
        assert_eq!(pace.allowed(60_000), 0);
        assert_eq!(pace.allowed(60_500), 5);
    }

    #[test]
    fn slow_pace_waits_no_longer_than_somebody_who_cancels_it() {
        assert_eq!(Pace::new(0, 0).wait(), Duration::from_millis(100));
        assert_eq!(Pace::new(100, 0).wait(), Duration::from_millis(10));
        assert_eq!(Pace::new(1_000_000, 0).wait(), Duration::from_millis(1));
    }
}
