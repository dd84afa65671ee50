//! The topic exchange: a trie over the words of binding patterns, where `*` is any one word and `#` any number.
//!
//! A message walks the trie word by word with the set of nodes reached so far, so its cost depends on the nodes that
//! its key reaches and not on how many patterns there are. A `#` node, once reached, stays reached to the end of the
//! key: its own destinations are found at once, and its children are tried with every word that follows.
//!
//! Nodes are numbered and small, edges live in one hash map for the whole trie: a million patterns cost about a
//! hundred bytes each.

use std::{borrow::Cow, collections::BTreeSet, hash::Hash};

use smallvec::SmallVec;

use super::{
    Binding, HashMap,
    destinations::Destinations,
    words::{HASH, STAR, Words, split},
};
use crate::arguments::FieldTable;

/// The node of the empty pattern. As it is nobody's child, it also stands for "no node".
const ROOT: u32 = 0;
const NONE: u32 = ROOT;

/// Bindings by pattern.
#[derive(Debug)]
pub(super) struct Topic<D> {
    words: Words,
    nodes: Vec<Node<D>>,
    /// Numbers of pruned nodes, to be used again.
    free: Vec<u32>,
    /// From a node and a plain word to the child; `*` and `#` children are fields of the node.
    edges: HashMap<(u32, u32), u32>,
    by_destination: HashMap<D, BTreeSet<u32>>,
    bindings: usize,
}

#[derive(Debug)]
struct Node<D> {
    parent: u32,
    word: u32,
    star: u32,
    hash: u32,
    /// Children of all three sorts.
    children: u32,
    bound: Destinations<D>,
}

impl<D> Node<D> {
    fn new(parent: u32, word: u32) -> Self {
        Self {
            parent,
            word,
            star: NONE,
            hash: NONE,
            children: 0,
            bound: Destinations::default(),
        }
    }
}

impl<D: Clone + Eq + Hash> Topic<D> {
    pub(super) fn new() -> Self {
        Self {
            words: Words::default(),
            nodes: vec![Node::new(NONE, HASH)],
            free: Vec::new(),
            edges: HashMap::default(),
            by_destination: HashMap::default(),
            bindings: 0,
        }
    }

    pub(super) fn bind(&mut self, pattern: &str, arguments: &FieldTable, destination: D) -> bool {
        let number = self.insert_path(pattern);
        let Some(node) = self.nodes.get_mut(number as usize) else {
            return false;
        };
        let new = node.bound.insert(destination.clone(), arguments);
        self.by_destination
            .entry(destination)
            .or_default()
            .insert(number);
        self.bindings += usize::from(new);
        new
    }

    pub(super) fn unbind(
        &mut self,
        pattern: &str,
        arguments: &FieldTable,
        destination: &D,
    ) -> bool {
        let Some(number) = self.find(pattern) else {
            return false;
        };
        let Some(node) = self.nodes.get_mut(number as usize) else {
            return false;
        };
        if !node.bound.remove(destination, arguments) {
            return false;
        }
        self.bindings -= 1;
        if !node.bound.contains(destination) {
            self.forget(number, destination);
            self.prune(number);
        }
        true
    }

    pub(super) fn unbind_destination(&mut self, destination: &D) -> usize {
        let mut removed = 0;
        for number in self.by_destination.remove(destination).unwrap_or_default() {
            if let Some(node) = self.nodes.get_mut(number as usize) {
                removed += node.bound.remove_destination(destination);
                self.prune(number);
            }
        }
        self.bindings -= removed;
        removed
    }

    pub(super) fn len(&self) -> usize {
        self.bindings
    }

    pub(super) fn route<'a>(&'a self, routing_key: &str, each: &mut dyn FnMut(&'a D)) {
        Walk::new(self, each).run(routing_key);
    }

    pub(super) fn bindings(&self) -> impl Iterator<Item = Binding<'_, D>> {
        (ROOT..)
            .zip(&self.nodes)
            .filter(|(_, node)| !node.bound.is_empty())
            .flat_map(|(number, node)| {
                let pattern = self.pattern(number);
                node.bound
                    .bindings()
                    .map(move |(destination, arguments)| Binding {
                        routing_key: Cow::Owned(pattern.clone()),
                        arguments,
                        destination,
                    })
            })
    }

    fn node(&self, number: u32) -> Option<&Node<D>> {
        self.nodes.get(number as usize)
    }

    /// The child of a node for a word of a pattern, [`NONE`] when there is none.
    fn child(&self, parent: u32, word: u32) -> u32 {
        match word {
            STAR => self.node(parent).map_or(NONE, |node| node.star),
            HASH => self.node(parent).map_or(NONE, |node| node.hash),
            _ => self.edges.get(&(parent, word)).copied().unwrap_or(NONE),
        }
    }

    fn find(&self, pattern: &str) -> Option<u32> {
        split(pattern).try_fold(ROOT, |number, word| {
            let child = self.child(number, self.words.pattern_number(word)?);
            (child != NONE).then_some(child)
        })
    }

    fn insert_path(&mut self, pattern: &str) -> u32 {
        split(pattern).fold(ROOT, |number, word| {
            let known = self
                .words
                .pattern_number(word)
                .map_or(NONE, |word| self.child(number, word));
            if known != NONE {
                known
            } else {
                self.add_child(number, word)
            }
        })
    }

    fn add_child(&mut self, parent: u32, word: &str) -> u32 {
        let word = self.words.acquire(word);
        let number = self.allocate(Node::new(parent, word));
        self.set_child(parent, word, number);
        if let Some(node) = self.nodes.get_mut(parent as usize) {
            node.children += 1;
        }
        number
    }

    fn allocate(&mut self, node: Node<D>) -> u32 {
        if let Some(number) = self.free.pop() {
            if let Some(free) = self.nodes.get_mut(number as usize) {
                *free = node;
            }
            return number;
        }
        self.nodes.push(node);
        // Four billion nodes do not fit into memory.
        (self.nodes.len() - 1) as u32
    }

    fn set_child(&mut self, parent: u32, word: u32, child: u32) {
        let node = self.nodes.get_mut(parent as usize);
        match (word, node) {
            (STAR, Some(node)) => node.star = child,
            (HASH, Some(node)) => node.hash = child,
            _ if child == NONE => {
                self.edges.remove(&(parent, word));
            }
            _ => {
                self.edges.insert((parent, word), child);
            }
        }
    }

    /// Removes a node that leads nowhere, and those above it that then lead nowhere either.
    fn prune(&mut self, mut number: u32) {
        while number != ROOT {
            let Some(node) = self.node(number) else {
                return;
            };
            if node.children > 0 || !node.bound.is_empty() {
                return;
            }
            let (parent, word) = (node.parent, node.word);
            self.set_child(parent, word, NONE);
            self.words.release(word);
            self.free.push(number);
            if let Some(node) = self.nodes.get_mut(parent as usize) {
                node.children -= 1;
            }
            number = parent;
        }
    }

    fn forget(&mut self, number: u32, destination: &D) {
        if let Some(nodes) = self.by_destination.get_mut(destination) {
            nodes.remove(&number);
            if nodes.is_empty() {
                self.by_destination.remove(destination);
            }
        }
    }

    /// The pattern that leads to a node.
    fn pattern(&self, mut number: u32) -> String {
        let mut words = Vec::new();
        while number != ROOT {
            let Some(node) = self.node(number) else { break };
            words.push(self.words.text(node.word));
            number = node.parent;
        }
        words.reverse();
        words.join(".")
    }
}

/// One routing key on its way through the trie.
struct Walk<'t, 'e, D> {
    topic: &'t Topic<D>,
    each: &'e mut dyn FnMut(&'t D),
    /// The nodes that the words so far lead to, other than `#` nodes. None is there twice: each has one parent.
    reached: SmallVec<[u32; 16]>,
    /// The `#` nodes reached that have children.
    open: SmallVec<[u32; 8]>,
    /// All `#` nodes reached, sorted: a `#` below another one would be entered with every word.
    entered: SmallVec<[u32; 8]>,
    /// Nodes looked at, the measure of the work done.
    visited: usize,
}

impl<'t, 'e, D: Clone + Eq + Hash> Walk<'t, 'e, D> {
    fn new(topic: &'t Topic<D>, each: &'e mut dyn FnMut(&'t D)) -> Self {
        Self {
            topic,
            each,
            reached: SmallVec::new(),
            open: SmallVec::new(),
            entered: SmallVec::new(),
            visited: 0,
        }
    }

    /// Finds all destinations and returns the number of nodes looked at.
    fn run(mut self, routing_key: &str) -> usize {
        self.reach(ROOT);
        for word in split(routing_key) {
            if self.reached.is_empty() && self.open.is_empty() {
                break;
            }
            let word = self.topic.words.number(word);
            let reached = std::mem::take(&mut self.reached);
            for position in 0..self.open.len() {
                if let Some(number) = self.open.get(position).copied() {
                    self.follow(number, word);
                }
            }
            for number in reached {
                self.follow(number, word);
            }
        }
        for number in std::mem::take(&mut self.reached) {
            self.find(number);
        }
        self.visited
    }

    /// Takes one word from a node.
    fn follow(&mut self, number: u32, word: Option<u32>) {
        let Some(node) = self.topic.node(number) else {
            return;
        };
        self.visited += 1;
        if node.star != NONE {
            self.reach(node.star);
        }
        let plain = word.map_or(NONE, |word| self.topic.child(number, word));
        if plain != NONE {
            self.reach(plain);
        }
    }

    /// Adds a node, and the `#` below it, which also stands for no word at all.
    fn reach(&mut self, number: u32) {
        self.reached.push(number);
        self.enter(self.topic.node(number).map_or(NONE, |node| node.hash));
    }

    /// Adds a `#` node and those directly below it, once in a walk.
    fn enter(&mut self, mut number: u32) {
        while number != NONE {
            let Err(place) = self.entered.binary_search(&number) else {
                return;
            };
            self.entered.insert(place, number);
            self.find(number);
            let Some(node) = self.topic.node(number) else {
                return;
            };
            if node.children > 0 {
                self.open.push(number);
            }
            number = node.hash;
        }
    }

    fn find(&mut self, number: u32) {
        self.visited += 1;
        if let Some(node) = self.topic.node(number) {
            node.bound.iter().for_each(&mut *self.each);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn none() -> FieldTable {
        FieldTable::default()
    }

    fn routed(topic: &Topic<usize>, key: &str) -> Vec<usize> {
        let mut found = Vec::new();
        topic.route(key, &mut |destination| found.push(*destination));
        found.sort_unstable();
        found
    }

    fn matches(pattern: &str, key: &str) -> bool {
        let mut topic = Topic::new();
        topic.bind(pattern, &none(), 0);
        !routed(&topic, key).is_empty()
    }

    /// The rule of AMQP 0-9-1, section 3.1.3.3, as directly as it can be written.
    fn reference(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), None) => reference(rest, key),
            (Some((&"#", rest)), Some((_, later))) => {
                reference(rest, key) || reference(pattern, later)
            }
            (Some((&"*", rest)), Some((_, later))) => reference(rest, later),
            (Some((word, rest)), Some((first, later))) => word == first && reference(rest, later),
            _ => false,
        }
    }

    fn reference_matches(pattern: &str, key: &str) -> bool {
        let words = |key| split(key).collect::<Vec<_>>();
        reference(&words(pattern), &words(key))
    }

    #[test]
    fn star_is_exactly_one_word_and_hash_any_number() {
        assert!(matches("*.orange.*", "quick.orange.rabbit"));
        assert!(!matches("*.orange.*", "orange.rabbit"));
        assert!(!matches("*.orange.*", "quick.orange.male.rabbit"));
        assert!(matches("lazy.#", "lazy"));
        assert!(matches("lazy.#", "lazy.brown.fox"));
        assert!(matches("#", ""));
        assert!(matches("#.fox", "fox"));
        assert!(matches("a.#.b.#.c", "a.x.b.b.y.c"));
        assert!(matches("#.#", "a"));
        assert!(!matches("*", ""));
    }

    #[test]
    fn empty_words_count_as_words() {
        assert!(matches("*", "a"));
        assert!(matches("*.*", "."));
        assert!(matches("a..b", "a..b"));
        assert!(matches("a.*.b", "a..b"));
        assert!(!matches("a.b", "a..b"));
        assert!(!matches("", "."));
        assert!(matches("", ""));
    }

    #[test]
    fn wildcards_in_a_routing_key_are_plain_words() {
        assert!(!matches("a", "*"));
        assert!(matches("*", "*"));
        assert!(matches("*", "#"));
        assert!(!matches("a.b", "#"));
    }

    #[test]
    fn unbinding_gives_back_nodes_edges_and_words() {
        let mut topic = Topic::new();
        for pattern in ["a.b.c", "a.b.#", "a.*", "#", "", "x..y"] {
            topic.bind(pattern, &none(), 1);
            topic.bind(pattern, &none(), 2);
        }
        assert!(topic.unbind("a.b.c", &none(), &2));
        assert_eq!(topic.unbind_destination(&1), 6);
        assert_eq!(topic.unbind_destination(&2), 5);
        assert_eq!(topic.len(), 0);
        assert_eq!(topic.nodes.len() - topic.free.len(), 1);
        assert!(topic.edges.is_empty() && topic.by_destination.is_empty());
        assert_eq!(topic.words.len(), 0);
    }

    #[test]
    fn million_bindings_are_not_looked_at_unless_they_match() {
        let started = Instant::now();
        let mut topic = Topic::new();
        for number in 0..1_000_000_usize {
            let (site, room, sensor) = (number / 10_000, number / 100 % 100, number % 100);
            topic.bind(
                &format!("site{site}.room{room}.sensor{sensor}"),
                &none(),
                number % 1000,
            );
        }
        for (pattern, destination) in [("site7.*.sensor3", 5000), ("site7.#", 5001)] {
            topic.bind(pattern, &none(), destination);
        }
        eprintln!("a million bindings took {:?}", started.elapsed());
        let mut found = Vec::new();
        let visited = Walk::new(&topic, &mut |destination| found.push(*destination))
            .run("site7.room42.sensor3");
        found.sort_unstable();
        assert_eq!(found, [203, 5000, 5001]);
        assert!(visited < 12, "looked at {visited} nodes");
        assert_eq!(topic.len(), 1_000_002);
    }

    #[test]
    fn many_hashes_in_a_row_cost_no_more_than_nodes_times_words() {
        let mut topic = Topic::new();
        topic.bind(&["#", "a"].repeat(60).join("."), &none(), 0);
        let key = ["a"; 120].join(".");
        let visited = Walk::new(&topic, &mut |_| ()).run(&key);
        assert!(visited < 120 * 121, "looked at {visited} nodes");
    }

    fn pattern() -> impl Strategy<Value = String> {
        vec(select(vec!["a", "b", "", "*", "#"]), 0..6).prop_map(|words| words.join("."))
    }

    fn key() -> impl Strategy<Value = String> {
        vec(select(vec!["a", "b", "c", "", "*"]), 0..6).prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn trie_finds_what_the_reference_matcher_finds(
            patterns in vec((pattern(), 0..4_usize), 0..24),
            removed in vec(any::<prop::sample::Index>(), 0..12),
            gone in 0..8_usize,
            keys in vec(key(), 1..8),
        ) {
            let mut topic = Topic::new();
            let mut bound: Vec<(String, usize)> = Vec::new();
            for (pattern, destination) in patterns {
                let new = topic.bind(&pattern, &none(), destination);
                prop_assert_eq!(new, !bound.contains(&(pattern.clone(), destination)));
                if new {
                    bound.push((pattern, destination));
                }
            }
            for index in removed {
                if !bound.is_empty() {
                    let (pattern, destination) = bound.swap_remove(index.index(bound.len()));
                    prop_assert!(topic.unbind(&pattern, &none(), &destination));
                    prop_assert!(!topic.unbind(&pattern, &none(), &destination));
                }
            }
            let before = bound.len();
            bound.retain(|(_, destination)| *destination != gone);
            prop_assert_eq!(topic.unbind_destination(&gone), before - bound.len());

            let mut listed: Vec<_> =
                topic.bindings().map(|it| (it.routing_key.into_owned(), *it.destination)).collect();
            listed.sort();
            bound.sort();
            prop_assert_eq!(&listed, &bound);
            for key in keys {
                let mut expected: Vec<usize> = bound
                    .iter()
                    .filter(|(pattern, _)| reference_matches(pattern, &key))
                    .map(|(_, destination)| *destination)
                    .collect();
                expected.sort_unstable();
                prop_assert_eq!(routed(&topic, &key), expected, "key {:?}", key);
            }
        }
    }
}
