//! The time as the broker core counts it: milliseconds since the Unix epoch that never go back.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use broker_core::queue::Millis;

/// A clock that starts from the system's time and then follows the monotonic clock, so that an operator who sets the
/// system's time neither expires messages nor closes connections.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    epoch_at_start: Millis,
}

impl Clock {
    /// Starts the clock.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            started: Instant::now(),
            epoch_at_start: since_epoch.unwrap_or_default().as_millis() as Millis,
        }
    }

    /// Now.
    pub fn now(&self) -> Millis {
        self.epoch_at_start + self.started.elapsed().as_millis() as Millis
    }

    /// The instant at which the clock will show `at`.
    pub fn instant(&self, at: Millis) -> Instant {
        self.started + Duration::from_millis(at.saturating_sub(self.epoch_at_start))
    }
}
