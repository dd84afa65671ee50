//! What every store of definitions does with changes, expectations, watchers and queue ids.

use std::{fs, path::PathBuf, sync::Arc};

use amqp_codec::{AMQPValue, FieldTable};
use broker_core::definitions::{
    BindingDefinition, Change, Conflict, Definitions, DestinationKind, Event, ExchangeDefinition,
    Expect, Kind, MemoryDefinitions, QueueDefinition, Revision, VhostDefinition, Watcher,
};
use broker_core::store::Ticket;
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::support::{Told, open_definitions};

fn vhost(name: &str) -> VhostDefinition {
    VhostDefinition {
        name: name.into(),
        ..Default::default()
    }
}

fn put(name: &str) -> Change {
    Change::put(&vhost(name)).unwrap()
}

fn delete(name: &str) -> Change {
    Change::delete(Kind::Vhost, VhostDefinition::key_of(name))
}

fn names(definitions: &dyn Definitions) -> Vec<String> {
    let records = definitions.list(Kind::Vhost).into_iter();
    records
        .map(|found| found.record::<VhostDefinition>().unwrap().name)
        .collect()
}

fn binding(routing_key: &str, arguments: FieldTable) -> BindingDefinition {
    BindingDefinition {
        vhost: "/".into(),
        source: "amq.topic".into(),
        destination: "q".into(),
        destination_kind: DestinationKind::Queue,
        routing_key: routing_key.into(),
        arguments,
    }
}

/// Keeps what it is told.
#[derive(Default)]
struct Watched(Mutex<Vec<Event>>);

impl Watcher for Watched {
    fn changed(&self, event: &Event) {
        self.0.lock().push(event.clone());
    }
}

impl Watched {
    fn seen(&self) -> Vec<(String, u64, bool)> {
        let events = self.0.lock();
        let seen = |event: &Event| {
            (
                event.key.to_string(),
                event.revision.0,
                event.value.is_some(),
            )
        };
        events.iter().map(seen).collect()
    }
}

fn what_is_put_is_there_with_its_revision(definitions: &dyn Definitions) {
    definitions.apply(vec![put("b"), put("a")]).unwrap();
    assert_eq!(names(definitions), ["a", "b"]);
    let found = definitions
        .get(Kind::Vhost, &VhostDefinition::key_of("a"))
        .unwrap();
    assert_eq!(found.revision, Revision(2));
    assert_eq!(found.record::<VhostDefinition>().unwrap(), vhost("a"));
    assert_eq!(
        definitions.get(Kind::User, &VhostDefinition::key_of("a")),
        None
    );
    assert!(found.record::<ExchangeDefinition>().is_err());
}

fn tickets_complete_in_order(definitions: &dyn Definitions) {
    let told = Arc::new(Told::default());
    let tickets: Vec<_> = (0..100)
        .map(|number| {
            let ticket = definitions.apply(vec![put(&number.to_string())]).unwrap();
            definitions.notify(ticket, told.clone());
            ticket
        })
        .collect();
    assert_eq!(told.wait(100), tickets);
    definitions.notify(Ticket::NEVER, told.clone());
    assert_eq!(told.so_far().len(), 100);
}

fn changes_are_made_only_if_all_expectations_hold(definitions: &dyn Definitions) {
    definitions
        .apply(vec![put("a").expecting(Expect::Absent)])
        .unwrap();
    let refused = definitions.apply(vec![put("b"), put("a").expecting(Expect::Absent)]);
    let key: Arc<str> = VhostDefinition::key_of("a").into();
    assert_eq!(
        refused,
        Err(Conflict {
            kind: Kind::Vhost,
            key,
            current: Some(Revision(1))
        })
    );
    assert_eq!(names(definitions), ["a"]);
    assert_eq!(definitions.revision(), Revision(1));
    definitions
        .apply(vec![put("a").expecting(Expect::Revision(Revision(1)))])
        .unwrap();
    let stale = delete("a").expecting(Expect::Revision(Revision(1)));
    assert!(definitions.apply(vec![stale]).is_err());
    definitions
        .apply(vec![delete("a").expecting(Expect::Revision(Revision(2)))])
        .unwrap();
    assert_eq!(names(definitions), [] as [&str; 0]);
    assert!(
        definitions
            .apply(vec![put("a").expecting(Expect::Revision(Revision(2)))])
            .is_err()
    );
}

fn watchers_see_what_is_there_then_every_change_in_order(definitions: &dyn Definitions) {
    let queue = Change::put(&binding("k", FieldTable::default())).unwrap();
    let key = queue.key.to_string();
    definitions.apply(vec![queue, put("a")]).unwrap();
    let watched = Arc::new(Watched::default());
    definitions.watch(watched.clone());
    definitions
        .apply(vec![put("b"), delete("a"), delete("unknown")])
        .unwrap();
    let [a, b] = ["a", "b"].map(VhostDefinition::key_of);
    assert_eq!(
        watched.seen(),
        [
            (a.clone(), 2, true),
            (key, 1, true),
            (b, 3, true),
            (a, 4, false)
        ]
    );
}

fn queue_ids_are_never_given_twice(definitions: &dyn Definitions) {
    let ids: Vec<_> = (0..1_000).map(|_| definitions.next_queue_id()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
}

fn bindings_with_other_keys_or_arguments_are_other_bindings(definitions: &dyn Definitions) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-match".into(), AMQPValue::LongString("any".into()));
    let bindings = [
        binding("", FieldTable::default()),
        binding("", arguments),
        binding("\",\"", FieldTable::default()),
        BindingDefinition {
            destination_kind: DestinationKind::Exchange,
            ..binding("", FieldTable::default())
        },
    ];
    let changes = bindings.iter().map(|binding| Change::put(binding).unwrap());
    definitions.apply(changes.collect()).unwrap();
    assert_eq!(definitions.list(Kind::Binding).len(), bindings.len());
    definitions
        .apply(vec![Change::put(&bindings[1]).unwrap()])
        .unwrap();
    assert_eq!(definitions.list(Kind::Binding).len(), bindings.len());
}

macro_rules! every_definitions {
    ($($rule:ident),+ $(,)?) => {
        mod memory {
            use super::*;
            $(#[test]
            fn $rule() {
                super::$rule(&MemoryDefinitions::new());
            })+
        }
        mod sled {
            use super::*;
            $(#[test]
            fn $rule() {
                let folder = TempDir::new().unwrap();
                super::$rule(&open_definitions(folder.path()));
            })+
        }
    };
}

every_definitions!(
    what_is_put_is_there_with_its_revision,
    tickets_complete_in_order,
    changes_are_made_only_if_all_expectations_hold,
    watchers_see_what_is_there_then_every_change_in_order,
    queue_ids_are_never_given_twice,
    bindings_with_other_keys_or_arguments_are_other_bindings,
);

/// What a crash would leave of an open database.
fn crashed(folder: &TempDir) -> TempDir {
    let copy = TempDir::new().unwrap();
    let mut folders = vec![PathBuf::new()];
    while let Some(place) = folders.pop() {
        fs::create_dir_all(copy.path().join(&place)).unwrap();
        for entry in fs::read_dir(folder.path().join(&place)).unwrap().flatten() {
            let place = place.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(place),
                false => drop(fs::copy(entry.path(), copy.path().join(place)).unwrap()),
            }
        }
    }
    copy
}

#[test]
fn queue_ids_of_a_start_that_made_no_change_are_not_given_again_after_a_crash() {
    let folder = TempDir::new().unwrap();
    open_definitions(folder.path()).close();
    let definitions = open_definitions(folder.path());
    let id = definitions.next_queue_id();
    let crashed = crashed(&folder);
    assert!(open_definitions(crashed.path()).next_queue_id() > id);
}

#[test]
fn sled_definitions_revisions_and_queue_ids_go_on_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let definitions = open_definitions(folder.path());
    let mut arguments = FieldTable::default();
    arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(60_000));
    let queue = QueueDefinition {
        id: definitions.next_queue_id(),
        higher_lanes: 0,
        vhost: "/".into(),
        name: "q".into(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments,
        paused: false,
        created_at: Some(1),
    };
    definitions
        .apply(vec![Change::put(&queue).unwrap(), put("a"), put("b")])
        .unwrap();
    definitions.apply(vec![delete("b")]).unwrap();
    definitions.close();
    assert_eq!(definitions.apply(vec![put("late")]), Ok(Ticket::NEVER));
    drop(definitions);

    let definitions = open_definitions(folder.path());
    assert_eq!(names(&definitions), ["a"]);
    assert_eq!(definitions.revision(), Revision(4));
    let key = QueueDefinition::key_of("/", "q");
    let found = definitions.get(Kind::Queue, &key).unwrap();
    assert_eq!(found.revision, Revision(1));
    assert_eq!(found.record::<QueueDefinition>().unwrap(), queue);
    assert!(definitions.next_queue_id() > queue.id);
    definitions.apply(vec![put("c")]).unwrap();
    assert_eq!(definitions.revision(), Revision(5));
}
