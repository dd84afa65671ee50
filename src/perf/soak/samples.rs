//! What the broker's process holds, looked at all the time: the most of it in each half of the run.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::broker::Broker;
use crate::error::Error;

/// The most that was seen.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Most {
    /// Resident bytes.
    pub(super) memory_bytes: u64,
    /// Open descriptors.
    pub(super) descriptors: u64,
    /// Bytes of the data directory.
    pub(super) disk_bytes: u64,
}

/// Everything that was seen.
pub(super) struct Samples {
    started: Instant,
    duration: Duration,
    halves: [Most; 2],
}

impl Samples {
    pub(super) fn new(duration: Duration) -> Self {
        Self {
            started: Instant::now(),
            duration,
            halves: [Most::default(); 2],
        }
    }

    /// Looks once.
    pub(super) fn look(&mut self, broker: &Broker) -> Result<(), Error> {
        let [first, second] = &mut self.halves;
        let half = match self.started.elapsed() * 2 < self.duration {
            true => first,
            false => second,
        };
        half.memory_bytes = half.memory_bytes.max(broker.memory()?);
        half.descriptors = half.descriptors.max(broker.descriptors());
        half.disk_bytes = half.disk_bytes.max(broker.disk());
        Ok(())
    }

    /// How long to wait before the next look.
    pub(super) fn pause(&self) -> Duration {
        (self.duration / 200).clamp(Duration::from_millis(100), Duration::from_secs(5))
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The most of each half.
    pub(super) fn halves(&self) -> [Most; 2] {
        self.halves
    }
}
