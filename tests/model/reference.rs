//! The reference: queues are sorted maps, routing is a loop over all bindings. Slow and plain, so
//! that it can be seen to be right.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use proptest::sample::Index;

use crate::operation::{EXCHANGES, KEYS, Operation, QUEUES};

/// What an operation answers.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// It was done, and there is nothing to say.
    Done,
    /// How many messages are, or were, ready in the queue.
    Count(u32),
    /// Whether a queue took the published message.
    Routed(bool),
    /// The number of the message that was got, whether it had been delivered before, and how many
    /// are left.
    Got {
        message: u64,
        redelivered: bool,
        left: u32,
    },
    /// The queue was empty.
    Empty,
}

/// A queue: its messages in the order of publishing, each with its redelivered flag. A message that
/// is requeued takes its old place.
struct Queue {
    /// Tells a queue from an earlier one of its name.
    incarnation: u64,
    ready: BTreeMap<u64, bool>,
}

/// A message that was got and not yet settled.
struct Unacked {
    queue: usize,
    incarnation: u64,
    message: u64,
}

/// The model of a broker with one client.
#[derive(Default)]
pub struct Reference {
    queues: BTreeMap<usize, Queue>,
    exchanges: BTreeSet<usize>,
    /// (exchange, queue, binding key)
    bindings: BTreeSet<(usize, usize, usize)>,
    /// In the order of delivery.
    unacked: Vec<Unacked>,
    published: u64,
    declared: u64,
}

impl Reference {
    /// Whether the operation has a meaning now. The others would be channel exceptions, which have
    /// tests of their own.
    pub fn allows(&self, operation: &Operation) -> bool {
        let there = |queue: &usize| self.queues.contains_key(queue);
        match operation {
            Operation::Purge(queue) | Operation::Get { queue, .. } => there(queue),
            Operation::Bind {
                queue, exchange, ..
            }
            | Operation::Unbind {
                queue, exchange, ..
            } => there(queue) && self.exchanges.contains(exchange),
            Operation::Publish { exchange, .. } => {
                *exchange == 0 || self.exchanges.contains(exchange)
            }
            Operation::Ack { .. } | Operation::Nack { .. } => !self.unacked.is_empty(),
            _ => true,
        }
    }

    /// Does an operation that [`Reference::allows`].
    pub fn apply(&mut self, operation: &Operation) -> Answer {
        match *operation {
            Operation::DeclareQueue(queue) => return self.declare_queue(queue),
            Operation::DeleteQueue(queue) => return self.delete_queue(queue),
            Operation::Purge(queue) => return self.purge(queue),
            Operation::DeclareExchange(exchange) => {
                self.exchanges.insert(exchange);
            }
            Operation::DeleteExchange(exchange) => {
                self.exchanges.remove(&exchange);
                self.bindings.retain(|(bound, _, _)| *bound != exchange);
            }
            Operation::Bind {
                queue,
                exchange,
                key,
            } => {
                self.bindings.insert((exchange, queue, key));
            }
            Operation::Unbind {
                queue,
                exchange,
                key,
            } => {
                self.bindings.remove(&(exchange, queue, key));
            }
            Operation::Publish {
                exchange,
                routing_key,
            } => {
                return self.publish(exchange, routing_key);
            }
            Operation::Get { queue, no_ack } => return self.get(queue, no_ack),
            Operation::Ack { index, multiple } => self.settle(&index, multiple, false),
            Operation::Nack {
                index,
                multiple,
                requeue,
            } => self.settle(&index, multiple, requeue),
            Operation::Recover | Operation::ReopenChannel => self.requeue(0..self.unacked.len()),
        }
        Answer::Done
    }

    fn declare_queue(&mut self, queue: usize) -> Answer {
        self.declared += 1;
        let incarnation = self.declared;
        let new = || Queue {
            incarnation,
            ready: BTreeMap::new(),
        };
        Answer::Count(self.queues.entry(queue).or_insert_with(new).ready.len() as u32)
    }

    fn delete_queue(&mut self, queue: usize) -> Answer {
        self.bindings.retain(|(_, bound, _)| *bound != queue);
        let deleted = self.queues.remove(&queue);
        Answer::Count(deleted.map_or(0, |q| q.ready.len() as u32))
    }

    fn purge(&mut self, queue: usize) -> Answer {
        let ready = self
            .queues
            .get_mut(&queue)
            .map(|q| std::mem::take(&mut q.ready));
        Answer::Count(ready.map_or(0, |ready| ready.len() as u32))
    }

    fn publish(&mut self, exchange: usize, routing_key: &str) -> Answer {
        let message = self.published;
        self.published += 1;
        let mut routed = false;
        for (name, queue) in &mut self.queues {
            let kind = EXCHANGES[exchange].1;
            let takes = match exchange {
                0 => QUEUES[*name] == routing_key,
                _ => self.bindings.iter().any(|(from, to, key)| {
                    *from == exchange && to == name && matches(kind, KEYS[*key], routing_key)
                }),
            };
            if takes {
                queue.ready.insert(message, false);
                routed = true;
            }
        }
        Answer::Routed(routed)
    }

    fn get(&mut self, name: usize, no_ack: bool) -> Answer {
        let Some(queue) = self.queues.get_mut(&name) else {
            return Answer::Empty;
        };
        let Some((message, redelivered)) = queue.ready.pop_first() else {
            return Answer::Empty;
        };
        if !no_ack {
            self.unacked.push(Unacked {
                queue: name,
                incarnation: queue.incarnation,
                message,
            });
        }
        Answer::Got {
            message,
            redelivered,
            left: queue.ready.len() as u32,
        }
    }

    fn settle(&mut self, index: &Index, multiple: bool, requeue: bool) {
        let last = index.index(self.unacked.len());
        let first = if multiple { 0 } else { last };
        if requeue {
            self.requeue(first..last + 1);
        } else {
            self.unacked.drain(first..=last);
        }
    }

    fn requeue(&mut self, which: Range<usize>) {
        for held in self.unacked.drain(which) {
            let queue = self.queues.get_mut(&held.queue);
            if let Some(queue) = queue.filter(|q| q.incarnation == held.incarnation) {
                queue.ready.insert(held.message, true);
            }
        }
    }
}

fn matches(kind: &str, binding_key: &str, routing_key: &str) -> bool {
    match kind {
        "direct" => binding_key == routing_key,
        "fanout" => true,
        _ => topic_matches(&words(binding_key), &words(routing_key)),
    }
}

/// The empty key has no words; otherwise dots stand between them.
fn words(key: &str) -> Vec<&str> {
    if key.is_empty() {
        Vec::new()
    } else {
        key.split('.').collect()
    }
}

fn topic_matches(pattern: &[&str], key: &[&str]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (["#", rest @ ..], _) => (0..=key.len()).any(|n| topic_matches(rest, &key[n..])),
        (["*", rest @ ..], [_, others @ ..]) => topic_matches(rest, others),
        ([word, rest @ ..], [other, others @ ..]) => word == other && topic_matches(rest, others),
        _ => false,
    }
}
