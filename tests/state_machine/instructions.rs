//! How many instructions one message takes: published, delivered, acknowledged. Time says little on a shared machine; this
//! count is the same on a busy one.
//!
//! The test runs this very executable under valgrind's callgrind, with [`load`] as the only test in it. The load calls
//! [`instructions_mark`] between its parts, and valgrind writes down what each part took. Every part comes twice, the second
//! time with twice the messages: the difference is theirs alone. What is recorded in `instructions.txt` is of the profile
//! that tests are built with, so it is several times what a release takes; it grows and shrinks with the same code.

use std::{fmt::Write as _, fs, path::Path, process::Command, sync::Arc};

use amqp_codec::{
    AMQPClass, encode,
    protocol::{basic, channel, queue},
};
use broker_core::{broker::Broker, definitions::MemoryDefinitions, store::MemoryStore};
use tempfile::TempDir;

use super::exercise::{End, START, start};

/// Messages of a part; its second half has twice as many.
const MESSAGES: u64 = 500;

/// Messages that are read together.
const RUN: u64 = 50;

/// The parts, each of which also does what those before it do.
const PARTS: [&str; 3] = ["publish", "deliver", "acknowledge"];

/// A growth beyond this part of what is recorded fails.
const TOLERANCE: f64 = 0.10;

/// The same, if another compiler was used than for what is recorded.
const TOLERANCE_OF_COMPILERS: f64 = 0.50;

const RECORDED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/state_machine/instructions.txt"
);

/// Where one part of the load ends and the next begins. Valgrind knows it by its name.
#[inline(never)]
fn instructions_mark() {
    std::hint::black_box(());
}

#[test]
fn instructions_of_a_message_do_not_grow() {
    let figures = measure();
    let compiler = compiler();
    let mut text = format!(
        "# Instructions that one message takes in the profile of tests, by callgrind. Renew them with\n\
         # UPDATE_INSTRUCTIONS=1 cargo test --test state_machine instructions\n{compiler}\n"
    );
    for (part, figure) in &figures {
        writeln!(text, "{part} {figure}").unwrap();
    }
    println!("{text}");
    if !cfg!(debug_assertions) {
        println!("An optimised build: nothing is recorded for it.");
        return;
    }
    if std::env::var_os("UPDATE_INSTRUCTIONS").is_some() {
        fs::write(RECORDED, text).unwrap();
        return;
    }
    compare(&figures, &compiler, &fs::read_to_string(RECORDED).unwrap());
}

fn compare(figures: &[(&str, u64)], compiler: &str, recorded: &str) {
    let mut lines = recorded.lines().filter(|line| !line.starts_with('#'));
    let before = lines.next().unwrap();
    let (tolerance, note) = match before == compiler {
        true => (TOLERANCE, String::new()),
        false => (
            TOLERANCE_OF_COMPILERS,
            format!(
                " This was compiled by {compiler}, what is recorded by {before}: that alone may be why."
            ),
        ),
    };
    for line in lines {
        let (part, limit) = line.split_once(' ').unwrap();
        let limit: u64 = limit.parse().unwrap();
        let (_, figure) = figures.iter().find(|it| it.0 == part).unwrap();
        let growth = *figure as f64 / limit as f64 - 1.0;
        assert!(
            growth <= tolerance,
            "{part}: {figure} instructions a message, {limit} recorded: {:.0} % more.{note} If it is worth it, record it: \
             UPDATE_INSTRUCTIONS=1 cargo test --test state_machine instructions",
            growth * 100.0
        );
    }
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The instructions of each step of a message's way.
fn measure() -> Vec<(&'static str, u64)> {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("part");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-before=*instructions_mark*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "instructions::load", "--ignored"])
        .args(["--test-threads", "1"])
        .output();
    let output = status.unwrap_or_else(|error| {
        panic!("cannot run valgrind: {error}. Install it: apt-get install valgrind")
    });
    assert!(output.status.success(), "{output:?}");
    let mut sofar = 0;
    let mut figures = Vec::new();
    for (index, part) in PARTS.into_iter().enumerate() {
        // The first dump is what precedes the first mark; then come pairs.
        let once = total(folder.path(), 2 * index + 2);
        let twice = total(folder.path(), 2 * index + 3);
        let each = twice.saturating_sub(once) / MESSAGES;
        figures.push((part, each - sofar));
        sofar = each;
    }
    figures
}

fn total(folder: &Path, number: usize) -> u64 {
    let text = fs::read_to_string(folder.join(format!("part.{number}"))).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("summary: "));
    line.unwrap().trim().parse().unwrap()
}

#[test]
#[ignore = "runs under valgrind, by the test above"]
fn load() {
    let broker = start(
        &Arc::new(MemoryStore::new()),
        &Arc::new(MemoryDefinitions::new()),
    );
    let mut scenes: Vec<Scene> = PARTS.map(|part| Scene::new(&broker, part)).into();
    for scene in &mut scenes {
        // Rooms that grow are grown by now.
        scene.pass(MESSAGES);
    }
    for scene in &mut scenes {
        for count in [MESSAGES, 2 * MESSAGES] {
            let acks = scene.acks(count);
            instructions_mark();
            scene.pass_with(count, &acks);
        }
    }
    instructions_mark();
}

/// A publisher, a queue, and perhaps a consumer of it.
struct Scene {
    publisher: End,
    consumer: Option<End>,
    acknowledges: bool,
    /// A run of publishes, as it comes from the socket.
    run: Vec<u8>,
    delivered: u64,
}

impl Scene {
    fn new(broker: &Arc<Broker>, part: &str) -> Self {
        let mut publisher = open(broker);
        let declare = queue::AMQPMethod::Declare(queue::Declare {
            queue: part.into(),
            nowait: true,
            ..queue::Declare::default()
        });
        publisher.wire.send(1, &AMQPClass::Queue(declare));
        publisher.run(START);
        let acknowledges = part == "acknowledge";
        let consumer = (part != "publish").then(|| consume(broker, part, !acknowledges));
        let mut run = Vec::new();
        for _ in 0..RUN {
            let publish = amqp_codec::Publish {
                exchange: "",
                routing_key: part,
                mandatory: false,
                immediate: false,
            };
            encode::publish(&mut run, 1, &publish);
            encode::content(&mut run, 1, 4096, &[0x10, 0, 1], &[0; 16]);
        }
        Self {
            publisher,
            consumer,
            acknowledges,
            run,
            delivered: 0,
        }
    }

    /// The acknowledgements of the next messages, a run of them in each.
    fn acks(&self, count: u64) -> Vec<Vec<u8>> {
        let first = self.delivered + 1;
        let runs = (first..first + count).step_by(RUN as usize);
        runs.map(|first| {
            let mut acks = Vec::new();
            (first..first + RUN).for_each(|tag| encode::ack(&mut acks, 1, tag, false));
            acks
        })
        .collect()
    }

    fn pass(&mut self, count: u64) {
        let acks = self.acks(count);
        self.pass_with(count, &acks);
    }

    fn pass_with(&mut self, count: u64, acks: &[Vec<u8>]) {
        for acks in acks {
            self.publisher.wire.send_bytes(&self.run);
            self.publisher.wire.run(START);
            let Some(consumer) = &mut self.consumer else {
                continue;
            };
            consumer.wire.run(START);
            assert!(consumer.wire.take_received().len() > RUN as usize * 16);
            if self.acknowledges {
                consumer.wire.send_bytes(acks);
                consumer.wire.run(START);
            }
        }
        self.delivered += count;
    }
}

fn open(broker: &Arc<Broker>) -> End {
    let mut end = End::new(broker, START, true);
    let open = channel::AMQPMethod::Open(channel::Open {});
    end.wire.send(1, &AMQPClass::Channel(open));
    end.run(START);
    end
}

fn consume(broker: &Arc<Broker>, queue: &str, no_ack: bool) -> End {
    let mut consumer = open(broker);
    let consume = basic::AMQPMethod::Consume(basic::Consume {
        queue: queue.into(),
        no_ack,
        ..basic::Consume::default()
    });
    consumer.wire.send(1, &AMQPClass::Basic(consume));
    consumer.run(START);
    consumer
}
