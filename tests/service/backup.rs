//! Backups of brokers at work, and what comes back of them.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use amq_protocol::protocol::basic::AMQPProperties;
use serde_json::{Value, json};

use crate::{
    refused, succeeded,
    support::{Broker, Peer, basic, durable_queue, http::Http},
};

const WINDOW: u64 = 20;

/// Short files, so that segments and manifests change all the time.
const SHORT: [(&str, &str); 2] = [
    ("LEVERET_STORE_LOG_FILE_SIZE", "131072"),
    ("LEVERET_MEMORY_MESSAGE_BUDGET", "262144"),
];

fn persistent() -> AMQPProperties {
    AMQPProperties::default().with_delivery_mode(2)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A broker over what a backup holds.
fn restored(backup: &Path) -> Broker {
    let data = tempfile::tempdir().unwrap();
    succeeded(data.path(), &["restore", text(backup)]);
    match Broker::try_start(data, &SHORT) {
        Ok(broker) => broker,
        Err((_, log)) => panic!("a broker does not start from its backup:\n{log}"),
    }
}

/// A queue to which numbers are published in order, and of which a consumer takes some.
#[derive(Default)]
struct Line {
    stop: AtomicBool,
    /// Numbers below were published, and may be in the broker.
    sent: AtomicU64,
    /// Numbers below are confirmed.
    confirmed: AtomicU64,
    /// Numbers below may have been settled.
    settled: AtomicU64,
}

impl Line {
    fn publish(&self, mut peer: Peer, queue: &str) {
        peer.confirm_select(1);
        while !self.stop.load(Ordering::Acquire) {
            let from = self.confirmed.load(Ordering::Acquire);
            self.sent.store(from + WINDOW, Ordering::Release);
            for number in from..from + WINDOW {
                let mut body = format!("{number} ").into_bytes();
                body.resize(if number % 7 == 0 { 9_000 } else { 300 }, b'x');
                peer.publish_with(1, "", queue, persistent(), &body);
            }
            let mut confirmed = from;
            while confirmed < from + WINDOW {
                confirmed = peer.expect::<basic::Ack>(1).delivery_tag;
            }
            self.confirmed.store(from + WINDOW, Ordering::Release);
        }
        peer.close();
    }

    /// Takes the first half of what was confirmed.
    fn take_some(&self, mut peer: Peer, queue: &str) {
        while !self.stop.load(Ordering::Acquire) {
            let next = self.settled.load(Ordering::Acquire);
            if next >= self.confirmed.load(Ordering::Acquire) / 2 {
                crate::support::pause();
                continue;
            }
            let got = peer.get(1, queue, false).expect("what was confirmed");
            assert_eq!(number(&got.body), next);
            self.settled.store(next + 1, Ordering::Release);
            peer.ack(1, got.method.delivery_tag, false);
        }
        peer.close();
    }
}

fn number(body: &[u8]) -> u64 {
    let digits = body.split(|byte| *byte == b' ').next().unwrap();
    std::str::from_utf8(digits).unwrap().parse().unwrap()
}

/// All numbers in a queue, in order.
fn numbers(broker: &Broker, queue: &str) -> Vec<u64> {
    let mut peer = Peer::connect_to(broker);
    let mut found = Vec::new();
    while let Some(got) = peer.get(1, queue, true) {
        found.push(number(&got.body));
    }
    found
}

fn in_order(found: &[u64]) -> bool {
    found.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

#[test]
fn what_was_confirmed_before_a_backup_is_in_it_and_nothing_is_invented() {
    let broker = Broker::start_with_options(&SHORT);
    let (kept, taken) = (Line::default(), Line::default());
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue("kept"));
    peer.declare(1, durable_queue("taken"));
    let folder = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        let connect = || Peer::connect_to(&broker);
        let (first, second, third) = (connect(), connect(), connect());
        scope.spawn(|| kept.publish(first, "kept"));
        scope.spawn(|| taken.publish(second, "taken"));
        scope.spawn(|| taken.take_some(third, "taken"));
        let _stop = Stop(&[&kept, &taken]);
        for round in 0..3 {
            let deadline = Instant::now() + Duration::from_secs(60);
            while kept.confirmed.load(Ordering::Acquire) < (round + 1) * 400
                || taken.settled.load(Ordering::Acquire) == 0
            {
                assert!(Instant::now() < deadline, "nothing is confirmed any more");
                crate::support::pause();
            }
            let backup = folder.path().join(format!("backup-{round}"));
            let before = [&kept, &taken].map(|line| line.confirmed.load(Ordering::Acquire));
            let settled = taken.settled.load(Ordering::Acquire);
            succeeded(broker.data_dir(), &["backup", text(&backup)]);
            let after = [&kept, &taken].map(|line| line.sent.load(Ordering::Acquire));
            let settled = settled.saturating_sub(1)..=taken.settled.load(Ordering::Acquire);

            let other = restored(&backup);
            let found = numbers(&other, "kept");
            assert!(in_order(&found), "{found:?}");
            assert_eq!(found.first(), Some(&0));
            let count = found.len() as u64;
            assert!((before[0]..=after[0]).contains(&count), "{count}");
            let found = numbers(&other, "taken");
            assert!(in_order(&found), "{found:?}");
            let (first, last) = (found[0], found[found.len() - 1]);
            assert!(settled.contains(&first), "{first} of {settled:?}");
            assert!((before[1]..=after[1]).contains(&(last + 1)), "{last}");
        }
    });
    assert!(!broker.data_dir().join("backup.new").exists());
}

/// Ends the threads also when a check fails.
struct Stop<'a>(&'a [&'a Line]);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        for line in self.0 {
            line.stop.store(true, Ordering::Release);
        }
    }
}

/// What is defined, without what says when it was exported.
fn definitions(broker: &Broker) -> Value {
    Http::guest(broker).get("/api/definitions")
}

#[test]
fn definitions_come_back_as_they_were_and_go_on() {
    let broker = Broker::start();
    let http = Http::guest(&broker);
    http.done("PUT", "/api/vhosts/other", None);
    let user = json!({ "password": "secret", "tags": "monitoring" });
    http.done("PUT", "/api/users/somebody", Some(user));
    let policy = json!({ "pattern": "^p", "definition": { "max-length": 5 } });
    http.done("PUT", "/api/policies/other/short", Some(policy));
    let exchange = json!({ "type": "topic", "durable": true });
    http.done("PUT", "/api/exchanges/other/topics", Some(exchange));
    for number in 0..50 {
        let queue = json!({ "durable": true });
        http.done("PUT", &format!("/api/queues/other/q{number}"), Some(queue));
    }
    let binding = Some(json!({ "routing_key": "a.*" }));
    http.done("POST", "/api/bindings/other/e/topics/q/q7", binding);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    succeeded(broker.data_dir(), &["backup", text(&backup)]);
    let mut other = restored(&backup);
    assert_eq!(definitions(&other), definitions(&broker));
    Http::user(&other, "somebody", "secret").get("/api/overview");
    // Queues that are declared now do not meet what others left.
    let mut peer = Peer::connect_to(&other);
    peer.declare(1, durable_queue("new"));
    peer.confirm_select(1);
    peer.publish_with(1, "", "new", persistent(), b"1");
    peer.expect_confirms_to(1, 1);
    peer.close();
    other.restart();
    let mut peer = Peer::connect_to(&other);
    assert_eq!(peer.counts(1, "new"), (1, 0));
}

/// A broker with one message in its queue, its data, and a backup that was taken while it did not run.
fn stopped(options: &[(&str, &str)], folder: &Path) -> (Broker, std::path::PathBuf) {
    let mut broker = Broker::start_with_options(options);
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue("kept"));
    peer.fill_persistent("kept");
    peer.close();
    assert!(broker.stop().success());
    let backup = folder.join("backup");
    succeeded(broker.data_dir(), &["backup", text(&backup)]);
    (broker, backup)
}

impl Peer {
    fn fill_persistent(&mut self, queue: &str) {
        self.confirm_select(1);
        self.publish_with(1, "", queue, persistent(), b"1 message");
        self.expect_confirms_to(1, 1);
    }
}

#[test]
fn a_broker_that_does_not_run_is_copied_as_it_is_with_either_engine() {
    for engine in ["journal", "sled"] {
        let folder = tempfile::tempdir().unwrap();
        let options = [("LEVERET_STORE_ENGINE", engine)];
        let (_broker, backup) = stopped(&options, folder.path());
        let data = tempfile::tempdir().unwrap();
        succeeded(data.path(), &["restore", text(&backup)]);
        let Ok(other) = Broker::try_start(data, &options) else {
            panic!("{engine}: does not start from its backup");
        };
        assert_eq!(numbers(&other, "kept"), [1], "{engine}");
    }
}

#[test]
fn a_running_broker_that_stores_in_sled_says_that_it_must_be_stopped() {
    let broker = Broker::start_with_options(&[("LEVERET_STORE_ENGINE", "sled")]);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    let part = "cannot be copied while the broker runs; stop the broker first";
    refused(broker.data_dir(), &["backup", text(&backup)], part);
    assert!(!backup.exists());
}

#[test]
fn a_backup_that_is_not_whole_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, backup) = stopped(&[], folder.path());
    let data = folder.path().join("data");
    let files = |directory: &str| -> Vec<_> {
        let entries = fs::read_dir(backup.join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let damaged = files("journal")
        .into_iter()
        .find(|it| fs::metadata(it).unwrap().len() > 100);
    let damaged = damaged.expect("a file of the log");
    let bytes = fs::read(&damaged).unwrap();
    let mut changed = bytes.clone();
    changed[60] ^= 1;
    fs::write(&damaged, changed).unwrap();
    let restore = ["restore", text(&backup)];
    refused(
        &data,
        &restore,
        "is not as it was written: the backup is damaged",
    );
    fs::write(&damaged, bytes).unwrap();
    succeeded(&data, &restore);
    let list = backup.join("backup.json");
    fs::remove_file(list).unwrap();
    let other = folder.path().join("other");
    refused(
        &other,
        &restore,
        "is no backup, or one that was not finished",
    );
    assert!(!other.exists());
}

#[test]
fn data_that_are_there_are_only_replaced_when_that_is_asked_for_and_kept_then() {
    let folder = tempfile::tempdir().unwrap();
    let (mut broker, backup) = stopped(&[], folder.path());
    let restore = ["restore", text(&backup)];
    let data = broker.data_dir().to_owned();
    refused(&data, &restore, "holds data already; with --replace");
    refused(
        &data,
        &["backup", text(&backup)],
        "is not empty: a backup needs a directory of its own",
    );
    broker.start_again();
    refused(&data, &restore, "is in use by another Leveret");
    let mut peer = Peer::connect_to(&broker);
    assert_eq!(peer.purge(1, "kept"), 1);
    peer.close();
    assert!(broker.stop().success());
    succeeded(&data, &["restore", "--replace", text(&backup)]);
    broker.start_again();
    assert_eq!(numbers(&broker, "kept"), [1]);
    let names = fs::read_dir(&data).unwrap();
    let names: BTreeSet<_> = names
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    let kept = names
        .iter()
        .find(|name| name.starts_with("before-restore-"));
    let kept = data.join(kept.expect("the old data"));
    assert!(kept.join("format").exists() && kept.join("journal").exists());
}

#[test]
fn half_a_restore_is_no_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, backup) = stopped(&[], folder.path());
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(data.path().join("restore.new")).unwrap();
    fs::create_dir(data.path().join("sled")).unwrap();
    let Err((data, log)) = Broker::try_start(data, &[]) else {
        panic!("the broker starts from half a restore");
    };
    assert!(
        log.contains("holds half of a backup in restore.new"),
        "{log}"
    );
    succeeded(data.path(), &["restore", text(&backup)]);
    let Ok(broker) = Broker::try_start(data, &[]) else {
        panic!("the broker does not start from its backup");
    };
    assert_eq!(numbers(&broker, "kept"), [1]);
}
