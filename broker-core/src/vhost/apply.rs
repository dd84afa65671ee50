//! The one place that changes which exchanges, queues and bindings there are, whoever asked for it: a client of this
//! broker, another writer of the definitions, or the definitions that were there at start.

use std::sync::Arc;

use super::{
    Exchange, ExchangeDeclaration, QueueDeclaration, Vhost, exchanges::Destination, records,
    topology::Topology,
};
use crate::{
    Error,
    definitions::{BindingDefinition, DestinationKind},
    exchange::{ExchangeKind, RoutingTable},
    policy::{PolicyDefinition, PolicyKind},
    queue::{BindingKey, ConnectionId, Priorities, Queue, QueueArguments, QueueProperties},
    statistics::Column,
    store::QueueId,
};

/// A change of what there is in a vhost.
pub(super) enum TopologyChange {
    /// There is this exchange.
    AddExchange(ExchangeDeclaration, ExchangeKind),
    /// There is no such exchange, and no binding of it.
    RemoveExchange(String),
    /// There is this queue.
    AddQueue(Box<NewQueue>),
    /// There is no such queue, and no binding of it.
    RemoveQueue(String),
    /// There is this binding.
    Bind(BindingDefinition),
    /// There is no such binding.
    Unbind(BindingDefinition),
    /// There is this policy.
    SetPolicy(PolicyKind, PolicyDefinition),
    /// There is no such policy.
    ClearPolicy(PolicyKind, String),
}

/// A queue as it begins.
pub(super) struct NewQueue {
    /// What the store knows it by.
    pub(super) id: QueueId,
    /// The priorities that it orders its messages by. As many ids follow that are its own too.
    pub(super) priorities: Option<Priorities>,
    /// How it was declared.
    pub(super) declaration: QueueDeclaration,
    /// Its arguments as the broker understands them.
    pub(super) arguments: QueueArguments,
    /// The connection that has it to itself.
    pub(super) exclusive_owner: Option<ConnectionId>,
    /// Whether its deliveries are stopped.
    pub(super) paused: bool,
}

impl Vhost {
    /// Changes the registries and routing tables. What is so already is left as it is. What has to follow is noted in
    /// the topology.
    ///
    /// # Errors
    /// A binding's arguments are none that its exchange can match by.
    pub(super) fn apply(
        &self,
        change: TopologyChange,
        topology: &mut Topology,
    ) -> Result<(), Error> {
        match change {
            TopologyChange::AddExchange(declaration, kind) => {
                self.add_exchange(&declaration, kind, topology);
            }
            TopologyChange::RemoveExchange(name) => self.remove_exchange(&name, topology),
            TopologyChange::AddQueue(queue) => drop(self.add_queue(*queue, topology)),
            TopologyChange::RemoveQueue(name) => self.remove_queue(&name, topology),
            TopologyChange::Bind(binding) => return self.add_binding(binding, topology),
            TopologyChange::Unbind(binding) => self.remove_binding(&binding, topology),
            TopologyChange::SetPolicy(kind, record) => return self.put_policy(kind, record),
            TopologyChange::ClearPolicy(kind, name) => self.remove_policy(kind, &name),
        }
        Ok(())
    }

    /// A definition takes the place of a transient exchange: that one is known to this node alone.
    fn add_exchange(
        &self,
        declaration: &ExchangeDeclaration,
        kind: ExchangeKind,
        topology: &mut Topology,
    ) {
        if let Some(existing) = self.exchange(&declaration.name) {
            if existing.durable {
                return;
            }
            self.remove_exchange(&declaration.name, topology);
        }
        let exchange = Arc::new(Exchange::new(declaration, kind));
        self.configure_exchange(&exchange);
        self.exchanges.insert(Arc::clone(&exchange.name), exchange);
        self.changed();
    }

    fn remove_exchange(&self, name: &str, topology: &mut Topology) {
        let Some((_, exchange)) = self.exchanges.remove(name) else {
            return;
        };
        self.drop_outgoing(&exchange, topology);
        let incoming = exchange.incoming.lock().take();
        self.drop_incoming(&Destination::Exchange(exchange), incoming, topology);
        self.changed();
    }

    /// Another queue of this name gives way: it was deleted and declared anew, or known to this node alone.
    pub(super) fn add_queue(&self, new: NewQueue, topology: &mut Topology) -> Arc<Queue> {
        if let Some(existing) = self.queue(&new.declaration.name) {
            if existing.id == new.id {
                existing.set_paused(new.paused);
                return existing;
            }
            self.remove_queue(&new.declaration.name, topology);
        }
        let NewQueue {
            id, declaration, ..
        } = new;
        let properties = QueueProperties {
            name: declaration.name.into(),
            vhost: Arc::clone(&self.name),
            durable: declaration.durable,
            auto_delete: declaration.auto_delete,
            exclusive_owner: new.exclusive_owner,
            table: declaration.arguments,
            arguments: Arc::new(new.arguments),
            priorities: new.priorities,
        };
        let shared = &self.shared;
        let queue = Queue::new(
            id,
            properties,
            Arc::clone(&shared.store),
            Arc::clone(&shared.expiries),
            Arc::clone(&shared.pager),
        );
        queue.statistics.attach(&self.statistics);
        queue.set_paused(new.paused);
        self.configure_queue(&queue);
        queue.used();
        let name = Arc::clone(queue.name());
        self.queues.insert(name, Arc::clone(&queue));
        self.changed();
        queue
    }

    fn remove_queue(&self, name: &str, topology: &mut Topology) {
        let Some((_, queue)) = self.queues.remove(name) else {
            return;
        };
        queue.end();
        self.statistics.node().count(Column::QueueDeleted);
        let incoming = queue.bindings.lock().take();
        self.drop_incoming(&Destination::Queue(queue), incoming, topology);
        self.changed();
    }

    fn add_binding(
        &self,
        binding: BindingDefinition,
        topology: &mut Topology,
    ) -> Result<(), Error> {
        let Some((source, destination)) = self.defined_ends(&binding) else {
            topology.severed.push(binding);
            return Ok(());
        };
        let key = BindingKey {
            source: Arc::clone(&source.name),
            routing_key: binding.routing_key.into(),
            arguments: binding.arguments,
        };
        let mut table = source.table.write();
        let new = table.bind(&key.routing_key, &key.arguments, destination.clone())?;
        drop(table);
        if new {
            destination.remember(key);
            self.changed();
        }
        Ok(())
    }

    /// A binding whose ends are gone went with them.
    fn remove_binding(&self, binding: &BindingDefinition, topology: &mut Topology) {
        let Some((source, destination)) = self.defined_ends(binding) else {
            return;
        };
        let mut table = source.table.write();
        let existed = table.unbind(&binding.routing_key, &binding.arguments, &destination);
        let last = table.is_empty();
        drop(table);
        if !existed {
            return;
        }
        destination.forget(&BindingKey {
            source: Arc::clone(&source.name),
            routing_key: binding.routing_key.as_str().into(),
            arguments: binding.arguments.clone(),
        });
        self.changed();
        if source.auto_delete && last {
            topology.unused.push(source);
        }
    }

    fn defined_ends(&self, binding: &BindingDefinition) -> Option<(Arc<Exchange>, Destination)> {
        let destination = match binding.destination_kind {
            DestinationKind::Queue => self.queue(&binding.destination).map(Destination::Queue),
            DestinationKind::Exchange => self
                .exchange(&binding.destination)
                .map(Destination::Exchange),
        };
        Some((self.exchange(&binding.source)?, destination?))
    }

    fn drop_outgoing(&self, exchange: &Exchange, topology: &mut Topology) {
        let mut table = exchange.table.write();
        for binding in table.bindings() {
            let destination = binding.destination;
            // The first binding of a destination takes the others along: for those there is nothing left to look at.
            destination.forget_source(&exchange.name);
            if exchange.durable && destination.durable() {
                let key = BindingKey {
                    source: Arc::clone(&exchange.name),
                    routing_key: (*binding.routing_key).into(),
                    arguments: binding.arguments.clone(),
                };
                let severed = records::binding(&self.name, &key, destination);
                topology.severed.push(severed);
            }
        }
        *table = RoutingTable::new(exchange.kind);
    }

    /// Removes the bindings that end at `destination`.
    fn drop_incoming(
        &self,
        destination: &Destination,
        incoming: Vec<BindingKey>,
        topology: &mut Topology,
    ) {
        for key in incoming {
            let Some(source) = self.exchange(&key.source) else {
                continue;
            };
            let mut table = source.table.write();
            table.unbind(&key.routing_key, &key.arguments, destination);
            let empty = table.is_empty();
            drop(table);
            if source.durable && destination.durable() {
                let severed = records::binding(&self.name, &key, destination);
                topology.severed.push(severed);
            }
            if source.auto_delete && empty {
                topology.unused.push(source);
            }
        }
    }
}
