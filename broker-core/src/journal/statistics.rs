//! What the journal does, for those who watch it: counted where the disk is waited for anyway.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::{run::Place, shared::Shared};

/// The upper ends of the buckets for the time that a sync takes, in seconds. Whatever takes longer falls into one more.
pub const SYNC_SECONDS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

const BUCKETS: usize = SYNC_SECONDS.len() + 1;

/// What the writer of the log has done.
#[derive(Debug, Default)]
pub struct LogWork {
    syncs: [AtomicU64; BUCKETS],
    sync_nanos: AtomicU64,
    written_bytes: AtomicU64,
}

impl LogWork {
    /// Counts a sync that took so long.
    pub(super) fn synced(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = SYNC_SECONDS
            .iter()
            .take_while(|end| **end < seconds)
            .count();
        if let Some(count) = self.syncs.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sync_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Counts a group of this many bytes.
    pub(super) fn wrote(&self, bytes: u64) {
        self.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// What the mover has done.
#[derive(Debug, Default)]
pub(super) struct MoverWork {
    compactions: AtomicU64,
    compacted_bytes: AtomicU64,
}

impl MoverWork {
    /// Counts sparse segments that were rewritten, and what was copied with them and out of full files of the log.
    pub(super) fn moved(&self, sparse: usize, bytes: u64) {
        self.compactions.fetch_add(sparse as u64, Ordering::Relaxed);
        self.compacted_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// The journal at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct JournalStatistics {
    /// Syncs of the log by the time that they took, see [`SYNC_SECONDS`].
    pub syncs: [u64; BUCKETS],
    /// The time that all of them took.
    pub sync_seconds: f64,
    /// Bytes that were written to the log.
    pub written_bytes: u64,
    /// Files of the log.
    pub log_files: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of what is alive in them.
    pub live_bytes: u64,
    /// Sparse segments that were written anew.
    pub compactions: u64,
    /// Bytes that the mover has written.
    pub compacted_bytes: u64,
}

impl JournalStatistics {
    /// Looks at a journal. The index is locked for a look at each of its files.
    pub(super) fn of(shared: &Shared) -> Self {
        let usage = shared.log.files();
        let mut statistics = Self {
            log_files: usage.active.saturating_sub(usage.first) + 1,
            bytes: usage.bytes,
            compactions: shared.work.compactions.load(Ordering::Relaxed),
            compacted_bytes: shared.work.compacted_bytes.load(Ordering::Relaxed),
            ..Self::default()
        };
        if let Some(work) = shared.log.work() {
            for (count, counter) in statistics.syncs.iter_mut().zip(&work.syncs) {
                *count = counter.load(Ordering::Relaxed);
            }
            let nanos = work.sync_nanos.load(Ordering::Relaxed);
            statistics.sync_seconds = Duration::from_nanos(nanos).as_secs_f64();
            statistics.written_bytes = work.written_bytes.load(Ordering::Relaxed);
        }
        for (place, file) in &shared.index.lock().files {
            statistics.live_bytes += file.live;
            if matches!(place, Place::Segment(_)) {
                statistics.segments += 1;
                statistics.bytes += file.length;
            }
        }
        statistics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_falls_into_the_bucket_whose_end_it_does_not_exceed() {
        let work = LogWork::default();
        for micros in [100, 101, 10_000_000] {
            work.synced(Duration::from_micros(micros));
        }
        let counts: Vec<u64> = work
            .syncs
            .iter()
            .map(|it| it.load(Ordering::Relaxed))
            .collect();
        assert_eq!((counts[0], counts[1], counts[BUCKETS - 1]), (1, 1, 1));
    }
}
