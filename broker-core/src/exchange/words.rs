//! The words of topic patterns, each kept once and known by a number.
//!
//! A million patterns are made of few distinct words; a node of the trie holds the number only, and a routing key's
//! word that no pattern contains is known not to match before any node is looked at.

use std::sync::Arc;

use super::HashMap;

/// The number of `*`, which stands for exactly one word.
pub(super) const STAR: u32 = 0;
/// The number of `#`, which stands for any number of words.
pub(super) const HASH: u32 = 1;
/// Words of patterns are numbered from here.
const FIRST: u32 = 2;

/// Words in use, counted.
#[derive(Debug, Default)]
pub(super) struct Words {
    numbers: HashMap<Arc<str>, u32>,
    words: Vec<Word>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Word {
    text: Arc<str>,
    uses: u32,
}

/// The words of a pattern or routing key. An empty key has none, `.` has two empty ones.
pub(super) fn split(key: &str) -> impl Iterator<Item = &str> {
    (!key.is_empty())
        .then(|| key.split('.'))
        .into_iter()
        .flatten()
}

impl Words {
    /// The number of a word of a routing key, where `*` and `#` mean nothing special.
    pub(super) fn number(&self, word: &str) -> Option<u32> {
        self.numbers.get(word).copied()
    }

    /// The number of a word of a pattern, without counting a use.
    pub(super) fn pattern_number(&self, word: &str) -> Option<u32> {
        match word {
            "*" => Some(STAR),
            "#" => Some(HASH),
            _ => self.number(word),
        }
    }

    /// The number of a word of a pattern, counted as one more use.
    pub(super) fn acquire(&mut self, word: &str) -> u32 {
        let number = self.pattern_number(word).unwrap_or_else(|| self.add(word));
        if let Some(entry) = self.entry(number) {
            entry.uses += 1;
        }
        number
    }

    /// Ends a use; the word is forgotten with its last one.
    pub(super) fn release(&mut self, number: u32) {
        let Some(entry) = self.entry(number) else {
            return;
        };
        entry.uses -= 1;
        if entry.uses == 0 {
            let text = std::mem::replace(&mut entry.text, "".into());
            self.numbers.remove(&text);
            self.free.push(number);
        }
    }

    /// The text of a number.
    pub(super) fn text(&self, number: u32) -> &str {
        match number {
            STAR => "*",
            HASH => "#",
            _ => self
                .words
                .get((number - FIRST) as usize)
                .map_or("", |word| &word.text),
        }
    }

    fn entry(&mut self, number: u32) -> Option<&mut Word> {
        self.words.get_mut(number.checked_sub(FIRST)? as usize)
    }

    fn add(&mut self, word: &str) -> u32 {
        let text: Arc<str> = word.into();
        let entry = Word {
            text: Arc::clone(&text),
            uses: 0,
        };
        let number = match self.free.pop() {
            Some(number) => number,
            // Four billion distinct words do not fit into memory.
            None => self.words.len() as u32 + FIRST,
        };
        match self.entry(number) {
            Some(free) => *free = entry,
            None => self.words.push(entry),
        }
        self.numbers.insert(text, number);
        number
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}
