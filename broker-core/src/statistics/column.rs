//! What is counted, each under the name that RabbitMQ's `message_stats` gives it.

/// A column of statistics. The first ones are what a channel counts, those up to [`Column::Delayed`] a queue, all
/// of them a vhost and the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Column {
    /// Messages that were published.
    Publish,
    /// Messages sent to consumers that acknowledge.
    Deliver,
    /// Messages sent to consumers that do not.
    DeliverNoAck,
    /// Messages that `basic.get` fetched, to be acknowledged.
    Get,
    /// The same without acknowledgement.
    GetNoAck,
    /// `basic.get` that found nothing.
    GetEmpty,
    /// Acknowledgements.
    Ack,
    /// Deliveries with the redelivered flag.
    Redeliver,
    /// Publisher confirms.
    Confirm,
    /// Mandatory messages that went nowhere.
    ReturnUnroutable,
    /// Other messages that went nowhere.
    DropUnroutable,
    /// Publishes in confirm mode.
    PublishConfirm,
    /// Messages put into queues, once for each queue.
    Routed,
    /// Messages read back from disk.
    DiskReads,
    /// Messages handed to the store.
    DiskWrites,
    /// Messages that died because their queue was too long.
    DeadMaxLength,
    /// Messages that died of their age.
    DeadExpired,
    /// Messages that died by a refusal.
    DeadRejected,
    /// Messages that died because they came back too often.
    DeadDeliveryLimit,
    /// Messages that wait. Rises and falls.
    Ready,
    /// Messages that were delivered and not settled. Rises and falls.
    Unacknowledged,
    /// Messages that came back and wait for their next try. Rises and falls.
    Delayed,
    /// Bytes that came from clients.
    ReceivedOctets,
    /// Bytes that went to clients.
    SentOctets,
    /// Connections that were opened.
    ConnectionCreated,
    /// Connections that ended.
    ConnectionClosed,
    /// Channels that were opened.
    ChannelCreated,
    /// Channels that ended.
    ChannelClosed,
    /// `queue.declare`, whether the queue was new or not.
    QueueDeclared,
    /// Queues that were made.
    QueueCreated,
    /// Queues that ended.
    QueueDeleted,
}

/// How many columns a channel has.
pub const OF_CHANNEL: usize = Column::Routed as usize + 1;

/// How many columns a queue counts; its three lengths follow.
pub const OF_QUEUE: usize = Column::DeadDeliveryLimit as usize + 1;

/// How many columns a queue has with its lengths.
pub const OF_QUEUE_HISTORY: usize = Column::Delayed as usize + 1;

/// How many columns a vhost and the node have.
pub const OF_NODE: usize = Column::QueueDeleted as usize + 1;

/// Columns that together are RabbitMQ's `deliver_get`.
pub const DELIVER_GET: [Column; 4] = [
    Column::Deliver,
    Column::DeliverNoAck,
    Column::Get,
    Column::GetNoAck,
];

/// Counts of one object, or what they have changed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts<const N: usize>(pub [u64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self([0; N])
    }
}

impl<const N: usize> Counts<N> {
    /// The count of a column, 0 for one that the object does not have.
    #[inline]
    pub fn get(&self, column: Column) -> u64 {
        self.0.get(column as usize).copied().unwrap_or(0)
    }

    /// Counts `by` more.
    #[inline]
    pub fn add(&mut self, column: Column, by: u64) {
        if let Some(count) = self.0.get_mut(column as usize) {
            *count = count.wrapping_add(by);
        }
    }

    /// Sets a column that rises and falls.
    pub fn set(&mut self, column: Column, value: u64) {
        if let Some(count) = self.0.get_mut(column as usize) {
            *count = value;
        }
    }

    /// The same with nothing in the columns before `first`.
    #[must_use]
    pub fn from(mut self, first: Column) -> Self {
        self.0
            .iter_mut()
            .take(first as usize)
            .for_each(|it| *it = 0);
        self
    }

    /// Adds what has changed `since`, column by column. A fall is a very large rise.
    pub fn add_change<const M: usize>(&mut self, now: &Counts<M>, since: &Counts<M>) {
        let changes = now.0.iter().zip(&since.0);
        for (count, (now, since)) in self.0.iter_mut().zip(changes) {
            *count = count.wrapping_add(now.wrapping_sub(*since));
        }
    }
}
