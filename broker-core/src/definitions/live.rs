//! The definitions in force: a table in memory that is checked, changed and watched, whatever keeps it durable.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};

use super::{Change, Conflict, Definition, Event, Expect, Kind, Revision, Watcher};
use crate::store::Ticket;

/// One value of the table.
struct Held {
    revision: Revision,
    value: Arc<[u8]>,
}

/// All definitions, by kind and key.
#[derive(Default)]
struct Table {
    kinds: BTreeMap<Kind, BTreeMap<Arc<str>, Held>>,
    revision: Revision,
}

/// The table and its watchers.
///
/// Lock order: `watchers`, then `table`. `watchers` is held from the check of a change to the last call of a watcher,
/// which keeps changes in one order for everybody; the table's own lock is released before, so watchers may read. Both
/// are free when the watchers settle.
#[derive(Default)]
pub(super) struct Live {
    watchers: Mutex<Arc<[Arc<dyn Watcher>]>>,
    table: RwLock<Table>,
    /// The ticket of the last change.
    written: AtomicU64,
}

impl Live {
    /// Sets the revision after which changes go on.
    pub(super) fn resume(&self, revision: Revision) {
        self.table.write().revision = revision;
    }

    /// Puts in what was durable already; nobody is told.
    pub(super) fn load(&self, kind: Kind, key: Arc<str>, revision: Revision, value: Arc<[u8]>) {
        let mut table = self.table.write();
        table
            .kinds
            .entry(kind)
            .or_default()
            .insert(key, Held { revision, value });
    }

    pub(super) fn get(&self, kind: Kind, key: &str) -> Option<Definition> {
        let table = self.table.read();
        let (key, held) = table.kinds.get(&kind)?.get_key_value(key)?;
        Some(definition(kind, key, held))
    }

    pub(super) fn list(&self, kind: Kind) -> Vec<Definition> {
        let table = self.table.read();
        let all = table.kinds.get(&kind).into_iter().flatten();
        all.map(|(key, held)| definition(kind, key, held)).collect()
    }

    /// Everything, as it is at one moment.
    pub(super) fn all(&self) -> (Vec<Definition>, Revision) {
        let table = self.table.read();
        let kinds = table.kinds.iter();
        let all = kinds
            .flat_map(|(kind, held)| held.iter().map(|(key, held)| definition(*kind, key, held)));
        (all.collect(), table.revision)
    }

    pub(super) fn revision(&self) -> Revision {
        self.table.read().revision
    }

    pub(super) fn written(&self) -> Ticket {
        Ticket(self.written.load(Ordering::Acquire))
    }

    /// Makes the changes, hands the events to `commit`, which starts to make them durable, tells the watchers, and has
    /// them settle.
    pub(super) fn apply(
        &self,
        changes: Vec<Change>,
        commit: impl FnOnce(&[Event]) -> Ticket,
    ) -> Result<Ticket, Conflict> {
        let watchers = self.watchers.lock();
        let events = {
            let mut table = self.table.write();
            changes.iter().try_for_each(|change| table.check(change))?;
            changes
                .into_iter()
                .filter_map(|change| table.change(change))
                .collect::<Vec<_>>()
        };
        let ticket = commit(&events);
        self.written.store(ticket.0, Ordering::Release);
        for watcher in watchers.iter() {
            events.iter().for_each(|event| watcher.changed(event));
        }
        let told = Arc::clone(&watchers);
        drop(watchers);
        told.iter().for_each(|watcher| watcher.settle());
        Ok(ticket)
    }

    pub(super) fn watch(&self, watcher: Arc<dyn Watcher>) {
        let mut watchers = self.watchers.lock();
        let kinds: Vec<Kind> = self.table.read().kinds.keys().copied().collect();
        for kind in kinds {
            for Definition {
                kind,
                key,
                revision,
                value,
            } in self.list(kind)
            {
                watcher.changed(&Event {
                    kind,
                    key,
                    revision,
                    value: Some(value),
                });
            }
        }
        *watchers = watchers.iter().cloned().chain([watcher]).collect();
    }
}

impl Table {
    fn check(&self, change: &Change) -> Result<(), Conflict> {
        let of_kind = self.kinds.get(&change.kind);
        let current = of_kind
            .and_then(|all| all.get(&change.key))
            .map(|held| held.revision);
        let holds = match change.expect {
            Expect::Anything => true,
            Expect::Absent => current.is_none(),
            Expect::Revision(revision) => current == Some(revision),
        };
        let conflict = || Conflict {
            kind: change.kind,
            key: Arc::clone(&change.key),
            current,
        };
        if holds { Ok(()) } else { Err(conflict()) }
    }

    fn change(&mut self, change: Change) -> Option<Event> {
        let Change {
            kind, key, value, ..
        } = change;
        let revision = Revision(self.revision.0 + 1);
        let of_kind = self.kinds.entry(kind).or_default();
        match &value {
            Some(value) => {
                let held = Held {
                    revision,
                    value: Arc::clone(value),
                };
                of_kind.insert(Arc::clone(&key), held);
            }
            None => {
                of_kind.remove(&key)?;
            }
        }
        self.revision = revision;
        Some(Event {
            kind,
            key,
            revision,
            value,
        })
    }
}

fn definition(kind: Kind, key: &Arc<str>, held: &Held) -> Definition {
    let value = Arc::clone(&held.value);
    Definition {
        kind,
        key: Arc::clone(key),
        revision: held.revision,
        value,
    }
}
