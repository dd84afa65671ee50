//! The journal above a log that lies in memory: random operations, moves and restarts against a small model.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::{
    Shared,
    file_system::{Disk, FileSystem},
    index::Index,
    items::Encoder,
    log::{EachGroup, Follower, Log, LogFiles, LogPosition, Replayed},
    manifest::{Edit, Manifest},
    mover::Mover,
    reader::{Range, Reader},
    shared::IndexFollower,
};
use crate::{
    error::Error,
    message::Message,
    store::{Completion, FailureHook, Operation, QueueId, StoredMessage, SyncWhen, Ticket},
};

/// A log in memory, durable at once. Its files change only by appending.
#[derive(Default)]
struct MemoryLog {
    files: Mutex<BTreeMap<u64, Vec<Vec<u8>>>>,
    follower: Mutex<Option<Box<dyn Follower>>>,
}

const FILE_SIZE: usize = 4000;

impl MemoryLog {
    fn bytes(groups: &[Vec<u8>]) -> usize {
        groups.iter().map(Vec::len).sum()
    }
}

impl Log for MemoryLog {
    fn append(&self, items: &mut Vec<u8>, _: SyncWhen) -> Ticket {
        let mut files = self.files.lock();
        let mut active = files.last_key_value().map_or(1, |(file, _)| *file);
        let mut full = None;
        if Self::bytes(files.entry(active).or_default()) > FILE_SIZE {
            full = Some(active);
            active += 1;
        }
        let groups = files.entry(active).or_default();
        let offset = Self::bytes(groups) as u64;
        groups.push(items.clone());
        drop(files);
        let mut follower = self.follower.lock();
        let follower = follower.as_mut().unwrap();
        if let Some(full) = full {
            follower.full(full).unwrap();
        }
        let at = LogPosition {
            file: active,
            offset,
        };
        follower.written(at, items).unwrap();
        items.clear();
        Ticket(1)
    }

    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>) {
        completion.durable(ticket);
    }

    fn durable(&self) -> Ticket {
        Ticket(1)
    }

    fn pending_bytes(&self) -> usize {
        0
    }

    fn replay(&self, from_file: u64, each: &mut EachGroup<'_>) -> Result<Replayed, Error> {
        for (file, groups) in self.files.lock().range(from_file..) {
            let mut offset = 0;
            for group in groups {
                let at = LogPosition {
                    file: *file,
                    offset,
                };
                each(at, group)?;
                offset += group.len() as u64;
            }
        }
        Ok(Replayed::default())
    }

    fn start(&self, follower: Box<dyn Follower>, _: FailureHook) -> Result<(), Error> {
        *self.follower.lock() = Some(follower);
        Ok(())
    }

    fn read(&self, at: LogPosition, buffer: &mut [u8]) -> Result<(), Error> {
        let files = self.files.lock();
        let gone = || Error::Internal("no such file".to_owned());
        let bytes = files.get(&at.file).ok_or_else(gone)?.concat();
        let from = at.offset as usize;
        buffer.copy_from_slice(&bytes[from..from + buffer.len()]);
        Ok(())
    }

    fn sync_written(&self) -> Result<(), Error> {
        Ok(())
    }

    fn trim(&self, to_file: u64) -> Result<(), Error> {
        let mut files = self.files.lock();
        let kept = files.split_off(&to_file);
        *files = kept;
        Ok(())
    }

    fn epoch(&self) -> u32 {
        1
    }

    fn blocked(&self) -> Option<String> {
        None
    }

    fn files(&self) -> LogFiles {
        LogFiles::default()
    }

    fn close(&self) {}
}

/// Never waits for a mover: the test moves when it likes.
struct Patient(IndexFollower);

impl Follower for Patient {
    fn written(&mut self, at: LogPosition, items: &[u8]) -> Result<(), Error> {
        self.0.written(at, items)
    }

    fn full(&mut self, _: u64) -> Result<(), Error> {
        Ok(())
    }
}

/// An open journal without threads.
struct Journal {
    shared: Arc<Shared>,
    mover: Mover,
    encoder: Encoder,
    bodies: u64,
}

impl Journal {
    fn open(directory: &Path, log: &Arc<MemoryLog>, bodies: u64) -> Self {
        let files: Arc<dyn FileSystem> = Arc::new(Disk);
        let mut index = Index::default();
        let mut log_start = 0;
        let manifest = Manifest::open(&*files, directory, &mut |edit| {
            if let Edit::LogStart(file) = edit {
                log_start = file;
            }
            index.edit(edit);
        });
        let manifest = manifest.unwrap();
        index.count_references();
        super::store::check_segments(&*files, directory, &index).unwrap();
        let mut apply = |at: LogPosition, items: &[u8]| {
            index.apply(at.file, at.offset, items).unwrap();
            Ok(())
        };
        log.replay(log_start, &mut apply).unwrap();
        let next = super::store::remove_leftovers(&*files, directory, &index).unwrap();
        let log: Arc<dyn Log> = log.clone();
        let directory = directory.to_owned();
        let shared = Shared::new(files, directory, log, index, FILE_SIZE as u64);
        let shared = Arc::new(shared);
        let follower = Box::new(Patient(IndexFollower(Arc::clone(&shared))));
        let hook = Box::new(|error| panic!("{error}"));
        shared.log.start(follower, hook).unwrap();
        let mover = Mover::new(Arc::clone(&shared), manifest, log_start, next);
        Self {
            shared,
            mover,
            encoder: Encoder::default(),
            bodies,
        }
    }

    fn append(&mut self, batch: &[Operation]) {
        let bodies = &mut self.bodies;
        self.encoder.encode(batch, || {
            *bodies += 1;
            *bodies
        });
        self.shared
            .log
            .append(&mut self.encoder.out, SyncWhen::Soon);
    }

    fn contents(&self, queue: u64, max_bytes: usize) -> Vec<(u64, Vec<u8>, u32)> {
        let mut reader = Reader::default();
        let mut bodies = Reader::default();
        let mut contents = Vec::new();
        let mut from = Some(0);
        while let Some(start) = from {
            let range = Range {
                queue: QueueId(queue),
                within: &|_| true,
                from: start,
                to: u64::MAX,
                max_bytes,
            };
            let read = reader.read(&self.shared, &range, &mut |found| {
                let message = bodies.message(&self.shared, found.record.content)?.unwrap();
                let body = message.body().to_vec();
                contents.push((found.record.position, body, found.delivery_count));
                Ok(true)
            });
            from = read.unwrap();
        }
        contents
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enqueue {
        queues: Vec<u64>,
        count: u64,
        size: usize,
        gap: u64,
        late: bool,
    },
    Settle {
        queue: u64,
        skip: usize,
        count: usize,
    },
    Clear {
        queue: u64,
        skip: usize,
        count: usize,
    },
    Requeue {
        queue: u64,
        skip: usize,
    },
    Delete {
        queue: u64,
    },
    Move,
    Tidy,
    Restart,
}

const QUEUES: u64 = 4;

fn step() -> impl Strategy<Value = Step> {
    let queue = 1..=QUEUES;
    let queues = prop::collection::btree_set(1..=QUEUES, 1..=3);
    prop_oneof![
        8 => (queues, 1u64..20, prop::sample::select(vec![0usize, 10, 600, 5000]), 0u64..3, any::<bool>())
            .prop_map(|(queues, count, size, gap, late)| Step::Enqueue {
                queues: queues.into_iter().collect(), count, size, gap, late: late && gap > 0 }),
        8 => (queue.clone(), 0usize..6, 1usize..30).prop_map(|(queue, skip, count)| Step::Settle { queue, skip, count }),
        1 => (queue.clone(), 0usize..6, 1usize..60).prop_map(|(queue, skip, count)| Step::Clear { queue, skip, count }),
        2 => (queue.clone(), 0usize..20).prop_map(|(queue, skip)| Step::Requeue { queue, skip }),
        1 => queue.prop_map(|queue| Step::Delete { queue }),
        3 => Just(Step::Move),
        2 => Just(Step::Tidy),
        2 => Just(Step::Restart),
    ]
}

/// What should be there: by queue and position, the body and the delivery count.
#[derive(Default)]
struct Model {
    queues: BTreeMap<u64, BTreeMap<u64, (Vec<u8>, u32)>>,
    /// The last position of each queue, and deleted queues, whose numbers are never used again.
    last: BTreeMap<u64, u64>,
    deleted: BTreeSet<u64>,
}

struct Run {
    folder: tempfile::TempDir,
    log: Arc<MemoryLog>,
    journal: Journal,
    model: Model,
    written: u64,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::new(MemoryLog::default());
        let journal = Journal::open(folder.path(), &log, 0);
        Self {
            folder,
            log,
            journal,
            model: Model::default(),
            written: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Enqueue {
                queues,
                count,
                size,
                gap,
                late,
            } => self.enqueue(queues, *count, *size, *gap, *late),
            Step::Settle { queue, skip, count } => {
                let positions = self.positions(*queue, *skip, *count);
                let batch: Vec<_> = positions
                    .iter()
                    .map(|position| self.settle(*queue, *position))
                    .collect();
                self.append(&batch);
            }
            Step::Clear { queue, skip, count } => {
                let positions = self.positions(*queue, *skip, *count);
                let (Some(from), Some(to)) = (positions.first(), positions.last()) else {
                    return;
                };
                let messages = self.model.queues.get_mut(queue).unwrap();
                messages.retain(|position, _| !(from..=to).contains(&position));
                let (queue, from, to) = (QueueId(*queue), *from, *to);
                self.append(&[Operation::SettleRange { queue, from, to }]);
            }
            Step::Requeue { queue, skip } => {
                let Some(position) = self.positions(*queue, *skip, 1).first().copied() else {
                    return;
                };
                let message = self
                    .model
                    .queues
                    .get_mut(queue)
                    .unwrap()
                    .get_mut(&position)
                    .unwrap();
                message.1 += 1;
                let (queue, delivery_count) = (QueueId(*queue), message.1);
                self.append(&[Operation::Requeue {
                    queue,
                    position,
                    delivery_count,
                }]);
            }
            Step::Delete { queue } => {
                if self.model.deleted.insert(*queue) {
                    self.model.queues.remove(queue);
                    self.append(&[Operation::DeleteQueue {
                        queue: QueueId(*queue),
                    }]);
                }
            }
            Step::Move => {
                let files = self.log.files.lock();
                let (first, count) = (files.first_key_value().map(|(f, _)| *f), files.len());
                drop(files);
                let full: Vec<_> = first.filter(|_| count > 1).into_iter().collect();
                self.journal.mover.checkpoint(&full).unwrap();
            }
            Step::Tidy => self.journal.mover.checkpoint(&[]).unwrap(),
            Step::Restart => {
                let bodies = self.journal.bodies;
                self.journal = Journal::open(self.folder.path(), &self.log, bodies);
            }
        }
    }

    fn enqueue(&mut self, queues: &[u64], count: u64, size: usize, gap: u64, late: bool) {
        let mut batch = Vec::new();
        let mut held = Vec::new();
        for _ in 0..count {
            self.written += 1;
            let mut body = self.written.to_le_bytes().to_vec();
            body.resize(body.len() + size, self.written as u8);
            let message = Message::new("x", "key", &[0, 0], &body, true);
            for queue in queues
                .iter()
                .filter(|queue| !self.model.deleted.contains(queue))
            {
                let last = self.model.last.entry(*queue).or_default();
                *last += 1 + gap * (self.written % 2);
                self.model
                    .queues
                    .entry(*queue)
                    .or_default()
                    .insert(*last, (body.clone(), 0));
                let operation = Operation::Enqueue {
                    queue: QueueId(*queue),
                    position: *last,
                    enqueued_at: 1_000 + self.written,
                    message: message.clone(),
                };
                // As a transaction does, whose places were reserved before others entered.
                match late && self.written.is_multiple_of(3) {
                    true => held.push(operation),
                    false => batch.push(operation),
                }
            }
        }
        batch.sort_by_key(|operation| match operation {
            Operation::Enqueue {
                queue, position, ..
            } => (queue.0, *position),
            _ => (0, 0),
        });
        self.append(&batch);
        self.append(&held);
    }

    fn append(&mut self, batch: &[Operation]) {
        if !batch.is_empty() {
            self.journal.append(batch);
        }
    }

    fn positions(&self, queue: u64, skip: usize, count: usize) -> Vec<u64> {
        let messages = self.model.queues.get(&queue).into_iter().flatten();
        messages
            .map(|(position, _)| *position)
            .skip(skip)
            .take(count)
            .collect()
    }

    fn settle(&mut self, queue: u64, position: u64) -> Operation {
        let message = self
            .model
            .queues
            .get_mut(&queue)
            .unwrap()
            .remove(&position)
            .unwrap();
        Operation::Settle {
            queue: QueueId(queue),
            position,
            bytes: message.0.len() as u32,
        }
    }

    fn check(&self) {
        for queue in 1..=QUEUES {
            let messages = self.model.queues.get(&queue).into_iter().flatten();
            let expected: Vec<_> = messages
                .map(|(p, (body, count))| (*p, body.clone(), *count))
                .collect();
            for max_bytes in [1, 3000, usize::MAX] {
                let found = self.journal.contents(queue, max_bytes);
                assert_eq!(found, expected, "queue {queue}, {max_bytes} bytes at once");
            }
            let backlog = self.journal.shared.index.lock().backlog(QueueId(queue));
            assert_eq!(backlog.map(|b| b.count).unwrap_or(0), expected.len());
            assert_eq!(backlog.map(|b| b.first), expected.first().map(|e| e.0));
            assert_eq!(backlog.map(|b| b.last), expected.last().map(|e| e.0));
        }
        self.check_accounts();
    }

    /// Totals that are kept while things change equal what counting anew gives.
    fn check_accounts(&self) {
        let index = self.journal.shared.index.lock();
        for (place, file) in &index.files {
            let runs = index.queues.values().flat_map(|state| &state.runs);
            let runs: Vec<_> = runs.filter(|run| run.place == *place).collect();
            assert_eq!(file.runs as usize, runs.len(), "{place:?}");
            let bodies = index.bodies.values().filter(|body| body.place == *place);
            let bodies: u64 = bodies.map(|body| u64::from(body.block.length)).sum();
            let live: u64 = runs.iter().map(|run| run.bytes).sum();
            assert_eq!(file.live, live + bodies, "{place:?}");
        }
        for (id, body) in &index.bodies {
            let runs = index.queues.values().flat_map(|state| &state.runs);
            let references = runs.flat_map(|run| {
                run.references
                    .iter()
                    .filter(|(p, r)| r == id && run.contains(*p))
            });
            assert_eq!(body.references as usize, references.count());
        }
        let segments = || {
            index
                .files
                .iter()
                .filter(|(place, _)| matches!(place, super::run::Place::Segment(_)))
        };
        assert_eq!(
            index.segment_bytes,
            segments().map(|(_, file)| file.length).sum::<u64>()
        );
        assert_eq!(
            index.segment_live,
            segments().map(|(_, file)| file.live).sum::<u64>()
        );
    }
}

#[test]
fn message_that_gets_a_body_of_its_own_while_it_is_read_is_not_missed() {
    let mut run = Run::new();
    // Shared in the log, and too small to stay so in a segment.
    run.enqueue(&[1, 2], 3, 600, 0, false);
    run.enqueue(&[3], 3, 2 * FILE_SIZE, 0, false);
    let shared = Arc::clone(&run.journal.shared);
    let mut found = Vec::new();
    let mut each = |stored: StoredMessage| {
        if found.is_empty() {
            run.journal.mover.checkpoint(&[1]).unwrap();
        }
        found.push(stored.position);
    };
    let (queue, all) = (QueueId(1), (0, u64::MAX));
    let mut reader = Reader::default();
    super::store::read(&shared, &mut reader, queue, all, usize::MAX, &mut each).unwrap();
    assert_eq!(found, [1, 2, 3]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 120 } else { 2000 }))]
    #[test]
    fn journal_holds_what_the_model_holds_through_moves_and_restarts(steps in prop::collection::vec(step(), 1..60)) {
        let mut run = Run::new();
        for step in &steps {
            run.step(step);
            run.check();
        }
        run.step(&Step::Restart);
        run.check();
    }
}
