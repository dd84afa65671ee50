//! What the broker knows of an open connection, its channels and their consumers, for those who look from outside.
//!
//! A connection's task writes here what concerns it and never waits: counters have one writer, and lists change only
//! when a channel or a consumer comes or goes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
};

use amqp_codec::{AMQPValue, FieldTable, parse_table};
use parking_lot::Mutex;

use super::Broker;
use crate::{
    liveness::Liveness,
    outbox::Outbox,
    queue::{ConnectionId, Millis, Queue},
    statistics::{
        Column, Counter, Counters, Counts, History, MessageSizes, OF_CHANNEL, OF_NODE, Sampled,
        SizeCounts, VhostStatistics, watch::Listed,
    },
};

/// What a connection was agreed to be. RabbitMQ's names in `/api/connections` are those of the fields.
#[derive(Debug, Clone)]
pub struct ConnectionFacts {
    /// Where the client is.
    pub peer: SocketAddr,
    /// Where it has reached the broker.
    pub local: SocketAddr,
    /// How it logged in.
    pub auth_mechanism: Box<str>,
    /// What it says of itself, encoded as on the wire: a parsed table costs several times as much.
    pub client_properties: Box<[u8]>,
    /// The largest frame in bytes.
    pub frame_max: u32,
    /// The highest channel number.
    pub channel_max: u16,
    /// Seconds between heartbeats.
    pub timeout: u16,
    /// When it was opened.
    pub connected_at: Millis,
    /// Whether it is encrypted.
    pub ssl: bool,
    /// Whether its user is one of the broker's own, and has to be there.
    pub internal_user: bool,
}

impl Default for ConnectionFacts {
    fn default() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            peer: nowhere,
            local: nowhere,
            auth_mechanism: "PLAIN".into(),
            client_properties: Box::default(),
            frame_max: 0,
            channel_max: 0,
            timeout: 0,
            connected_at: 0,
            ssl: false,
            internal_user: true,
        }
    }
}

impl ConnectionFacts {
    /// What the client says of itself.
    pub fn client_properties(&self) -> FieldTable {
        parse_table(&self.client_properties).unwrap_or_default()
    }

    /// The name that the client gave its connection: `connection_name` in what it says of itself.
    pub fn provided_name(&self) -> Option<String> {
        match self.client_properties().inner().get("connection_name") {
            Some(AMQPValue::LongString(name)) => Some(name.to_string()),
            _ => None,
        }
    }
}

/// What a connection does at the moment, in RabbitMQ's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ConnectionState {
    /// Nothing is in its way.
    Running,
    /// There is an alarm, and it will be stopped when it publishes.
    Blocking,
    /// It has published and is not read from during an alarm.
    Blocked,
    /// It publishes faster than the disk takes it.
    Flow,
}

impl ConnectionState {
    const ALL: [Self; 4] = [Self::Running, Self::Blocking, Self::Blocked, Self::Flow];

    /// RabbitMQ's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocking => "blocking",
            Self::Blocked => "blocked",
            Self::Flow => "flow",
        }
    }
}

/// What has gone over a connection's socket.
#[derive(Debug, Default)]
pub struct Octets {
    /// Bytes that came.
    pub received: Counter,
    /// Reads that brought some.
    pub receives: Counter,
    /// Bytes that went.
    pub sent: Counter,
    /// Writes that took some.
    pub sends: Counter,
}

impl Octets {
    /// The four of them in this order.
    pub fn read(&self) -> Counts<4> {
        let (received, receives) = (self.received.get(), self.receives.get());
        Counts([received, receives, self.sent.get(), self.sends.get()])
    }
}

/// What was sampled of a connection.
#[derive(Debug, Default)]
struct Past {
    octets: Option<Box<History<4>>>,
    sizes: SizeCounts,
}

/// What the broker knows of an open connection.
#[derive(Debug)]
pub struct ConnectionEntry {
    /// Its number.
    pub id: ConnectionId,
    /// Where events for it go.
    pub outbox: Arc<Outbox>,
    /// `peer -> local`, as RabbitMQ names connections.
    pub name: String,
    /// Who logged in.
    pub user: Arc<str>,
    /// The vhost it opened.
    pub vhost: Arc<str>,
    /// Open channels.
    pub channels: AtomicU64,
    /// Whether its client is still there.
    pub liveness: Liveness,
    /// What was agreed.
    pub facts: ConnectionFacts,
    /// What went over its socket.
    pub octets: Octets,
    /// How large its messages are.
    pub sizes: MessageSizes,
    state: AtomicU8,
    open: Mutex<BTreeMap<u16, Arc<ChannelEntry>>>,
    statistics: Arc<VhostStatistics>,
    listed: Listed,
    past: Mutex<Past>,
}

impl ConnectionEntry {
    /// A connection that has just been opened.
    pub fn new(
        id: ConnectionId,
        outbox: Arc<Outbox>,
        (user, vhost): (Arc<str>, Arc<str>),
        facts: ConnectionFacts,
        statistics: &Arc<VhostStatistics>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            outbox,
            name: format!("{} -> {}", facts.peer, facts.local),
            user,
            vhost,
            channels: AtomicU64::new(0),
            liveness: Liveness::default(),
            facts,
            octets: Octets::default(),
            sizes: MessageSizes::default(),
            state: AtomicU8::new(ConnectionState::Running as u8),
            open: Mutex::default(),
            statistics: Arc::clone(statistics),
            listed: Listed::default(),
            past: Mutex::default(),
        })
    }

    /// To be called after anything of the connection or its channels was counted.
    #[inline]
    pub fn note(self: &Arc<Self>) {
        if !self.listed.is_set() {
            self.statistics.node().note_connection(self);
        }
    }

    /// Says what the connection does now.
    pub fn set_state(&self, state: ConnectionState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    /// What the connection does.
    pub fn state(&self) -> ConnectionState {
        let state = usize::from(self.state.load(Ordering::Relaxed));
        let state = ConnectionState::ALL.get(state).copied();
        state.unwrap_or(ConnectionState::Running)
    }

    /// Adds a channel that was opened.
    pub fn add_channel(&self, channel: &Arc<ChannelEntry>) {
        self.open.lock().insert(channel.number, Arc::clone(channel));
        self.statistics.node().count(Column::ChannelCreated);
    }

    /// Takes a channel out that has ended.
    pub fn remove_channel(&self, number: u16) {
        let removed = self.open.lock().remove(&number);
        if let Some(channel) = removed {
            self.end_channel(&channel);
        }
    }

    fn end_channel(&self, channel: &ChannelEntry) {
        let since = channel.history.lock().take();
        let since = since.map_or_else(Counts::default, |history| *history.total());
        self.statistics.add(&channel.counters.read(), &since);
        self.statistics.node().count(Column::ChannelClosed);
    }

    /// Open channels, by number.
    pub fn open_channels(&self) -> Vec<Arc<ChannelEntry>> {
        self.open.lock().values().cloned().collect()
    }

    /// How many channels are open.
    pub fn channel_count(&self) -> usize {
        self.open.lock().len()
    }

    /// Lets somebody look at what has gone over the socket.
    pub fn with_history<R>(&self, look: impl FnOnce(Option<&History<4>>) -> R) -> R {
        look(self.past.lock().octets.as_deref())
    }

    /// Takes over what was counted last.
    pub(super) fn end(&self) {
        let channels = std::mem::take(&mut *self.open.lock());
        for channel in channels.values() {
            self.end_channel(channel);
        }
        self.sample_socket(None);
    }

    /// Samples what concerns the socket, for the last time if there is no second.
    fn sample_socket(&self, second: Option<u32>) -> bool {
        let (octets, sizes) = (self.octets.read(), self.sizes.read());
        let mut past = self.past.lock();
        let past = &mut *past;
        let since = past.octets.as_ref();
        let since = since.map_or_else(Counts::default, |history| *history.total());
        if since == octets && past.sizes == sizes {
            if let (Some(second), Some(history)) = (second, &mut past.octets) {
                history.record(second, &octets);
            }
            return false;
        }
        self.statistics.node().add_sizes(&sizes, &past.sizes);
        past.sizes = sizes;
        self.statistics.add(&in_total(&octets), &in_total(&since));
        let second = second.unwrap_or_default();
        let history = &mut past.octets;
        let history = history.get_or_insert_with(|| Box::new(History::new(second)));
        history.record(second, &octets);
        true
    }
}

/// The bytes among the columns of a vhost.
fn in_total(octets: &Counts<4>) -> Counts<OF_NODE> {
    let Counts([received, _, sent, _]) = *octets;
    let mut counts = Counts::default();
    counts.set(Column::ReceivedOctets, received);
    counts.set(Column::SentOctets, sent);
    counts
}

impl Sampled for ConnectionEntry {
    fn listed(&self) -> &Listed {
        &self.listed
    }

    fn sample(&self, second: u32) -> bool {
        let mut changed = self.sample_socket(Some(second));
        let open = self.open.lock();
        for channel in open.values() {
            changed |= channel.sample(second, &self.statistics);
        }
        changed
    }

    fn forget(&self, second: u32) -> bool {
        let mut past = self.past.lock();
        let mut left = past.octets.as_mut().is_some_and(|it| it.forget(second));
        drop(past);
        for channel in self.open.lock().values() {
            let mut history = channel.history.lock();
            left |= history.as_mut().is_some_and(|it| it.forget(second));
        }
        left
    }
}

/// What the broker knows of an open channel. Its connection's task is the one writer of all counters.
#[derive(Debug, Default)]
pub struct ChannelEntry {
    /// Its number.
    pub number: u16,
    /// What it counts.
    pub counters: Counters<OF_CHANNEL>,
    /// The prefetch limit of consumers that start from now on.
    pub prefetch_count: Counter,
    /// The prefetch limit of the whole channel.
    pub global_prefetch_count: Counter,
    /// Deliveries without an answer.
    pub messages_unacknowledged: Counter,
    /// Publishes that were not confirmed.
    pub messages_unconfirmed: Counter,
    /// Publishes of the open transaction.
    pub messages_uncommitted: Counter,
    /// Answers of the open transaction.
    pub acks_uncommitted: Counter,
    /// In confirm mode.
    pub confirm: AtomicBool,
    /// In transaction mode.
    pub transactional: AtomicBool,
    consumers: Mutex<Vec<Arc<ConsumerEntry>>>,
    history: Mutex<Option<Box<History<OF_CHANNEL>>>>,
    /// The second of the last traffic that the sampler has seen, 0 for none.
    last_traffic: AtomicU64,
}

impl ChannelEntry {
    /// A channel that has just been opened.
    pub fn new(number: u16) -> Arc<Self> {
        Arc::new(Self {
            number,
            ..Self::default()
        })
    }

    /// Adds a consumer.
    pub fn add_consumer(&self, consumer: &Arc<ConsumerEntry>) {
        self.consumers.lock().push(Arc::clone(consumer));
    }

    /// Takes the consumer with this tag out.
    pub fn remove_consumer(&self, tag: &str) {
        self.consumers.lock().retain(|it| *it.tag != *tag);
    }

    /// Its consumers.
    pub fn consumers(&self) -> Vec<Arc<ConsumerEntry>> {
        self.consumers.lock().clone()
    }

    /// How many consumers it has.
    pub fn consumer_count(&self) -> usize {
        self.consumers.lock().len()
    }

    /// Lets somebody look at what its counts were.
    pub fn with_history<R>(&self, look: impl FnOnce(Option<&History<OF_CHANNEL>>) -> R) -> R {
        look(self.history.lock().as_deref())
    }

    /// When it last had traffic, in seconds since the epoch, if ever.
    pub fn last_traffic(&self) -> Option<u64> {
        let second = self.last_traffic.load(Ordering::Relaxed);
        (second > 0).then_some(second)
    }

    fn sample(&self, second: u32, vhost: &VhostStatistics) -> bool {
        let counts = self.counters.read();
        let mut history = self.history.lock();
        if history.is_none() && counts == Counts::default() {
            return false;
        }
        let history = history.get_or_insert_with(|| Box::new(History::new(second)));
        let since = *history.total();
        let changed = history.record(second, &counts);
        if changed {
            vhost.add(&counts, &since);
            self.last_traffic.store(second.into(), Ordering::Relaxed);
        }
        changed
    }
}

/// What the broker knows of a consumer.
#[derive(Debug, Default)]
pub struct ConsumerEntry {
    /// The consumer tag.
    pub tag: Arc<str>,
    /// The number of its channel.
    pub channel: u16,
    /// Its connection.
    pub connection: Weak<ConnectionEntry>,
    /// Its queue.
    pub queue: Weak<Queue>,
    /// Deliveries have to be acknowledged.
    pub ack_required: bool,
    /// Nobody else may consume from the queue.
    pub exclusive: bool,
    /// Its own prefetch limit, 0 for none.
    pub prefetch_count: u16,
    /// Milliseconds that it may hold a delivery, if it says so itself; 0 for ever.
    pub timeout: Option<Millis>,
    /// The arguments of `basic.consume`.
    pub arguments: FieldTable,
}

impl Broker {
    /// The connection with this name, the one that was opened last if there are several.
    pub fn connection_named(&self, name: &str) -> Option<Arc<ConnectionEntry>> {
        let named = self.connections.iter().filter(|it| it.name == name);
        let last = named.max_by_key(|it| it.id)?;
        Some(Arc::clone(last.value()))
    }

    /// Keeps what the counts of everything with traffic are now. To be called once a second.
    pub fn sample_statistics(&self, now: Millis) {
        let vhosts = self.vhosts();
        let vhosts = vhosts.iter().map(|vhost| &*vhost.statistics);
        self.shared.statistics.sample(vhosts, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be 100,000 of them, so whoever makes them larger is to know it. Without what they point to.
    #[test]
    fn what_is_known_of_connections_channels_and_consumers_stays_small() {
        let sizes = [
            size_of::<ConnectionEntry>(),
            size_of::<ChannelEntry>(),
            size_of::<ConsumerEntry>(),
        ];
        let most = [520, 216, 80];
        assert!(
            sizes.iter().zip(most).all(|(size, most)| *size <= most),
            "{sizes:?}"
        );
    }
}
