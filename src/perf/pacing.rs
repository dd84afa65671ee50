//! Keeping to a rate: how many messages are due, and how long until the next one.

use std::time::Duration;

/// Spreads messages evenly over time. It never falls behind by more than [`Pacing::CATCH_UP`]: after a long stall the
/// broker gets the agreed rate again, not the whole debt at once.
#[derive(Debug)]
pub struct Pacing {
    per_second: f64,
    /// Messages allowed so far, by the clock that `due` is called with.
    taken: f64,
}

impl Pacing {
    /// Seconds of debt that are caught up after a stall.
    const CATCH_UP: f64 = 0.1;

    /// A rate in messages per second; 0 is no limit.
    pub fn new(per_second: f64) -> Self {
        Self {
            per_second,
            taken: 0.0,
        }
    }

    /// How many messages may be sent at this time since the start.
    pub fn due(&mut self, elapsed: Duration) -> usize {
        if self.per_second <= 0.0 {
            return usize::MAX;
        }
        let allowed = elapsed.as_secs_f64() * self.per_second;
        self.taken = self
            .taken
            .max(allowed - Self::CATCH_UP * self.per_second - 1.0);
        (allowed - self.taken).max(0.0) as usize
    }

    /// So many were sent.
    pub fn sent(&mut self, messages: usize) {
        self.taken += messages as f64;
    }

    /// How long until a message is due.
    pub fn wait(&self, elapsed: Duration) -> Duration {
        if self.per_second <= 0.0 {
            return Duration::ZERO;
        }
        let at = (self.taken + 1.0) / self.per_second;
        Duration::try_from_secs_f64(at - elapsed.as_secs_f64()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_kept_over_any_steps() {
        let mut pacing = Pacing::new(2000.0);
        let mut sent = 0;
        for step in 1..=1000 {
            let due = pacing.due(Duration::from_micros(step * 1700));
            pacing.sent(due);
            sent += due;
        }
        assert_eq!(sent, 3400);
    }

    #[test]
    fn next_message_is_waited_for_exactly() {
        let mut pacing = Pacing::new(1000.0);
        assert_eq!(pacing.due(Duration::ZERO), 0);
        assert_eq!(pacing.wait(Duration::ZERO), Duration::from_millis(1));
        assert_eq!(pacing.due(Duration::from_millis(1)), 1);
    }

    #[test]
    fn debt_of_a_long_stall_is_forgiven() {
        let mut pacing = Pacing::new(1000.0);
        let due = pacing.due(Duration::from_secs(60));
        assert!((100..=101).contains(&due), "{due}");
    }

    #[test]
    fn rate_of_zero_is_no_limit() {
        let mut pacing = Pacing::new(0.0);
        assert_eq!(pacing.due(Duration::ZERO), usize::MAX);
        assert_eq!(pacing.wait(Duration::ZERO), Duration::ZERO);
    }
}
