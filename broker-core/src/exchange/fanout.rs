//! The fanout exchange: a message goes to everything that is bound, whatever its routing key.
//!
//! Keys and arguments still tell bindings apart, so that they can be listed and removed one by one.

use std::hash::Hash;

use super::{Binding, direct::Direct};
use crate::arguments::FieldTable;

/// Bindings kept as a direct exchange keeps them, routed to regardless of the key.
#[derive(Debug)]
pub(super) struct Fanout<D>(Direct<D>);

impl<D: Clone + Eq + Hash> Fanout<D> {
    pub(super) fn new() -> Self {
        Self(Direct::new())
    }

    pub(super) fn bind(
        &mut self,
        routing_key: &str,
        arguments: &FieldTable,
        destination: D,
    ) -> bool {
        self.0.bind(routing_key, arguments, destination)
    }

    pub(super) fn unbind(
        &mut self,
        routing_key: &str,
        arguments: &FieldTable,
        destination: &D,
    ) -> bool {
        self.0.unbind(routing_key, arguments, destination)
    }

    pub(super) fn unbind_destination(&mut self, destination: &D) -> usize {
        self.0.unbind_destination(destination)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn route<'a>(&'a self, each: &mut dyn FnMut(&'a D)) {
        self.0.destinations().for_each(each);
    }

    pub(super) fn bindings(&self) -> impl Iterator<Item = Binding<'_, D>> {
        self.0.bindings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_goes_to_every_destination_once() {
        let mut table = Fanout::new();
        let none = FieldTable::default();
        table.bind("a", &none, 1);
        table.bind("b", &none, 1);
        table.bind("", &none, 2);
        let mut found = Vec::new();
        table.route(&mut |destination| found.push(*destination));
        found.sort_unstable();
        assert_eq!(found, [1, 2]);
    }
}
