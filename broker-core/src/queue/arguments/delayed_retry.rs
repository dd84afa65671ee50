//! Delayed retry, a setting of quorum queues: how long a message that came back waits before it is delivered again
//! (`rabbit_fifo:should_delay0` and `calculate_ready_at`).

use std::fmt;

use crate::queue::{DeliveryCounts, Millis, Requeued};

/// What of that which comes back waits (`x-delayed-retry-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DelayedRetryType {
    /// Nothing.
    #[default]
    Disabled,
    /// Everything.
    All,
    /// What counts as a failure: `basic.reject`, or the end of the channel that held it.
    Failed,
    /// What was only not processed: `basic.nack`, `basic.recover`, or the consumer timeout.
    Returned,
}

impl DelayedRetryType {
    /// The type of that name; disabled for any other name, as in RabbitMQ.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "all" => Self::All,
            "failed" => Self::Failed,
            "returned" => Self::Returned,
            _ => Self::Disabled,
        }
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::All => "all",
            Self::Failed => "failed",
            Self::Returned => "returned",
        }
    }

    fn delays(self, requeued: Requeued) -> bool {
        match self {
            Self::Disabled => false,
            Self::All => true,
            Self::Failed => requeued == Requeued::Failed,
            Self::Returned => requeued == Requeued::Unprocessed,
        }
    }
}

/// The rule of a queue that delays what comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DelayedRetry {
    pub(super) retry_type: DelayedRetryType,
    /// Milliseconds that a message waits that has failed once.
    pub(super) min_ms: u64,
    /// The most milliseconds that any message waits.
    pub(super) max_ms: u64,
}

impl DelayedRetry {
    /// How many milliseconds a message waits that has come back like this, if it does. `counts` has this return already.
    pub fn delay(&self, counts: DeliveryCounts, requeued: Requeued) -> Option<Millis> {
        let delays = self.retry_type.delays(requeued);
        delays.then(|| self.of_failures(counts))
    }

    /// The same for a message of which only the counts are known: the broker was started since it came back.
    pub fn delay_after_start(&self, counts: DeliveryCounts) -> Option<Millis> {
        let came_back = match self.retry_type {
            DelayedRetryType::Disabled => false,
            DelayedRetryType::All => counts.acquired > 0,
            DelayedRetryType::Failed => counts.failed > 0,
            DelayedRetryType::Returned => counts.acquired > counts.failed,
        };
        came_back.then(|| self.of_failures(counts))
    }

    fn of_failures(&self, counts: DeliveryCounts) -> Millis {
        let failures = u64::from(counts.failed.max(1));
        self.min_ms.saturating_mul(failures).min(self.max_ms)
    }
}

/// As RabbitMQ shows it: `failed (min: 1000ms, max: 60000ms)`.
impl fmt::Display for DelayedRetry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, min, max) = (self.retry_type.as_str(), self.min_ms, self.max_ms);
        write!(out, "{name} (min: {min}ms, max: {max}ms)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(acquired: u16, failed: u16) -> DeliveryCounts {
        DeliveryCounts { acquired, failed }
    }

    fn rule(retry_type: DelayedRetryType) -> DelayedRetry {
        DelayedRetry {
            retry_type,
            min_ms: 100,
            max_ms: 250,
        }
    }

    #[test]
    fn delay_grows_with_the_failures_up_to_its_greatest() {
        let all = rule(DelayedRetryType::All);
        let delay = |failed| all.delay(counts(9, failed), Requeued::Unprocessed);
        let delays: Vec<_> = (0..5).map(delay).collect();
        assert_eq!(delays, [100, 100, 200, 250, 250].map(Some));
    }

    #[test]
    fn type_says_which_returns_wait() {
        let delayed = |name, requeued| {
            let rule = rule(DelayedRetryType::named(name));
            rule.delay(counts(1, 0), requeued).is_some()
        };
        for (name, unprocessed, failed) in [
            ("all", true, true),
            ("failed", false, true),
            ("returned", true, false),
            ("disabled", false, false),
            ("anything", false, false),
        ] {
            assert_eq!(delayed(name, Requeued::Unprocessed), unprocessed, "{name}");
            assert_eq!(delayed(name, Requeued::Failed), failed, "{name}");
        }
    }

    #[test]
    fn after_a_start_the_counts_say_which_messages_wait() {
        let waits = |name, acquired, failed| {
            let rule = rule(DelayedRetryType::named(name));
            rule.delay_after_start(counts(acquired, failed))
        };
        assert_eq!(waits("all", 0, 0), None);
        assert_eq!(waits("all", 1, 0), Some(100));
        assert_eq!(waits("failed", 1, 0), None);
        assert_eq!(waits("failed", 2, 2), Some(200));
        assert_eq!(waits("returned", 2, 2), None);
        assert_eq!(waits("returned", 3, 2), Some(200));
    }
}
