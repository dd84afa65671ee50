//! The direct exchange: a message goes where its routing key is bound, character for character.

use std::{borrow::Cow, collections::hash_map::Entry, hash::Hash, sync::Arc};

use super::{Binding, HashMap, Keys, destinations::Destinations};
use crate::arguments::FieldTable;

/// Bindings by routing key.
#[derive(Debug)]
pub(super) struct Direct<D> {
    keys: HashMap<Arc<str>, Destinations<D>>,
    by_destination: HashMap<D, Keys>,
    bindings: usize,
}

impl<D: Clone + Eq + Hash> Direct<D> {
    pub(super) fn new() -> Self {
        Self {
            keys: HashMap::default(),
            by_destination: HashMap::default(),
            bindings: 0,
        }
    }

    pub(super) fn bind(
        &mut self,
        routing_key: &str,
        arguments: &FieldTable,
        destination: D,
    ) -> bool {
        let new = if let Some(bound) = self.keys.get_mut(routing_key) {
            let known = bound.contains(&destination);
            if !known && let Some((key, _)) = self.keys.get_key_value(routing_key) {
                let key = Arc::clone(key);
                self.by_destination
                    .entry(destination.clone())
                    .or_default()
                    .insert(key);
            }
            self.keys
                .get_mut(routing_key)
                .is_some_and(|bound| bound.insert(destination, arguments))
        } else {
            let key: Arc<str> = routing_key.into();
            self.by_destination
                .entry(destination.clone())
                .or_default()
                .insert(Arc::clone(&key));
            self.keys
                .entry(key)
                .or_default()
                .insert(destination, arguments)
        };
        self.bindings += usize::from(new);
        new
    }

    pub(super) fn unbind(
        &mut self,
        routing_key: &str,
        arguments: &FieldTable,
        destination: &D,
    ) -> bool {
        let Some(bound) = self.keys.get_mut(routing_key) else {
            return false;
        };
        if !bound.remove(destination, arguments) {
            return false;
        }
        self.bindings -= 1;
        if !bound.contains(destination) {
            if bound.is_empty() {
                self.keys.remove(routing_key);
            }
            self.forget(routing_key, destination);
        }
        true
    }

    pub(super) fn unbind_destination(&mut self, destination: &D) -> usize {
        let mut removed = 0;
        for key in self.by_destination.remove(destination).unwrap_or_default() {
            if let Entry::Occupied(mut bound) = self.keys.entry(key) {
                removed += bound.get_mut().remove_destination(destination);
                if bound.get().is_empty() {
                    bound.remove();
                }
            }
        }
        self.bindings -= removed;
        removed
    }

    pub(super) fn len(&self) -> usize {
        self.bindings
    }

    pub(super) fn route<'a>(&'a self, routing_key: &str, each: &mut dyn FnMut(&'a D)) {
        if let Some(bound) = self.keys.get(routing_key) {
            bound.iter().for_each(each);
        }
    }

    /// Every destination that has a binding, once.
    pub(super) fn destinations(&self) -> impl Iterator<Item = &D> {
        self.by_destination.keys()
    }

    pub(super) fn bindings(&self) -> impl Iterator<Item = Binding<'_, D>> {
        self.keys.iter().flat_map(|(key, bound)| {
            bound
                .bindings()
                .map(move |(destination, arguments)| Binding {
                    routing_key: Cow::Borrowed(&**key),
                    arguments,
                    destination,
                })
        })
    }

    fn forget(&mut self, routing_key: &str, destination: &D) {
        if let Some(keys) = self.by_destination.get_mut(destination) {
            keys.remove(routing_key);
            if keys.is_empty() {
                self.by_destination.remove(destination);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_goes_to_the_bindings_of_exactly_its_key() {
        let mut table = Direct::new();
        let none = FieldTable::default();
        table.bind("a", &none, 1);
        table.bind("a", &none, 2);
        table.bind("a.b", &none, 3);
        table.bind("", &none, 4);
        let routed = |key: &str| {
            let mut found = Vec::new();
            table.route(key, &mut |destination| found.push(*destination));
            found
        };
        assert_eq!(routed("a"), [1, 2]);
        assert_eq!(routed(""), [4]);
        assert_eq!(routed("*"), [0; 0]);
    }
}
