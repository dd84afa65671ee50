//! The statistics of an exchange.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;

use super::{Counts, History, Sampled, VhostStatistics, watch::Listed};
use crate::vhost::Exchange;

/// What an exchange counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum ExchangeColumn {
    /// Messages that clients published to it.
    PublishIn,
    /// Messages that it put into queues, once for each queue.
    PublishOut,
}

/// What has gone through an exchange.
#[derive(Debug, Default)]
pub struct ExchangeStatistics {
    listed: Listed,
    publish_in: AtomicU64,
    publish_out: AtomicU64,
    history: Mutex<Option<Box<History<2>>>>,
}

impl ExchangeStatistics {
    /// The counts, by [`ExchangeColumn`].
    pub fn counts(&self) -> Counts<2> {
        let publish_in = self.publish_in.load(Ordering::Relaxed);
        Counts([publish_in, self.publish_out.load(Ordering::Relaxed)])
    }

    /// Lets somebody look at what the counts were.
    pub fn with_history<R>(&self, look: impl FnOnce(Option<&History<2>>) -> R) -> R {
        look(self.history.lock().as_deref())
    }
}

impl Exchange {
    /// Counts messages that came in, and how many went into queues.
    #[inline]
    pub fn count(self: &Arc<Self>, came: u64, went: u64, vhost: &VhostStatistics) {
        let statistics = &self.statistics;
        statistics.publish_in.fetch_add(came, Ordering::Relaxed);
        statistics.publish_out.fetch_add(went, Ordering::Relaxed);
        if !statistics.listed.is_set() {
            vhost.note_exchange(self);
        }
    }
}

impl Sampled for Exchange {
    fn listed(&self) -> &Listed {
        &self.statistics.listed
    }

    fn sample(&self, second: u32) -> bool {
        let mut history = self.statistics.history.lock();
        let history = history.get_or_insert_with(|| Box::new(History::new(second)));
        history.record(second, &self.statistics.counts())
    }

    fn forget(&self, second: u32) -> bool {
        let mut history = self.statistics.history.lock();
        history.as_mut().is_some_and(|it| it.forget(second))
    }
}
