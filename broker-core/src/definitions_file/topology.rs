//! The sections of a document that are about what is in vhosts: policies, exchanges, queues, bindings.
//!
//! What is there already stays as it is, whatever the document says of it (`rabbit_definitions:add_queue`), and names
//! that belong to the broker are left out.

use amqp_codec::{AMQPValue, FieldTable};

use super::{
    DefinitionsFile,
    item::Item,
    plan::{NewExchange, Plan},
};
use crate::{
    Error,
    arguments::{lookup, text},
    definitions::{BindingDefinition, DestinationKind, ExchangeDefinition, QueueDefinition},
    exchange::{ExchangeKind, RoutingTable},
    queue::{BindingKey, QueueArguments, arguments::QUEUE_TYPE, priorities::Priorities},
    vhost::{ExchangeDeclaration, QueueDeclaration},
};

impl Plan<'_> {
    pub(super) fn topology(&mut self, file: &DefinitionsFile) -> Result<(), Error> {
        for item in file.section("parameters")? {
            self.parameter(&item)?;
        }
        for item in file.section("policies")? {
            self.policy(&item)?;
        }
        for item in file.section("exchanges")? {
            self.exchange(&item)?;
        }
        for item in file.section("queues")? {
            self.queue(&item)?;
        }
        for item in file.section("bindings")? {
            self.binding(&item)?;
        }
        self.check_queue_limits()
    }

    fn exchange(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let vhost = self.vhost_name(item)?;
        let name = item.name("name")?.to_owned();
        if name.is_empty() || name.starts_with("amq.") {
            tracing::warn!(
                vhost,
                name,
                "an exchange of the broker itself is not imported"
            );
            return Ok(());
        }
        let exists = self
            .vhost(&vhost)
            .is_some_and(|it| it.exchange(&name).is_some());
        let key = (vhost, name);
        if exists || self.exchanges.contains_key(&key) {
            return Ok(());
        }
        let (vhost, name) = key.clone();
        let kind = item.text("type")?;
        let parsed = ExchangeKind::parse(kind);
        let parsed = parsed.ok_or_else(|| item.fault(format!("unknown exchange type '{kind}'")))?;
        let declaration = ExchangeDeclaration {
            name,
            kind: kind.to_owned(),
            durable: item.flag_or("durable", true)?,
            auto_delete: item.flag_or("auto_delete", false)?,
            internal: item.flag_or("internal", false)?,
            arguments: item.arguments()?,
        };
        check_text(item, &declaration.arguments, "alternate-exchange")?;
        let durable = declaration.durable;
        let new = NewExchange {
            kind: parsed,
            durable,
        };
        self.exchanges.insert(key, new);
        match durable {
            true => self.put(&exchange_definition(vhost, declaration)),
            false => {
                self.transient_exchanges.push((vhost, declaration));
                Ok(())
            }
        }
    }

    fn queue(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let vhost = self.vhost_name(item)?;
        let name = item.name("name")?.to_owned();
        if name.is_empty() || name.starts_with("amq.") {
            tracing::warn!(
                vhost,
                name,
                "a queue with a name of the broker's is not imported"
            );
            return Ok(());
        }
        let exists = self
            .vhost(&vhost)
            .is_some_and(|it| it.queue(&name).is_some());
        let key = (vhost, name);
        if exists || self.queues.contains_key(&key) {
            return Ok(());
        }
        let (vhost, name) = key.clone();
        let mut declaration = QueueDeclaration {
            name,
            durable: item.flag_or("durable", true)?,
            exclusive: false,
            auto_delete: item.flag_or("auto_delete", false)?,
            arguments: item.arguments()?,
        };
        self.augment(&vhost, &mut declaration);
        let resource = format!("queue '{}' in vhost '{vhost}'", declaration.name);
        let arguments = item.named(QueueArguments::parse(&declaration.arguments, &resource))?;
        let (durable, auto_delete) = (declaration.durable, declaration.auto_delete);
        item.named(arguments.check_properties(&resource, durable, false, auto_delete))?;
        check_text(item, &declaration.arguments, "x-dead-letter-exchange")?;
        self.queues.insert(key, durable);
        if !durable {
            self.transient_queues.push((vhost, declaration));
            return Ok(());
        }
        let highest = Priorities::of(&arguments).map_or(0, Priorities::highest);
        let ids = u64::from(highest) + 1;
        self.put(&QueueDefinition {
            id: self.broker.definitions().next_queue_ids(ids),
            higher_lanes: highest,
            vhost,
            name: declaration.name,
            durable,
            exclusive: false,
            auto_delete,
            arguments: declaration.arguments,
            created_at: None,
            paused: false,
        })
    }

    /// Gives a queue the default type of its vhost, which may come from the same document.
    fn augment(&self, vhost: &str, queue: &mut QueueDeclaration) {
        let default = self
            .vhosts
            .get(vhost)
            .and_then(|it| it.default_queue_type.as_deref());
        let given = lookup(&queue.arguments, QUEUE_TYPE).and_then(text);
        let named = given.is_some_and(|given| !matches!(given, "" | "undefined"));
        if let Some(default) = default.filter(|_| queue.durable && !queue.auto_delete && !named) {
            let name = AMQPValue::LongString(default.into());
            queue.arguments.insert(QUEUE_TYPE.into(), name);
        }
    }

    fn binding(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let vhost = self.vhost_name(item)?;
        let destination_kind = match item.text("destination_type")? {
            "queue" => DestinationKind::Queue,
            "exchange" => DestinationKind::Exchange,
            other => return Err(item.fault(format!("unknown destination type '{other}'"))),
        };
        let binding = BindingDefinition {
            source: item.name("source")?.to_owned(),
            destination: item.name("destination")?.to_owned(),
            destination_kind,
            routing_key: item.name("routing_key")?.to_owned(),
            arguments: item.arguments()?,
            vhost,
        };
        if binding.source.is_empty() {
            // Every queue has it.
            return Ok(());
        }
        let source = self.existing_exchange(&binding.vhost, &binding.source);
        let source = source.ok_or_else(|| {
            item.fault(format!(
                "no exchange '{}' in vhost '{}'",
                binding.source, binding.vhost
            ))
        })?;
        let durable = self.destination_is_durable(&binding).ok_or_else(|| {
            let kind = match destination_kind {
                DestinationKind::Queue => "queue",
                DestinationKind::Exchange => "exchange",
            };
            item.fault(format!(
                "no {kind} '{}' in vhost '{}'",
                binding.destination, binding.vhost
            ))
        })?;
        let table = RoutingTable::<()>::new(source.kind);
        item.named(table.check(&binding.arguments))?;
        if self.is_bound(&binding) {
            return Ok(());
        }
        match durable && source.durable {
            true => self.put(&binding),
            false => {
                self.transient_bindings.push(binding);
                Ok(())
            }
        }
    }

    /// What a binding has to know of the exchange, if it will be there.
    fn existing_exchange(&self, vhost: &str, name: &str) -> Option<NewExchange> {
        let key = (vhost.to_owned(), name.to_owned());
        if let Some(new) = self.exchanges.get(&key) {
            return Some(*new);
        }
        if let Some(kind) = crate::vhost::predeclared(name) {
            return Some(NewExchange {
                kind,
                durable: true,
            });
        }
        let exchange = self.vhost(vhost)?.exchange(name)?;
        Some(NewExchange {
            kind: exchange.kind,
            durable: exchange.durable,
        })
    }

    /// Whether the end of a binding is durable; `None` if it will not be there.
    fn destination_is_durable(&self, binding: &BindingDefinition) -> Option<bool> {
        let (vhost, name) = (&binding.vhost, &binding.destination);
        match binding.destination_kind {
            DestinationKind::Exchange => self.existing_exchange(vhost, name).map(|it| it.durable),
            DestinationKind::Queue => {
                let new = self.queues.get(&(vhost.clone(), name.clone()));
                let existing = || Some(self.vhost(vhost)?.queue(name)?.properties.durable);
                new.copied().or_else(existing)
            }
        }
    }

    /// Whether there is this binding, perhaps with its arguments in other types of the same values.
    fn is_bound(&self, binding: &BindingDefinition) -> bool {
        let key = BindingKey {
            source: binding.source.as_str().into(),
            routing_key: binding.routing_key.as_str().into(),
            arguments: binding.arguments.clone(),
        };
        let vhost = self.vhost(&binding.vhost);
        vhost.is_some_and(|vhost| match binding.destination_kind {
            DestinationKind::Queue => vhost
                .queue(&binding.destination)
                .is_some_and(|queue| queue.bindings.lock().find(&key).is_some()),
            DestinationKind::Exchange => vhost
                .exchange(&binding.destination)
                .is_some_and(|exchange| exchange.has_incoming(&key)),
        })
    }
}

fn exchange_definition(vhost: String, declaration: ExchangeDeclaration) -> ExchangeDefinition {
    ExchangeDefinition {
        vhost,
        name: declaration.name,
        kind: declaration.kind,
        durable: declaration.durable,
        auto_delete: declaration.auto_delete,
        internal: declaration.internal,
        arguments: declaration.arguments,
    }
}

/// An argument that names an exchange has to be a text.
fn check_text(item: &Item<'_>, arguments: &FieldTable, key: &str) -> Result<(), Error> {
    match lookup(arguments, key) {
        Some(value) if text(value).is_none() => Err(item.fault(format!("{key} is no text"))),
        _ => Ok(()),
    }
}
