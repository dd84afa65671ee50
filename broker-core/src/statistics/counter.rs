//! Counters that one task writes and anybody reads.

use std::sync::atomic::{AtomicU64, Ordering};

use super::column::{Column, Counts};

/// A counter with a single writer: no instruction that locks, because nobody else adds to it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `by` more. To be called by one task only.
    #[inline]
    pub fn add(&self, by: u64) {
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count.wrapping_add(by), Ordering::Relaxed);
    }

    /// Sets a value that rises and falls. To be called by one task only.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The count.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters of one object, by [`Column`].
#[derive(Debug)]
pub struct Counters<const N: usize>([Counter; N]);

impl<const N: usize> Default for Counters<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl<const N: usize> Counters<N> {
    /// Counts `by` more. To be called by one task only.
    #[inline]
    pub fn add(&self, column: Column, by: u64) {
        if let Some(counter) = self.0.get(column as usize) {
            counter.add(by);
        }
    }

    /// All of them as they are now.
    pub fn read(&self) -> Counts<N> {
        let mut counts = Counts::default();
        for (count, counter) in counts.0.iter_mut().zip(&self.0) {
            *count = counter.get();
        }
        counts
    }
}
