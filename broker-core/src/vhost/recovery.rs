//! Bringing back at start what was declared before: durable exchanges, queues with their messages, bindings.

use std::sync::Arc;

use super::{ExchangeDeclaration, QueueDeclaration, Vhost, exchanges::Destination};
use crate::{
    Error,
    definitions::{BindingDefinition, DestinationKind, ExchangeDefinition, QueueDefinition},
    exchange::ExchangeKind,
    queue::{BindingKey, QueueArguments},
};

impl Vhost {
    /// Brings back an exchange.
    ///
    /// # Errors
    /// The definition names a type that this version does not have.
    pub(crate) fn recover_exchange(&self, definition: ExchangeDefinition) -> Result<(), Error> {
        let kind = ExchangeKind::parse(&definition.kind).ok_or_else(|| {
            Error::Internal(format!(
                "{} is of the unknown type '{}'",
                self.exchange_text(&definition.name),
                definition.kind
            ))
        })?;
        let declaration = ExchangeDeclaration {
            name: definition.name,
            kind: definition.kind,
            durable: definition.durable,
            auto_delete: definition.auto_delete,
            internal: definition.internal,
            arguments: definition.arguments,
        };
        self.add_exchange(&declaration, kind);
        Ok(())
    }

    /// Brings back a queue; says how many messages were in it.
    ///
    /// # Errors
    /// The store cannot be read, or the queue's arguments are not valid in this version.
    pub(crate) fn recover_queue(&self, definition: QueueDefinition) -> Result<usize, Error> {
        let text = self.queue_text(&definition.name);
        let arguments = QueueArguments::parse(&definition.arguments, &text)?;
        let declaration = QueueDeclaration {
            name: definition.name,
            durable: definition.durable,
            exclusive: definition.exclusive,
            auto_delete: definition.auto_delete,
            arguments: definition.arguments,
        };
        self.add_queue(definition.id, declaration, arguments, None)
            .recover()
    }

    /// Brings back a binding. One whose ends are gone is left out.
    ///
    /// # Errors
    /// A headers exchange cannot match by its arguments.
    pub(crate) fn recover_binding(&self, definition: BindingDefinition) -> Result<(), Error> {
        let destination = match definition.destination_kind {
            DestinationKind::Queue => self.queue(&definition.destination).map(Destination::Queue),
            DestinationKind::Exchange => self
                .exchange(&definition.destination)
                .map(Destination::Exchange),
        };
        let (Some(source), Some(destination)) = (self.exchange(&definition.source), destination)
        else {
            tracing::warn!(
                source = definition.source,
                destination = definition.destination,
                "left out a binding whose ends are gone"
            );
            return Ok(());
        };
        let key = BindingKey {
            source: Arc::clone(&source.name),
            routing_key: definition.routing_key.into(),
            arguments: definition.arguments,
        };
        let mut table = source.table.write();
        table.bind(&key.routing_key, &key.arguments, destination.clone())?;
        drop(table);
        destination.remember(key);
        self.changed();
        Ok(())
    }
}
