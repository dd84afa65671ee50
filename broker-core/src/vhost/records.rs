//! What a vhost declares, as changes of the definitions; and their events, as changes of the vhost.

use super::{
    ExchangeDeclaration, QueueDeclaration, Vhost,
    apply::{NewQueue, TopologyChange},
    exchanges::Destination,
};
use crate::{
    Error,
    definitions::{
        BindingDefinition, Change, Event, ExchangeDefinition, Kind, QueueDefinition, Record,
        key_parts,
    },
    exchange::ExchangeKind,
    policy::{OperatorPolicyDefinition, PolicyKind},
    queue::{BindingKey, Priorities, QueueArguments},
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

pub(super) fn put_queue(
    vhost: &str,
    id: QueueId,
    priorities: Option<Priorities>,
    declaration: &QueueDeclaration,
) -> Result<Change, Error> {
    Change::put(&QueueDefinition {
        id,
        higher_lanes: priorities.map_or(0, Priorities::highest),
        vhost: vhost.to_owned(),
        name: declaration.name.clone(),
        durable: declaration.durable,
        exclusive: declaration.exclusive,
        auto_delete: declaration.auto_delete,
        arguments: declaration.arguments.clone(),
        paused: false,
        created_at: None,
    })
}

pub(super) fn delete_binding(binding: &BindingDefinition) -> Change {
    Change::delete(Kind::Binding, binding.key())
}

pub(super) fn binding(
    vhost: &str,
    key: &BindingKey,
    destination: &Destination,
) -> BindingDefinition {
    BindingDefinition {
        vhost: vhost.to_owned(),
        source: key.source.to_string(),
        destination: destination.name().to_string(),
        destination_kind: destination.kind(),
        routing_key: key.routing_key.to_string(),
        arguments: key.arguments.clone(),
    }
}

/// The vhost that an exchange, queue, binding or policy with this key belongs to.
pub(crate) fn vhost_of(key: &str) -> Option<String> {
    key_parts(key).into_iter().next()
}

/// What an event about an exchange, a queue, a binding or a policy changes in its vhost.
///
/// # Errors
/// The definition is none that this version understands.
pub(super) fn change(vhost: &Vhost, event: &Event) -> Result<TopologyChange, Error> {
    let unknown = || Error::Internal(format!("unknown {:?} {}", event.kind, event.key));
    let name = || key_parts(&event.key).into_iter().nth(1);
    let change = match event.kind {
        Kind::Exchange => match event.record()? {
            Some(definition) => Some(add_exchange(vhost, definition)?),
            None => name().map(TopologyChange::RemoveExchange),
        },
        Kind::Queue => match event.record()? {
            Some(definition) => Some(add_queue(vhost, definition)?),
            None => name().map(TopologyChange::RemoveQueue),
        },
        Kind::Binding => match event.record()? {
            Some(definition) => Some(TopologyChange::Bind(definition)),
            None => BindingDefinition::of_key(&event.key).map(TopologyChange::Unbind),
        },
        Kind::Policy => match event.record()? {
            Some(definition) => Some(TopologyChange::SetPolicy(PolicyKind::Policy, definition)),
            None => name().map(|name| TopologyChange::ClearPolicy(PolicyKind::Policy, name)),
        },
        Kind::OperatorPolicy => match event.record()? {
            Some(OperatorPolicyDefinition(definition)) => Some(TopologyChange::SetPolicy(
                PolicyKind::OperatorPolicy,
                definition,
            )),
            None => {
                name().map(|name| TopologyChange::ClearPolicy(PolicyKind::OperatorPolicy, name))
            }
        },
        _ => None,
    };
    change.ok_or_else(unknown)
}

fn add_exchange(vhost: &Vhost, definition: ExchangeDefinition) -> Result<TopologyChange, Error> {
    let kind = ExchangeKind::parse(&definition.kind).ok_or_else(|| {
        Error::Internal(format!(
            "{} is of the unknown type '{}'",
            vhost.exchange_text(&definition.name),
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
    Ok(TopologyChange::AddExchange(declaration, kind))
}

fn add_queue(vhost: &Vhost, definition: QueueDefinition) -> Result<TopologyChange, Error> {
    let text = vhost.queue_text(&definition.name);
    let arguments = QueueArguments::parse(&definition.arguments, &text)?;
    // An earlier version has set no ids aside for a queue's priorities.
    let priorities = Priorities::of(&arguments);
    let priorities = priorities.filter(|it| it.highest() <= definition.higher_lanes);
    Ok(TopologyChange::AddQueue(Box::new(NewQueue {
        id: definition.id,
        priorities,
        declaration: QueueDeclaration {
            name: definition.name,
            durable: definition.durable,
            exclusive: definition.exclusive,
            auto_delete: definition.auto_delete,
            arguments: definition.arguments,
        },
        arguments,
        exclusive_owner: None,
        paused: definition.paused,
    })))
}
