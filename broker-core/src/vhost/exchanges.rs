//! Declaring and deleting exchanges.

use std::sync::Arc;

use amqp_codec::FieldTable;
use parking_lot::{Mutex, RwLock};

use super::{
    Vhost, apply::TopologyChange, check_exchange_name, check_name, records, strip_line_ends,
};
use crate::{
    Error,
    definitions::{Change, DestinationKind, Expect},
    exchange::{ExchangeKind, RoutingTable},
    policy::{
        Matched, Setting, Source,
        effective::{self, ALTERNATE_EXCHANGE},
    },
    queue::arguments::{assert_arguments_equivalent, inequivalent_attribute},
    queue::{BindingKey, IncomingBindings, Queue},
    statistics::ExchangeStatistics,
    store::Ticket,
};

/// Where a binding leads.
#[derive(Debug, Clone)]
pub enum Destination {
    /// Into a queue.
    Queue(Arc<Queue>),
    /// Into another exchange.
    Exchange(Arc<Exchange>),
}

impl Destination {
    fn address(&self) -> usize {
        match self {
            Self::Queue(queue) => Arc::as_ptr(queue).addr(),
            Self::Exchange(exchange) => Arc::as_ptr(exchange).addr(),
        }
    }
}

impl PartialEq for Destination {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Eq for Destination {}

impl std::hash::Hash for Destination {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_usize(self.address());
    }
}

/// What `exchange.declare` says.
#[derive(Debug, Clone)]
pub struct ExchangeDeclaration {
    /// The exchange's name.
    pub name: String,
    /// Its type as the client named it.
    pub kind: String,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Deleted when its last binding is gone.
    pub auto_delete: bool,
    /// Takes messages from other exchanges only.
    pub internal: bool,
    /// `alternate-exchange` and whatever else the client gave.
    pub arguments: FieldTable,
}

/// What an exchange's arguments and policies come to.
#[derive(Debug, Default)]
struct Configuration {
    matched: Matched,
    alternate: Option<(Arc<str>, Source)>,
}

/// An exchange of a vhost.
#[derive(Debug)]
pub struct Exchange {
    /// Its name; empty for the default exchange.
    pub name: Arc<str>,
    /// Its type.
    pub kind: ExchangeKind,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Deleted when its last binding is gone.
    pub auto_delete: bool,
    /// Takes messages from other exchanges only.
    pub internal: bool,
    /// As declared.
    pub arguments: FieldTable,
    /// What has gone through it.
    pub statistics: ExchangeStatistics,
    configuration: RwLock<Configuration>,
    pub(super) table: RwLock<RoutingTable<Destination>>,
    /// The bindings that end here.
    pub(super) incoming: Mutex<IncomingBindings>,
}

impl Exchange {
    pub(super) fn new(declaration: &ExchangeDeclaration, kind: ExchangeKind) -> Self {
        let exchange = Self {
            name: declaration.name.as_str().into(),
            kind,
            durable: declaration.durable,
            auto_delete: declaration.auto_delete,
            internal: declaration.internal,
            arguments: declaration.arguments.clone(),
            statistics: ExchangeStatistics::default(),
            configuration: RwLock::default(),
            table: RwLock::new(RoutingTable::new(kind)),
            incoming: Mutex::default(),
        };
        exchange.configure(Matched::default());
        exchange
    }

    /// The exchange that gets what this one cannot route.
    pub fn alternate(&self) -> Option<Arc<str>> {
        let configuration = self.configuration.read();
        let alternate = configuration.alternate.as_ref();
        alternate.map(|(name, _)| Arc::clone(name))
    }

    /// The policies that the exchange has.
    pub fn policies(&self) -> Matched {
        self.configuration.read().matched.clone()
    }

    /// Every setting in force, and where it comes from.
    pub fn settings(&self) -> Vec<Setting> {
        let alternate = self.configuration.read().alternate.clone();
        let setting = |(name, source): (Arc<str>, Source)| Setting {
            key: ALTERNATE_EXCHANGE.to_owned(),
            value: (*name).into(),
            source,
        };
        alternate.map(setting).into_iter().collect()
    }

    /// Gives the exchange other policies. Routes that were found before are to be found anew.
    pub(super) fn configure(&self, matched: Matched) {
        let alternate = effective::alternate_exchange(&self.arguments, &matched);
        *self.configuration.write() = Configuration { matched, alternate };
    }

    /// Whether this binding ends here.
    pub(crate) fn has_incoming(&self, key: &BindingKey) -> bool {
        self.incoming.lock().find(key).is_some()
    }

    /// How many bindings start here.
    pub fn binding_count(&self) -> usize {
        self.table.read().len()
    }
}

/// The exchanges that exist in every vhost (RabbitMQ: `rabbit_vhost:declare_default_exchanges`).
const PREDECLARED: [(&str, ExchangeKind, bool); 7] = [
    ("", ExchangeKind::Direct, false),
    ("amq.direct", ExchangeKind::Direct, false),
    ("amq.fanout", ExchangeKind::Fanout, false),
    ("amq.topic", ExchangeKind::Topic, false),
    ("amq.headers", ExchangeKind::Headers, false),
    ("amq.match", ExchangeKind::Headers, false),
    ("amq.rabbitmq.trace", ExchangeKind::Topic, true),
];

/// The type of the exchange of that name that every vhost has.
pub(crate) fn predeclared(name: &str) -> Option<ExchangeKind> {
    let found = PREDECLARED.iter().find(|(known, ..)| *known == name);
    found.map(|(_, kind, _)| *kind)
}

impl Vhost {
    pub(super) fn predeclare(&self) {
        for (name, kind, internal) in PREDECLARED {
            let declaration = ExchangeDeclaration {
                name: name.to_owned(),
                kind: kind.as_str().to_owned(),
                durable: true,
                auto_delete: false,
                internal,
                arguments: FieldTable::default(),
            };
            let exchange = Arc::new(Exchange::new(&declaration, kind));
            self.exchanges.insert(Arc::clone(&exchange.name), exchange);
        }
    }

    /// `exchange.declare`: makes the exchange, or checks that the existing one is the same. The ticket of its
    /// definition is to be awaited before the answer.
    ///
    /// # Errors
    /// 403 for the default exchange and reserved names, 503 for an unknown type, 406 for an inequivalent redeclaration.
    pub fn declare_exchange(&self, mut declaration: ExchangeDeclaration) -> Result<Ticket, Error> {
        let kind = ExchangeKind::parse(&declaration.kind).ok_or_else(|| {
            Error::CommandInvalid(format!("unknown exchange type '{}'", declaration.kind))
        })?;
        declaration.name = strip_line_ends(&declaration.name);
        check_not_default(&declaration.name)?;
        let mut turn = self.turn();
        loop {
            if let Some(existing) = self.exchange(&declaration.name) {
                self.check_equivalent(&existing, &declaration, kind)?;
                return Ok(self.written(existing.durable));
            }
            check_name("exchange", &declaration.name)?;
            check_exchange_name(
                &declaration.arguments,
                "alternate-exchange",
                &self.exchange_text(&declaration.name),
            )?;
            if !declaration.durable {
                turn.apply(TopologyChange::AddExchange(declaration, kind))?;
                return Ok(turn.ticket);
            }
            let put = records::put_exchange(&self.name, &declaration)?;
            if turn.write(vec![put.expecting(Expect::Absent)])? {
                return Ok(turn.ticket);
            }
        }
    }

    /// `exchange.declare` with `passive`: only asks whether it exists.
    ///
    /// # Errors
    /// 404 when it does not, 403 for the default exchange.
    pub fn check_exchange(&self, name: &str) -> Result<(), Error> {
        check_not_default(name)?;
        self.existing_exchange(&strip_line_ends(name)).map(drop)
    }

    /// `exchange.delete`. Deleting what does not exist succeeds.
    ///
    /// # Errors
    /// 403 for the default exchange and reserved names, 406 with `if_unused` when it has bindings.
    pub fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<Ticket, Error> {
        let name = strip_line_ends(name);
        check_not_default(&name)?;
        check_deletable(&name, self)?;
        let mut turn = self.turn();
        let Some(exchange) = self.exchange(&name) else {
            return Ok(self.written(true));
        };
        if if_unused && exchange.binding_count() > 0 {
            let text = self.exchange_text(&name);
            return Err(Error::PreconditionFailed(format!("{text} in use")));
        }
        turn.remove_exchange(&exchange)?;
        Ok(turn.ticket)
    }

    /// Whether this very exchange is there, and not one that has taken its name since.
    pub(super) fn has_exchange(&self, exchange: &Arc<Exchange>) -> bool {
        let current = self.exchanges.get(&exchange.name);
        current.is_some_and(|current| Arc::ptr_eq(&current, exchange))
    }

    /// Adds the deletion of each stored binding that starts at `exchange`.
    pub(super) fn delete_outgoing(&self, exchange: &Exchange, changes: &mut Vec<Change>) {
        if !exchange.durable {
            return;
        }
        for binding in exchange.table.read().bindings() {
            if binding.destination.durable() {
                let key = BindingKey {
                    source: Arc::clone(&exchange.name),
                    routing_key: (*binding.routing_key).into(),
                    arguments: binding.arguments.clone(),
                };
                let stored = records::binding(&self.name, &key, binding.destination);
                changes.push(records::delete_binding(&stored));
            }
        }
    }

    /// Adds the deletion of each stored binding that ends at `destination`.
    pub(super) fn delete_incoming(&self, destination: &Destination, changes: &mut Vec<Change>) {
        if !destination.durable() {
            return;
        }
        for key in destination.incoming().lock().all() {
            if self.exchange(&key.source).is_some_and(|it| it.durable) {
                let stored = records::binding(&self.name, &key, destination);
                changes.push(records::delete_binding(&stored));
            }
        }
    }

    fn check_equivalent(
        &self,
        existing: &Exchange,
        declared: &ExchangeDeclaration,
        kind: ExchangeKind,
    ) -> Result<(), Error> {
        let text = self.exchange_text(&declared.name);
        inequivalent_attribute(&text, "type", kind.as_str(), existing.kind.as_str())?;
        inequivalent_attribute(&text, "durable", declared.durable, existing.durable)?;
        inequivalent_attribute(
            &text,
            "auto_delete",
            declared.auto_delete,
            existing.auto_delete,
        )?;
        inequivalent_attribute(&text, "internal", declared.internal, existing.internal)?;
        assert_arguments_equivalent(
            &text,
            &existing.arguments,
            &declared.arguments,
            &["alternate-exchange"],
        )
    }
}

impl Destination {
    /// Whether a binding to it outlives a restart, given a durable source.
    pub(super) fn durable(&self) -> bool {
        match self {
            Self::Queue(queue) => queue.properties.durable,
            Self::Exchange(exchange) => exchange.durable,
        }
    }

    /// Its name.
    pub(super) fn name(&self) -> &Arc<str> {
        match self {
            Self::Queue(queue) => queue.name(),
            Self::Exchange(exchange) => &exchange.name,
        }
    }

    /// What it is.
    pub(super) fn kind(&self) -> DestinationKind {
        match self {
            Self::Queue(_) => DestinationKind::Queue,
            Self::Exchange(_) => DestinationKind::Exchange,
        }
    }

    /// The binding that ends here, as it was made.
    pub(super) fn find(&self, key: &BindingKey) -> Option<BindingKey> {
        self.incoming().lock().find(key)
    }

    /// The bindings from the exchange `source` that end here.
    pub(super) fn bindings_from(&self, source: &str) -> Vec<BindingKey> {
        self.incoming().lock().of_source(source)
    }

    pub(super) fn remember(&self, key: BindingKey) {
        self.incoming().lock().insert(key);
    }

    pub(super) fn forget(&self, key: &BindingKey) {
        self.incoming().lock().remove(key);
    }

    pub(super) fn forget_source(&self, exchange: &str) {
        self.incoming().lock().remove_source(exchange);
    }

    fn incoming(&self) -> &Mutex<IncomingBindings> {
        match self {
            Self::Queue(queue) => &queue.bindings,
            Self::Exchange(exchange) => &exchange.incoming,
        }
    }
}

/// Refuses to delete what every vhost has.
pub(super) fn check_deletable(name: &str, vhost: &Vhost) -> Result<(), Error> {
    if name.starts_with("amq.") {
        let text = vhost.exchange_text(name);
        return Err(Error::AccessRefused(format!(
            "deletion of system {text} not allowed"
        )));
    }
    Ok(())
}

pub(super) fn check_not_default(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::AccessRefused(
            "operation not permitted on the default exchange".to_owned(),
        ));
    }
    Ok(())
}
