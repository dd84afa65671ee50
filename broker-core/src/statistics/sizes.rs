//! How large published messages are (RabbitMQ: `rabbit_msg_size_metrics`).

use super::counter::Counter;

/// The upper ends of the buckets in bytes, as RabbitMQ has them. Whatever is larger falls into one more.
pub const BUCKETS: [u64; 8] = [
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
];

const COUNTS: usize = BUCKETS.len() + 1;

/// The sizes of the messages that one connection has published.
#[derive(Debug, Default)]
pub struct MessageSizes {
    counts: [Counter; COUNTS],
    sum: Counter,
}

impl MessageSizes {
    /// Counts a message. To be called by one task only.
    #[inline]
    pub fn add(&self, size: usize) {
        let size = size as u64;
        let bucket = BUCKETS.iter().take_while(|end| **end < size).count();
        if let Some(count) = self.counts.get(bucket) {
            count.add(1);
        }
        self.sum.add(size);
    }

    /// All of them as they are now.
    pub fn read(&self) -> SizeCounts {
        let mut sizes = SizeCounts::default();
        for (count, counter) in sizes.counts.iter_mut().zip(&self.counts) {
            *count = counter.get();
        }
        sizes.sum = self.sum.get();
        sizes
    }
}

/// How many messages there were of each size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizeCounts {
    /// By bucket, and larger ones at the end.
    pub counts: [u64; COUNTS],
    /// Bytes of all of them.
    pub sum: u64,
}

impl SizeCounts {
    pub(super) fn add_change(&mut self, now: &Self, since: &Self) {
        let changes = now.counts.iter().zip(&since.counts);
        for (count, (now, since)) in self.counts.iter_mut().zip(changes) {
            *count = count.wrapping_add(now.wrapping_sub(*since));
        }
        let change = now.sum.wrapping_sub(since.sum);
        self.sum = self.sum.wrapping_add(change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_falls_into_the_bucket_whose_end_it_does_not_exceed() {
        let sizes = MessageSizes::default();
        for size in [0, 100, 101, 100_000_001] {
            sizes.add(size);
        }
        let found = sizes.read();
        assert_eq!(found.counts, [2, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(found.sum, 100_000_202);
    }
}
