//! A scripted use of a journal on a faulty disk, with a model of what must be there.

use std::{collections::BTreeMap, ops::Range, path::PathBuf, sync::Arc};

use broker_core::{
    Error,
    journal::{FileLog, JournalStore, check, file_system::FileSystem, log::LogOptions},
    message::Message,
    store::{Durability, MessageStore, Operation, QueueId, StoredMessage, Ticket},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use crate::{faulty_disk::FaultyDisk, store_told::Told};

/// Small files: a few batches fill one.
pub const FILE_SIZE: u64 = 4096;
/// When the message with number 0 entered.
const ENTERED: u64 = 1_700_000_000_000;
/// Sizes of bodies: in the blocks, shared in the log, and shared in segments too.
const SIZES: [usize; 6] = [10, 10, 300, 300, 900, 6000];

/// How the script ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// All of it was carried out.
    Done,
    /// The journal could not be opened.
    NotOpened(String),
    /// The failure hook was called.
    Failed(String),
    /// All was carried out, but the journal was not closed in order.
    FailedAtClose,
}

/// A message that should be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    number: u64,
    size: usize,
    delivery_count: u32,
}

impl Expected {
    fn body(&self) -> Vec<u8> {
        let mut body = self.number.to_le_bytes().to_vec();
        body.extend((0..self.size).map(|index| (self.number as usize * 31 + index * 7) as u8));
        body
    }

    fn message(&self) -> Message {
        let properties = [0x18, 0, 0, 0, 0, 0, 2];
        Message::new("amq.topic", "a.key", &properties, &self.body(), true)
    }
}

/// Queues and their messages by position.
type Contents = BTreeMap<u64, BTreeMap<u64, Expected>>;

/// A journal, the disk it is on, and what must be true of it.
pub struct Script {
    pub disk: FaultyDisk,
    folder: TempDir,
    random: StdRng,
    /// What the batches so far lead to: the first state is the one that was found at the last start.
    states: Vec<Contents>,
    /// The ticket of each batch since the last start.
    tickets: Vec<Ticket>,
    /// This many of the states must not be lost by the end of a process.
    promised: usize,
    /// This many must not be lost by a power cut.
    synced: usize,
    durability: Durability,
    /// The next message, and the next queue.
    next_message: u64,
    next_queue: u64,
    /// The queues that are used, and their next positions.
    queues: Vec<(u64, u64)>,
    /// The operations of each close.
    pub closings: Vec<Range<usize>>,
    /// Everything that is there now may have been delivered: the last start was after a crash.
    flagged: BTreeMap<u64, u64>,
}

impl Script {
    pub fn new(seed: u64) -> Self {
        Self::with(Durability::Sync, seed)
    }

    pub fn with(durability: Durability, seed: u64) -> Self {
        Self {
            durability,
            synced: 0,
            disk: FaultyDisk::new(seed),
            folder: TempDir::new_in(memory()).unwrap(),
            random: StdRng::seed_from_u64(7),
            states: vec![Contents::new()],
            tickets: Vec::new(),
            promised: 0,
            next_message: 1,
            next_queue: 5,
            queues: (1..=4).map(|queue| (queue, 1)).collect(),
            closings: Vec::new(),
            flagged: BTreeMap::new(),
        }
    }

    /// Two lives of a journal.
    pub fn play(&mut self) -> Ending {
        match self.session(60) {
            Ending::Done => self.session(25),
            ending => ending,
        }
    }

    /// All is there, the journal goes on, and closes in order; then nothing on disk is damaged.
    pub fn check_and_go_on(&mut self, after: &str) {
        let ending = self.session(25);
        assert_eq!(ending, Ending::Done, "after {after}");
        let (store, _) = self.open().unwrap();
        assert!(store.replayed().clean, "after {after}");
        store.close();
        drop(store);
        let files: Arc<dyn FileSystem> = Arc::new(self.disk.clone());
        let report = check::verify(&files, &self.directory()).unwrap();
        assert!(report.findings.is_empty(), "after {after}: {report:?}");
    }

    fn options(&self) -> LogOptions {
        LogOptions {
            durability: self.durability,
            ..options()
        }
    }

    /// The machine loses power: what completed without being synced may be gone.
    pub fn power_cut(&mut self) {
        self.promised = self.synced;
        self.disk.power_cut();
    }

    /// Where the journal is.
    pub fn directory(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    /// Opens the journal and compares what is in it with the model.
    fn open(&mut self) -> Result<(JournalStore, Arc<Told>), Error> {
        let files: Arc<dyn FileSystem> = Arc::new(self.disk.clone());
        let directory = self.directory();
        let told = Arc::new(Told::default());
        let hook = Arc::clone(&told);
        let watched = Arc::clone(&told);
        (self.disk).watch_log(Arc::new(move || watched.ticket()));
        let log = FileLog::open(Arc::clone(&files), &directory, self.options())?;
        let store = JournalStore::open(
            files,
            &directory,
            Arc::new(log),
            FILE_SIZE,
            Box::new(move |error| hook.fail(&error)),
        )?;
        self.recover(&store)?;
        Ok((store, told))
    }

    /// Finds out which of the states the journal came back with, and goes on from it.
    fn recover(&mut self, store: &JournalStore) -> Result<(), Error> {
        let found = self.contents(store)?;
        let possible = self.states.get(self.promised..).unwrap();
        let at = possible.iter().position(|state| *state == found);
        let Some(at) = at else {
            self.explain(&found);
        };
        let state = possible[at].clone();
        for (queue, messages) in &state {
            if let Some((last, _)) = messages.last_key_value()
                && !store.replayed().clean
            {
                self.flagged.insert(*queue, *last);
            }
        }
        self.states = vec![state];
        self.tickets.clear();
        // A start syncs what it found.
        (self.promised, self.synced) = (0, 0);
        self.check_flags(store)
    }

    /// Everything in the journal. Looks at the bodies.
    fn contents(&self, store: &JournalStore) -> Result<Contents, Error> {
        let mut contents = Contents::new();
        for queue in store.queues().unwrap() {
            let messages = read(store, queue)?;
            let backlog = store.backlog(queue).unwrap().unwrap();
            assert_eq!(backlog.count, messages.len(), "{queue:?}: {backlog:?}");
            let positions = || messages.iter().map(|stored| stored.position);
            assert!(positions().is_sorted(), "order of {queue:?}");
            assert_eq!(Some(backlog.first), positions().next());
            assert_eq!(Some(backlog.last), positions().next_back());
            let oldest = messages.iter().map(|stored| stored.enqueued_at).min();
            assert!(Some(backlog.oldest) <= oldest);
            let messages = messages.iter().map(|m| (m.position, expected(m)));
            contents.insert(queue.0, messages.collect());
        }
        for queue in 1..self.next_queue {
            let empty = !contents.contains_key(&queue);
            assert!(!empty || store.backlog(QueueId(queue)).unwrap().is_none());
        }
        Ok(contents)
    }

    /// What may have been delivered before is marked.
    fn check_flags(&self, store: &JournalStore) -> Result<(), Error> {
        for queue in store.queues().unwrap() {
            let flagged = self.flagged.get(&queue.0).copied().unwrap_or(0);
            for stored in read(store, queue)? {
                let must = stored.position <= flagged || stored.delivery_count > 0;
                assert!(stored.redelivered || !must, "{queue:?} {stored:?}");
            }
        }
        Ok(())
    }

    /// Nothing fits: says in what the journal differs from the nearest states.
    fn explain(&self, found: &Contents) -> ! {
        let show = |contents: &Contents| {
            let lines = contents.iter().map(|(queue, messages)| {
                let messages = messages.iter();
                let messages =
                    messages.map(|(p, m)| format!("{p}:{}x{}", m.number, m.delivery_count));
                format!("{queue}: {}", messages.collect::<Vec<_>>().join(" "))
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        if let Some(at) = self.states.iter().position(|state| state == found) {
            panic!("{} batches were promised, {at} are there", self.promised);
        }
        panic!(
            "found\n{}\nafter {} of {} batches there should be\n{}\nand at the end\n{}",
            show(found),
            self.promised,
            self.states.len() - 1,
            show(&self.states[self.promised]),
            show(self.states.last().unwrap())
        );
    }

    /// Opens the journal, uses it and closes it.
    pub fn session(&mut self, batches: usize) -> Ending {
        let (store, told) = match self.open() {
            Ok(opened) => opened,
            Err(error) => {
                let error = error.to_string();
                assert!(!error.contains("repair"), "{error}");
                return Ending::NotOpened(error);
            }
        };
        let mut going = true;
        for number in 0..batches {
            let (batch, waits) = self.batch();
            going = self.append(&store, &told, batch, waits);
            if !going {
                break;
            }
            if number % 8 == 7 {
                self.look(&store, &told);
            }
        }
        if !going || told.failure().is_some() {
            let error = told.wait_for_failure();
            // After its failure the store takes what it likes and promises nothing.
            let (batch, _) = self.batch();
            self.append(&store, &told, batch, false);
            self.note_promises(&store, &told);
            store.close();
            return Ending::Failed(error);
        }
        let from = self.disk.count();
        store.close();
        self.closings.push(from..self.disk.count());
        self.note_promises(&store, &told);
        drop(store);
        if told.failure().is_some() {
            return Ending::FailedAtClose;
        }
        self.promised = self.states.len() - 1;
        self.synced = self.promised;
        Ending::Done
    }

    /// What completed may not be lost any more.
    fn note_promises(&mut self, store: &JournalStore, told: &Told) {
        let durable = store.durable().max(told.ticket());
        let states = |last| self.tickets.partition_point(|ticket| *ticket <= last);
        self.promised = states(durable);
        self.synced = match self.durability {
            Durability::Sync => self.promised,
            Durability::Interval(_) => states(self.disk.synced()),
            Durability::None => 0,
        };
    }

    /// Appends a batch, and sometimes waits for it. False if the journal failed.
    fn append(
        &mut self,
        store: &JournalStore,
        told: &Arc<Told>,
        batch: Vec<Operation>,
        waits: bool,
    ) -> bool {
        let mut state = self.states.last().unwrap().clone();
        batch
            .iter()
            .for_each(|operation| apply(&mut state, operation));
        self.states.push(state);
        let ticket = store.append(&mut batch.clone());
        self.tickets.push(ticket);
        store.notify(ticket, told.clone());
        if ticket == Ticket::NEVER {
            return false;
        }
        !waits || told.wait(ticket)
    }

    /// While it works, the journal gives what was written, wherever the mover has it at this moment.
    fn look(&mut self, store: &JournalStore, told: &Told) {
        let last = self.tickets.last().copied().unwrap_or(Ticket::NONE);
        if !told.wait(last) {
            return;
        }
        match self.contents(store) {
            Ok(found) => assert_eq!(found, *self.states.last().unwrap()),
            Err(error) => assert!(self.disk.has_crashed(), "{error}"),
        }
    }

    /// The next batch, and whether to wait for it.
    fn batch(&mut self) -> (Vec<Operation>, bool) {
        loop {
            let kind = self.random.random_range(0..100);
            let place = self.random.random_range(0..self.queues.len());
            let batch = match kind {
                0..30 => self.publish(&[place]),
                30..45 => self.publish(&[0, 1, 2, 3]),
                45..68 => self.settle(place),
                68..73 => self.settle_range(place),
                73..82 => self.requeue(place),
                82..85 => self.delete(place),
                _ => self.dead_letter(place),
            };
            if !batch.is_empty() {
                return (batch, self.random.random_bool(0.6));
            }
        }
    }

    fn publish(&mut self, places: &[usize]) -> Vec<Operation> {
        let mut batch = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            let message = self.message();
            batch.extend(places.iter().map(|place| self.enqueue(*place, &message)));
        }
        batch
    }

    fn message(&mut self) -> (u64, Message) {
        let number = self.next_message;
        self.next_message += 1;
        let size = SIZES[self.random.random_range(0..SIZES.len())];
        let expected = Expected {
            number,
            size,
            delivery_count: 0,
        };
        (number, expected.message())
    }

    fn enqueue(&mut self, place: usize, (number, message): &(u64, Message)) -> Operation {
        let (queue, next) = &mut self.queues[place];
        let position = *next;
        // Transient messages take positions too.
        *next += 1 + number % 3 / 2;
        Operation::Enqueue {
            queue: QueueId(*queue),
            position,
            enqueued_at: ENTERED + number,
            message: message.clone(),
        }
    }

    /// Some positions of a queue, in order.
    fn some(&mut self, place: usize, chance: f64) -> (u64, Vec<u64>) {
        let queue = self.queues[place].0;
        let state = self.states.last().unwrap();
        let positions: Vec<u64> = state
            .get(&queue)
            .into_iter()
            .flatten()
            .map(|(p, _)| *p)
            .collect();
        let random = &mut self.random;
        let chosen = positions.into_iter().filter(|_| random.random_bool(chance));
        (queue, chosen.collect())
    }

    fn settle(&mut self, place: usize) -> Vec<Operation> {
        let chance = [0.2, 0.6, 1.0][self.random.random_range(0..3)];
        let (queue, positions) = self.some(place, chance);
        positions
            .iter()
            .map(|position| self.settled(queue, *position))
            .collect()
    }

    fn settled(&self, queue: u64, position: u64) -> Operation {
        let message = self.states.last().unwrap()[&queue][&position].message();
        Operation::Settle {
            queue: QueueId(queue),
            position,
            bytes: message.size() as u32,
        }
    }

    fn settle_range(&mut self, place: usize) -> Vec<Operation> {
        let (queue, positions) = self.some(place, 0.5);
        let range = positions.first().zip(positions.last());
        let clear = |(from, to): (&u64, &u64)| Operation::SettleRange {
            queue: QueueId(queue),
            from: *from,
            to: *to,
        };
        range.map(clear).into_iter().collect()
    }

    fn requeue(&mut self, place: usize) -> Vec<Operation> {
        let (queue, positions) = self.some(place, 0.4);
        let messages = self.states.last().unwrap().get(&queue);
        let requeued = positions.into_iter().map(|position| Operation::Requeue {
            queue: QueueId(queue),
            position,
            delivery_count: messages.unwrap()[&position].delivery_count + 1,
        });
        requeued.collect()
    }

    fn delete(&mut self, place: usize) -> Vec<Operation> {
        let (queue, _) = std::mem::replace(&mut self.queues[place], (self.next_queue, 1));
        self.next_queue += 1;
        vec![Operation::DeleteQueue {
            queue: QueueId(queue),
        }]
    }

    /// Messages leave a queue for two others, as one batch.
    fn dead_letter(&mut self, place: usize) -> Vec<Operation> {
        let (queue, positions) = self.some(place, 0.3);
        let mut batch = Vec::new();
        for position in positions.into_iter().take(3) {
            let old = self.states.last().unwrap()[&queue][&position];
            let number = self.next_message;
            self.next_message += 1;
            let moved = Expected {
                number,
                size: old.size,
                delivery_count: 0,
            };
            let moved = (number, moved.message());
            batch.push(self.settled(queue, position));
            batch.push(self.enqueue((place + 1) % 4, &moved));
            batch.push(self.enqueue((place + 2) % 4, &moved));
        }
        batch
    }
}

/// Files that are never really synced need no real disk.
fn memory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() {
        memory
    } else {
        std::env::temp_dir()
    }
}

pub fn options() -> LogOptions {
    LogOptions {
        file_size: FILE_SIZE,
        spare: 2,
        ..LogOptions::default()
    }
}

/// All of a queue, read in pieces.
pub fn read(store: &JournalStore, queue: QueueId) -> Result<Vec<StoredMessage>, Error> {
    let mut found: Vec<StoredMessage> = Vec::new();
    let mut from = 0;
    loop {
        let before = found.len();
        let mut each = |stored| found.push(stored);
        store.read(queue, from, u64::MAX, 2000, &mut each)?;
        match found.last() {
            Some(last) if found.len() > before => from = last.position + 1,
            _ => return Ok(found),
        }
    }
}

/// What a message says it is, after a look at all its bytes.
fn expected(stored: &StoredMessage) -> Expected {
    let body = stored.message.body();
    let number = u64::from_le_bytes(body[..8].try_into().unwrap());
    let expected = Expected {
        number,
        size: body.len() - 8,
        delivery_count: stored.delivery_count,
    };
    assert!(body == expected.body(), "message {number} is changed");
    assert_eq!(stored.enqueued_at, ENTERED + number);
    assert_eq!(stored.message.routing_key(), "a.key");
    expected
}

fn apply(state: &mut Contents, operation: &Operation) {
    match operation {
        Operation::Enqueue {
            queue,
            position,
            message,
            ..
        } => {
            let body = message.body();
            let expected = Expected {
                number: u64::from_le_bytes(body[..8].try_into().unwrap()),
                size: body.len() - 8,
                delivery_count: 0,
            };
            state
                .entry(queue.0)
                .or_default()
                .insert(*position, expected);
        }
        Operation::Settle {
            queue, position, ..
        } => {
            state.get_mut(&queue.0).unwrap().remove(position).unwrap();
        }
        Operation::SettleRange { queue, from, to } => {
            let messages = state.get_mut(&queue.0).unwrap();
            messages.retain(|position, _| position < from || position > to);
        }
        Operation::Requeue {
            queue,
            position,
            delivery_count,
        } => {
            let messages = state.get_mut(&queue.0).unwrap();
            messages.get_mut(position).unwrap().delivery_count = *delivery_count;
        }
        Operation::DeleteQueue { queue } => {
            state.remove(&queue.0);
        }
    }
    state.retain(|_, messages| !messages.is_empty());
}
