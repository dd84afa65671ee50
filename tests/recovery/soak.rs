//! Hours in the life of a broker, as many as one wants to wait for: busy queues beside one that nobody ever empties and
//! one whose consumer keeps every hundredth message. What lies on disk stays in proportion to what is alive, and memory
//! does not grow.
//!
//! `LEVERET_TEST_SOAK` is the time in minutes; without it only a start is made.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    kill::persistent,
    mortal_broker_with,
    support::{Broker, PATIENCE, Peer, basic, durable_queue},
};

const MIB: u64 = 1024 * 1024;

/// Bytes of a file of the log: small, so that much has to move out of it.
const LOG_FILE: u64 = 4 * MIB;

/// Files that the log may have, and as many that wait to be used again.
const LOG_FILES: u64 = 5 + 4;

/// What a message costs beyond its body: its record, its properties, its part of a segment's header.
const PER_MESSAGE: u64 = 128;

/// A queue with the size of its messages, and how often its consumer keeps one.
const BUSY: [(&str, usize, u64); 3] = [
    ("small", 100, u64::MAX),
    ("large", 20_000, u64::MAX),
    ("kept", 2_000, 100),
];

/// The queue that nobody consumes from.
const FORGOTTEN: &str = "forgotten";

const WINDOW: u64 = 50;

/// Bytes that are published and not confirmed, or settled by a client and not yet by the broker.
const UNDER_WAY: u64 = 4 * MIB;

/// Messages that may wait in a busy queue, so that live data stays small beside what goes through.
const BACKLOG: u32 = 200;

/// How long what has died may lie on disk, when the machine has all hands full.
const TIDYING: Duration = PATIENCE;

/// Memory of a broker that has just begun to work, on a machine that lets it do little.
const AT_LEAST: u64 = 96 * MIB;

#[derive(Default)]
struct Load {
    stop: AtomicBool,
    published: AtomicU64,
    /// Bytes that were published, and of those the ones that were settled.
    published_bytes: AtomicU64,
    settled_bytes: AtomicU64,
    forgotten: AtomicU64,
    kept: AtomicU64,
}

impl Load {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Bytes of all messages in the broker, but for what is on its way.
    fn live(&self) -> u64 {
        let settled = self.settled_bytes.load(Ordering::Relaxed);
        let published = self.published_bytes.load(Ordering::Relaxed);
        published.saturating_sub(settled)
    }

    /// Windows of confirmed messages, each with one for the queue that nobody consumes from.
    fn publish(&self, mut peer: Peer, queue: &str, size: usize) {
        peer.confirm_select(1);
        peer.open_channel(2);
        let body = vec![b'x'; size];
        let mut confirmed = 0;
        while !self.stopped() {
            if peer.counts(2, queue).0 > BACKLOG {
                crate::support::pause();
                continue;
            }
            for _ in 1..WINDOW {
                peer.publish_with(1, "", queue, persistent(), &body);
            }
            peer.publish_with(1, "", FORGOTTEN, persistent(), &body);
            let bytes = WINDOW * (size as u64 + PER_MESSAGE);
            let wanted = confirmed + WINDOW;
            while confirmed < wanted {
                confirmed = peer.expect::<basic::Ack>(1).delivery_tag;
            }
            self.published_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.published.fetch_add(WINDOW, Ordering::Relaxed);
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        peer.close();
    }

    /// Acknowledges one by one all but every `keep`th.
    fn consume(&self, mut peer: Peer, queue: &str, keep: u64) {
        peer.qos(1, 0, false);
        peer.consume(1, queue, "c");
        let mut tag = 0;
        while !self.stopped() {
            let deadline = Instant::now() + Duration::from_secs(60);
            while !self.stopped() && !peer.readable(Duration::from_millis(100)) {
                assert!(Instant::now() < deadline, "{queue}: no messages");
            }
            if self.stopped() {
                break;
            }
            let delivery = peer.expect_delivery(1);
            tag += 1;
            assert_eq!(delivery.tag(), tag);
            if tag % keep == 0 {
                self.kept.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            let bytes = delivery.body.len() as u64 + PER_MESSAGE;
            self.settled_bytes.fetch_add(bytes, Ordering::Relaxed);
            peer.ack(1, tag, false);
        }
        peer.cut();
    }
}

/// Bytes on disk of everything below `folder`. Files come and go while it looks.
fn disk_use(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_use(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

/// The files of a folder with their lengths.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| {
            let length = entry.metadata().map_or(0, |it| it.len());
            (entry.file_name().to_string_lossy().into_owned(), length)
        })
        .collect();
    files.sort();
    files
}

/// Bytes of memory that the broker has.
fn resident(broker: &Broker) -> u64 {
    let pid = broker.pid().expect("a running broker");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

fn duration() -> Duration {
    let chosen = std::env::var("LEVERET_TEST_SOAK").ok();
    let minutes = chosen.and_then(|text| text.parse::<f64>().ok());
    Duration::from_secs_f64(60.0 * minutes.unwrap_or(0.25))
}

#[test]
fn disk_and_memory_follow_what_is_alive() {
    let options = [
        ("LEVERET_STORE_LOG_FILE_SIZE", LOG_FILE.to_string()),
        ("LEVERET_MEMORY_MESSAGE_BUDGET", (4 * MIB).to_string()),
        // What a consumer keeps, it keeps to the end.
        ("LEVERET_AMQP_CONSUMER_TIMEOUT_MS", "0".to_owned()),
    ];
    let Some(mut broker) = mortal_broker_with(&options) else {
        return;
    };
    let load = Arc::new(Load::default());
    let mut peer = Peer::connect_to(&broker);
    peer.declare(1, durable_queue(FORGOTTEN));
    for (queue, ..) in BUSY {
        peer.declare(1, durable_queue(queue));
    }
    thread::scope(|scope| {
        for (queue, size, keep) in BUSY {
            let (publisher, consumer) = (Peer::connect_to(&broker), Peer::connect_to(&broker));
            let load = &load;
            scope.spawn(move || load.publish(publisher, queue, size));
            scope.spawn(move || load.consume(consumer, queue, keep));
        }
        // The threads end also when a check fails.
        let _stop = Stop(&load);
        watch(&broker, &load);
    });
    let (published, forgotten) = (&load.published, &load.forgotten);
    let (published, forgotten) = (
        published.load(Ordering::Relaxed),
        forgotten.load(Ordering::Relaxed),
    );
    eprintln!("{published} messages, {forgotten} of them forgotten");
    assert!(forgotten > 0);
    broker.restart();
    let mut peer = Peer::connect_to(&broker);
    assert_eq!(u64::from(peer.counts(1, FORGOTTEN).0), forgotten);
    let kept = peer.counts(1, "kept").0;
    assert!(u64::from(kept) >= load.kept.load(Ordering::Relaxed));
}

struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

/// The most of what was seen in one half of the time.
#[derive(Default)]
struct Most {
    memory: u64,
    disk: u64,
    live: u64,
}

impl Most {
    fn note(&mut self, memory: u64, disk: u64, live: u64) {
        self.memory = self.memory.max(memory);
        self.disk = self.disk.max(disk);
        self.live = self.live.max(live);
    }
}

/// Looks at the broker until the time is over and the disk holds no more than it should.
fn watch(broker: &Broker, load: &Load) {
    let (start, duration) = (Instant::now(), duration());
    let journal = broker.data_dir().join("journal");
    let mut early = AT_LEAST;
    let mut too_much_since = None;
    let mut halves = [Most::default(), Most::default()];
    while start.elapsed() < duration || too_much_since.is_some() {
        thread::sleep(Duration::from_millis(500));
        let memory = resident(broker);
        let disk = disk_use(&journal) + disk_use(&broker.data_dir().join("spill"));
        let live = load.live();
        let half = usize::from(start.elapsed() >= duration / 2);
        halves[half].note(memory, disk, live);
        let bound = 2 * live + LOG_FILES * LOG_FILE + UNDER_WAY;
        too_much_since = (disk > bound).then(|| too_much_since.unwrap_or_else(Instant::now));
        assert!(
            too_much_since.is_none_or(|since| since.elapsed() < TIDYING),
            "{disk} bytes on disk for {live} bytes alive: {:#?}",
            files(&journal)
        );
        if start.elapsed() < duration / 3 {
            early = memory.max(early);
        }
        // sled keeps a cache that fills in its own time.
        if journal.is_dir() {
            let most = early + early / 4 + 16 * MIB;
            assert!(memory <= most, "{memory} bytes of memory, {early} before");
        }
    }
    for (half, most) in ["first", "second"].iter().zip(&halves) {
        let Most { memory, disk, live } = most;
        let [memory, disk, live] = [memory, disk, live].map(|bytes| bytes / MIB);
        eprintln!(
            "{half} half: at most {memory} MiB of memory, {disk} MiB on disk, {live} MiB alive"
        );
    }
    let (disk, live) = (disk_use(&journal) / MIB, load.live() / MIB);
    eprintln!(
        "{disk} MiB on disk, {live} MiB alive, {} MiB of memory",
        resident(broker) / MIB
    );
}
