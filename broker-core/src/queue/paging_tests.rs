//! A queue whose messages go to disk and come back at random, beside a model that has all of them in memory.
//!
//! The state machine is driven alone, so every interleaving of loads and changes is one of the random steps: what was
//! read is kept back and handed in later, after purges, deliveries and further paging.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    slice,
    sync::Arc,
};

use proptest::{collection::vec, prelude::*};
use tempfile::TempDir;

use super::{
    arguments::Overflow,
    expire_paged::Expired,
    lane::Lane,
    page::Loaded,
    page_out::{PageOut, PagedOut},
    peek::Piece,
    *,
};
use crate::{
    journal::file_system::Disk,
    spill::Spill,
    store::{MemoryStore, Position},
};

const ID: QueueId = QueueId(1);
const TTL: Millis = 100;
/// What a message says that has an expiration of its own.
const OWN_TTL: Millis = 50;
const CHUNK: usize = 600;
/// The highest priority of a queue that has some.
const HIGHEST: u8 = 2;

/// A place in the order of the queue: its lane and its position there.
type InOrder = (Reverse<u8>, Position);

fn place_of(entry: &Entry) -> InOrder {
    (Reverse(entry.lane), entry.position)
}

#[derive(Debug, Clone)]
enum Step {
    Publish {
        count: usize,
        persistent: bool,
        expires: bool,
        priority: u8,
    },
    Reserve {
        persistent: bool,
        priority: u8,
    },
    Insert,
    Get,
    Ack(prop::sample::Index),
    Requeue(prop::sample::Index),
    PageOut {
        lane: u8,
        readable: prop::sample::Index,
        keep: usize,
        front: bool,
        spill: bool,
    },
    /// The first block that waits is written.
    Write,
    /// Reads what comes next in a lane or in the queue, and keeps it.
    Read(Option<u8>),
    /// Hands in what was read.
    Deliver(prop::sample::Index),
    /// An operator looks at some messages of a lane, and remembers them.
    Look {
        lane: u8,
        offset: prop::sample::Index,
        most: usize,
    },
    /// Some of those that were looked at are taken out.
    TakeOut {
        look: prop::sample::Index,
        every: usize,
    },
    /// The store settles what was taken out first.
    Left,
    Purge,
    Pass(Millis),
    /// A policy sets another time to live.
    SetTtl(Option<u64>),
    Restart,
    Slow(bool),
    Hinder(bool),
}

/// A priority; those above [`HIGHEST`] count as it.
fn lane() -> impl Strategy<Value = u8> {
    0..HIGHEST + 2
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let page_out = (
        lane(),
        index(),
        0..1_500_usize,
        any::<bool>(),
        any::<bool>(),
    );
    prop_oneof![
        8 => (1..80_usize, any::<bool>(), prop::bool::weighted(0.2), lane()).prop_map(
            |(count, persistent, expires, priority)| Step::Publish {
                count,
                persistent,
                expires,
                priority,
            }
        ),
        2 => (any::<bool>(), lane()).prop_map(|(persistent, priority)| Step::Reserve {
            persistent,
            priority,
        }),
        2 => Just(Step::Insert),
        12 => Just(Step::Get),
        6 => index().prop_map(Step::Ack),
        3 => index().prop_map(Step::Requeue),
        8 => page_out.prop_map(|(lane, readable, keep, front, spill)| Step::PageOut {
            lane,
            readable,
            keep,
            front,
            spill
        }),
        3 => Just(Step::Write),
        3 => prop::option::of(lane()).prop_map(Step::Read),
        3 => index().prop_map(Step::Deliver),
        4 => (lane(), index(), 1..60_usize).prop_map(|(lane, offset, most)| Step::Look {
            lane,
            offset,
            most,
        }),
        4 => (index(), 1..4_usize).prop_map(|(look, every)| Step::TakeOut { look, every }),
        3 => Just(Step::Left),
        1 => Just(Step::Purge),
        2 => (1..TTL).prop_map(Step::Pass),
        1 => prop::option::of(0..2 * TTL).prop_map(Step::SetTtl),
        1 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Slow),
        1 => any::<bool>().prop_map(Step::Hinder),
    ]
}

/// A message as the model knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    body: Vec<u8>,
    persistent: bool,
    entered: Millis,
    may_expire: bool,
    counts: DeliveryCounts,
    redelivered: bool,
}

impl Known {
    fn of(entry: &Entry) -> Self {
        Self {
            body: entry.message.body().to_vec(),
            persistent: entry.stored,
            entered: entry.entered,
            may_expire: entry.may_expire,
            counts: entry.counts,
            redelivered: entry.redelivered,
        }
    }
}

impl Known {
    fn has_expired(&self, now: Millis, ttl: Option<u64>) -> bool {
        let ended = |ttl| self.entered + ttl <= now;
        ttl.is_some_and(ended) || self.may_expire && ended(OWN_TTL)
    }
}

/// The same queue without a disk.
#[derive(Default)]
struct Model {
    ready: BTreeMap<InOrder, Known>,
    returned: BTreeMap<InOrder, Known>,
}

impl Model {
    /// The row that has the first message: within a lane what came back comes first.
    fn front(&mut self) -> &mut BTreeMap<InOrder, Known> {
        let lane = |row: &BTreeMap<InOrder, Known>| row.keys().next().map(|place| place.0.0);
        match lane(&self.returned) >= lane(&self.ready) {
            true => &mut self.returned,
            false => &mut self.ready,
        }
    }

    fn pop(&mut self) -> Option<(InOrder, Known)> {
        self.front().pop_first()
    }

    fn make_room(&mut self, arguments: &QueueArguments) {
        let limit = arguments.max_length.unwrap_or(u64::MAX) as usize;
        while self.count() > limit {
            self.pop();
        }
    }

    fn count(&self) -> usize {
        self.ready.len() + self.returned.len()
    }

    fn bytes(&self) -> usize {
        let all = self.ready.values().chain(self.returned.values());
        all.map(|known| known.body.len()).sum()
    }

    /// Whatever has expired goes, wherever it is.
    fn expire(&mut self, now: Millis, ttl: Option<u64>) {
        let lives = |_: &InOrder, known: &mut Known| !known.has_expired(now, ttl);
        self.ready.retain(lives);
        self.returned.retain(lives);
    }
}

struct Scene {
    arguments: QueueArguments,
    state: QueueState,
    model: Model,
    store: MemoryStore,
    _folder: TempDir,
    spill: Spill,
    unacked: Vec<Entry>,
    reserved: VecDeque<(Places, Message, Millis)>,
    waiting: Vec<Arc<Vec<Entry>>>,
    read: Vec<Loaded>,
    looked: Vec<(u8, Vec<Entry>)>,
    leaving: VecDeque<(u8, Vec<Entry>)>,
    published: usize,
    now: Millis,
    effects: Effects,
    /// Settlements take their time until the store knows them.
    slow: bool,
    settling: Vec<Operation>,
    /// Whenever something is read because it has expired, the next page is loaded meanwhile.
    hinder: bool,
}

fn new_state(arguments: &QueueArguments) -> QueueState {
    let priorities = Priorities::of(arguments);
    QueueState::new(ID, true, priorities, Limits::new(arguments), CHUNK)
}

impl Scene {
    fn new(arguments: QueueArguments) -> Self {
        let folder = TempDir::new().unwrap();
        Self {
            state: new_state(&arguments),
            arguments,
            model: Model::default(),
            store: MemoryStore::pageable(),
            spill: Spill::open(Arc::new(Disk), folder.path()).unwrap(),
            _folder: folder,
            unacked: Vec::new(),
            reserved: VecDeque::new(),
            waiting: Vec::new(),
            read: Vec::new(),
            looked: Vec::new(),
            leaving: VecDeque::new(),
            published: 0,
            now: 1_000,
            effects: Effects::default(),
            slow: false,
            settling: Vec::new(),
            hinder: false,
        }
    }

    fn message(&mut self, persistent: bool, expires: bool, priority: u8) -> Message {
        self.published += 1;
        let body = vec![self.published as u8; self.published % 40];
        let properties: &[u8] = if expires {
            &[9, 0, priority, 2, b'5', b'0']
        } else {
            &[8, 0, priority]
        };
        Message::new("", "q", properties, &body, persistent)
    }

    /// The place of a message in a lane where `position` is next.
    fn place(&self, message: &Message, position: Position) -> InOrder {
        (Reverse(self.state.lanes.lane_of(message)), position)
    }

    fn known(&self, message: &Message) -> Known {
        Known {
            body: message.body().to_vec(),
            persistent: message.persistent(),
            entered: self.now,
            may_expire: message.may_expire(),
            counts: DeliveryCounts::default(),
            redelivered: false,
        }
    }

    /// What the model does when a message enters.
    fn entered(&mut self, place: InOrder, known: Known) {
        self.model.ready.insert(place, known);
        if self.arguments.max_length.is_some() {
            self.model.expire(self.now, self.arguments.message_ttl_ms);
            self.model.make_room(&self.arguments);
        }
        self.model.expire(self.now, self.arguments.message_ttl_ms);
    }

    fn publish(&mut self, count: usize, message: impl Fn(&mut Self) -> Message) {
        let messages: Vec<_> = (0..count).map(|_| message(self)).collect();
        for message in &messages {
            let lane = self.state.lanes.lane_of(message);
            let position = self.state.lanes.get_mut(lane).next_position;
            let one = std::iter::once(message.clone());
            let (now, effects) = (self.now, &mut self.effects);
            self.state.publish(one, now, effects, &mut Vec::new());
            self.settle();
            let known = self.known(message);
            self.entered(self.place(message, position), known);
        }
    }

    fn reserve(&mut self, persistent: bool, priority: u8) {
        let message = self.message(persistent, false, priority);
        let places = self.state.reserve_row(slice::from_ref(&message));
        let place = self.state.next_place(&message, &mut places.clone());
        if persistent {
            let record = self.state.enqueueing(place, &message, self.now);
            self.effects.operations.push(record);
        }
        self.reserved.push_back((places, message, self.now));
    }

    fn insert(&mut self) {
        if let Some((mut places, message, then)) = self.reserved.pop_front() {
            let place = self.state.next_place(&message, &mut places);
            let (now, effects) = (self.now, &mut self.effects);
            // In the broker a place is reserved and taken at the same moment.
            let mut run = Run::default();
            self.state
                .insert(place, message.clone(), then, effects, &mut run);
            self.state.end_run(now, effects);
            self.settle();
            self.now = then;
            let known = self.known(&message);
            self.now = now;
            self.entered((Reverse(place.lane), place.position), known);
        }
    }

    fn load(&mut self, lane: Option<u8>) {
        let load = self.state.next_load(lane).unwrap().unwrap();
        let mut loaded = load.read(&self.store).unwrap();
        self.state.loaded(&mut loaded);
        self.state.drop_excess(&mut self.effects);
        self.state.dispatch(self.now, &mut self.effects);
    }

    fn append(&mut self) {
        if self.slow {
            let settles = |operation: &mut Operation| matches!(operation, Operation::Settle { .. });
            let settling = self.effects.operations.extract_if(.., settles);
            self.settling.extend(settling);
        } else {
            self.store.append(&mut self.settling);
        }
        self.store.append(&mut self.effects.operations);
    }

    fn load_meanwhile(&mut self) {
        if self.hinder && self.state.next_load(None).unwrap().is_some() {
            self.load(None);
            self.append();
        }
    }

    fn read_expired(&mut self, lane: u8) {
        let Some(expired) = self.state.expired_on_disk(lane) else {
            return;
        };
        let mut read = Vec::new();
        expired.read(&self.store, &mut read).unwrap();
        self.load_meanwhile();
        let effects = &mut self.effects;
        self.state.expire_read(&expired, read, effects);
        self.state.dispatch(self.now, effects);
    }

    /// What the queue's surroundings do after each change.
    fn settle(&mut self) {
        loop {
            self.append();
            self.effects.forgotten.clear();
            self.effects.loads.clear();
            if let Some(lane) = self.effects.read_expired.pop() {
                self.read_expired(lane);
                continue;
            }
            if let Some(rest) = self.state.unscanned() {
                let seen = rest.read(&self.store, CHUNK).unwrap();
                self.load_meanwhile();
                self.state.scanned(seen);
                self.state.dispatch(self.now, &mut self.effects);
                continue;
            }
            let excess = std::mem::take(&mut self.effects.excess);
            let expires = self.state.page_expires(self.now);
            match (excess, expires) {
                (true, _) => self.load(None),
                (false, Some(lane)) => self.load(Some(lane)),
                (false, None) => return,
            }
        }
    }

    fn get(&mut self) {
        let (now, mut found) = (self.now, None);
        while found.is_none() {
            found = self.state.get(false, now, &mut self.effects);
            if found.is_none() && self.state.next_load(None).unwrap().is_none() {
                break;
            }
            if found.is_none() {
                self.load(None);
            }
        }
        self.model.expire(now, self.arguments.message_ttl_ms);
        let expected = self.model.pop();
        let got = found.as_ref().map(|e| (place_of(e), Known::of(e)));
        assert_eq!(got, expected);
        self.unacked.extend(found);
    }

    fn requeue(&mut self, entry: Entry) {
        let mut known = Known::of(&entry);
        known.counts.add(Requeued::Unprocessed);
        known.redelivered = true;
        self.model.returned.insert(place_of(&entry), known);
        let entry = std::iter::once((entry, Requeued::Unprocessed));
        self.state.requeue(entry, 0, &mut self.effects);
        self.state.drop_excess(&mut self.effects);
        self.state.dispatch(self.now, &mut self.effects);
        self.settle();
        self.model.make_room(&self.arguments);
        self.model.expire(self.now, self.arguments.message_ttl_ms);
    }

    fn page_out(&mut self, lane: u8, how: PageOut) {
        let done = self.state.page_out(lane, how, &mut self.effects.forgotten);
        if let PagedOut::Spill(entries) = done {
            self.waiting.push(entries);
        }
    }

    /// What an operator sees of a lane from the message on that `offset` others precede.
    fn look(&mut self, lane: u8, offset: usize, most: usize) {
        let Some(known) = self.state.lanes.get(lane) else {
            return;
        };
        let count = known.count();
        let (from, skip) = known.place_of(offset.checked_rem(count).unwrap_or(0));
        let mut seen = match self.state.piece(lane, from, most) {
            Piece::Nothing => Vec::new(),
            Piece::Memory(entries) => entries,
            Piece::Disk(load) => {
                let mut read = load.read(&self.store).unwrap();
                let lane = self.state.lanes.get(lane).unwrap();
                lane.leaving.take_out_of(&mut read);
                read.retain(|entry| entry.position >= from);
                read.entries
            }
        };
        let of_lane = |row: &BTreeMap<InOrder, Known>, from| -> Vec<(InOrder, Known)> {
            let row = row.range((Reverse(lane), from)..);
            let row = row.take_while(|(place, _)| place.0.0 == lane);
            row.map(|(place, known)| (*place, known.clone())).collect()
        };
        let mut expected = of_lane(&self.model.returned, from);
        expected.extend(of_lane(&self.model.ready, from));
        expected.sort_by_key(|(place, _)| *place);
        let found: Vec<_> = seen.iter().map(|e| (place_of(e), Known::of(e))).collect();
        assert_eq!(found, expected[..found.len()]);
        assert_eq!(found.is_empty(), expected.is_empty());
        let in_order = of_lane(&self.model.returned, 0).last().map(|it| it.0)
            < of_lane(&self.model.ready, 0).first().map(|it| it.0);
        if count > 0 && in_order && skip < found.len() {
            let before = count - expected.len() + skip;
            assert_eq!(
                before,
                offset % count,
                "the offset is that of the first message"
            );
        }
        seen.truncate(most);
        self.looked.push((lane, seen));
    }

    fn take_out(&mut self, look: prop::sample::Index, every: usize) {
        let (lane, mut seen) = self.looked.remove(look.index(self.looked.len()));
        let mut number = 0;
        seen.retain(|_| {
            number += 1;
            number % every == 0
        });
        let expected: Vec<_> = seen
            .iter()
            .map(place_of)
            .filter(|place| {
                let ready = self.model.ready.remove(place);
                ready
                    .or_else(|| self.model.returned.remove(place))
                    .is_some()
            })
            .collect();
        self.state.expires = true;
        let out = self.state.lanes.change(lane, |lane| lane.take_out(seen));
        assert_eq!(
            out.entries.iter().map(place_of).collect::<Vec<_>>(),
            expected
        );
        self.leaving.push_back((lane, out.entries));
    }

    fn left(&mut self) {
        if let Some((lane, left)) = self.leaving.pop_front() {
            let mut batch: Vec<_> = left.iter().filter_map(|it| it.settlement(ID)).collect();
            let ticket = self.store.append(&mut batch);
            self.state.lanes.get_mut(lane).settled(left.len(), ticket);
            if self.settling.is_empty() {
                self.state.forget_left(Ticket::NONE, self.store.durable());
            }
        }
    }

    fn purge(&mut self) {
        while !self.leaving.is_empty() {
            self.left();
        }
        self.state.expire(self.now, &mut self.effects);
        self.settle();
        let (reserved, unacked) = (self.reserved.len(), self.unacked.len());
        let returned = self.model.returned.len();
        let late = self.lanes().flat_map(|lane| {
            let taken = lane.taken;
            lane.ready.iter().filter(move |e| e.position <= taken)
        });
        let (late, lanes) = (late.count(), self.lanes().count());
        let before = self.effects.operations.len();
        let garbage = &mut Garbage::default();
        let count = self.state.purge(false, &mut self.effects, garbage);
        let records = self.effects.operations.len() - before;
        assert!(
            records <= lanes + reserved + returned + late,
            "{records} records"
        );
        assert!(unacked >= self.state.unacknowledged_count());
        self.model.expire(self.now, self.arguments.message_ttl_ms);
        assert_eq!(count, self.model.count());
        self.model = Model::default();
    }

    /// A proper stop, and a start.
    fn restart(&mut self) {
        for entry in std::mem::take(&mut self.unacked) {
            self.requeue(entry);
        }
        while !self.reserved.is_empty() {
            self.insert();
        }
        self.slow = false;
        self.settle();
        while !self.leaving.is_empty() {
            self.left();
        }
        self.waiting.clear();
        self.read.clear();
        self.looked.clear();
        self.state = new_state(&self.arguments);
        for lane in 0..=HIGHEST {
            if let Some(backlog) = self.store.backlog(ID.lane(lane)).unwrap() {
                let places = self.store_places();
                let mut places = places.iter().filter(|place| place.0.0 == lane);
                assert_eq!(Some(backlog.first), places.next().map(|place| place.1));
                self.state.recover(lane, &backlog);
            }
        }
        let returned = std::mem::take(&mut self.model.returned);
        self.model.ready.extend(returned);
        self.model.ready.retain(|_, known| known.persistent);
        self.state.expire(self.now, &mut self.effects);
        self.settle();
        self.model.expire(self.now, self.arguments.message_ttl_ms);
    }

    fn lanes(&self) -> impl Iterator<Item = &Lane> {
        (0..=HIGHEST).filter_map(|lane| self.state.lanes.get(lane))
    }

    fn store_places(&self) -> Vec<InOrder> {
        let mut places = Vec::new();
        for lane in (0..=HIGHEST).rev() {
            let mut each = |stored: crate::store::StoredMessage| {
                places.push((Reverse(lane), stored.position));
            };
            let queue = ID.lane(lane);
            self.store
                .read(queue, 0, Position::MAX, usize::MAX, &mut each)
                .unwrap();
        }
        places
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Publish {
                count,
                persistent,
                expires,
                priority,
            } => self.publish(count, |it| it.message(persistent, expires, priority)),
            Step::Reserve {
                persistent,
                priority,
            } => self.reserve(persistent, priority),
            Step::Insert => self.insert(),
            Step::Get => self.get(),
            Step::Ack(index) if !self.unacked.is_empty() => {
                let entry = self.unacked.remove(index.index(self.unacked.len()));
                self.state
                    .settle(std::iter::once(&entry), self.now, &mut self.effects);
            }
            Step::Requeue(index) if !self.unacked.is_empty() => {
                let entry = self.unacked.remove(index.index(self.unacked.len()));
                self.requeue(entry);
            }
            Step::PageOut {
                lane,
                readable,
                keep,
                front,
                spill,
            } => {
                let lane = self.state.lanes.get(lane).map_or(0, |_| lane);
                let end = self.state.lanes.get_mut(lane).next_position;
                let how = PageOut {
                    readable: readable.index(end as usize) as u64,
                    keep,
                    front,
                    spill: if spill {
                        Spilling::Now
                    } else {
                        Spilling::Never
                    },
                };
                self.page_out(lane, how);
            }
            Step::Write if !self.waiting.is_empty() => {
                let entries = self.waiting.remove(0);
                let block = self.spill.write(&entries).unwrap();
                self.state.spilled(&entries, block);
            }
            Step::Read(lane) => {
                if let Some(load) = self.state.next_load(lane).unwrap() {
                    self.read.push(load.read(&self.store).unwrap());
                }
            }
            Step::Deliver(index) if !self.read.is_empty() => {
                let mut loaded = self.read.remove(index.index(self.read.len()));
                self.state.loaded(&mut loaded);
                self.state.dispatch(self.now, &mut self.effects);
            }
            Step::Look { lane, offset, most } => {
                let offset = offset.index(1000);
                self.look(lane.min(HIGHEST), offset, most);
            }
            Step::TakeOut { look, every } if !self.looked.is_empty() => self.take_out(look, every),
            Step::Left => self.left(),
            Step::Purge => self.purge(),
            Step::Pass(time) => {
                self.now += time;
                self.state.expire(self.now, &mut self.effects);
                self.settle();
                self.model.expire(self.now, self.arguments.message_ttl_ms);
            }
            Step::SetTtl(ttl) => {
                self.arguments.message_ttl_ms = ttl;
                self.state.set_limits(Limits::new(&self.arguments));
            }
            Step::Restart => self.restart(),
            Step::Slow(slow) => self.slow = slow,
            Step::Hinder(hinder) => self.hinder = hinder,
            Step::Ack(_) | Step::Requeue(_) | Step::Write | Step::Deliver(_) => {}
            Step::TakeOut { .. } => {}
        }
        self.settle();
        // The alarm for whatever has come to the front in the meantime.
        self.state.expire(self.now, &mut self.effects);
        self.settle();
        self.model.expire(self.now, self.arguments.message_ttl_ms);
        self.check();
    }

    fn check(&self) {
        assert_eq!(self.state.ready_count(), self.model.count());
        assert_eq!(self.state.ready_bytes(), self.model.bytes());
        assert_eq!(self.state.unacknowledged_count(), self.unacked.len());
        let mut places: Vec<_> = self
            .model
            .ready
            .iter()
            .chain(&self.model.returned)
            .filter(|(_, known)| known.persistent)
            .map(|(place, _)| *place)
            .chain(self.unacked.iter().filter(|e| e.stored).map(place_of))
            .chain(
                self.leaving
                    .iter()
                    .flat_map(|(_, left)| left)
                    .filter(|e| e.stored)
                    .map(place_of),
            )
            .chain(
                self.reserved
                    .iter()
                    .filter(|(_, message, _)| message.persistent())
                    .map(|(places, message, _)| {
                        let place = self.state.next_place(message, &mut places.clone());
                        (Reverse(place.lane), place.position)
                    }),
            )
            .collect();
        places.sort_unstable();
        let mut stored = self.store_places();
        stored.retain(|place| !self.settles(place));
        assert_eq!(stored, places);
    }

    /// Whether the store will hear that the message at this place has left.
    fn settles(&self, place: &InOrder) -> bool {
        let settles = |operation: &Operation| match operation {
            Operation::Settle {
                queue, position, ..
            } => *queue == ID.lane(place.0.0) && *position == place.1,
            _ => false,
        };
        self.settling.iter().any(settles)
    }
}

fn run(arguments: QueueArguments, steps: Vec<Step>) {
    let mut scene = Scene::new(arguments);
    for step in steps {
        scene.run(step);
    }
    while scene.model.count() > 0 {
        scene.get();
        scene.settle();
    }
    scene.get();
    scene.check();
}

proptest! {
    #[test]
    fn paged_queue_is_like_one_in_memory(steps in vec(step(), 0..60)) {
        run(QueueArguments::default(), steps);
    }

    #[test]
    fn paged_queue_with_priorities_is_like_one_in_memory(steps in vec(step(), 0..60)) {
        run(
            QueueArguments {
                max_priority: Some(HIGHEST),
                ..QueueArguments::default()
            },
            steps,
        );
    }

    #[test]
    fn paged_queue_with_priorities_and_limits_is_like_one_in_memory(
        steps in vec(step(), 0..60),
    ) {
        run(
            QueueArguments {
                message_ttl_ms: Some(TTL),
                max_length: Some(150),
                max_priority: Some(HIGHEST),
                ..QueueArguments::default()
            },
            steps,
        );
    }

    #[test]
    fn paged_queue_with_limits_is_like_one_in_memory(steps in vec(step(), 0..60)) {
        run(
            QueueArguments {
                message_ttl_ms: Some(TTL),
                max_length: Some(150),
                overflow: Overflow::DropHead,
                ..QueueArguments::default()
            },
            steps,
        );
    }
}

/// Two messages that lie on disk and have expired, and what a reader is asked for.
fn overdue(scene: &mut Scene) -> Expired {
    scene.publish(2, |scene| scene.message(true, true, 0));
    let how = PageOut {
        readable: scene.state.lanes.get_mut(0).next_position,
        keep: 0,
        front: true,
        spill: Spilling::Never,
    };
    scene.page_out(0, how);
    scene.now += OWN_TTL;
    scene.state.expire(scene.now, &mut scene.effects);
    scene.append();
    scene.state.expired_on_disk(0).expect("a reader is asked")
}

#[test]
fn reader_from_before_a_purge_does_not_end_what_is_read_after_it() {
    let mut scene = Scene::new(QueueArguments::default());
    let early = overdue(&mut scene);
    let (mut read_early, mut read_late) = (Vec::new(), Vec::new());
    early.read(&scene.store, &mut read_early).unwrap();
    let garbage = &mut Garbage::default();
    scene.state.purge(false, &mut scene.effects, garbage);
    scene.append();
    let late = overdue(&mut scene);
    late.read(&scene.store, &mut read_late).unwrap();
    let effects = &mut scene.effects;
    scene.state.expire_read(&early, read_early, effects);
    scene.state.expire_read(&late, read_late, effects);
    assert_eq!(scene.state.ready_count(), 0);
}
