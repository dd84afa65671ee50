//! Why a message goes where it goes: the way of a publish through exchanges and bindings, for operators.
//!
//! The way is not worked out a second time. [`Vhost::explain`] lets the broker's own search run and watches it; which of
//! a destination's bindings has matched is found by asking a routing table that has this one binding only. So an
//! explanation cannot differ from what the broker does.

use std::sync::Arc;

use amqp_codec::FieldTable;

use super::{DIRECT_REPLY_TO, Exchange, Route, Vhost, exchanges::Destination, routing::Witness};
use crate::{definitions::DestinationKind, exchange::RoutingTable, queue::BindingKey};

/// How often an explanation begins anew because the bindings have changed meanwhile.
const MOST_ATTEMPTS: usize = 3;

/// Where a message would go, and why.
#[derive(Debug)]
pub struct Explanation {
    /// The queues that get it: what a publish would find.
    pub route: Route,
    /// The keys that it is routed by: its routing key, then those of its headers `CC` and `BCC`.
    pub keys: Vec<String>,
    /// The exchanges that it comes to, in the order in which the broker looks at them.
    pub visits: Vec<Visit>,
}

/// What happens to a message in one exchange.
#[derive(Debug)]
pub struct Visit {
    /// The exchange.
    pub exchange: Arc<Exchange>,
    /// How the message first comes here.
    pub reached: Reached,
    /// The bindings that match, those to exchanges included.
    pub matched: Vec<MatchedBinding>,
    /// The alternate exchange, if the message goes on to it because nothing matches.
    pub alternate: Option<Alternate>,
}

/// How a message comes to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// It is published there.
    Published,
    /// By a binding from the exchange of this name.
    Bound(Arc<str>),
    /// As the alternate exchange of the exchange of this name.
    Alternate(Arc<str>),
}

/// A binding that matches a message.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchedBinding {
    /// What it leads to.
    pub destination_kind: DestinationKind,
    /// The name of the queue or exchange that it leads to.
    pub destination: Arc<str>,
    /// The key or pattern that it was made with; the queue's name for the default exchange.
    pub binding_key: Arc<str>,
    /// The arguments that it was made with.
    pub arguments: FieldTable,
    /// Which of the message's keys matched.
    pub key: String,
}

/// An alternate exchange that was turned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternate {
    /// Its name.
    pub name: Arc<str>,
    /// Whether there is an exchange of this name.
    pub exists: bool,
}

impl Vhost {
    /// Says where a message would go, and why. `more_keys` are those of its `CC` and `BCC` headers
    /// ([`carbon_copies`](super::carbon_copies())), `headers` the others. Nothing is published.
    ///
    /// This takes time in proportion to the bindings of the destinations that are found.
    pub fn explain(
        &self,
        exchange: &Arc<Exchange>,
        routing_key: &str,
        more_keys: &[String],
        headers: &FieldTable,
    ) -> Explanation {
        let mut attempts = 1;
        loop {
            let mut trail = Trail::default();
            let headers = Some(headers);
            let route = self.route_watched(exchange, routing_key, more_keys, headers, &mut trail);
            let visits = trail.into_visits(headers);
            if route.generation == self.generation() || attempts == MOST_ATTEMPTS {
                let first = std::iter::once(routing_key.to_owned());
                return Explanation {
                    route,
                    keys: first.chain(more_keys.iter().cloned()).collect(),
                    visits,
                };
            }
            attempts += 1;
        }
    }
}

impl Explanation {
    /// Why no queue gets the message, in words; `None` if one does.
    pub fn why_unroutable(&self) -> Option<String> {
        if !self.route.queues.is_empty() {
            return None;
        }
        let reasons = self
            .visits
            .iter()
            .filter_map(|visit| visit.reason(&self.keys));
        Some(reasons.collect::<Vec<_>>().join("; "))
    }
}

impl Visit {
    /// Why nothing comes of the message in this exchange, if that is so.
    fn reason(&self, keys: &[String]) -> Option<String> {
        if !self.matched.is_empty() {
            return None;
        }
        let keys = keys.join("', '");
        let (name, kind) = (&self.exchange.name, self.exchange.kind.as_str());
        let asked = match self.exchange.kind.looks_at_headers() {
            true => "the headers".to_owned(),
            false => format!("'{keys}'"),
        };
        let here = match self.exchange.binding_count() {
            _ if name.is_empty() && keys.starts_with(DIRECT_REPLY_TO) => format!(
                "'{keys}' is a direct reply-to address: the message goes to the channel that waits there"
            ),
            _ if name.is_empty() => format!("there is no queue named '{keys}'"),
            0 => format!("exchange '{name}' has no bindings"),
            1 => format!("the one binding of {kind} exchange '{name}' does not match {asked}"),
            count => {
                format!("none of the {count} bindings of {kind} exchange '{name}' matches {asked}")
            }
        };
        let next = self.alternate.as_ref().map(|alternate| match alternate {
            Alternate { name, exists: true } => {
                format!(", so it goes on to alternate exchange '{name}'")
            }
            Alternate { name, .. } => {
                format!(", and its alternate exchange '{name}' does not exist")
            }
        });
        Some(here + &next.unwrap_or_default())
    }
}

/// What a search has told.
#[derive(Default)]
struct Trail {
    steps: Vec<Step>,
}

struct Step {
    exchange: Arc<Exchange>,
    found: Vec<(String, Destination)>,
    alternate: Option<Alternate>,
}

impl Witness for Trail {
    fn visits(&mut self, exchange: &Arc<Exchange>) {
        self.steps.push(Step {
            exchange: Arc::clone(exchange),
            found: Vec::new(),
            alternate: None,
        });
    }

    fn finds(&mut self, key: &str, destination: &Destination) {
        if let Some(step) = self.steps.last_mut() {
            step.found.push((key.to_owned(), destination.clone()));
        }
    }

    fn turns_to(&mut self, alternate: &str, exists: bool) {
        if let Some(step) = self.steps.last_mut() {
            let name = alternate.into();
            step.alternate = Some(Alternate { name, exists });
        }
    }
}

impl Trail {
    /// Looks for the bindings behind what was found. The search has let go of all locks by now.
    fn into_visits(self, headers: Option<&FieldTable>) -> Vec<Visit> {
        let mut visits: Vec<Visit> = Vec::with_capacity(self.steps.len());
        for step in self.steps {
            let mut matched = Vec::new();
            for (key, destination) in &step.found {
                for binding in matching(&step.exchange, key, headers, destination) {
                    // Some tables name a destination once for each of its bindings.
                    if !matched.contains(&binding) {
                        matched.push(binding);
                    }
                }
            }
            visits.push(Visit {
                reached: reached(&visits, &step.exchange.name),
                exchange: step.exchange,
                matched,
                alternate: step.alternate,
            });
        }
        visits
    }
}

/// How the message first came to the exchange of this name.
fn reached(visits: &[Visit], name: &str) -> Reached {
    let first = visits.iter().find_map(|visit| {
        let from = Arc::clone(&visit.exchange.name);
        let bound = visit.matched.iter().any(|binding| {
            binding.destination_kind == DestinationKind::Exchange && *binding.destination == *name
        });
        let turned = visit.alternate.as_ref().is_some_and(|it| *it.name == *name);
        match (bound, turned) {
            (true, _) => Some(Reached::Bound(from)),
            (_, true) => Some(Reached::Alternate(from)),
            _ => None,
        }
    });
    first.unwrap_or(Reached::Published)
}

/// The bindings from an exchange to a destination that match one of a message's keys.
fn matching(
    exchange: &Exchange,
    key: &str,
    headers: Option<&FieldTable>,
    destination: &Destination,
) -> Vec<MatchedBinding> {
    let binding = |binding_key: &Arc<str>, arguments: &FieldTable| MatchedBinding {
        destination_kind: destination.kind(),
        destination: Arc::clone(destination.name()),
        binding_key: Arc::clone(binding_key),
        arguments: arguments.clone(),
        key: key.to_owned(),
    };
    if exchange.name.is_empty() {
        return vec![binding(destination.name(), &FieldTable::default())];
    }
    let bindings = destination.bindings_from(&exchange.name);
    let matching = bindings
        .iter()
        .filter(|it| matches_alone(exchange, it, key, headers));
    matching
        .map(|it| binding(&it.routing_key, &it.arguments))
        .collect()
}

/// Whether an exchange of this kind with this one binding would route the message.
fn matches_alone(
    exchange: &Exchange,
    binding: &BindingKey,
    key: &str,
    headers: Option<&FieldTable>,
) -> bool {
    let mut table = RoutingTable::new(exchange.kind);
    let mut found = false;
    if table
        .bind(&binding.routing_key, &binding.arguments, ())
        .is_ok()
    {
        table.route(key, headers, &mut |()| found = true);
    }
    found
}

#[cfg(test)]
mod tests;
