//! One flipped bit anywhere in the journal's files: it is found and told with file and offset, and what it hit is never
//! delivered as a message. `leveret journal repair` saves the rest.
//!
//! `LEVERET_TEST_FLIPS` is the number of flips in each kind of file.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use lapin::options::BasicGetOptions;
use rand::{Rng, rngs::StdRng};
use tempfile::TempDir;

use crate::{
    client,
    kill::persistent,
    ledger, mortal_broker_with, random,
    support::{Broker, PATIENCE, Peer, basic, durable_queue},
};

const NAME: &str = "flips";
const QUEUES: [&str; 3] = ["flips.a", "flips.b", "flips.c"];
/// Messages between two looks at the files.
const WINDOW: u64 = 150;

/// Short files, so that there are several of them, and segments.
const OPTIONS: [(&str, &str); 1] = [("LEVERET_STORE_LOG_FILE_SIZE", "262144")];

/// A data directory, and the numbers that each of its queues holds.
struct Sample {
    folder: TempDir,
    numbers: BTreeMap<&'static str, Vec<u64>>,
}

/// Where a bit was flipped.
struct Flip {
    /// The file's name.
    file: String,
    offset: u64,
}

/// What a command said, and whether it succeeded.
struct Said {
    success: bool,
    text: String,
}

impl Sample {
    /// Messages in several queues, some of them shared, some settled; stopped in good order or not.
    fn take(clean: bool) -> Option<Self> {
        let options = OPTIONS.map(|(key, value)| (key, value.to_owned()));
        let mut broker = mortal_broker_with(&options)?;
        fill(&broker);
        let numbers = QUEUES.map(|queue| (queue, readable(&broker, queue)));
        if clean {
            assert!(broker.stop().success());
        } else {
            broker.kill();
        }
        let folder = copy(broker.data_dir());
        Some(Self {
            folder,
            numbers: numbers.into(),
        })
    }

    /// Files of the journal whose names begin so.
    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.folder.path().join("journal"));
        let entries = entries.into_iter().flatten().flatten();
        let named = entries.filter(|it| it.file_name().to_string_lossy().starts_with(kind));
        let mut files: Vec<_> = named.map(|it| it.path()).collect();
        files.sort();
        files
    }

    /// A copy with one bit flipped in a file of this kind, where something is written.
    fn flipped(&self, kind: &str, random: &mut StdRng) -> (TempDir, Flip) {
        let files = self.files(kind);
        assert!(!files.is_empty(), "no file of the journal is a {kind}");
        let file = &files[random.random_range(0..files.len())];
        let name = file
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let bytes = fs::read(file).expect("to read");
        // Files of the log have room that was never written.
        let mut places = (0..50).map(|_| random.random_range(0..bytes.len()));
        let offset = places.find(|at| bytes[*at] != 0).unwrap_or_default();
        let folder = copy(self.folder.path());
        let path = folder.path().join("journal").join(&name);
        let file = OpenOptions::new().write(true).open(path).expect("to open");
        let byte = [bytes[offset] ^ 1 << random.random_range(0..8)];
        file.write_all_at(&byte, offset as u64).expect("to write");
        let offset = offset as u64;
        (folder, Flip { file: name, offset })
    }

    fn count(&self) -> usize {
        self.numbers.values().map(Vec::len).sum()
    }

    /// Every message found was published with this content, and is in its place; says how many are there.
    fn check(&self, broker: &Broker, place: &str) -> usize {
        let mut count = 0;
        for (queue, expected) in &self.numbers {
            let found = readable(broker, queue);
            let mut rest = expected.iter();
            let in_order = found.iter().all(|it| rest.any(|known| known == it));
            assert!(in_order, "{place}, {queue}: {found:?} of {expected:?}");
            count += found.len();
        }
        count
    }
}

/// Whether the journal has segments, or is not the engine.
fn has_segments(data_dir: &Path) -> bool {
    let files = fs::read_dir(data_dir.join("journal"));
    files.map_or(true, |files| {
        let names = files.flatten().map(|it| it.file_name());
        names
            .into_iter()
            .any(|name| name.to_string_lossy().starts_with("segment-"))
    })
}

/// The messages that can be had from a queue, which keeps them: the broker closes the connection when it comes to some
/// that cannot.
fn readable(broker: &Broker, queue: &str) -> Vec<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let (_connection, channel) = client::open(&broker.amqp_uri()).await;
        let mut found = Vec::new();
        let get = || channel.basic_get(queue.into(), BasicGetOptions::default());
        while let Ok(Some(message)) = get().await {
            found.push(ledger::number(NAME, &message.data));
        }
        found
    })
}

fn fill(broker: &Broker) {
    let mut peer = Peer::connect_to(broker);
    for queue in QUEUES {
        peer.declare(1, durable_queue(queue));
        peer.bind(1, queue, "amq.fanout", "");
    }
    peer.confirm_select(1);
    let (mut confirmed, deadline) = (0, Instant::now() + PATIENCE);
    // As many as it takes until some have moved from the log to segments.
    for window in 0.. {
        if window >= 4 && has_segments(broker.data_dir()) {
            break;
        }
        assert!(Instant::now() < deadline, "nothing moves to segments");
        for number in window * WINDOW..(window + 1) * WINDOW {
            let (exchange, key) = match number % 4 {
                3 => ("amq.fanout", ""),
                queue => ("", QUEUES[queue as usize]),
            };
            let body = ledger::body(NAME, number);
            peer.publish_with(1, exchange, key, persistent(), &body);
        }
        while confirmed < (window + 1) * WINDOW {
            confirmed = peer.expect::<basic::Ack>(1).delivery_tag;
        }
    }
    for queue in QUEUES {
        for _ in 0..40 {
            let got = peer.get(1, queue, false).expect("a message");
            peer.ack(1, got.method.delivery_tag, false);
        }
    }
    peer.close();
}

fn copy(from: &Path) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    copy_into(from, folder.path());
    folder
}

/// Copies folders and files, and not the socket for backups.
fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("to list").flatten() {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            fs::create_dir(&target).expect("a folder");
            copy_into(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).expect("to copy");
        }
    }
}

/// Runs `leveret journal ...` on a data directory.
fn journal(command: &str, folder: &Path) -> Said {
    let output = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args(["journal", command, "--data-dir"])
        .arg(folder)
        .env("NO_COLOR", "1")
        .output()
        .expect("leveret runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let success = output.status.success();
    Said { success, text }
}

fn flips() -> usize {
    let chosen = std::env::var("LEVERET_TEST_FLIPS").ok();
    chosen.and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// Flips bits in files of this kind, one at a time.
fn check_flips(kind: &str, clean: bool) {
    let Some(sample) = Sample::take(clean) else {
        return;
    };
    if sample.files("").is_empty() {
        eprintln!("the journal is not the engine");
        return;
    }
    let said = journal("verify", sample.folder.path());
    assert!(said.success, "damage before any flip: {}", said.text);
    let mut random = random();
    let (mut tries, mut found) = (0, 0);
    while tries < flips() || found == 0 {
        tries += 1;
        assert!(tries <= 10 * flips(), "no flip was found");
        let (folder, flip) = sample.flipped(kind, &mut random);
        found += usize::from(check_flip(&sample, folder, &flip));
    }
    eprintln!("{found} of {tries} flips have hit something that is read");
}

/// Says whether the flip was found. One in what nobody reads any more need not be.
fn check_flip(sample: &Sample, folder: TempDir, flip: &Flip) -> bool {
    let place = format!("bit flipped in {} at {}", flip.file, flip.offset);
    let verified = journal("verify", folder.path());
    if !verified.success {
        names(&verified.text, flip, &place);
    }
    let (folder, found) = match Broker::try_start(folder, &OPTIONS) {
        Ok(mut broker) => {
            let whole = sample.check(&broker, &place) == sample.count();
            broker.stop();
            if !whole {
                names(&broker.log().join("\n"), flip, &place);
            }
            (broker.into_data_dir(), !whole)
        }
        Err((folder, log)) => {
            names(&log, flip, &place);
            assert!(log.contains("leveret journal repair"), "{place}: {log}");
            (folder, true)
        }
    };
    assert!(
        !verified.success || !found,
        "{place}: not found by `verify`"
    );
    let repaired = journal("repair", folder.path());
    assert!(repaired.success, "{place}: {}", repaired.text);
    let again = journal("verify", folder.path());
    assert!(again.success, "{place}: after repair: {}", again.text);
    let started = Broker::try_start(folder, &OPTIONS);
    let broker = started.unwrap_or_else(|(_, log)| panic!("{place}: after repair: {log}"));
    let saved = sample.check(&broker, &place);
    let count = sample.count();
    eprintln!("{place}: {saved} of {count} after repair");
    // A bit costs at most the group or the block that it stands in.
    assert!(
        2 * saved > count,
        "{place}: {saved} of {count} after repair"
    );
    found
}

/// A report has to say which file it is, and where.
fn names(text: &str, flip: &Flip, place: &str) {
    assert!(text.contains(&flip.file), "{place}: {text}");
    assert!(
        text.contains("byte ") || text.contains("offset"),
        "{place}: {text}"
    );
}

#[test]
fn a_flipped_bit_in_the_log_is_found() {
    check_flips("log-", true);
}

/// Then what was written last may also be taken for unfinished, which is told too.
#[test]
fn a_flipped_bit_in_the_log_is_found_after_a_kill() {
    check_flips("log-", false);
}

#[test]
fn a_flipped_bit_in_a_segment_is_found() {
    check_flips("segment-", true);
}

#[test]
fn a_flipped_bit_in_the_manifest_is_found() {
    check_flips("manifest", true);
}
