//! Turns at changing a vhost's topology, and how the watch of the definitions takes part in them.
//!
//! Whoever changes exchanges, queues or bindings takes a [`Turn`]. What is durable is changed in the definitions, tied to
//! what the turn has seen of them, and comes back as an event like the changes of every other writer; what is transient
//! is changed directly. Either way [`Vhost::apply`] is what changes the registries and the routing tables.
//!
//! Events are noted when they happen ([`Vhost::note`]) and applied by whoever has the turn, in their order: at the
//! latest when it ends. So a turn's own changes are in force before its client is answered, and those of others as soon
//! as nobody is in the middle of something.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::{Mutex, MutexGuard};

use super::{
    Exchange, Vhost,
    apply::{NewQueue, TopologyChange},
    exchanges::Destination,
    records,
};
use crate::{
    Error,
    definitions::{
        BindingDefinition, Change, DestinationKind, Event, ExchangeDefinition, Expect, Kind,
        QueueDefinition, Record, Revision,
    },
    queue::Queue,
    store::Ticket,
};

/// What goes with the turn.
#[derive(Default)]
pub(super) struct Topology {
    /// The definitions have been applied up to here.
    seen: Revision,
    /// Auto-delete exchanges that have lost their last binding.
    pub(super) unused: Vec<Arc<Exchange>>,
    /// Stored bindings that have lost an end without being deleted themselves: somebody bound what somebody else deleted
    /// at the same time.
    pub(super) severed: Vec<BindingDefinition>,
}

/// Events that nobody has applied yet.
#[derive(Default)]
pub(super) struct Noted(Mutex<VecDeque<Event>>);

/// The turn at changing the topology of a vhost.
pub(super) struct Turn<'a> {
    vhost: &'a Vhost,
    topology: MutexGuard<'a, Topology>,
    /// The last change of definitions that was made in this turn.
    pub(super) ticket: Ticket,
    /// The first event that could not be applied.
    failed: Option<Error>,
    /// After `topology`, because fields are dropped in their order.
    _afterwards: Option<Afterwards<'a>>,
}

/// Dropped when the turn is free again: what was noted in its last moments found it taken.
struct Afterwards<'a>(&'a Vhost);

impl Vhost {
    /// Waits for the turn. It begins with everything applied that the definitions have told.
    pub(super) fn turn(&self) -> Turn<'_> {
        let mut turn = self.begin(self.topology.lock());
        turn._afterwards = Some(Afterwards(self));
        turn.catch_up();
        turn
    }

    fn begin<'a>(&'a self, topology: MutexGuard<'a, Topology>) -> Turn<'a> {
        Turn {
            vhost: self,
            topology,
            ticket: Ticket::NONE,
            failed: None,
            _afterwards: None,
        }
    }

    /// Notes that a definition has changed; [`Self::catch_up`] has to follow.
    pub(crate) fn note(&self, event: Event) {
        self.noted.0.lock().push_back(event);
    }

    /// Applies what was noted, or leaves it to the one who has the turn.
    pub(crate) fn catch_up(&self) {
        while !self.noted.0.lock().is_empty() {
            let Some(topology) = self.topology.try_lock() else {
                return;
            };
            self.begin(topology).catch_up();
        }
    }

    /// Applies what was noted at the start of the broker.
    ///
    /// # Errors
    /// A definition is not understood by this version.
    pub(crate) fn recover_topology(&self) -> Result<(), Error> {
        let mut turn = self.begin(self.topology.lock());
        turn.apply_noted();
        if let Some(error) = turn.failed.take() {
            return Err(error);
        }
        turn.catch_up();
        Ok(())
    }
}

impl Turn<'_> {
    /// Changes what no definition speaks of.
    ///
    /// # Errors
    /// As [`Vhost::apply`].
    pub(super) fn apply(&mut self, change: TopologyChange) -> Result<(), Error> {
        self.vhost.apply(change, &mut self.topology)?;
        self.catch_up();
        Ok(())
    }

    /// Adds a queue that no definition speaks of.
    pub(super) fn add_queue(&mut self, new: NewQueue) -> Arc<Queue> {
        let queue = self.vhost.add_queue(new, &mut self.topology);
        self.catch_up();
        queue
    }

    /// Changes the definitions and applies what comes of it. `false` if somebody else was first: the caller looks again
    /// at what there is now.
    ///
    /// # Errors
    /// The definitions are not what they were told to be, or the vhost is being deleted.
    pub(super) fn write(&mut self, changes: Vec<Change>) -> Result<bool, Error> {
        if self.vhost.is_closed() {
            let name = &self.vhost.name;
            return Err(Error::NotFound(format!("no vhost '{name}'")));
        }
        let before = self.seen();
        let made = self.vhost.shared.definitions.apply(changes);
        self.ticket = self.ticket.max(*made.as_ref().unwrap_or(&Ticket::NONE));
        self.catch_up();
        match made {
            Err(conflict) if self.seen() == before => Err(conflict.into()),
            made => Ok(made.is_ok()),
        }
    }

    /// Expects of a definition that it is as this turn has seen it.
    pub(super) fn expect(&self, kind: Kind, key: &str) -> Expect {
        let found = self.vhost.shared.definitions.get(kind, key);
        // A newer one is not expected to be what it is: that makes the change fail, and the caller look again.
        found.map_or(Expect::Absent, |found| {
            Expect::Revision(found.revision.min(self.seen()))
        })
    }

    /// Takes an exchange out with all its bindings.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn remove_exchange(&mut self, exchange: &Arc<Exchange>) -> Result<(), Error> {
        let vhost = self.vhost;
        if !exchange.durable {
            return self.apply(TopologyChange::RemoveExchange(exchange.name.to_string()));
        }
        while vhost.has_exchange(exchange) {
            let key = ExchangeDefinition::key_of(&vhost.name, &exchange.name);
            let delete = Change::delete(Kind::Exchange, key.as_str());
            let mut changes = vec![delete.expecting(self.expect(Kind::Exchange, &key))];
            vhost.delete_outgoing(exchange, &mut changes);
            vhost.delete_incoming(&Destination::Exchange(Arc::clone(exchange)), &mut changes);
            if self.write(changes)? {
                break;
            }
        }
        Ok(())
    }

    /// Takes a queue out that was ended, with its bindings.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn remove_queue(&mut self, queue: &Arc<Queue>) -> Result<(), Error> {
        let vhost = self.vhost;
        if !queue.properties.durable {
            return self.apply(TopologyChange::RemoveQueue(queue.name().to_string()));
        }
        while vhost.has_queue(queue) {
            let key = QueueDefinition::key_of(&vhost.name, queue.name());
            let delete = Change::delete(Kind::Queue, key.as_str());
            let mut changes = vec![delete.expecting(self.expect(Kind::Queue, &key))];
            vhost.delete_incoming(&Destination::Queue(Arc::clone(queue)), &mut changes);
            if self.write(changes)? {
                break;
            }
        }
        Ok(())
    }

    fn seen(&self) -> Revision {
        self.topology.seen
    }

    /// Applies what was noted, and what follows from it.
    fn catch_up(&mut self) {
        loop {
            self.apply_noted();
            let followed = if let Some(exchange) = self.topology.unused.pop() {
                self.remove_if_unused(&exchange)
            } else if !self.topology.severed.is_empty() {
                let severed = std::mem::take(&mut self.topology.severed);
                self.remove_severed(&severed)
            } else {
                return;
            };
            self.keep_failure(followed);
        }
    }

    fn apply_noted(&mut self) {
        let vhost = self.vhost;
        while let Some(event) = self.next_noted() {
            let change = records::change(vhost, &event);
            let applied = change.and_then(|change| vhost.apply(change, &mut self.topology));
            // At start they come by kind, and not in the order in which they were made.
            self.topology.seen = self.topology.seen.max(event.revision);
            self.keep_failure(applied);
        }
    }

    fn next_noted(&self) -> Option<Event> {
        self.vhost.noted.0.lock().pop_front()
    }

    fn remove_if_unused(&mut self, exchange: &Arc<Exchange>) -> Result<(), Error> {
        let vhost = self.vhost;
        if exchange.binding_count() > 0 || !vhost.has_exchange(exchange) || vhost.is_closed() {
            return Ok(());
        }
        self.remove_exchange(exchange)
    }

    /// Deletes bindings without ends, unless they were deleted with what they belonged to, or are bound again.
    fn remove_severed(&mut self, severed: &[BindingDefinition]) -> Result<(), Error> {
        let definitions = &self.vhost.shared.definitions;
        let still_there = severed.iter().filter_map(|binding| {
            let key = binding.key();
            let found = definitions.get(Kind::Binding, &key)?;
            let severed =
                found.revision <= self.seen() && self.vhost.is_severed(binding, found.revision);
            severed.then(|| {
                let expect = Expect::Revision(found.revision);
                Change::delete(Kind::Binding, key).expecting(expect)
            })
        });
        let changes: Vec<Change> = still_there.collect();
        if !changes.is_empty() {
            tracing::warn!(
                vhost = &*self.vhost.name,
                bindings = changes.len(),
                "deleted bindings whose ends are gone"
            );
            self.write(changes)?;
        }
        Ok(())
    }

    fn keep_failure(&mut self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.failed.get_or_insert(error);
        }
    }
}

impl Vhost {
    /// Whether a binding made by that change has an end that is gone, or gone and declared anew since. An end that is
    /// defined and could not be applied is not gone.
    fn is_severed(&self, binding: &BindingDefinition, made: Revision) -> bool {
        let gone = |kind, key: String, present: bool| {
            match self.shared.definitions.get(kind, &key) {
                Some(end) => end.revision > made,
                // Not stored, and yet there: one of the exchanges that every vhost has.
                None => !present,
            }
        };
        let no_exchange = |name: &str| {
            let key = ExchangeDefinition::key_of(&self.name, name);
            gone(Kind::Exchange, key, self.exchange(name).is_some())
        };
        let no_queue = |name: &str| {
            let key = QueueDefinition::key_of(&self.name, name);
            gone(Kind::Queue, key, self.queue(name).is_some())
        };
        no_exchange(&binding.source)
            || match binding.destination_kind {
                DestinationKind::Exchange => no_exchange(&binding.destination),
                DestinationKind::Queue => no_queue(&binding.destination),
            }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(error) = &self.failed {
            tracing::error!(vhost = &*self.vhost.name, %error, "cannot apply a change of the definitions");
        }
    }
}

impl Drop for Afterwards<'_> {
    fn drop(&mut self) {
        self.0.catch_up();
    }
}
