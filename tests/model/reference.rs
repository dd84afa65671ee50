//! The reference: queues are sorted maps, routing is a loop over all bindings. Slow and plain, so
//! that it can be seen to be right.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use proptest::sample::Index;

use crate::{
    features::FEATURES,
    operation::{EXCHANGES, KEYS, Operation, QUEUES},
    queue::{Dead, Entry, Message, Queue},
};

/// What an operation answers.
#[derive(Debug, PartialEq)]
pub enum Answer {
    /// It was done, and there is nothing to say.
    Done,
    /// How many messages are, or were, ready in the queue.
    Count(u32),
    /// Whether there was a queue for the published message, and whether all of them took it.
    Published { routed: bool, taken: bool },
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

/// A message that was got and not yet settled.
struct Unacked {
    queue: usize,
    incarnation: u64,
    entry: Entry,
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
            Operation::Ack { .. } | Operation::Nack { .. } | Operation::Reject(_) => {
                !self.unacked.is_empty()
            }
            _ => true,
        }
    }

    /// Does an operation that [`Reference::allows`].
    pub fn apply(&mut self, operation: &Operation) -> Answer {
        match *operation {
            Operation::DeclareQueue { queue, features } => {
                return self.declare_queue(queue, features);
            }
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
                expiration,
                priority,
            } => {
                let message = Message {
                    number: self.published,
                    priority,
                    expiration,
                    deaths: Vec::new(),
                };
                return self.publish(exchange, routing_key, &message);
            }
            Operation::Get { queue, no_ack } => return self.get(queue, no_ack),
            Operation::Ack { index, multiple } => self.settle(&index, multiple, None),
            Operation::Nack {
                index,
                multiple,
                requeue,
            } => self.settle(&index, multiple, Some(requeue)),
            Operation::Reject(index) => {
                let index = index.index(self.unacked.len());
                self.requeue(index..index + 1, true);
            }
            Operation::Recover => self.requeue(0..self.unacked.len(), false),
            Operation::ReopenChannel => self.requeue(0..self.unacked.len(), true),
        }
        Answer::Done
    }

    fn declare_queue(&mut self, queue: usize, features: usize) -> Answer {
        self.declared += 1;
        let new = || Queue::new(queue, self.declared, FEATURES[features]);
        let queue = self.queues.entry(queue).or_insert_with(new);
        Answer::Count(queue.ready.len() as u32)
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

    fn publish(&mut self, exchange: usize, routing_key: &str, message: &Message) -> Answer {
        self.published += 1;
        let mut dead = Vec::new();
        let (mut routed, mut taken) = (false, true);
        for (name, queue) in &mut self.queues {
            let kind = EXCHANGES[exchange].1;
            let takes = match exchange {
                0 => QUEUES[*name] == routing_key,
                _ => self.bindings.iter().any(|(from, to, key)| {
                    *from == exchange && to == name && matches(kind, KEYS[*key], routing_key)
                }),
            };
            if takes {
                taken &= queue.publish(message.clone(), &mut dead);
                routed = true;
            }
        }
        self.bury(dead);
        Answer::Published { routed, taken }
    }

    /// Brings dead letters to the next queue, and what dies of that, and so on.
    fn bury(&mut self, mut dead: Vec<Dead>) {
        while !dead.is_empty() {
            let mut next = Vec::new();
            for dead in dead {
                let target = (dead.queue + 1) % QUEUES.len();
                let letter = dead.letter_to(target);
                if let (Some(letter), Some(queue)) = (letter, self.queues.get_mut(&target)) {
                    queue.take_letter(letter, &mut next);
                }
            }
            dead = next;
        }
    }

    fn get(&mut self, name: usize, no_ack: bool) -> Answer {
        let Some(queue) = self.queues.get_mut(&name) else {
            return Answer::Empty;
        };
        let Some((_, entry)) = queue.ready.pop_first() else {
            return Answer::Empty;
        };
        let (message, redelivered) = (entry.message.number, entry.redelivered);
        if !no_ack {
            self.unacked.push(Unacked {
                queue: name,
                incarnation: queue.incarnation,
                entry,
            });
        }
        Answer::Got {
            message,
            redelivered,
            left: queue.ready.len() as u32,
        }
    }

    fn settle(&mut self, index: &Index, multiple: bool, requeue: Option<bool>) {
        let last = index.index(self.unacked.len());
        let first = if multiple { 0 } else { last };
        match requeue {
            Some(true) => self.requeue(first..last + 1, false),
            Some(false) => self.reject(first..last + 1),
            None => drop(self.unacked.drain(first..=last)),
        }
    }

    fn reject(&mut self, which: Range<usize>) {
        let mut dead = Vec::new();
        for held in self.unacked.drain(which) {
            let queue = self.queues.get(&held.queue);
            if let Some(queue) = queue.filter(|q| q.incarnation == held.incarnation) {
                queue.bury(held.entry.message, "rejected", &mut dead);
            }
        }
        self.bury(dead);
    }

    fn requeue(&mut self, which: Range<usize>, failed: bool) {
        let mut dead = Vec::new();
        for held in self.unacked.drain(which) {
            let queue = self.queues.get_mut(&held.queue);
            if let Some(queue) = queue.filter(|q| q.incarnation == held.incarnation) {
                queue.requeue(held.entry, failed, &mut dead);
            }
        }
        for queue in self.queues.values_mut() {
            queue.settle_down(&mut dead);
        }
        self.bury(dead);
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
