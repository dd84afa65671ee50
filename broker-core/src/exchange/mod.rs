//! Exchanges as routing tables: which destinations get a message, by routing key and headers.
//!
//! A table knows bindings and nothing else: names, durability and permissions belong to the virtual host, which also
//! chooses what a destination is (a queue or another exchange). Routing may name a destination more than once; the
//! caller drops the repetitions, because it routes through several exchanges for one message anyway.

mod destinations;
mod direct;
mod fanout;
mod headers;
mod topic;
mod words;

use std::{
    borrow::Cow,
    hash::Hash,
    sync::{Arc, LazyLock},
};

use crate::{Error, arguments::FieldTable};

use self::{direct::Direct, fanout::Fanout, headers::Headers, topic::Topic};

/// Stands in for the arguments of the many bindings that have none.
static NO_ARGUMENTS: LazyLock<FieldTable> = LazyLock::new(FieldTable::default);

/// The four types of exchange of AMQP 0-9-1, section 3.1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExchangeKind {
    /// Routes to the bindings whose key equals the routing key.
    Direct,
    /// Routes to every binding.
    Fanout,
    /// Routes to the bindings whose pattern of words, `*` and `#` matches the routing key.
    Topic,
    /// Routes by the message's headers table.
    Headers,
}

impl ExchangeKind {
    /// The kind for the `type` of an exchange.declare, `None` when there is no such type.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "direct" => Some(Self::Direct),
            "fanout" => Some(Self::Fanout),
            "topic" => Some(Self::Topic),
            "headers" => Some(Self::Headers),
            _ => None,
        }
    }

    /// Whether messages are matched by their headers and not by their routing key.
    pub fn looks_at_headers(self) -> bool {
        self == Self::Headers
    }

    /// The name that clients use for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Topic => "topic",
            Self::Headers => "headers",
        }
    }
}

/// One binding of a table, as [`RoutingTable::bindings`] shows it. The three parts together identify it.
#[derive(Debug, Clone)]
pub struct Binding<'a, D> {
    /// The key or pattern it was bound with, also where the exchange ignores it.
    pub routing_key: Cow<'a, str>,
    /// The arguments it was bound with.
    pub arguments: &'a FieldTable,
    /// Where it leads to.
    pub destination: &'a D,
}

/// The bindings of one exchange, arranged for its kind.
///
/// A binding is identified by destination, routing key and arguments, the latter compared
/// [by value](crate::arguments::equivalent_tables).
#[derive(Debug)]
pub struct RoutingTable<D>(Table<D>);

#[derive(Debug)]
enum Table<D> {
    Direct(Direct<D>),
    Fanout(Fanout<D>),
    Topic(Topic<D>),
    Headers(Headers<D>),
}

/// Calls the same method on whichever table it is.
macro_rules! each_kind {
    ($table:expr, $inner:ident => $call:expr) => {
        match $table {
            Table::Direct($inner) => $call,
            Table::Fanout($inner) => $call,
            Table::Topic($inner) => $call,
            Table::Headers($inner) => $call,
        }
    };
}

impl<D: Clone + Eq + Hash> RoutingTable<D> {
    /// An empty table.
    pub fn new(kind: ExchangeKind) -> Self {
        Self(match kind {
            ExchangeKind::Direct => Table::Direct(Direct::new()),
            ExchangeKind::Fanout => Table::Fanout(Fanout::new()),
            ExchangeKind::Topic => Table::Topic(Topic::new()),
            ExchangeKind::Headers => Table::Headers(Headers::new()),
        })
    }

    /// The kind it was made for.
    pub fn kind(&self) -> ExchangeKind {
        match &self.0 {
            Table::Direct(_) => ExchangeKind::Direct,
            Table::Fanout(_) => ExchangeKind::Fanout,
            Table::Topic(_) => ExchangeKind::Topic,
            Table::Headers(_) => ExchangeKind::Headers,
        }
    }

    /// Adds a binding; `false` when it was there already.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] when the exchange routes by headers and `x-match` is none of its four values.
    pub fn bind(
        &mut self,
        routing_key: &str,
        arguments: &FieldTable,
        destination: D,
    ) -> Result<bool, Error> {
        match &mut self.0 {
            Table::Direct(table) => Ok(table.bind(routing_key, arguments, destination)),
            Table::Fanout(table) => Ok(table.bind(routing_key, arguments, destination)),
            Table::Topic(table) => Ok(table.bind(routing_key, arguments, destination)),
            Table::Headers(table) => table.bind(routing_key, arguments, destination),
        }
    }

    /// Whether [`Self::bind`] takes these arguments.
    ///
    /// # Errors
    /// The same.
    pub fn check(&self, arguments: &FieldTable) -> Result<(), Error> {
        match &self.0 {
            Table::Headers(_) => headers::check(arguments),
            Table::Direct(_) | Table::Fanout(_) | Table::Topic(_) => Ok(()),
        }
    }

    /// Removes a binding; `false` when there was none.
    pub fn unbind(&mut self, routing_key: &str, arguments: &FieldTable, destination: &D) -> bool {
        each_kind!(&mut self.0, table => table.unbind(routing_key, arguments, destination))
    }

    /// Removes every binding of a destination, in time linear in their number, and returns that number.
    pub fn unbind_destination(&mut self, destination: &D) -> usize {
        each_kind!(&mut self.0, table => table.unbind_destination(destination))
    }

    /// The number of bindings.
    pub fn len(&self) -> usize {
        each_kind!(&self.0, table => table.len())
    }

    /// Whether there is no binding.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether [`RoutingTable::route`] looks at the headers, so that others can leave them unparsed.
    pub fn needs_headers(&self) -> bool {
        matches!(self.0, Table::Headers(_))
    }

    /// Calls `each` for the destinations of a message, for some perhaps more than once.
    ///
    /// `headers` is the message's headers table and matters only where [`RoutingTable::needs_headers`].
    pub fn route<'a>(
        &'a self,
        routing_key: &str,
        headers: Option<&FieldTable>,
        each: &mut dyn FnMut(&'a D),
    ) {
        match &self.0 {
            Table::Direct(table) => table.route(routing_key, each),
            Table::Fanout(table) => table.route(each),
            Table::Topic(table) => table.route(routing_key, each),
            Table::Headers(table) => table.route(headers, each),
        }
    }

    /// All bindings, in no particular order.
    pub fn bindings(&self) -> Box<dyn Iterator<Item = Binding<'_, D>> + '_> {
        match &self.0 {
            Table::Direct(table) => Box::new(table.bindings()),
            Table::Fanout(table) => Box::new(table.bindings()),
            Table::Topic(table) => Box::new(table.bindings()),
            Table::Headers(table) => Box::new(table.bindings()),
        }
    }
}

/// A map with a fast hash, seeded anew in every process against chosen keys.
type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// The keys that one destination is bound with.
type Keys = std::collections::BTreeSet<Arc<str>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::AMQPValue;

    const KINDS: [ExchangeKind; 4] = [
        ExchangeKind::Direct,
        ExchangeKind::Fanout,
        ExchangeKind::Topic,
        ExchangeKind::Headers,
    ];

    fn numbered(value: AMQPValue) -> FieldTable {
        let mut table = FieldTable::default();
        table.insert("number".into(), value);
        table
    }

    #[test]
    fn kinds_are_named_as_clients_name_them() {
        for kind in KINDS {
            assert_eq!(ExchangeKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ExchangeKind::parse("x-random"), None);
    }

    #[test]
    fn binding_is_identified_by_destination_key_and_arguments_by_value() {
        for kind in KINDS {
            let mut table = RoutingTable::new(kind);
            let byte = numbered(AMQPValue::ShortShortInt(10));
            let long = numbered(AMQPValue::LongLongInt(10));
            let none = FieldTable::default();
            assert_eq!(table.bind("k", &none, 1), Ok(true), "{kind:?}");
            assert_eq!(table.bind("k", &none, 1), Ok(false), "{kind:?}");
            assert_eq!(table.bind("k", &byte, 1), Ok(true), "{kind:?}");
            assert_eq!(table.bind("k", &long, 1), Ok(false), "{kind:?}");
            assert_eq!(table.bind("other", &none, 1), Ok(true), "{kind:?}");
            assert_eq!(table.bind("k", &none, 2), Ok(true), "{kind:?}");
            assert_eq!(table.len(), 4, "{kind:?}");

            assert!(table.unbind("k", &long, &1), "{kind:?}");
            assert!(!table.unbind("k", &byte, &1), "{kind:?}");
            assert!(!table.unbind("missing", &none, &1), "{kind:?}");
            assert_eq!(table.bindings().count(), 3, "{kind:?}");
            assert_eq!(table.unbind_destination(&1), 2, "{kind:?}");
            assert_eq!(table.unbind_destination(&1), 0, "{kind:?}");
            assert!(table.unbind("k", &none, &2), "{kind:?}");
            assert!(table.is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn bindings_show_what_was_bound() {
        for kind in KINDS {
            let mut table = RoutingTable::new(kind);
            let arguments = numbered(AMQPValue::LongInt(1));
            table.bind("a.*.#", &arguments, "q").expect("valid");
            table.bind("", &FieldTable::default(), "q").expect("valid");
            let mut shown: Vec<_> = table
                .bindings()
                .map(|it| {
                    (
                        it.routing_key.into_owned(),
                        it.arguments.clone(),
                        *it.destination,
                    )
                })
                .collect();
            shown.sort_by(|one, other| one.0.cmp(&other.0));
            assert_eq!(
                shown,
                [
                    (String::new(), FieldTable::default(), "q"),
                    ("a.*.#".into(), arguments, "q")
                ],
                "{kind:?}"
            );
        }
    }
}
