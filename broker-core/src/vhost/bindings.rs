//! Binding queues and exchanges to exchanges, and taking bindings away.

use std::sync::Arc;

use amqp_codec::FieldTable;

use super::{Vhost, apply::TopologyChange, direct_reply, exchanges::Destination, records};
use crate::{
    Error,
    definitions::{Change, DestinationKind, Expect},
    queue::{BindingKey, ConnectionId},
    store::Ticket,
};

/// What `queue.bind`, `queue.unbind`, `exchange.bind` and `exchange.unbind` say.
#[derive(Debug, Clone)]
pub struct BindingRequest {
    /// The exchange that messages come from.
    pub source: String,
    /// What they go to.
    pub destination_kind: DestinationKind,
    /// Its name.
    pub destination: String,
    /// The key to match.
    pub routing_key: String,
    /// Matched by headers exchanges.
    pub arguments: FieldTable,
}

impl Vhost {
    /// Makes a binding; making it twice is making it once.
    ///
    /// # Errors
    /// 404 for a missing end, 403 for the default exchange, 405 for another connection's exclusive queue, 406 for
    /// arguments that a headers exchange cannot match by.
    pub fn bind(&self, request: &BindingRequest, by: ConnectionId) -> Result<Ticket, Error> {
        let mut turn = self.turn();
        loop {
            let (source, destination) = self.ends(request, by)?;
            let key = request.key();
            let durable = source.durable && destination.durable();
            source.table.read().check(&key.arguments)?;
            if destination.find(&key).is_some() {
                return Ok(self.written(durable));
            }
            let binding = records::binding(&self.name, &key, &destination);
            if !durable {
                turn.apply(TopologyChange::Bind(binding))?;
                return Ok(turn.ticket);
            }
            let put = Change::put(&binding)?.expecting(Expect::Absent);
            if turn.write(vec![put])? {
                return Ok(turn.ticket);
            }
        }
    }

    /// Takes a binding away. Taking away what is not there succeeds, as in RabbitMQ, missing ends included.
    ///
    /// # Errors
    /// 403 for the default exchange, 405 for another connection's exclusive queue.
    pub fn unbind(&self, request: &BindingRequest, by: ConnectionId) -> Result<Ticket, Error> {
        let mut turn = self.turn();
        let (source, destination) = match self.ends(request, by) {
            Err(Error::NotFound(_)) => return Ok(self.written(true)),
            ends => ends?,
        };
        let durable = source.durable && destination.durable();
        // Its arguments as they were written when it was made: those are part of its key.
        let Some(key) = destination.find(&request.key()) else {
            return Ok(self.written(durable));
        };
        let binding = records::binding(&self.name, &key, &destination);
        if durable {
            turn.write(vec![records::delete_binding(&binding)])?;
        } else {
            turn.apply(TopologyChange::Unbind(binding))?;
        }
        Ok(turn.ticket)
    }

    fn ends(
        &self,
        request: &BindingRequest,
        by: ConnectionId,
    ) -> Result<(Arc<super::Exchange>, Destination), Error> {
        self.check_bindable(request)?;
        let source = self.existing_exchange(&request.source)?;
        let destination = match request.destination_kind {
            DestinationKind::Queue => {
                let queue = self.existing_queue(&request.destination)?;
                self.check_exclusive(&queue, by)?;
                Destination::Queue(queue)
            }
            DestinationKind::Exchange => {
                Destination::Exchange(self.existing_exchange(&request.destination)?)
            }
        };
        Ok((source, destination))
    }

    fn check_bindable(&self, request: &BindingRequest) -> Result<(), Error> {
        let to_exchange = request.destination_kind == DestinationKind::Exchange;
        if request.source.is_empty() || (to_exchange && request.destination.is_empty()) {
            return Err(Error::AccessRefused(
                "operation not permitted on the default exchange".to_owned(),
            ));
        }
        check_not_volatile(request)
    }
}

/// Nothing can be bound to a direct reply-to address.
pub(super) fn check_not_volatile(request: &BindingRequest) -> Result<(), Error> {
    let to_queue = request.destination_kind == DestinationKind::Queue;
    if to_queue && direct_reply::is_reply_queue(&request.destination) {
        return Err(Error::AccessRefused(
            "cannot bind or unbind to a volatile (direct reply-to) queue".to_owned(),
        ));
    }
    Ok(())
}

impl BindingRequest {
    fn key(&self) -> BindingKey {
        BindingKey {
            source: self.source.as_str().into(),
            routing_key: self.routing_key.as_str().into(),
            arguments: self.arguments.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broker::Broker,
        definitions::MemoryDefinitions,
        queue::{Queue, Work, incoming_bindings::looked_at},
        store::MemoryStore,
        vhost::{ExchangeDeclaration, QueueDeclaration},
    };

    const MANY: usize = 50_000;
    const ME: ConnectionId = ConnectionId(1);

    fn request(exchange: &str, number: usize) -> BindingRequest {
        BindingRequest {
            source: exchange.to_owned(),
            destination_kind: DestinationKind::Queue,
            destination: "q".to_owned(),
            routing_key: format!("key {number}"),
            arguments: FieldTable::default(),
        }
    }

    /// A vhost whose queue `q` is bound to `many` and to `other` with many keys each.
    fn bound() -> (Arc<Broker>, Arc<Vhost>, Arc<Queue>) {
        let store = Arc::new(MemoryStore::new());
        let broker = Broker::start(store, Arc::new(MemoryDefinitions::new()), 0).unwrap();
        let vhost = broker.vhost("/").unwrap();
        let queue = QueueDeclaration {
            name: "q".to_owned(),
            durable: false,
            exclusive: true,
            auto_delete: false,
            arguments: FieldTable::default(),
        };
        let (queue, _) = vhost.declare_queue(queue, ME).unwrap();
        for name in ["many", "other"] {
            let exchange = ExchangeDeclaration {
                name: name.to_owned(),
                kind: "direct".to_owned(),
                durable: true,
                auto_delete: false,
                internal: false,
                arguments: FieldTable::default(),
            };
            vhost.declare_exchange(exchange).unwrap();
            for number in 0..MANY {
                vhost.bind(&request(name, number), ME).unwrap();
            }
        }
        (broker, vhost, queue)
    }

    #[test]
    fn deleting_an_exchange_looks_at_each_of_its_bindings_once() {
        let (_broker, vhost, queue) = bound();
        let looked_at = looked_at::during(|| {
            vhost.delete_exchange("many", false).unwrap();
        });
        assert!(looked_at <= 2 * MANY, "looked at {looked_at} bindings");
        let left = queue.bindings.lock().take();
        assert_eq!(left.len(), MANY);
        assert!(left.iter().all(|key| *key.source == *"other"));
    }

    #[test]
    fn unbinding_one_by_one_looks_at_each_binding_once() {
        let (_broker, vhost, queue) = bound();
        let looked_at = looked_at::during(|| {
            for number in 0..MANY {
                vhost.unbind(&request("many", number), ME).unwrap();
            }
        });
        assert!(looked_at <= 2 * MANY, "looked at {looked_at} bindings");
        let other = vhost.exchange("other").unwrap();
        assert_eq!(other.binding_count(), MANY);
        vhost
            .delete_queue("q", ME, (false, false), &mut Work::default())
            .unwrap();
        assert_eq!(other.binding_count(), 0);
        assert!(queue.bindings.lock().take().is_empty());
    }
}
