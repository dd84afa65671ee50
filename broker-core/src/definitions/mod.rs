//! What was declared and has to outlive a restart: vhosts, users, permissions, durable exchanges, queues and bindings,
//! policies, parameters.
//!
//! A definition is a typed [`Record`] under a [`Kind`] and a key. Every change gets a [`Revision`] of one sequence, and
//! whoever wants to know, the routing tables above all, [watches](Definitions::watch). A change can be tied to what the
//! writer saw ([`Expect`]), and several changes can be made as one, so that a queue goes together with its bindings.
//! As with messages, a change is promised to a client (`queue.declare-ok`) only when its [`Ticket`] is durable.
//!
//! The trait is what a cluster would implement over a replicated log; [`MemoryDefinitions`] and [`SledDefinitions`] are
//! the ones of a single node.

mod arguments;
mod limits;
mod live;
mod memory;
mod records;
mod sled_definitions;

use std::{path::Path, sync::Arc};

pub use self::{
    limits::{UserLimitsDefinition, VhostLimitsDefinition},
    memory::MemoryDefinitions,
    records::{
        BindingDefinition, DestinationKind, ExchangeDefinition, GlobalParameterDefinition,
        PermissionDefinition, QueueDefinition, Record, TopicPermissionDefinition, UserDefinition,
        VhostDefinition, key, key_parts,
    },
    sled_definitions::SledDefinitions,
};
use crate::{
    error::Error,
    store::{Completion, QueueId, Ticket},
};

/// What a definition defines. The order is the one in which definitions are loaded: first what others refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum Kind {
    /// A virtual host.
    Vhost = 1,
    /// A user.
    User = 2,
    /// What a user may do in a vhost.
    Permission = 3,
    /// What a user may do with the routing keys of a topic exchange.
    TopicPermission = 4,
    /// A parameter of the whole broker.
    GlobalParameter = 5,
    /// A parameter of a component in a vhost.
    Parameter = 6,
    /// Limits of a vhost.
    VhostLimits = 7,
    /// Limits of a user.
    UserLimits = 8,
    /// A policy.
    Policy = 9,
    /// An operator policy.
    OperatorPolicy = 10,
    /// A durable exchange.
    Exchange = 11,
    /// A durable queue.
    Queue = 12,
    /// A binding between a durable exchange and a durable destination.
    Binding = 13,
}

impl Kind {
    const ALL: [Self; 13] = [
        Self::Vhost,
        Self::User,
        Self::Permission,
        Self::TopicPermission,
        Self::GlobalParameter,
        Self::Parameter,
        Self::VhostLimits,
        Self::UserLimits,
        Self::Policy,
        Self::OperatorPolicy,
        Self::Exchange,
        Self::Queue,
        Self::Binding,
    ];

    /// The kind with this number, by which it is stored.
    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

/// A change's place in the sequence of all changes. It grows over restarts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Revision(pub u64);

/// A definition as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// What it defines.
    pub kind: Kind,
    /// Its key among those of its kind, made by the record's `key_of`.
    pub key: Arc<str>,
    /// The change that made it what it is.
    pub revision: Revision,
    /// The record as JSON.
    pub value: Arc<[u8]>,
}

impl Definition {
    /// Reads the record.
    ///
    /// # Errors
    /// The value is no such record: the definitions were written by something else.
    pub fn record<R: Record>(&self) -> Result<R, Error> {
        records::decode(self.kind, &self.key, &self.value)
    }
}

/// What the writer of a change takes for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Anything,
    /// There is no such definition.
    Absent,
    /// The definition is the one that this change made.
    Revision(Revision),
}

/// A definition put or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it defines.
    pub kind: Kind,
    /// Its key.
    pub key: Arc<str>,
    /// What has to hold before.
    pub expect: Expect,
    /// The new value; `None` deletes.
    pub value: Option<Arc<[u8]>>,
}

impl Change {
    /// Puts `record`, whatever was there.
    ///
    /// # Errors
    /// The record cannot be written as JSON.
    pub fn put<R: Record>(record: &R) -> Result<Self, Error> {
        let value = Some(records::encode(record)?);
        Ok(Self {
            kind: R::KIND,
            key: record.key().into(),
            expect: Expect::Anything,
            value,
        })
    }

    /// Deletes what is under `key`, if there is something.
    pub fn delete(kind: Kind, key: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            key: key.into(),
            expect: Expect::Anything,
            value: None,
        }
    }

    /// The same change, made only if `expect` holds.
    #[must_use]
    pub fn expecting(self, expect: Expect) -> Self {
        Self { expect, ..self }
    }
}

/// Somebody else was first: an expectation did not hold, and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What the refused change was about.
    pub kind: Kind,
    /// Its key.
    pub key: Arc<str>,
    /// What is there, if anything is.
    pub current: Option<Revision>,
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        Self::PreconditionFailed(format!(
            "{:?} {} was changed by somebody else at the same time",
            conflict.kind, conflict.key
        ))
    }
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What it is about.
    pub kind: Kind,
    /// Its key.
    pub key: Arc<str>,
    /// Its place among all changes.
    pub revision: Revision,
    /// The new value; `None` if it was deleted.
    pub value: Option<Arc<[u8]>>,
}

impl Event {
    /// Reads the record that was put; `None` if it was deleted.
    ///
    /// # Errors
    /// The value is no such record.
    pub fn record<R: Record>(&self) -> Result<Option<R>, Error> {
        let decode = |value: &Arc<[u8]>| records::decode(self.kind, &self.key, value);
        self.value.as_ref().map(decode).transpose()
    }
}

/// Told of every change, in the order of revisions, before the [`Definitions::apply`] that made it returns, and before
/// any returns that the change is in [conflict](Conflict) with.
pub trait Watcher: Send + Sync {
    /// This change was made. It is in force, and not yet durable. Every writer waits while the watchers are told, so
    /// this only notes what is to be done; it may read definitions, and must not change them.
    fn changed(&self, event: &Event);

    /// Something was noted. Called by the thread that made the change, with no lock of the definitions held, so this
    /// may change definitions. Other threads may do the same at this moment.
    fn settle(&self) {}
}

/// Where definitions are kept. All methods may be called from any thread, and none of them waits for the disk, except
/// [`close`](Self::close).
pub trait Definitions: Send + Sync {
    /// The definition under `key`.
    fn get(&self, kind: Kind, key: &str) -> Option<Definition>;

    /// All definitions of a kind, ordered by key.
    fn list(&self, kind: Kind) -> Vec<Definition>;

    /// Makes all changes as one: if one expectation does not hold, none of them; after a crash, all or none. Deleting
    /// what is not there changes nothing. Expectations are about the state before the first of the changes.
    ///
    /// # Errors
    /// What was expected is not so.
    fn apply(&self, changes: Vec<Change>) -> Result<Ticket, Conflict>;

    /// Tells `watcher` first of every definition there is, in the order of [`Kind`]s, then of each change. Only for the
    /// changes it is called to settle.
    fn watch(&self, watcher: Arc<dyn Watcher>);

    /// The last change that was made.
    fn revision(&self) -> Revision;

    /// The ticket of the last change: who finds that somebody else made the change that it wants awaits this one.
    fn written(&self) -> Ticket;

    /// An id for a new queue, which no queue ever had or will have again, not even after a crash.
    fn next_queue_id(&self) -> QueueId {
        self.next_queue_ids(1)
    }

    /// The first of `count` such ids that follow each other: a queue with priorities has one for each of its lanes.
    fn next_queue_ids(&self, count: u64) -> QueueId;

    /// Copies everything, as it is at one moment, to a database in `directory`, which must not exist yet. Waits for the
    /// disk.
    ///
    /// # Errors
    /// It cannot be written, or these definitions are kept where they need no copy.
    fn copy_to(&self, _directory: &Path) -> Result<(), Error> {
        let text = "these definitions are not on disk";
        Err(Error::Internal(text.to_owned()))
    }

    /// The last durable ticket.
    fn durable(&self) -> Ticket;

    /// Says why nothing can be written at the moment (a full disk), if so. Tickets complete once there is room.
    fn blocked(&self) -> Option<String> {
        None
    }

    /// Calls `completion` once `ticket` is durable, as [`MessageStore::notify`](crate::store::MessageStore::notify)
    /// does. The tickets of definitions and those of messages are two sequences.
    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>);

    /// Makes everything durable and stops. Later changes are seen by readers and watchers, but their ticket is
    /// [`Ticket::NEVER`].
    fn close(&self);
}
