//! What there is in a vhost, for operators: every call is a copy of one moment, and no registry is locked as a whole.

use std::sync::Arc;

use amqp_codec::FieldTable;
use parking_lot::Mutex;

use super::{Exchange, Vhost, exchanges::Destination};
use crate::{
    definitions::{BindingDefinition, DestinationKind},
    queue::{BindingKey, Queue},
};

/// Names in their order, and the [`Vhost::generation`] that they are of.
pub(super) type OrderedNames = Mutex<Option<(u64, Arc<[Arc<str>]>)>>;

impl Vhost {
    /// All exchanges, in no particular order.
    pub fn exchanges(&self) -> Vec<Arc<Exchange>> {
        self.exchanges
            .iter()
            .map(|it| Arc::clone(it.value()))
            .collect()
    }

    /// All queues, in no particular order.
    pub fn queues(&self) -> Vec<Arc<Queue>> {
        self.queues
            .iter()
            .map(|it| Arc::clone(it.value()))
            .collect()
    }

    /// The names of all queues in their order. They are kept until exchanges, queues or bindings change: whoever reads a
    /// long list page by page would have it put in order for every page. A queue may be gone by the time it is looked up.
    pub fn queue_names(&self) -> Arc<[Arc<str>]> {
        let mut kept = self.queue_names.lock();
        // A queue is registered before the generation moves, so names under this one miss none that is older.
        let generation = self.generation();
        if let Some((_, names)) = kept.as_ref().filter(|(of, _)| *of == generation) {
            return Arc::clone(names);
        }
        let mut names: Vec<Arc<str>> = self.queues.iter().map(|it| Arc::clone(it.name())).collect();
        names.sort_unstable();
        let names: Arc<[Arc<str>]> = names.into();
        *kept = Some((generation, Arc::clone(&names)));
        names
    }

    /// All bindings, the implicit ones of queues to the default exchange included (`rabbit_binding:list`).
    pub fn bindings(&self) -> Vec<BindingDefinition> {
        let exchanges = self.exchanges();
        let all = exchanges.iter().flat_map(|it| self.bindings_from(it));
        all.collect()
    }

    /// The bindings that start at an exchange.
    pub fn bindings_from(&self, exchange: &Exchange) -> Vec<BindingDefinition> {
        if exchange.name.is_empty() {
            let queues = self.queues.iter();
            return queues.map(|queue| self.implicit_binding(&queue)).collect();
        }
        let table = exchange.table.read();
        let bindings = table.bindings().map(|binding| BindingDefinition {
            vhost: self.name.to_string(),
            source: exchange.name.to_string(),
            destination: binding.destination.name().to_string(),
            destination_kind: binding.destination.kind(),
            routing_key: binding.routing_key.to_string(),
            arguments: binding.arguments.clone(),
        });
        bindings.collect()
    }

    /// The bindings that end at a queue, the implicit one included.
    pub fn bindings_to_queue(&self, queue: &Arc<Queue>) -> Vec<BindingDefinition> {
        let mut bindings = vec![self.implicit_binding(queue)];
        let explicit = queue.bindings.lock().all();
        let destination = Destination::Queue(Arc::clone(queue));
        bindings.extend(explicit.iter().map(|key| self.binding(key, &destination)));
        bindings
    }

    /// The bindings that end at an exchange.
    pub fn bindings_to_exchange(&self, exchange: &Arc<Exchange>) -> Vec<BindingDefinition> {
        let keys = exchange.incoming.lock().all();
        let destination = Destination::Exchange(Arc::clone(exchange));
        keys.iter()
            .map(|key| self.binding(key, &destination))
            .collect()
    }

    /// The bindings from an exchange to a queue or exchange of these names.
    pub fn bindings_between(
        &self,
        source: &str,
        kind: DestinationKind,
        destination: &str,
    ) -> Vec<BindingDefinition> {
        let all = match kind {
            DestinationKind::Queue => self
                .queue(destination)
                .map(|queue| self.bindings_to_queue(&queue)),
            DestinationKind::Exchange => self
                .exchange(destination)
                .map(|exchange| self.bindings_to_exchange(&exchange)),
        };
        let mut all = all.unwrap_or_default();
        all.retain(|binding| binding.source == source);
        all
    }

    fn implicit_binding(&self, queue: &Queue) -> BindingDefinition {
        BindingDefinition {
            vhost: self.name.to_string(),
            source: String::new(),
            destination: queue.name().to_string(),
            destination_kind: DestinationKind::Queue,
            routing_key: queue.name().to_string(),
            arguments: FieldTable::default(),
        }
    }

    fn binding(&self, key: &BindingKey, destination: &Destination) -> BindingDefinition {
        super::records::binding(&self.name, key, destination)
    }
}
