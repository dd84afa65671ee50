//! What the workers of a run share: a few counters, updated once per batch, and when to measure and to stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

/// Counters and switches of a run.
#[derive(Debug)]
pub struct Counters {
    started: Instant,
    /// Messages handed to the socket.
    pub published: AtomicU64,
    /// Messages the broker confirmed.
    pub confirmed: AtomicU64,
    /// Messages the broker refused (basic.nack).
    pub refused: AtomicU64,
    /// Deliveries received.
    pub delivered: AtomicU64,
    /// Whether latencies count.
    pub measuring: AtomicBool,
    /// Whether workers are to end.
    pub stop: AtomicBool,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reading {
    /// Nanoseconds since the run started.
    pub at: u64,
    /// See [`Counters::published`].
    pub published: u64,
    /// See [`Counters::confirmed`].
    pub confirmed: u64,
    /// See [`Counters::refused`].
    pub refused: u64,
    /// See [`Counters::delivered`].
    pub delivered: u64,
}

impl Counters {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            published: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            measuring: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    /// Nanoseconds since the run started, never 0: the clock that messages are stamped with.
    pub fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .max(1)
    }

    pub fn read(&self) -> Reading {
        Reading {
            at: self.now(),
            published: self.published.load(Relaxed),
            confirmed: self.confirmed.load(Relaxed),
            refused: self.refused.load(Relaxed),
            delivered: self.delivered.load(Relaxed),
        }
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub fn measuring(&self) -> bool {
        self.measuring.load(Relaxed)
    }

    /// Deliveries still to come, when one publish causes `copies`.
    pub fn in_flight(&self, copies: u64) -> u64 {
        let due = self.published.load(Relaxed).saturating_mul(copies);
        due.saturating_sub(self.delivered.load(Relaxed))
    }
}

impl Reading {
    /// What was counted since an earlier reading.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            at: self.at.saturating_sub(earlier.at),
            published: self.published.saturating_sub(earlier.published),
            confirmed: self.confirmed.saturating_sub(earlier.confirmed),
            refused: self.refused.saturating_sub(earlier.refused),
            delivered: self.delivered.saturating_sub(earlier.delivered),
        }
    }

    /// The time between the two readings.
    pub fn seconds(self) -> f64 {
        self.at as f64 / 1e9
    }
}
