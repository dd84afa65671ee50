//! What the broker counts, and what the counts were.
//!
//! The message path only adds to plain counters: a queue's are changed under its lock, a channel's and a connection's by
//! the one task that has them, an exchange's once for a batch. Whoever counts also sees to it that the object is on the
//! list of those with traffic ([`watch`]). Once a second `Statistics::sample` looks at the objects on the lists, keeps
//! what their counts were ([`history`]) and adds what is new to the totals of their vhost and of the node. So totals are
//! up to a second behind, and reading any of this costs the same however many objects there are. Names and meanings are
//! those of RabbitMQ's `message_stats` (<https://www.rabbitmq.com/docs/management>).

pub mod column;
pub mod counter;
mod exchange;
pub mod history;
mod queue;
mod ring;
mod sizes;
mod times;
pub mod watch;

use std::sync::Arc;

use parking_lot::Mutex;

pub(crate) use self::watch::{Sampled, Watched};
pub use self::{
    column::{Column, Counts, DELIVER_GET, OF_CHANNEL, OF_NODE, OF_QUEUE, OF_QUEUE_HISTORY},
    counter::{Counter, Counters},
    exchange::{ExchangeColumn, ExchangeStatistics},
    history::{History, RATE_SECONDS, Range, Sample},
    queue::QueueStatistics,
    sizes::{BUCKETS, MessageSizes, SizeCounts},
    times::{Percentiles, TimesHistory, TimesSample},
};
use crate::{
    broker::ConnectionEntry,
    queue::{Millis, Queue, Undeliverable, UndeliverableCounters, UndeliverableCounts},
    vhost::Exchange,
};

/// What the operating system says of the process, by the name that RabbitMQ's `/api/nodes` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Resource {
    /// Bytes of memory.
    MemUsed,
    /// Open file descriptors.
    FdUsed,
    /// Open sockets.
    SocketsUsed,
    /// Free bytes of the disk.
    DiskFree,
    /// Threads.
    ProcUsed,
}

/// How many [`Resource`]s there are.
pub const RESOURCES: usize = Resource::ProcUsed as usize + 1;

/// Counts of a whole vhost, or of the node.
#[derive(Debug, Default)]
struct Totals {
    counts: Counts<OF_NODE>,
    history: Option<Box<History<OF_NODE>>>,
}

impl Totals {
    fn record(&mut self, second: u32) {
        let history = &mut self.history;
        let history = history.get_or_insert_with(|| Box::new(History::new(second)));
        history.record(second, &self.counts);
    }
}

/// The statistics of the node.
#[derive(Default)]
pub struct Statistics {
    totals: Mutex<Totals>,
    sizes: Mutex<SizeCounts>,
    resources: Mutex<Option<Box<History<RESOURCES>>>>,
    queues: Watched<Queue>,
    exchanges: Watched<Exchange>,
    connections: Watched<ConnectionEntry>,
    undeliverable: UndeliverableCounters,
}

impl std::fmt::Debug for Statistics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statistics").finish_non_exhaustive()
    }
}

/// The second of a moment.
pub fn second(now: Millis) -> u32 {
    u32::try_from(now / 1000).unwrap_or(u32::MAX)
}

impl Statistics {
    /// Keeps what the counts of all objects with traffic are in this second. `vhosts` are all there are.
    pub(crate) fn sample<'a>(
        &self,
        vhosts: impl Iterator<Item = &'a VhostStatistics>,
        now: Millis,
    ) {
        let second = second(now);
        self.queues.sample(second);
        self.exchanges.sample(second);
        self.connections.sample(second);
        for vhost in vhosts {
            vhost.totals.lock().record(second);
        }
        self.totals.lock().record(second);
    }

    /// Keeps what the operating system says of the process.
    pub fn sample_resources(&self, used: [u64; RESOURCES], now: Millis) {
        let second = second(now);
        let mut resources = self.resources.lock();
        let history = resources.get_or_insert_with(|| {
            let mut history = Box::new(History::new(second.saturating_sub(RATE_SECONDS + 1)));
            history.record(second.saturating_sub(RATE_SECONDS + 1), &Counts(used));
            history
        });
        history.record(second, &Counts(used));
    }

    /// What was last known of the process.
    pub fn resources(&self) -> Counts<RESOURCES> {
        let resources = self.resources.lock();
        resources
            .as_ref()
            .map_or_else(Counts::default, |it| *it.total())
    }

    /// Lets somebody look at how the use of resources has changed.
    pub fn with_resources<R>(&self, look: impl FnOnce(Option<&History<RESOURCES>>) -> R) -> R {
        look(self.resources.lock().as_deref())
    }

    /// The totals of the node.
    pub fn counts(&self) -> Counts<OF_NODE> {
        self.totals.lock().counts
    }

    /// Lets somebody look at what the totals of the node were.
    pub fn with_history<R>(&self, look: impl FnOnce(Option<&History<OF_NODE>>) -> R) -> R {
        look(self.totals.lock().history.as_deref())
    }

    /// The sizes of all messages that were published.
    pub fn sizes(&self) -> SizeCounts {
        *self.sizes.lock()
    }

    /// Counts something that happens seldom.
    pub fn count(&self, column: Column) {
        self.totals.lock().counts.add(column, 1);
    }

    /// How many dead letters of all queues went nowhere, those of queues that have ended among them.
    pub fn undeliverable_dead_letters(&self) -> UndeliverableCounts {
        self.undeliverable.counts()
    }

    pub(crate) fn count_undeliverable(&self, why: Undeliverable) {
        self.undeliverable.count(why);
    }

    pub(crate) fn add_sizes(&self, now: &SizeCounts, since: &SizeCounts) {
        self.sizes.lock().add_change(now, since);
    }

    pub(crate) fn note_connection(&self, connection: &Arc<ConnectionEntry>) {
        self.connections.note(connection);
    }
}

/// The statistics of a vhost.
#[derive(Debug)]
pub struct VhostStatistics {
    totals: Mutex<Totals>,
    node: Arc<Statistics>,
}

impl VhostStatistics {
    /// The statistics of a new vhost.
    pub(crate) fn new(node: Arc<Statistics>) -> Arc<Self> {
        Arc::new(Self {
            totals: Mutex::default(),
            node,
        })
    }

    /// The statistics of the node.
    pub fn node(&self) -> &Arc<Statistics> {
        &self.node
    }

    /// The totals of the vhost.
    pub fn counts(&self) -> Counts<OF_NODE> {
        self.totals.lock().counts
    }

    /// Lets somebody look at what the totals were.
    pub fn with_history<R>(&self, look: impl FnOnce(Option<&History<OF_NODE>>) -> R) -> R {
        look(self.totals.lock().history.as_deref())
    }

    /// Counts what no channel counts: what the HTTP API does itself.
    pub fn count(&self, column: Column, by: u64) {
        self.totals.lock().counts.add(column, by);
        self.node.totals.lock().counts.add(column, by);
    }

    /// Adds what an object's counts have changed by.
    pub(crate) fn add<const N: usize>(&self, now: &Counts<N>, since: &Counts<N>) {
        self.totals.lock().counts.add_change(now, since);
        self.node.totals.lock().counts.add_change(now, since);
    }

    pub(crate) fn note_queue(&self, queue: &Arc<Queue>) {
        self.node.queues.note(queue);
    }

    pub(crate) fn note_exchange(&self, exchange: &Arc<Exchange>) {
        self.node.exchanges.note(exchange);
    }
}
