//! The model of one queue: a sorted map of messages, and what its features make of them.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::features::Features;

/// A message and what is known of it, wherever it is.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its body.
    pub number: u64,
    /// The property.
    pub priority: u8,
    /// The property, in milliseconds. Only messages that did not die have it.
    pub expiration: Option<u64>,
    /// Queues in which it died and why, the latest first.
    pub deaths: Vec<(usize, &'static str)>,
}

impl Message {
    fn bytes(&self) -> usize {
        self.number.to_string().len()
    }
}

/// A message in a queue or on its way to a client.
#[derive(Clone, Debug)]
pub struct Entry {
    pub message: Message,
    pub place: Place,
    pub redelivered: bool,
    /// How often it came back because a client failed.
    pub failed: u32,
}

/// Higher priorities come first, then what entered first.
pub type Place = (Reverse<u8>, u64);

/// A message that leaves a queue for its dead-letter exchange.
#[derive(Debug)]
pub struct Dead {
    pub queue: usize,
    pub message: Message,
    pub reason: &'static str,
}

/// A queue. A message that is requeued takes its old place.
#[derive(Debug)]
pub struct Queue {
    /// Which of the queues it is.
    pub name: usize,
    /// Tells a queue from an earlier one of its name.
    pub incarnation: u64,
    pub features: Features,
    pub ready: BTreeMap<Place, Entry>,
    entered: u64,
}

impl Queue {
    /// An empty queue.
    pub fn new(name: usize, incarnation: u64, features: Features) -> Self {
        Self {
            name,
            incarnation,
            features,
            ready: BTreeMap::new(),
            entered: 0,
        }
    }

    /// A message enters; false if it is refused. Nobody consumes.
    pub fn publish(&mut self, message: Message, dead: &mut Vec<Dead>) -> bool {
        if self.features.overflow.is_some() && self.is_too_long(1, message.bytes()) {
            if self.hands_on_refused() {
                self.bury(message, "maxlen", dead);
            }
            return false;
        }
        self.enter(message, dead);
        true
    }

    /// A dead letter enters. A full queue takes it too, because nobody else has it any more, unless it hands on what it
    /// refuses.
    pub fn take_letter(&mut self, letter: Message, dead: &mut Vec<Dead>) {
        if self.hands_on_refused() {
            self.publish(letter, dead);
        } else {
            self.enter(letter, dead);
        }
    }

    fn hands_on_refused(&self) -> bool {
        self.features.overflow == Some("reject-publish-dlx")
    }

    fn enter(&mut self, message: Message, dead: &mut Vec<Dead>) {
        self.entered += 1;
        let highest = self.features.max_priority.unwrap_or(0);
        let place = (Reverse(message.priority.min(highest)), self.entered);
        let entry = Entry {
            message,
            place,
            redelivered: false,
            failed: 0,
        };
        self.ready.insert(place, entry);
        self.expire(dead);
        self.drop_excess(dead);
    }

    /// A delivery comes back; `failed` says whether that is the client's failure.
    pub fn requeue(&mut self, mut entry: Entry, failed: bool, dead: &mut Vec<Dead>) {
        entry.redelivered = true;
        entry.failed += u32::from(failed);
        let limit = self.features.delivery_limit;
        if limit.is_some_and(|limit| entry.failed > limit) {
            self.bury(entry.message, "delivery_limit", dead);
        } else {
            self.ready.insert(entry.place, entry);
        }
    }

    /// What is done after deliveries came back.
    pub fn settle_down(&mut self, dead: &mut Vec<Dead>) {
        self.drop_excess(dead);
    }

    /// Time passes only as much as a time to live of nothing takes.
    fn expire(&mut self, dead: &mut Vec<Dead>) {
        let at_once = self.features.ttl == Some(0);
        let expired = |entry: &Entry| at_once || entry.message.expiration == Some(0);
        let places: Vec<_> = self
            .ready
            .values()
            .filter(|entry| expired(entry))
            .map(|entry| entry.place)
            .collect();
        for place in places {
            if let Some(entry) = self.ready.remove(&place) {
                self.bury(entry.message, "expired", dead);
            }
        }
    }

    fn drop_excess(&mut self, dead: &mut Vec<Dead>) {
        while self.features.overflow.is_none() && self.is_too_long(0, 0) {
            let Some((_, entry)) = self.ready.pop_first() else {
                return;
            };
            self.bury(entry.message, "maxlen", dead);
        }
    }

    fn is_too_long(&self, more: usize, more_bytes: usize) -> bool {
        let bytes: usize = self.ready.values().map(|entry| entry.message.bytes()).sum();
        let over = |limit: Option<usize>, value| limit.is_some_and(|limit| value > limit);
        over(self.features.max_length, self.ready.len() + more)
            || over(self.features.max_bytes, bytes + more_bytes)
    }

    /// The message leaves for good, or for the dead-letter exchange.
    pub fn bury(&self, message: Message, reason: &'static str, dead: &mut Vec<Dead>) {
        if self.features.dead_letters {
            let queue = self.name;
            dead.push(Dead {
                queue,
                message,
                reason,
            });
        }
    }
}

impl Dead {
    /// The dead letter that goes to queue `target`, unless it has come round without being rejected.
    pub fn letter_to(mut self, target: usize) -> Option<Message> {
        let death = (self.queue, self.reason);
        self.message.deaths.retain(|other| *other != death);
        self.message.deaths.insert(0, death);
        self.message.expiration = None;
        let deaths = &self.message.deaths;
        let last = deaths.iter().position(|(queue, _)| *queue == target);
        let cycle = last.is_some_and(|last| deaths[..=last].iter().all(|it| it.1 != "rejected"));
        (self.reason == "rejected" || !cycle).then_some(self.message)
    }
}
