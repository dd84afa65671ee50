//! One message for several durable queues, over the journal in a temporary folder: in all of them or in none, wherever a
//! crash cuts the log; a large body on disk once; refusals told and taken back.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed step is a failed test, and its panic is the report"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use amqp_codec::{AMQPValue, FieldTable};
use broker_core::{
    broker::Broker,
    definitions::MemoryDefinitions,
    journal::{
        FileLog, JournalStore,
        file_system::{Disk, FileSystem},
        log::{Log, LogOptions},
    },
    message::Message,
    paging::Pager,
    queue::{ConnectionId, Queue, Work},
    store::{Completion, Durability, MessageStore, QueueId, Ticket},
    users::FirstStart,
    vhost::{QueueDeclaration, Vhost},
};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

const NOW: u64 = 1_000;
const BY: ConnectionId = ConnectionId(1);
/// The default size of a log's file.
const LARGE: u64 = 64 * 1024 * 1024;

fn files() -> Arc<dyn FileSystem> {
    Arc::new(Disk)
}

fn open_log(directory: &Path, file_size: u64) -> Arc<dyn Log> {
    let options = LogOptions {
        file_size,
        durability: Durability::Sync,
        ..LogOptions::default()
    };
    Arc::new(FileLog::open(files(), directory, options).unwrap())
}

fn open_store(directory: &Path, file_size: u64) -> Arc<JournalStore> {
    let log = open_log(directory, file_size);
    let failed = Box::new(|error| panic!("{error}"));
    Arc::new(JournalStore::open(files(), directory, log, file_size, failed).unwrap())
}

/// A broker over a journal.
struct Scene {
    folder: TempDir,
    store: Arc<JournalStore>,
    vhost: Arc<Vhost>,
    _broker: Arc<Broker>,
}

impl Scene {
    fn new(file_size: u64) -> Self {
        let folder = TempDir::new().unwrap();
        let store = open_store(&folder.path().join("journal"), file_size);
        let pager = Pager::new(usize::MAX, None);
        let definitions = Arc::new(MemoryDefinitions::new());
        let first = FirstStart::default();
        let broker = Broker::start_with(store.clone(), definitions, pager, &first).unwrap();
        Self {
            vhost: broker.vhost("/").unwrap(),
            folder,
            store,
            _broker: broker,
        }
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    fn queue(&self, name: &str, arguments: FieldTable) -> Arc<Queue> {
        let declaration = QueueDeclaration {
            name: name.to_owned(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments,
        };
        self.vhost.declare_queue(declaration, BY).unwrap().0
    }

    fn queues(&self, count: usize) -> Vec<Arc<Queue>> {
        let name = |number| format!("queue {number}");
        (0..count)
            .map(|number| self.queue(&name(number), FieldTable::default()))
            .collect()
    }

    /// Publishes to all of the queues at once, waits until that is on disk, and gives the indices that were refused.
    fn publish(&self, queues: &[Arc<Queue>], mut messages: Vec<Message>) -> Vec<usize> {
        let names: Vec<String> = queues
            .iter()
            .map(|queue| queue.name().to_string())
            .collect();
        let exchange = self.vhost.exchange("").unwrap();
        let (first, others) = names.split_first().unwrap();
        let route = self.vhost.route(&exchange, first, others, None);
        assert_eq!(route.queues.len(), queues.len());
        let (mut work, mut refused) = (Work::default(), Vec::new());
        self.vhost
            .publish(&route, &mut messages, NOW, &mut work, &mut refused);
        assert!(messages.is_empty());
        let written = Arc::new(Written::default());
        self.store.notify(work.ticket, written.clone());
        written.wait();
        refused
    }
}

#[derive(Default)]
struct Written(Mutex<bool>, Condvar);

impl Completion for Written {
    fn durable(&self, _: Ticket) {
        *self.0.lock() = true;
        self.1.notify_all();
    }
}

impl Written {
    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut done = self.0.lock();
        while !*done {
            let late = self.1.wait_until(&mut done, deadline).timed_out();
            assert!(!late, "not on disk within a minute");
        }
    }
}

fn message(body: &[u8], persistent: bool) -> Message {
    Message::new("", "key", &[0, 0], body, persistent)
}

fn bodies(store: &dyn MessageStore, queue: QueueId) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut each = |stored: broker_core::store::StoredMessage| {
        found.push(stored.message.body().to_vec());
    };
    store
        .read(queue, 0, u64::MAX, usize::MAX, &mut each)
        .unwrap();
    found
}

/// A copy of a journal that is still open, as a crash leaves it.
fn crashed(directory: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn logs(directory: &Path) -> Vec<PathBuf> {
    with_ending(directory, "log")
}

fn with_ending(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect()
}

#[test]
fn wherever_a_crash_cuts_the_log_a_message_is_in_all_of_its_queues_or_in_none() {
    const FILE: u64 = 128 * 1024;
    let scene = Scene::new(FILE);
    let queues = scene.queues(5);
    // Small ones are copied to each queue, large ones shared.
    let sent: Vec<Vec<u8>> = (0..12u8)
        .map(|number| vec![number; if number % 3 == 0 { 700 } else { 20 }])
        .collect();
    for some in sent.chunks(3) {
        let messages = some.iter().map(|body| message(body, true)).collect();
        assert!(scene.publish(&queues, messages).is_empty());
    }
    let whole = crashed(&scene.directory());
    let [log] = logs(whole.path()).try_into().unwrap();
    let content = fs::read(&log).unwrap();
    let end = content.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..=end).step_by(97).chain([end]) {
        let mut torn = content.clone();
        torn[cut..].fill(0);
        fs::write(&log, torn).unwrap();
        let store = open_store(whole.path(), FILE);
        let first = bodies(&*store, queues[0].id);
        assert_eq!(first, sent[..first.len()], "cut at byte {cut}");
        for queue in &queues {
            assert_eq!(bodies(&*store, queue.id), first, "cut at byte {cut}");
        }
        store.close();
        drop(store);
        fs::remove_file(whole.path().join("manifest")).ok();
        for path in logs(whole.path()).iter().filter(|path| **path != log) {
            fs::remove_file(path).unwrap();
        }
        seen.insert(first.len());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 3, 6, 9, 12]);
}

#[test]
fn a_full_queue_refuses_as_it_does_messages_that_are_not_stored() {
    let limits = [
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    let limits: std::collections::BTreeMap<_, _> = limits
        .into_iter()
        .map(|(key, value)| (key.into(), value))
        .collect();
    let run = |persistent| {
        let scene = Scene::new(LARGE);
        let mut queues = scene.queues(2);
        queues.push(scene.queue("limited", FieldTable::from(limits.clone())));
        let messages = (0..5).map(|number| message(&[number], persistent));
        let refused = scene.publish(&queues, messages.collect());
        let ready: Vec<_> = queues.iter().map(|queue| queue.counts().ready).collect();
        (scene, queues, refused, ready)
    };
    let (_, _, refused, ready) = run(false);
    assert_eq!((refused, ready), (vec![2, 3, 4], vec![5, 5, 2]));
    let (scene, queues, refused, ready) = run(true);
    assert_eq!((refused, ready), (vec![2, 3, 4], vec![5, 5, 2]));
    // The settlements of the refused ones are awaited with what follows them.
    scene.publish(&queues[..2], vec![message(b"last", true)]);
    let after = crashed(&scene.directory());
    let store = open_store(after.path(), LARGE);
    assert_eq!(bodies(&*store, queues[2].id), [[0], [1]]);
    assert_eq!(bodies(&*store, queues[0].id).len(), 6);
}

#[test]
fn more_records_than_fit_into_one_batch_keep_their_order_and_their_indices() {
    let scene = Scene::new(LARGE);
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(5_999));
    arguments.insert(
        "x-overflow".into(),
        AMQPValue::LongString("reject-publish".into()),
    );
    let queues = [
        scene.queue("a", FieldTable::default()),
        scene.queue("b", arguments),
    ];
    let body = |number: u32| number.to_be_bytes();
    let messages = (0..6_000).map(|number| message(&body(number), number % 2 == 0));
    assert_eq!(scene.publish(&queues, messages.collect()), [5_999]);
    for number in 0..6_000 {
        let got = queues[0].get(true, NOW, &mut Work::default()).unwrap();
        assert_eq!(got.unwrap().0.message.body(), body(number));
    }
    let stored = bodies(&*scene.store, queues[1].id);
    let even = (0..6_000).step_by(2).map(|number| body(number).to_vec());
    assert_eq!(stored, even.collect::<Vec<_>>());
}

const BODY: usize = 64 * 1024;

/// Bytes that one message to so many queues takes in the log, headers and padding of groups left out.
fn log_bytes(count: usize) -> u64 {
    let scene = Scene::new(LARGE);
    let queues = scene.queues(count);
    scene.publish(&queues, vec![message(&[7; BODY], true)]);
    let copy = crashed(&scene.directory());
    let mut bytes = 0;
    let log = open_log(copy.path(), LARGE);
    log.replay(0, &mut |_, items| {
        bytes += items.len() as u64;
        Ok(())
    })
    .unwrap();
    bytes
}

#[test]
fn a_large_message_to_a_hundred_queues_costs_the_log_at_most_half_more_than_to_one() {
    let (one, hundred) = (log_bytes(1), log_bytes(100));
    assert!(one >= BODY as u64, "{one}");
    assert!(hundred * 2 <= one * 3, "{hundred} instead of {one}");
}

/// Bytes of the segments after the log's file with the message was moved.
fn segment_bytes(count: usize) -> u64 {
    const FILE: u64 = 256 * 1024;
    let scene = Scene::new(FILE);
    let queues = scene.queues(count);
    let other = scene.queue("other", FieldTable::default());
    scene.publish(&queues, vec![message(&[7; BODY], true)]);
    let deadline = Instant::now() + Duration::from_secs(60);
    // Messages that come and go fill the log.
    while with_ending(&scene.directory(), "seg").is_empty()
        || logs(&scene.directory())
            .iter()
            .any(|path| path.ends_with("log-0000000000000001.log"))
    {
        assert!(Instant::now() < deadline, "not moved within a minute");
        scene.publish(
            std::slice::from_ref(&other),
            vec![message(&[8; 32 * 1024], true)],
        );
        other.get(true, NOW, &mut Work::default()).unwrap().unwrap();
    }
    for queue in &queues {
        assert_eq!(bodies(&*scene.store, queue.id), [[7; BODY]]);
    }
    let segments = with_ending(&scene.directory(), "seg");
    let lengths = segments
        .iter()
        .map(|path| fs::metadata(path).unwrap().len());
    lengths.sum()
}

#[test]
fn a_large_message_to_a_hundred_queues_costs_segments_at_most_half_more_than_to_one() {
    // A busy machine may leave one of the messages that fill the log alive for long enough to be moved too.
    let fits = || {
        let (one, hundred) = (segment_bytes(1), segment_bytes(100));
        assert!(one >= BODY as u64, "{one}");
        eprintln!("{hundred} instead of {one}");
        hundred * 2 <= one * 3
    };
    assert!((0..4).any(|_| fits()));
}
