//! A process that writes and is killed: what it was told to be durable is there, and batches are whole.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use broker_core::{
    definitions::{Change, Definitions, Kind, VhostDefinition},
    store::{Completion, MessageStore, Ticket},
};
use tempfile::TempDir;

use crate::support::{commit, contents, enqueue, open_definitions, open_store, positions, settle};

/// Set in the process that is to be killed: the folder to write into.
const FOLDER: &str = "LEVERET_CRASH_TEST_FOLDER";
/// A batch settles what was published this many batches before.
const BACKLOG: u64 = 100;

/// Tells the parent, who may kill us in any line.
struct Confirm;

impl Completion for Confirm {
    fn durable(&self, ticket: Ticket) {
        println!("\nconfirmed {}", ticket.0);
    }
}

fn folder_to_write_into() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

/// Runs one of this file's tests as the process to be killed.
fn start(test: &str, folder: &TempDir) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills it (SIGKILL) once it has reported `count` confirms, and gives the last that it reported.
fn kill_after(mut child: Child, count: usize) -> u64 {
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let confirms = lines.filter_map(|line| line.strip_prefix("confirmed ")?.parse().ok());
    let mut last = None;
    for (number, confirm) in confirms.enumerate() {
        last = Some(confirm);
        if number + 1 == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    last.expect("the process confirmed nothing")
}

fn body(batch: u64) -> Vec<u8> {
    let length = if batch.is_multiple_of(50) {
        20_000
    } else {
        1_000
    };
    vec![(batch % 251) as u8; length]
}

/// Batch n puts n into both queues and takes n - BACKLOG out of both.
#[test]
fn process_that_writes_messages() {
    let Some(folder) = folder_to_write_into() else {
        return;
    };
    let store = open_store(&folder);
    let confirm = Arc::new(Confirm);
    for batch in 1.. {
        let mut operations = vec![
            enqueue(1, batch, &body(batch)),
            enqueue(2, batch, &body(batch)),
        ];
        if batch > BACKLOG {
            operations.extend([settle(1, batch - BACKLOG), settle(2, batch - BACKLOG)]);
        }
        let ticket = store.append(&mut operations);
        store.notify(ticket, confirm.clone());
        while store.pending_bytes() > 1_000_000 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn sled_keeps_what_it_confirmed_and_whole_batches_after_a_kill() {
    for count in [1, 40, 700, 3_000] {
        let folder = TempDir::new().unwrap();
        let child = start("crash::process_that_writes_messages", &folder);
        let confirmed = kill_after(child, count);
        let store = open_store(folder.path());
        let found = contents(&store, 1);
        let last = found.last().unwrap().0;
        assert!(
            last >= confirmed,
            "{confirmed} was confirmed, and {last} is the last there is"
        );
        let first = last.saturating_sub(BACKLOG) + 1;
        let expected: Vec<_> = (first..=last).map(|batch| (batch, body(batch))).collect();
        assert!(found == expected, "batches of queue 1 are not whole");
        assert!(
            contents(&store, 2) == expected,
            "batches of queue 2 are not whole"
        );
        commit(&store, (first..=last).map(|batch| settle(1, batch)));
        assert!(positions(&store, 1).is_empty());
    }
}

#[test]
fn process_that_writes_definitions() {
    let Some(folder) = folder_to_write_into() else {
        return;
    };
    let definitions = open_definitions(&folder);
    let confirm = Arc::new(Confirm);
    for number in 1..10_000 {
        let id = definitions.next_queue_id();
        let pair = ["first", "second"].map(|which| {
            let name = format!("{number:06}-{which}");
            let description = id.0.to_string();
            Change::put(&VhostDefinition {
                name,
                description,
                ..Default::default()
            })
            .unwrap()
        });
        let ticket = definitions.apply(pair.into()).unwrap();
        definitions.notify(ticket, confirm.clone());
    }
    std::thread::park();
}

#[test]
fn sled_definitions_keep_what_they_confirmed_and_queue_ids_are_new_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let child = start("crash::process_that_writes_definitions", &folder);
    let confirmed = kill_after(child, 200);
    let definitions = open_definitions(folder.path());
    let found = definitions.list(Kind::Vhost);
    assert!(found.len().is_multiple_of(2), "half a change is there");
    assert!(found.len() as u64 >= 2 * confirmed);
    assert_eq!(definitions.revision().0, found.len() as u64);
    let used = found.iter().map(|found| {
        found
            .record::<VhostDefinition>()
            .unwrap()
            .description
            .parse::<u64>()
            .unwrap()
    });
    assert!(used.max() < Some(definitions.next_queue_id().0));
}
