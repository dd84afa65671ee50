//! The destinations bound with one and the same routing key.
//!
//! Nearly always there is one of them, without arguments, and it is kept in place; an exchange with a million
//! bindings has a million of these. At the other end thousands of queues share one key, and an index keeps binding
//! and unbinding them from becoming quadratic.

use std::hash::Hash;

use smallvec::SmallVec;

use super::{HashMap, NO_ARGUMENTS};
use crate::arguments::{FieldTable, equivalent_tables};

/// From this many destinations on they are found by hash rather than by looking at each.
const INDEXED_FROM: usize = 16;

/// A set of destinations, each with the arguments of its bindings.
#[derive(Debug)]
pub(super) struct Destinations<D> {
    entries: SmallVec<[Entry<D>; 1]>,
    index: Option<Box<HashMap<D, usize>>>,
}

#[derive(Debug)]
struct Entry<D> {
    destination: D,
    /// `None` for the usual case, a single binding without arguments.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 24 in each of a million bindings"
    )]
    arguments: Option<Box<Vec<FieldTable>>>,
}

impl<D> Default for Destinations<D> {
    fn default() -> Self {
        Self {
            entries: SmallVec::new(),
            index: None,
        }
    }
}

impl<D: Clone + Eq + Hash> Destinations<D> {
    /// Adds a binding; `false` when it was there already.
    pub(super) fn insert(&mut self, destination: D, arguments: &FieldTable) -> bool {
        match self.position(&destination) {
            Some(position) => self
                .entries
                .get_mut(position)
                .is_some_and(|entry| entry.add(arguments)),
            None => {
                self.push(Entry::new(destination, arguments));
                true
            }
        }
    }

    /// Removes a binding; `false` when there was none.
    pub(super) fn remove(&mut self, destination: &D, arguments: &FieldTable) -> bool {
        let Some(position) = self.position(destination) else {
            return false;
        };
        match self
            .entries
            .get_mut(position)
            .map(|entry| entry.subtract(arguments))
        {
            Some(Subtracted::Last) => {
                self.take(position);
                true
            }
            Some(Subtracted::OneOfMany) => true,
            Some(Subtracted::Nothing) | None => false,
        }
    }

    /// Removes all bindings of a destination and returns their number.
    pub(super) fn remove_destination(&mut self, destination: &D) -> usize {
        let Some(position) = self.position(destination) else {
            return 0;
        };
        let bindings = self
            .entries
            .get(position)
            .map_or(0, |entry| entry.tables().count());
        self.take(position);
        bindings
    }

    pub(super) fn contains(&self, destination: &D) -> bool {
        self.position(destination).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every destination once.
    pub(super) fn iter(&self) -> impl Iterator<Item = &D> {
        self.entries.iter().map(|entry| &entry.destination)
    }

    /// Every binding: a destination appears once for each of its arguments.
    pub(super) fn bindings(&self) -> impl Iterator<Item = (&D, &FieldTable)> {
        self.entries
            .iter()
            .flat_map(|entry| entry.tables().map(|table| (&entry.destination, table)))
    }

    fn position(&self, destination: &D) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(destination).copied(),
            None => self
                .entries
                .iter()
                .position(|entry| entry.destination == *destination),
        }
    }

    fn push(&mut self, entry: Entry<D>) {
        if let Some(index) = &mut self.index {
            index.insert(entry.destination.clone(), self.entries.len());
        }
        self.entries.push(entry);
        if self.index.is_none() && self.entries.len() >= INDEXED_FROM {
            let positions = self
                .iter()
                .cloned()
                .enumerate()
                .map(|(position, it)| (it, position));
            self.index = Some(Box::new(positions.collect()));
        }
    }

    /// Takes an entry out; the last one moves to its place.
    fn take(&mut self, position: usize) {
        let removed = self.entries.swap_remove(position);
        if let Some(index) = &mut self.index {
            index.remove(&removed.destination);
            if let Some(moved) = self.entries.get(position) {
                index.insert(moved.destination.clone(), position);
            }
        }
        if self.entries.len() < INDEXED_FROM / 2 {
            self.index = None;
            self.entries.shrink_to_fit();
        }
    }
}

/// What became of an entry when a binding was removed from it.
enum Subtracted {
    Nothing,
    OneOfMany,
    Last,
}

impl<D> Entry<D> {
    fn new(destination: D, arguments: &FieldTable) -> Self {
        let plain = arguments.inner().is_empty();
        let arguments = (!plain).then(|| Box::new(vec![arguments.clone()]));
        Self {
            destination,
            arguments,
        }
    }

    fn tables(&self) -> impl Iterator<Item = &FieldTable> {
        let plain = self.arguments.is_none().then(|| &*NO_ARGUMENTS);
        plain
            .into_iter()
            .chain(self.arguments.iter().flat_map(|tables| tables.iter()))
    }

    fn add(&mut self, arguments: &FieldTable) -> bool {
        if self
            .tables()
            .any(|table| equivalent_tables(table, arguments))
        {
            return false;
        }
        self.arguments
            .get_or_insert_with(|| Box::new(vec![FieldTable::default()]))
            .push(arguments.clone());
        true
    }

    fn subtract(&mut self, arguments: &FieldTable) -> Subtracted {
        let Some(position) = self
            .tables()
            .position(|table| equivalent_tables(table, arguments))
        else {
            return Subtracted::Nothing;
        };
        match &mut self.arguments {
            Some(tables) if tables.len() > 1 => {
                tables.swap_remove(position);
                Subtracted::OneOfMany
            }
            _ => Subtracted::Last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_destinations_come_and_go_in_any_order() {
        let none = FieldTable::default();
        let mut set = Destinations::default();
        for number in 0..1000 {
            assert!(set.insert(number, &none));
            assert!(!set.insert(number, &none));
        }
        for number in (0..1000).step_by(3) {
            assert!(set.remove(&number, &none));
            assert!(!set.remove(&number, &none));
        }
        for number in 0..1000 {
            assert_eq!(set.contains(&number), number % 3 != 0);
            assert_eq!(
                set.remove_destination(&number),
                usize::from(number % 3 != 0)
            );
        }
        assert!(set.is_empty());
    }

    /// There may be a million bindings, each with a key of its own.
    #[test]
    fn one_destination_without_arguments_stays_small() {
        let (entry, set) = (size_of::<Entry<u64>>(), size_of::<Destinations<u64>>());
        assert_eq!((entry, set), (16, 32));
    }
}
