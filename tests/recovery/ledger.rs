//! What the clients know of their messages, and the bodies by which they know them again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

/// How far a message got, as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Published: the broker may have it or not.
    Published,
    /// Confirmed: the broker has it.
    Confirmed,
    /// Settled: the broker may still have it, for it may not have written that down.
    Settled,
}

/// The messages of a queue, or of several among which they move, by number.
#[derive(Debug, Default)]
pub struct Ledger(BTreeMap<u64, Fate>);

impl Ledger {
    /// Its publish is about to be sent.
    pub fn published(&mut self, number: u64) {
        self.0.insert(number, Fate::Published);
    }

    /// Its confirm is here.
    pub fn confirmed(&mut self, number: u64) {
        if let Some(fate @ Fate::Published) = self.0.get_mut(&number) {
            *fate = Fate::Confirmed;
        }
    }

    /// The method that settles it is about to be sent.
    pub fn settled(&mut self, number: u64) {
        let known = self.0.insert(number, Fate::Settled);
        assert!(known.is_some(), "delivered and unknown: {number}");
    }

    /// The method that settles all there is is about to be sent.
    pub fn all_settled(&mut self) {
        self.0.values_mut().for_each(|fate| *fate = Fate::Settled);
    }

    /// What the broker may still have although it is settled.
    pub fn unsynced(&self) -> Vec<u64> {
        let settled = self.0.iter().filter(|(_, fate)| **fate == Fate::Settled);
        settled.map(|(number, _)| *number).collect()
    }

    /// Something was confirmed that was sent after these were settled: they must not come back.
    pub fn synced(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.0.remove(number);
        }
    }

    /// How many messages the broker has for sure.
    pub fn confirmed_count(&self) -> usize {
        let confirmed = self.0.values().filter(|fate| **fate == Fate::Confirmed);
        confirmed.count()
    }

    /// Whether this message can be in the broker.
    pub fn knows(&self, number: u64) -> bool {
        self.0.contains_key(&number)
    }

    /// How many messages to publish next, if `most` can be: few once there are so many that looking at them takes long.
    pub fn next_window(&self, most: u64) -> u64 {
        if self.0.len() > 1_500 { 1 } else { most }
    }

    /// Compares with what was found after a restart. From there on that is what there is: what was not found has been
    /// settled, and what was found is on disk.
    pub fn check(&mut self, found: &BTreeSet<u64>, place: &dyn Debug) {
        let confirmed = self.0.iter().filter(|(_, fate)| **fate == Fate::Confirmed);
        let lost: Vec<_> = confirmed.filter(|(it, _)| !found.contains(it)).collect();
        assert!(lost.is_empty(), "{place:?}: confirmed and lost: {lost:?}");
        let back: Vec<_> = found.iter().filter(|it| !self.knows(**it)).collect();
        assert!(
            back.is_empty(),
            "{place:?}: never published, or settled and back: {back:?}"
        );
        self.0 = found.iter().map(|it| (*it, Fate::Confirmed)).collect();
    }
}

/// The body of a message: its number, and filler that depends on it. One in fifty is longer than a read buffer of the
/// broker or a page of its files.
pub fn body(client: &str, number: u64) -> Vec<u8> {
    let filler = match number % 50 {
        0 => 70_000,
        1..5 => 5_000,
        few => few as usize,
    };
    let mut body = format!("{client} {number} ").into_bytes();
    body.extend((0..filler as u64).map(|place| (place ^ number) as u8));
    body
}

/// The number of a message of this client, whose whole body must be what was published.
pub fn number(client: &str, content: &[u8]) -> u64 {
    let mut words = content.splitn(3, |byte| *byte == b' ').skip(1);
    let digits = words.next().and_then(|word| std::str::from_utf8(word).ok());
    let number = digits.and_then(|digits| digits.parse().ok());
    let start = &content[..content.len().min(40)];
    let Some(number) = number else {
        panic!("no message of {client}: {}", start.escape_ascii());
    };
    let same = content == body(client, number);
    assert!(same, "not as published: {}", start.escape_ascii());
    number
}
