//! Binding queues and exchanges to exchanges, and taking bindings away.

use std::sync::Arc;

use amqp_codec::FieldTable;

use super::{Vhost, direct_reply, exchanges::Destination, records};
use crate::{
    Error,
    arguments::equivalent_tables,
    definitions::DestinationKind,
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

impl BindingKey {
    /// Whether both name the same binding (of one destination).
    pub fn same_as(&self, other: &Self) -> bool {
        self.source == other.source
            && self.routing_key == other.routing_key
            && equivalent_tables(&self.arguments, &other.arguments)
    }
}

impl Vhost {
    /// Makes a binding; making it twice is making it once.
    ///
    /// # Errors
    /// 404 for a missing end, 403 for the default exchange, 405 for another connection's exclusive queue, 406 for
    /// arguments that a headers exchange cannot match by.
    pub fn bind(&self, request: &BindingRequest, by: ConnectionId) -> Result<Ticket, Error> {
        let _turn = self.topology.lock();
        let (source, destination) = self.ends(request, by)?;
        let key = request.key();
        let mut table = source.table.write();
        let new = table.bind(&key.routing_key, &key.arguments, destination.clone())?;
        drop(table);
        if !new {
            return Ok(self.written());
        }
        destination.remember(key.clone());
        self.changed();
        if source.durable && destination.durable() {
            let change = records::put_binding(&self.name, &key, &destination)?;
            return self.write_definitions(vec![change]);
        }
        Ok(Ticket::NONE)
    }

    /// Takes a binding away. Taking away what is not there succeeds, as in RabbitMQ, missing ends included.
    ///
    /// # Errors
    /// 403 for the default exchange, 405 for another connection's exclusive queue.
    pub fn unbind(&self, request: &BindingRequest, by: ConnectionId) -> Result<Ticket, Error> {
        let _turn = self.topology.lock();
        let (source, destination) = match self.ends(request, by) {
            Err(Error::NotFound(_)) => return Ok(self.written()),
            ends => ends?,
        };
        let key = request.key();
        let mut table = source.table.write();
        let existed = table.unbind(&key.routing_key, &key.arguments, &destination);
        let last = table.is_empty();
        drop(table);
        if !existed {
            return Ok(self.written());
        }
        destination.forget(&key);
        self.changed();
        let mut ticket = Ticket::NONE;
        if source.durable && destination.durable() {
            let change = records::delete_binding(&self.name, &key, &destination)?;
            ticket = self.write_definitions(vec![change])?;
        }
        if source.auto_delete && last {
            ticket = ticket.max(self.remove_exchange(&source)?);
        }
        Ok(ticket)
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
        if !to_exchange && direct_reply::is_reply_queue(&request.destination) {
            return Err(Error::AccessRefused(
                "cannot bind or unbind to a volatile (direct reply-to) queue".to_owned(),
            ));
        }
        Ok(())
    }
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
