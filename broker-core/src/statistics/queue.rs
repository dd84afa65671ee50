//! The statistics of a queue: its counters are in its state, under its lock; what they were is here.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::{
    Column, Counts, History, OF_QUEUE_HISTORY, Sampled, TimesHistory, VhostStatistics, times,
    watch::Listed,
};
use crate::queue::{Millis, Queue, QueueTimes};

/// What a queue knows of its past, and who wants to know of its present.
#[derive(Debug, Default)]
pub struct QueueStatistics {
    listed: Listed,
    vhost: OnceLock<Arc<VhostStatistics>>,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    /// What the queue held when the broker started, until the history begins with it.
    at_start: Option<Box<Counts<OF_QUEUE_HISTORY>>>,
    history: Option<Box<History<OF_QUEUE_HISTORY>>>,
    /// How long messages stayed, if any was ever delivered.
    times: Option<Box<TimesHistory>>,
    /// The queue has ended: nothing of it counts any more.
    ended: bool,
}

impl QueueStatistics {
    /// Says whose totals the queue counts for. Without them it has no statistics.
    pub(crate) fn attach(&self, vhost: &Arc<VhostStatistics>) {
        let _ = self.vhost.set(Arc::clone(vhost));
    }

    /// Says what the queue held when the broker started: it has not grown by that.
    pub(crate) fn begin_with(&self, counts: Counts<OF_QUEUE_HISTORY>) {
        self.past.lock().at_start = Some(Box::new(counts));
    }

    /// To be called after anything of the queue was counted.
    #[inline]
    pub(crate) fn note(&self, queue: &Arc<Queue>) {
        if !self.listed.is_set()
            && let Some(vhost) = self.vhost.get()
        {
            vhost.note_queue(queue);
        }
    }

    /// Whether there was ever traffic that the sampler has seen, and what the counts were.
    pub fn with_history<R>(&self, look: impl FnOnce(Option<&History<OF_QUEUE_HISTORY>>) -> R) -> R {
        look(self.past.lock().history.as_deref())
    }

    /// Whether messages were ever delivered while the sampler looked, and how long they stayed.
    pub fn with_times<R>(&self, look: impl FnOnce(Option<&TimesHistory>) -> R) -> R {
        look(self.past.lock().times.as_deref())
    }
}

impl Past {
    /// Notes how long messages stay. `looked` is what they were, in those seconds in which anybody looks.
    fn note_times(&mut self, second: u32, looked: Option<QueueTimes>) {
        let last_change = self.history.as_ref().map_or(0, |it| it.last_change());
        let quiet = second.saturating_sub(last_change);
        match looked {
            // After that nobody samples the queue any more: without this it would seem to go on as it was.
            _ if quiet >= times::QUIET => {
                if let Some(times) = &mut self.times {
                    times.record(second, &QueueTimes::default());
                }
            }
            Some(now) if self.times.is_some() || now != QueueTimes::default() => {
                let times = &mut self.times;
                let times = times.get_or_insert_with(|| Box::new(TimesHistory::new(second)));
                times.record(second, &now);
            }
            _ => {}
        }
    }
}

impl Queue {
    /// Takes the counts of a queue that has ended over for good, and its lengths out of the totals.
    pub(crate) fn end_statistics(&self) {
        let mut counts = self.statistics_counts();
        counts.set(Column::Ready, 0);
        counts.set(Column::Unacknowledged, 0);
        counts.set(Column::Delayed, 0);
        let mut past = self.statistics.past.lock();
        if std::mem::replace(&mut past.ended, true) {
            return;
        }
        let since = past.history.take();
        let since = since.map_or_else(Counts::default, |history| *history.total());
        drop(past);
        if let Some(vhost) = self.statistics.vhost.get() {
            vhost.add(&counts.from(OWN), &since.from(OWN));
        }
    }
}

/// From this column on a queue's counts are those of its vhost. What clients do is counted there by their channels.
const OWN: Column = Column::DiskReads;

impl Sampled for Queue {
    fn listed(&self) -> &Listed {
        &self.statistics.listed
    }

    fn sample(&self, second: u32) -> bool {
        let Some(vhost) = self.statistics.vhost.get() else {
            return false;
        };
        let counts = self.statistics_counts();
        let looks = second.is_multiple_of(times::EVERY);
        let times = looks.then(|| self.times(Millis::from(second) * 1000));
        let mut past = self.statistics.past.lock();
        if past.ended {
            return false;
        }
        let Past {
            history, at_start, ..
        } = &mut *past;
        // The totals know of a queue what its history has said so far.
        let since = history
            .as_ref()
            .map_or_else(Counts::default, |it| *it.total());
        let history = history.get_or_insert_with(|| {
            let at_start = at_start.take().map_or_else(Counts::default, |it| *it);
            Box::new(History::beginning_with(at_start, second))
        });
        let changed = history.record(second, &counts);
        if since != counts {
            vhost.add(&counts.from(OWN), &since.from(OWN));
        }
        past.note_times(second, times);
        changed
    }

    fn forget(&self, second: u32) -> bool {
        self.forget_times();
        let mut past = self.statistics.past.lock();
        past.times.take_if(|times| !times.forget(second));
        let history = past.history.as_mut();
        history.is_some_and(|history| history.forget(second))
    }
}
