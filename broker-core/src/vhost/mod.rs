//! A virtual host: a closed world of exchanges, queues and bindings (AMQP 0-9-1, 2.1; RabbitMQ: "Virtual Hosts").
//!
//! The registries are looked up by publishers on many threads at once; changes of the topology are rare and take turns
//! behind one mutex. Whoever caches a routing decision compares [`Vhost::generation`], which moves with every change.

mod apply;
mod bindings;
mod carbon_copies;
mod dead_letter;
mod death_header;
mod death_history;
mod default_queue_type;
mod deletion;
mod direct_reply;
mod exchanges;
mod explain;
mod fan_out;
mod listing;
mod moving;
mod pausing;
mod permitted;
mod policies;
mod policy_preview;
mod publish_one;
mod queues;
mod records;
mod routing;
mod topology;
mod transaction;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use amqp_codec::{AMQPValue, FieldTable};
use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};

use self::topology::{Noted, Topology};
pub use self::{
    bindings::BindingRequest,
    carbon_copies::{carbon_copies, without_blind_copies},
    death_history::{LastDeath, Origin},
    direct_reply::{DIRECT_REPLY_TO, ReplyAddress},
    exchanges::{Exchange, ExchangeDeclaration},
    explain::{Alternate, Explanation, MatchedBinding, Reached, Visit},
    policy_preview::{PolicyPreview, Previewed},
    publish_one::{Publication, Published, check_expiration},
    queues::{QueueDeclaration, random_name},
    routing::Route,
    transaction::{Outcome, Settlement, Transaction},
};
pub(crate) use self::{exchanges::predeclared, records::vhost_of};
use crate::{
    Error,
    definitions::Definitions,
    exchange::RoutingTable,
    paging::Pager,
    policy::Policies,
    queue::{Expiries, Queue},
    statistics::{Statistics, VhostStatistics},
    store::{MessageStore, Ticket},
};

type Registry<T> = DashMap<Arc<str>, Arc<T>, foldhash::fast::RandomState>;

/// What all vhosts of a broker share.
#[derive(Clone)]
pub struct Shared {
    /// Where messages are kept.
    pub store: Arc<dyn MessageStore>,
    /// Where declarations are kept.
    pub definitions: Arc<dyn Definitions>,
    /// Queues with a coming expiry.
    pub expiries: Arc<Expiries>,
    /// The memory of queued messages.
    pub pager: Arc<Pager>,
    /// What is counted.
    pub statistics: Arc<Statistics>,
}

/// A virtual host.
pub struct Vhost {
    /// Its name.
    pub name: Arc<str>,
    /// What is counted.
    pub statistics: Arc<VhostStatistics>,
    exchanges: Registry<Exchange>,
    queues: Registry<Queue>,
    queue_names: listing::OrderedNames,
    policies: RwLock<Policies>,
    default_queue_type: RwLock<Option<Arc<str>>>,
    replies: direct_reply::Replies,
    shared: Shared,
    generation: AtomicU64,
    /// Taken while the topology changes, so that a binding is never made to something that is being deleted.
    topology: Mutex<Topology>,
    /// It is being deleted.
    closed: AtomicBool,
    noted: Noted,
    transient_ids: AtomicU64,
}

impl Vhost {
    /// A vhost with the exchanges that every vhost has.
    pub fn new(name: Arc<str>, shared: Shared) -> Arc<Self> {
        let vhost = Self {
            name,
            statistics: VhostStatistics::new(Arc::clone(&shared.statistics)),
            exchanges: DashMap::with_hasher_and_shard_amount(Default::default(), SHARDS),
            queues: DashMap::with_hasher_and_shard_amount(Default::default(), SHARDS),
            queue_names: listing::OrderedNames::default(),
            policies: RwLock::default(),
            default_queue_type: RwLock::default(),
            replies: direct_reply::Replies::default(),
            shared,
            generation: AtomicU64::new(1),
            topology: Mutex::default(),
            closed: AtomicBool::new(false),
            noted: Noted::default(),
            transient_ids: AtomicU64::new(FIRST_TRANSIENT_ID),
        };
        vhost.predeclare();
        Arc::new(vhost)
    }

    /// Moves with every change of exchanges, queues and bindings; a routing decision made under another value is stale.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The exchange of that name.
    pub fn exchange(&self, name: &str) -> Option<Arc<Exchange>> {
        self.exchanges.get(name).map(|e| Arc::clone(e.value()))
    }

    /// The queue of that name.
    pub fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.queues.get(name).map(|q| Arc::clone(q.value()))
    }

    /// The exchange of that name.
    ///
    /// # Errors
    /// 404 with RabbitMQ's text.
    pub fn existing_exchange(&self, name: &str) -> Result<Arc<Exchange>, Error> {
        self.exchange(name)
            .ok_or_else(|| Error::NotFound(format!("no {}", self.exchange_text(name))))
    }

    /// The queue of that name.
    ///
    /// # Errors
    /// 404 with RabbitMQ's text.
    pub fn existing_queue(&self, name: &str) -> Result<Arc<Queue>, Error> {
        self.queue(name)
            .ok_or_else(|| Error::NotFound(format!("no {}", self.queue_text(name))))
    }

    /// How many exchanges there are.
    pub fn exchange_count(&self) -> usize {
        self.exchanges.len()
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// How many consumers its queues have.
    pub fn consumer_count(&self) -> usize {
        let counts = self.queues.iter().map(|queue| queue.counts().consumers);
        counts.sum()
    }

    /// Calls `each` for every queue. The registry is not locked as a whole while it runs.
    pub fn for_each_queue(&self, mut each: impl FnMut(&Arc<Queue>)) {
        for queue in &self.queues {
            each(queue.value());
        }
    }

    /// `queue 'x' in vhost '/'`, as RabbitMQ's texts name a queue.
    pub fn queue_text(&self, name: &str) -> String {
        format!("queue '{name}' in vhost '{}'", self.name)
    }

    /// `exchange 'x' in vhost '/'`, as RabbitMQ's texts name an exchange.
    pub fn exchange_text(&self, name: &str) -> String {
        format!("exchange '{name}' in vhost '{}'", self.name)
    }

    /// Makes routing decisions stale that were made before.
    pub(crate) fn changed(&self) {
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// What to await before answering that nothing had to be done: somebody else's change that did it may still be on
    /// its way to the disk.
    fn written(&self, durable: bool) -> Ticket {
        match durable {
            true => self.shared.definitions.written(),
            false => Ticket::NONE,
        }
    }
}

/// Exchanges that are bound in circles hold each other; the bindings are let go first.
impl Drop for Vhost {
    fn drop(&mut self) {
        for exchange in &self.exchanges {
            *exchange.table.write() = RoutingTable::new(exchange.kind);
        }
    }
}

/// Registry shards: enough that publishers on all cores seldom meet, few enough that an empty vhost stays small.
const SHARDS: usize = 64;

/// Queue ids from here on are never written to the store.
const FIRST_TRANSIENT_ID: u64 = 1 << 63;

/// Refuses names that start with `amq.`, which the specification reserves (RabbitMQ: `check_name`).
fn check_name(kind: &str, name: &str) -> Result<(), Error> {
    if name.starts_with("amq.") {
        return Err(Error::AccessRefused(format!(
            "{kind} name '{name}' contains reserved prefix 'amq.*'"
        )));
    }
    Ok(())
}

/// Refuses an argument that names an exchange and is no string.
fn check_exchange_name(arguments: &FieldTable, key: &str, resource: &str) -> Result<(), Error> {
    match arguments.inner().get(key) {
        None | Some(AMQPValue::LongString(_)) => Ok(()),
        Some(other) => Err(Error::PreconditionFailed(format!(
            "invalid type '{}' for arg '{key}' in {resource}",
            crate::arguments::type_name(other),
        ))),
    }
}

/// RabbitMQ takes line ends out of the names that are declared.
fn strip_line_ends(name: &str) -> String {
    name.replace(['\r', '\n'], "")
}
