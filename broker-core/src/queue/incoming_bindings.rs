//! The bindings that end at one queue or exchange, kept there so that deleting it finds them.
//!
//! Most destinations have a few bindings and keep a plain list; an idle queue has none and allocates nothing. From
//! `INDEXED_FROM` bindings on they are found by source and routing key, so that neither unbinding them one by one nor
//! deleting an exchange that many of them come from looks at each binding again and again.

use std::sync::Arc;

use amqp_codec::FieldTable;
use smallvec::SmallVec;

use crate::arguments::equivalent_tables;

/// From this many bindings on they are found by hash rather than by looking at each.
const INDEXED_FROM: usize = 16;

/// A map with a fast hash, seeded anew in every process against chosen keys.
type HashMap<K, V> = std::collections::HashMap<K, V, foldhash::fast::RandomState>;

/// The bindings with one source by routing key: nearly always one for each, seldom more that differ in their arguments.
type ByRoutingKey = HashMap<Arc<str>, SmallVec<[FieldTable; 1]>>;

/// A binding as its destination knows it.
#[derive(Debug, Clone)]
pub struct BindingKey {
    /// The exchange that the binding starts from.
    pub source: Arc<str>,
    /// The routing key it was made with.
    pub routing_key: Arc<str>,
    /// The arguments it was made with.
    pub arguments: FieldTable,
}

impl BindingKey {
    /// Whether both name the same binding (of one destination).
    pub fn same_as(&self, other: &Self) -> bool {
        #[cfg(test)]
        looked_at::count();
        self.source == other.source
            && self.routing_key == other.routing_key
            && equivalent_tables(&self.arguments, &other.arguments)
    }
}

/// The bindings that end at one destination, but for a queue's implicit one from the default exchange.
#[derive(Debug, Default)]
pub struct IncomingBindings(Bindings);

#[derive(Debug)]
enum Bindings {
    Few(Vec<BindingKey>),
    Many(Box<Index>),
}

impl Default for Bindings {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

#[derive(Debug, Default)]
struct Index {
    by_source: HashMap<Arc<str>, ByRoutingKey>,
    len: usize,
}

impl IncomingBindings {
    /// Adds a binding that is not there yet.
    pub fn insert(&mut self, key: BindingKey) {
        match &mut self.0 {
            Bindings::Few(few) => {
                few.push(key);
                if few.len() >= INDEXED_FROM {
                    let index = std::mem::take(few).into_iter().collect();
                    self.0 = Bindings::Many(Box::new(index));
                }
            }
            Bindings::Many(index) => index.insert(key),
        }
    }

    /// The binding as it was made, whose arguments may be written otherwise than those of `key`.
    pub fn find(&self, key: &BindingKey) -> Option<BindingKey> {
        match &self.0 {
            Bindings::Few(few) => few.iter().find(|known| known.same_as(key)).cloned(),
            Bindings::Many(index) => index.find(key),
        }
    }

    /// All bindings, in no particular order.
    pub fn all(&self) -> Vec<BindingKey> {
        match &self.0 {
            Bindings::Few(few) => few.clone(),
            Bindings::Many(index) => index.keys().collect(),
        }
    }

    /// The bindings from one exchange, in no particular order.
    pub fn of_source(&self, source: &str) -> Vec<BindingKey> {
        match &self.0 {
            Bindings::Few(few) => {
                let of_source = few.iter().filter(|key| *key.source == *source);
                of_source.cloned().collect()
            }
            Bindings::Many(index) => {
                let found = index.by_source.get_key_value(source);
                found.map_or_else(Vec::new, |(source, by_key)| keys(source, by_key).collect())
            }
        }
    }

    /// Removes a binding, if it is there, in time that does not depend on how many others there are.
    pub fn remove(&mut self, key: &BindingKey) {
        match &mut self.0 {
            Bindings::Few(few) => few.retain(|known| !known.same_as(key)),
            Bindings::Many(index) => index.remove(key),
        }
        self.shrink();
    }

    /// Removes all bindings from one exchange, in time linear in their number.
    pub fn remove_source(&mut self, source: &str) {
        match &mut self.0 {
            Bindings::Few(few) => few.retain(|known| {
                #[cfg(test)]
                looked_at::count();
                *known.source != *source
            }),
            Bindings::Many(index) => index.remove_source(source),
        }
        self.shrink();
    }

    /// Takes all bindings out, in no particular order.
    pub fn take(&mut self) -> Vec<BindingKey> {
        match std::mem::take(&mut self.0) {
            Bindings::Few(few) => few,
            Bindings::Many(index) => index.keys().collect(),
        }
    }

    /// Gives memory back when few are left. Half of what makes an index, so that one binding that comes and goes does
    /// not build it anew each time.
    fn shrink(&mut self) {
        match &mut self.0 {
            Bindings::Few(few) if few.is_empty() => *few = Vec::new(),
            Bindings::Many(index) if index.len < INDEXED_FROM / 2 => {
                self.0 = Bindings::Few(self.take());
            }
            Bindings::Few(_) | Bindings::Many(_) => {}
        }
    }
}

impl Index {
    fn insert(&mut self, key: BindingKey) {
        let by_key = self.by_source.entry(key.source).or_default();
        by_key
            .entry(key.routing_key)
            .or_default()
            .push(key.arguments);
        self.len += 1;
    }

    fn remove(&mut self, key: &BindingKey) {
        let Some(by_key) = self.by_source.get_mut(&key.source) else {
            return;
        };
        let Some(tables) = by_key.get_mut(&key.routing_key) else {
            return;
        };
        let before = tables.len();
        tables.retain(|table| {
            #[cfg(test)]
            looked_at::count();
            !equivalent_tables(table, &key.arguments)
        });
        self.len -= before - tables.len();
        if tables.is_empty() {
            by_key.remove(&key.routing_key);
        }
        if by_key.is_empty() {
            self.by_source.remove(&key.source);
        }
    }

    fn find(&self, key: &BindingKey) -> Option<BindingKey> {
        let (source, by_key) = self.by_source.get_key_value(&key.source)?;
        let (routing_key, tables) = by_key.get_key_value(&key.routing_key)?;
        let arguments = tables.iter().find(|table| {
            #[cfg(test)]
            looked_at::count();
            equivalent_tables(table, &key.arguments)
        })?;
        Some(BindingKey {
            source: Arc::clone(source),
            routing_key: Arc::clone(routing_key),
            arguments: arguments.clone(),
        })
    }

    fn keys(&self) -> impl Iterator<Item = BindingKey> {
        let by_source = self.by_source.iter();
        by_source.flat_map(|(source, by_key)| keys(source, by_key))
    }

    fn remove_source(&mut self, source: &str) {
        let Some(by_key) = self.by_source.remove(source) else {
            return;
        };
        for tables in by_key.values() {
            #[cfg(test)]
            looked_at::count();
            self.len -= tables.len();
        }
    }
}

/// The bindings from one exchange.
fn keys<'a>(
    source: &'a Arc<str>,
    by_key: &'a ByRoutingKey,
) -> impl Iterator<Item = BindingKey> + 'a {
    by_key.iter().flat_map(move |(routing_key, tables)| {
        tables.iter().map(move |arguments| BindingKey {
            source: Arc::clone(source),
            routing_key: Arc::clone(routing_key),
            arguments: arguments.clone(),
        })
    })
}

impl FromIterator<BindingKey> for Index {
    fn from_iter<I: IntoIterator<Item = BindingKey>>(keys: I) -> Self {
        let mut index = Self::default();
        keys.into_iter().for_each(|key| index.insert(key));
        index
    }
}

/// Counts the bindings that removing has looked at: the measure of work that does not depend on the machine.
#[cfg(test)]
pub(crate) mod looked_at {
    use std::cell::Cell;

    thread_local! {
        static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        LOOKED_AT.set(LOOKED_AT.get() + 1);
    }

    /// How many it looked at on this thread while `work` ran.
    pub(crate) fn during(work: impl FnOnce()) -> usize {
        let before = LOOKED_AT.get();
        work();
        LOOKED_AT.get() - before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::AMQPValue;

    fn key(source: usize, routing_key: usize, number: i64) -> BindingKey {
        let mut arguments = FieldTable::default();
        if number > 0 {
            arguments.insert("number".into(), AMQPValue::LongLongInt(number));
        }
        BindingKey {
            source: format!("x{source}").into(),
            routing_key: format!("k{routing_key}").into(),
            arguments,
        }
    }

    fn names(keys: &[BindingKey]) -> Vec<String> {
        let mut names: Vec<_> = keys.iter().map(|key| format!("{key:?}")).collect();
        names.sort();
        names
    }

    #[test]
    fn bindings_come_and_go_at_every_size() {
        for size in [0, 1, 7, 8, 15, 16, 17, 200] {
            let mut bindings = IncomingBindings::default();
            let mut expected = Vec::new();
            for number in 0..size {
                for arguments in [0, 1] {
                    let key = key(number % 3, number, arguments);
                    bindings.insert(key.clone());
                    expected.push(key);
                }
            }
            for number in (0..size).step_by(2) {
                let gone = key(number % 3, number, 1);
                assert!(bindings.find(&gone).is_some());
                bindings.remove(&gone);
                bindings.remove(&gone);
                assert!(bindings.find(&gone).is_none());
                expected.retain(|known| !known.same_as(&gone));
            }
            bindings.remove_source("x1");
            bindings.remove_source("x1");
            expected.retain(|known| *known.source != *"x1");
            assert_eq!(names(&bindings.all()), names(&expected), "{size}");
            assert_eq!(names(&bindings.take()), names(&expected), "{size}");
            assert!(bindings.take().is_empty());
        }
    }

    #[test]
    fn no_bindings_cost_no_memory() {
        assert!(size_of::<IncomingBindings>() <= size_of::<Vec<BindingKey>>());
        let mut bindings = IncomingBindings::default();
        for number in 0..100 {
            bindings.insert(key(0, number, 0));
        }
        for number in 0..100 {
            bindings.remove(&key(0, number, 0));
        }
        assert!(matches!(&bindings.0, Bindings::Few(few) if few.capacity() == 0));
    }

    #[test]
    fn a_binding_stays_small_at_its_destination() {
        assert_eq!(size_of::<BindingKey>(), 56);
    }
}
