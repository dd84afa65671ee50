//! What a vhost declares, as changes of the definitions.

use super::{ExchangeDeclaration, QueueDeclaration, exchanges::Destination};
use crate::{
    Error,
    definitions::{BindingDefinition, Change, ExchangeDefinition, Kind, QueueDefinition, Record},
    queue::BindingKey,
    store::QueueId,
};

pub(super) fn put_exchange(
    vhost: &str,
    declaration: &ExchangeDeclaration,
) -> Result<Change, Error> {
    Change::put(&ExchangeDefinition {
        vhost: vhost.to_owned(),
        name: declaration.name.clone(),
        kind: declaration.kind.clone(),
        durable: declaration.durable,
        auto_delete: declaration.auto_delete,
        internal: declaration.internal,
        arguments: declaration.arguments.clone(),
    })
}

pub(super) fn delete_exchange(vhost: &str, name: &str) -> Change {
    Change::delete(Kind::Exchange, ExchangeDefinition::key_of(vhost, name))
}

pub(super) fn put_queue(
    vhost: &str,
    id: QueueId,
    declaration: &QueueDeclaration,
) -> Result<Change, Error> {
    Change::put(&QueueDefinition {
        id,
        vhost: vhost.to_owned(),
        name: declaration.name.clone(),
        durable: declaration.durable,
        exclusive: declaration.exclusive,
        auto_delete: declaration.auto_delete,
        arguments: declaration.arguments.clone(),
        created_at: None,
    })
}

pub(super) fn delete_queue(vhost: &str, name: &str) -> Change {
    Change::delete(Kind::Queue, QueueDefinition::key_of(vhost, name))
}

pub(super) fn put_binding(
    vhost: &str,
    key: &BindingKey,
    destination: &Destination,
) -> Result<Change, Error> {
    Change::put(&binding(vhost, key, destination))
}

pub(super) fn delete_binding(
    vhost: &str,
    key: &BindingKey,
    destination: &Destination,
) -> Result<Change, Error> {
    let key = binding(vhost, key, destination).key();
    Ok(Change::delete(Kind::Binding, key))
}

fn binding(vhost: &str, key: &BindingKey, destination: &Destination) -> BindingDefinition {
    BindingDefinition {
        vhost: vhost.to_owned(),
        source: key.source.to_string(),
        destination: destination.name().to_string(),
        destination_kind: destination.kind(),
        routing_key: key.routing_key.to_string(),
        arguments: key.arguments.clone(),
    }
}
