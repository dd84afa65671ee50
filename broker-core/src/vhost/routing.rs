//! From an exchange and a routing key to the queues that get the message.
//!
//! There is one search, whoever asks: a publisher, a dead letter, or an operator who wants to know why
//! ([`Vhost::explain`](Vhost::explain)). The latter watches it as a [`Witness`].

use std::{collections::HashSet, iter, sync::Arc};

use amqp_codec::FieldTable;
use smallvec::SmallVec;

use super::{Exchange, Vhost, exchanges::Destination};
use crate::queue::{Queue, arguments::Overflow};

/// The queues that messages with one exchange and routing key go to, as of one [`Vhost::generation`]. Channels keep the
/// last one: a publisher seldom changes its target.
#[derive(Debug)]
pub struct Route {
    /// The exchange.
    pub source: Arc<Exchange>,
    /// The key.
    pub routing_key: Box<str>,
    /// The generation under which it was made.
    pub generation: u64,
    /// Whether headers decide, so that the next message may go elsewhere.
    pub by_headers: bool,
    /// Whether one of the queues refuses publishes when it is full.
    pub refuses: bool,
    /// Whether several of the queues keep persistent messages in the store.
    pub fans_out: bool,
    /// The queues, each once.
    pub queues: Vec<Arc<Queue>>,
}

impl Vhost {
    /// Finds the queues for a message. `more_keys` are those of its CC and BCC headers.
    pub fn route(
        &self,
        exchange: &Arc<Exchange>,
        routing_key: &str,
        more_keys: &[String],
        headers: Option<&FieldTable>,
    ) -> Route {
        self.route_watched(exchange, routing_key, more_keys, headers, &mut Nobody)
    }

    /// The same, while `witness` watches.
    pub(super) fn route_watched(
        &self,
        exchange: &Arc<Exchange>,
        routing_key: &str,
        more_keys: &[String],
        headers: Option<&FieldTable>,
        witness: &mut impl Witness,
    ) -> Route {
        let generation = self.generation();
        let mut search = Search {
            vhost: self,
            headers,
            by_headers: false,
            queues: Targets::default(),
            first: exchange,
            others: SmallVec::new(),
            keys: SmallVec::new(),
            witness,
        };
        search.keys.push(routing_key);
        search.keys.extend(more_keys.iter().map(String::as_str));
        search.run();
        let durable = search.queues.list.iter();
        let durable = durable.filter(|queue| queue.properties.durable);
        Route {
            source: Arc::clone(exchange),
            routing_key: routing_key.into(),
            generation,
            by_headers: search.by_headers,
            refuses: search
                .queues
                .list
                .iter()
                .any(|queue| queue.arguments().overflow != Overflow::DropHead),
            fans_out: durable.take(2).count() == 2,
            queues: search.queues.list,
        }
    }
}

/// Is told how the queues of a message are found.
pub(super) trait Witness {
    /// The search looks into this exchange now. What follows, up to the next call, concerns it.
    fn visits(&mut self, exchange: &Arc<Exchange>);

    /// One of the message's keys leads there.
    fn finds(&mut self, key: &str, destination: &Destination);

    /// Nothing was found, so the alternate exchange of this name is next, if it exists.
    fn turns_to(&mut self, alternate: &str, exists: bool);
}

/// Wants to know nothing, and costs nothing.
struct Nobody;

impl Witness for Nobody {
    #[inline]
    fn visits(&mut self, _exchange: &Arc<Exchange>) {}

    #[inline]
    fn finds(&mut self, _key: &str, _destination: &Destination) {}

    #[inline]
    fn turns_to(&mut self, _alternate: &str, _exists: bool) {}
}

/// Below this many targets a look through the list is cheaper than a hash set.
const LINEAR_TARGETS: usize = 16;

#[derive(Default)]
struct Targets {
    list: Vec<Arc<Queue>>,
    seen: HashSet<*const Queue, foldhash::fast::RandomState>,
}

impl Targets {
    fn add(&mut self, queue: &Arc<Queue>) {
        if self.list.len() < LINEAR_TARGETS {
            if !self.list.iter().any(|known| Arc::ptr_eq(known, queue)) {
                self.list.push(Arc::clone(queue));
            }
            return;
        }
        if self.seen.is_empty() {
            self.seen.extend(self.list.iter().map(Arc::as_ptr));
        }
        if self.seen.insert(Arc::as_ptr(queue)) {
            self.list.push(Arc::clone(queue));
        }
    }
}

struct Search<'a, W> {
    vhost: &'a Vhost,
    headers: Option<&'a FieldTable>,
    by_headers: bool,
    queues: Targets,
    /// Where the search begins.
    first: &'a Arc<Exchange>,
    /// What followed, visited and still to visit: exchanges may be bound in circles.
    others: SmallVec<[Arc<Exchange>; 1]>,
    keys: SmallVec<[&'a str; 2]>,
    witness: &'a mut W,
}

impl<W: Witness> Search<'_, W> {
    fn run(&mut self) {
        self.visit(self.first);
        let mut next = 0;
        while let Some(exchange) = self.others.get(next).cloned() {
            next += 1;
            self.visit(&exchange);
        }
    }

    fn visit(&mut self, exchange: &Arc<Exchange>) {
        self.witness.visits(exchange);
        if exchange.name.is_empty() {
            self.match_names();
            return;
        }
        if self.match_table(exchange) {
            return;
        }
        if let Some(name) = exchange.alternate() {
            let alternate = self.vhost.exchange(&name);
            self.witness.turns_to(&name, alternate.is_some());
            if let Some(alternate) = alternate {
                self.enqueue(&alternate);
            }
        }
    }

    /// The default exchange: every queue is bound to it by its name.
    fn match_names(&mut self) {
        for key in &self.keys {
            if let Some(queue) = self.vhost.queue(key) {
                self.queues.add(&queue);
                self.witness.finds(key, &Destination::Queue(queue));
            }
        }
    }

    fn match_table(&mut self, exchange: &Exchange) -> bool {
        self.by_headers |= exchange.kind == crate::exchange::ExchangeKind::Headers;
        let mut found = false;
        let table = exchange.table.read();
        let keys = std::mem::take(&mut self.keys);
        let headers = self.headers;
        for key in &keys {
            table.route(key, headers, &mut |destination| {
                found = true;
                self.witness.finds(key, destination);
                match destination {
                    Destination::Queue(queue) => self.queues.add(queue),
                    Destination::Exchange(exchange) => self.enqueue(exchange),
                }
            });
        }
        self.keys = keys;
        found
    }

    fn enqueue(&mut self, exchange: &Arc<Exchange>) {
        let mut known = iter::once(self.first).chain(&self.others);
        if !known.any(|known| Arc::ptr_eq(known, exchange)) {
            self.others.push(Arc::clone(exchange));
        }
    }
}
