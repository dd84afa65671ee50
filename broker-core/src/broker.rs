//! The broker: its vhosts, users and connections, and what they share.

mod connections;
mod feed;
mod limits;
pub mod parameters;
#[cfg(test)]
pub(crate) mod scene;
mod vhosts;

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;
use parking_lot::Mutex;

pub(crate) use self::vhosts::check_vhost;
pub use self::{
    connections::{
        ChannelEntry, ConnectionEntry, ConnectionFacts, ConnectionState, ConsumerEntry, Octets,
    },
    limits::Place,
};
use self::{feed::Feed, limits::Places};
use crate::{
    Error,
    alarms::{Alarms, Resource},
    definitions::{Definitions, Kind},
    moving::Moves,
    outbox::Event,
    paging::{Pager, Surroundings},
    permissions::AccessCache,
    queue::{ConnectionId, Expiries, Millis, Queue, Work},
    statistics::{Column, Statistics},
    store::{MessageStore, QueueId},
    users::{Accounts, FirstStart},
    vhost::{Shared, Vhost},
};

/// The vhost that exists at first start.
pub const DEFAULT_VHOST: &str = "/";

/// The user that exists at first start, and its password.
pub const DEFAULT_USER: &str = "guest";

/// How many objects of each kind a broker has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Open connections.
    pub connections: usize,
    /// Open channels.
    pub channels: usize,
    /// Exchanges, the predeclared ones included.
    pub exchanges: usize,
    /// Queues.
    pub queues: usize,
    /// Consumers.
    pub consumers: usize,
}

/// The broker core. One per process.
pub struct Broker {
    vhosts: DashMap<Arc<str>, Arc<Vhost>>,
    connections: DashMap<ConnectionId, Arc<ConnectionEntry>>,
    next_connection: AtomicU64,
    shared: Shared,
    alarms: Mutex<Alarms>,
    pub(crate) accounts: Accounts,
    pub(crate) access: AccessCache,
    places: Arc<Places>,
    pub(crate) moves: Moves,
    /// Why every connection has to close, once the broker stops.
    stopping: OnceLock<Arc<str>>,
}

impl Broker {
    /// Starts the core over its stores: brings back what they hold, or makes vhost `/` and user `guest` at first start.
    ///
    /// # Errors
    /// A store cannot be read or written, or holds what this version does not understand.
    pub fn start(
        store: Arc<dyn MessageStore>,
        definitions: Arc<dyn Definitions>,
        _now: Millis,
    ) -> Result<Arc<Self>, Error> {
        Self::start_with(
            store,
            definitions,
            Pager::unlimited(),
            &FirstStart::default(),
        )
    }

    /// The same, with a bound for the memory of queued messages, and with another vhost and user at first start.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(
        store: Arc<dyn MessageStore>,
        definitions: Arc<dyn Definitions>,
        pager: Arc<Pager>,
        first: &FirstStart,
    ) -> Result<Arc<Self>, Error> {
        let broker = Arc::new(Self {
            vhosts: DashMap::new(),
            connections: DashMap::new(),
            next_connection: AtomicU64::new(1),
            shared: Shared {
                store,
                definitions,
                expiries: Arc::new(Expiries::default()),
                pager,
                statistics: Arc::default(),
            },
            alarms: Mutex::default(),
            accounts: Accounts::default(),
            access: AccessCache::default(),
            places: Arc::default(),
            moves: Moves::default(),
            stopping: OnceLock::new(),
        });
        if broker.shared.definitions.list(Kind::Vhost).is_empty() {
            broker.first_start(first)?;
        }
        let surroundings: Weak<dyn Surroundings> = Arc::<Self>::downgrade(&broker);
        broker.shared.pager.attach(surroundings);
        let feed = Feed::of(&broker);
        broker.shared.definitions.watch(Arc::clone(&feed) as _);
        feed.recover()?;
        broker.recover_messages()?;
        broker.watch_permissions();
        Ok(broker)
    }

    /// Where messages are kept.
    pub fn store(&self) -> &Arc<dyn MessageStore> {
        &self.shared.store
    }

    /// The memory of queued messages.
    pub fn pager(&self) -> &Pager {
        &self.shared.pager
    }

    /// What is counted.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.shared.statistics
    }

    /// Where declarations are kept.
    pub fn definitions(&self) -> &Arc<dyn Definitions> {
        &self.shared.definitions
    }

    /// Queues with a coming expiry; the program sleeps until the next one and calls [`Self::run_expiries`].
    pub fn expiries(&self) -> &Expiries {
        &self.shared.expiries
    }

    /// Expires what is due.
    pub fn run_expiries(&self, now: Millis) {
        let mut work = Work::default();
        for (at, queue) in self.shared.expiries.take_due(now) {
            if queue.expire(at, now, &mut work) {
                self.drop_idle(&queue, now, &mut work);
            }
            self.bury_from(&queue, now, &mut work);
        }
    }

    /// The vhost of that name.
    pub fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.get(name).map(|vhost| Arc::clone(&vhost))
    }

    /// All vhosts.
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        self.vhosts.iter().map(|v| Arc::clone(v.value())).collect()
    }

    /// A number for a new connection.
    pub fn new_connection_id(&self) -> ConnectionId {
        ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds an open connection; it hears of alarms from now on.
    pub fn add_connection(&self, id: ConnectionId, entry: Arc<ConnectionEntry>) {
        let alarms = self.alarms.lock();
        if let Some(event) = blocking_event(*alarms) {
            entry.outbox.post(event);
        }
        self.connections.insert(id, Arc::clone(&entry));
        self.shared.statistics.count(Column::ConnectionCreated);
        // After it is in the list: whoever stops the broker now either sees the connection or is seen by it.
        if let Some(reason) = self.stopping.get() {
            entry.outbox.post(Event::Close(Arc::clone(reason)));
        }
        // The same for the vhost and the user.
        let user = entry.facts.internal_user.then_some(&*entry.user);
        if let Some(reason) = self.came_too_late(user, &entry.vhost) {
            entry.outbox.post(Event::Close(reason));
        }
    }

    /// Takes a connection out.
    pub fn remove_connection(&self, id: ConnectionId) {
        if let Some((_, entry)) = self.connections.remove(&id) {
            entry.end();
            self.shared.statistics.count(Column::ConnectionClosed);
        }
    }

    /// The connection with this number, while it is open.
    pub fn connection(&self, id: ConnectionId) -> Option<Arc<ConnectionEntry>> {
        self.connections.get(&id).map(|entry| Arc::clone(&entry))
    }

    /// Open connections.
    pub fn connections(&self) -> Vec<Arc<ConnectionEntry>> {
        self.connections
            .iter()
            .map(|c| Arc::clone(c.value()))
            .collect()
    }

    /// How many connections are open.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// How many objects of each kind there are.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            connections: self.connections.len(),
            ..Totals::default()
        };
        for connection in &self.connections {
            totals.channels += connection.channels.load(Ordering::Relaxed) as usize;
        }
        for vhost in self.vhosts() {
            totals.exchanges += vhost.exchange_count();
            totals.queues += vhost.queue_count();
            totals.consumers += vhost.consumer_count();
        }
        totals
    }

    /// The broker stops: asks every connection, and any that still opens, to close with 320 and this text.
    pub fn close_connections(&self, reason: &str) {
        let reason = self.stopping.get_or_init(|| reason.into());
        for connection in &self.connections {
            connection.outbox.post(Event::Close(Arc::clone(reason)));
        }
    }

    /// Asks these connections to close with 320 and this text.
    pub fn close_connections_where(
        &self,
        reason: &str,
        concerned: impl Fn(&ConnectionEntry) -> bool,
    ) {
        let reason: Arc<str> = reason.into();
        for connection in self.connections.iter().filter(|entry| concerned(entry)) {
            connection.outbox.post(Event::Close(Arc::clone(&reason)));
        }
    }

    /// Whether the broker stops: nobody needs to log in any more.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get().is_some()
    }

    /// Which alarms are on.
    pub fn alarms(&self) -> Alarms {
        *self.alarms.lock()
    }

    /// Starts or ends an alarm; says whether that was a change. Connections that publish are blocked, and told so, from
    /// the start of the first alarm to the end of the last one.
    pub fn set_alarm(&self, resource: Resource, on: bool) -> bool {
        let mut alarms = self.alarms.lock();
        if !alarms.set(resource, on) {
            return false;
        }
        let event = blocking_event(*alarms).unwrap_or(Event::Unblocked);
        // Under the lock, so that a connection hears of alarms in their order.
        for connection in &self.connections {
            connection.outbox.post(event.clone());
        }
        true
    }

    /// Why messages or definitions cannot be written at the moment (a full disk), if so.
    pub fn store_blocked(&self) -> Option<String> {
        let definitions = || self.shared.definitions.blocked();
        self.shared.store.blocked().or_else(definitions)
    }

    /// Makes everything durable and stops the stores.
    pub fn close(&self) {
        self.moves.close();
        self.shared.pager.close();
        self.shared.store.close();
        self.shared.definitions.close();
    }

    fn drop_idle(&self, queue: &Arc<Queue>, now: Millis, work: &mut Work) {
        let vhost = self.vhost(&queue.properties.vhost);
        let dropped = vhost.map(|vhost| vhost.drop_idle_queue(queue, now, work));
        if let Some(Err(error)) = dropped {
            tracing::error!(queue = &**queue.name(), %error, "cannot delete an expired queue");
        }
    }

    fn bury_from(&self, queue: &Queue, now: Millis, work: &mut Work) {
        if let Some(vhost) = self.vhost(&queue.properties.vhost) {
            vhost.bury(now, work);
        }
    }

    /// Brings back the messages of the queues that the definitions have brought back.
    fn recover_messages(&self) -> Result<(), Error> {
        let mut queues = Vec::new();
        for vhost in self.vhosts() {
            vhost.for_each_queue(|queue| queues.push(Arc::clone(queue)));
        }
        let mut messages = 0;
        for queue in &queues {
            messages += queue.recover()?;
        }
        if !queues.is_empty() {
            let queues = queues.len();
            tracing::info!(queues, messages, "recovered durable queues");
        }
        self.drop_orphans(&queues.iter().flat_map(|queue| queue.ids()).collect())
    }

    /// Deletes the messages of queues that were deleted when the last process ended too early to say so.
    fn drop_orphans(&self, known: &std::collections::HashSet<QueueId>) -> Result<(), Error> {
        let orphans = self.shared.store.queues()?;
        let mut batch: Vec<_> = orphans
            .into_iter()
            .filter(|queue| !known.contains(queue))
            .map(|queue| crate::store::Operation::DeleteQueue { queue })
            .collect();
        self.shared.store.append(&mut batch);
        Ok(())
    }
}

impl Surroundings for Broker {
    fn bury(&self, queue: &Queue, now: Millis, work: &mut Work) {
        self.bury_from(queue, now, work);
    }

    fn for_each_queue(&self, each: &mut dyn FnMut(&Arc<Queue>)) {
        for vhost in self.vhosts() {
            vhost.for_each_queue(&mut *each);
        }
    }
}

/// What connections are told while these alarms are on; `None` when there are none.
fn blocking_event(alarms: Alarms) -> Option<Event> {
    alarms.reason().map(|reason| Event::Blocked(reason.into()))
}
