//! All orders of one queue: the lane that every queue has, and those of higher priorities.
//!
//! What has the highest priority comes first, so the front of the queue is the front of the highest lane that holds
//! anything, be it on disk. Which lanes hold something is a set of bits, and the sums over them are kept up to date:
//! nothing here walks over 255 lanes for a message. A queue without priorities has the one lane in place and pays for
//! the question alone.
//!
//! Each lane is a stream of its own in the store: their ids follow that of the queue.

use super::{
    effects::Effects,
    entry::Entry,
    lane::{Elsewhere, Garbage, Lane},
    occupied::Occupied,
    priorities::Priorities,
};
use crate::{
    message::Message,
    store::{Position, QueueId, Ticket},
};

/// The messages of a queue.
#[derive(Debug)]
pub struct Lanes {
    queue: QueueId,
    /// Priority 0, or the only order.
    lowest: Lane,
    higher: Option<Box<Higher>>,
}

/// The lanes above the lowest.
#[derive(Debug)]
struct Higher {
    priorities: Priorities,
    /// Priorities 1, 2 and so on, as far as messages have come. One that nobody uses costs nothing.
    lanes: Vec<Lane>,
    /// Which of them hold anything.
    occupied: Occupied,
    /// Messages that wait in them.
    count: usize,
    /// Bytes of their bodies.
    bytes: usize,
}

/// A message's place in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The lane.
    pub lane: u8,
    /// The position there.
    pub position: Position,
}

/// Places that were set aside for a row of messages: in each lane some that follow each other.
#[derive(Debug, Clone)]
pub struct Places {
    lowest: Aside,
    higher: Vec<Aside>,
}

/// Places of one lane that were set aside.
#[derive(Debug, Clone, Copy, Default)]
struct Aside {
    lane: u8,
    first: Position,
    count: usize,
    /// How many of them were given out.
    taken: u64,
}

impl Aside {
    fn take(&mut self) -> Position {
        self.taken += 1;
        self.first + self.taken - 1
    }
}

impl Lanes {
    /// The empty lanes of a queue, with one order if it has no priorities.
    pub(super) fn new(queue: QueueId, priorities: Option<Priorities>) -> Self {
        let higher = priorities.map(|priorities| {
            Box::new(Higher {
                priorities,
                lanes: Vec::new(),
                occupied: Occupied::default(),
                count: 0,
                bytes: 0,
            })
        });
        Self {
            queue,
            lowest: Lane::new(queue, 0),
            higher,
        }
    }

    /// Lets no message give way, from the beginning on.
    pub(super) fn keep_order(&mut self) {
        self.lowest.keep_order();
    }

    /// The lane that a message belongs into.
    #[inline]
    pub(super) fn lane_of(&self, message: &Message) -> u8 {
        match &self.higher {
            None => 0,
            Some(higher) => higher.priorities.of_message(message),
        }
    }

    /// Messages that wait, on disk or not.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.lowest.count() + self.higher.as_ref().map_or(0, |it| it.count)
    }

    /// Bytes of the bodies that wait, on disk or not.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.lowest.ready_bytes + self.higher.as_ref().map_or(0, |it| it.bytes)
    }

    /// The lane whose front is the front of the queue: the highest that holds anything and does not give way.
    #[inline]
    pub(super) fn front_number(&self) -> u8 {
        match self.higher {
            None => 0,
            Some(_) => self.front_by_priority(),
        }
    }

    fn front_by_priority(&self) -> u8 {
        let highest = self.highest();
        let mut number = highest;
        while self.get(number).is_some_and(Lane::gives_way) {
            match self.occupied_below(number) {
                Some(lower) => number = lower,
                None => return highest,
            }
        }
        number
    }

    /// The highest lane that holds anything, or the lowest.
    fn highest(&self) -> u8 {
        let higher = self.higher.as_ref();
        higher.and_then(|it| it.occupied.highest()).unwrap_or(0)
    }

    /// The lane of [`Self::front_number`].
    #[inline]
    pub(super) fn front_lane(&self) -> &Lane {
        self.get(self.front_number()).unwrap_or(&self.lowest)
    }

    /// A lane, unless no message has come so far up yet.
    #[inline]
    pub(super) fn get(&self, number: u8) -> Option<&Lane> {
        match number.checked_sub(1) {
            None => Some(&self.lowest),
            Some(index) => self.higher.as_ref()?.lanes.get(usize::from(index)),
        }
    }

    /// A lane to be changed otherwise than in what waits there. It is made when its first message comes; there is none
    /// beyond the highest, and nobody asks for one.
    #[inline]
    pub(super) fn get_mut(&mut self, number: u8) -> &mut Lane {
        if number == 0 {
            return &mut self.lowest;
        }
        let higher = self.higher.as_mut();
        let lane = higher.and_then(|higher| higher.grown(&self.lowest, number));
        lane.unwrap_or(&mut self.lowest)
    }

    /// Changes what waits in a lane.
    #[inline]
    pub(super) fn change<R>(&mut self, number: u8, change: impl FnOnce(&mut Lane) -> R) -> R {
        if number == 0 {
            return change(&mut self.lowest);
        }
        let Some(higher) = &mut self.higher else {
            return change(&mut self.lowest);
        };
        let Some(lane) = higher.grown(&self.lowest, number) else {
            return change(&mut self.lowest);
        };
        let (count, bytes) = (lane.count(), lane.ready_bytes);
        let result = change(lane);
        let (new_count, new_bytes) = (lane.count(), lane.ready_bytes);
        higher.count = higher.count - count + new_count;
        higher.bytes = higher.bytes - bytes + new_bytes;
        higher.occupied.set(number, new_count > 0);
        result
    }

    /// The lanes that may hold something, from the lowest up.
    #[inline]
    pub(super) fn occupied(&self) -> impl Iterator<Item = &Lane> {
        let mut next = Some(&self.lowest);
        std::iter::from_fn(move || {
            let lane = next?;
            next = self.above(lane);
            Some(lane)
        })
    }

    #[inline]
    fn above(&self, lane: &Lane) -> Option<&Lane> {
        let higher = self.higher.as_ref()?;
        self.get(higher.occupied.lowest_above(lane.number)?)
    }

    /// The lanes above the lowest that hold something now.
    pub(super) fn occupied_higher(&self) -> Occupied {
        let higher = self.higher.as_ref();
        higher.map_or_else(Occupied::default, |higher| higher.occupied)
    }

    /// The next lane above `number` that holds something.
    pub(super) fn occupied_above(&self, number: u8) -> Option<u8> {
        self.higher.as_ref()?.occupied.lowest_above(number)
    }

    /// The next lane below `number` that holds something.
    pub(super) fn occupied_below(&self, number: u8) -> Option<u8> {
        let higher = self.higher.as_ref()?;
        let next = higher.occupied.highest_below(number);
        next.or_else(|| (number > 0 && self.lowest.count() > 0).then_some(0))
    }

    /// Takes the first message of the queue, unless it lies on disk.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Entry> {
        match self.higher {
            None => self.lowest.pop(),
            Some(_) => self.pop_by_priority(),
        }
    }

    fn pop_by_priority(&mut self) -> Option<Entry> {
        let highest = self.highest();
        let number = self.front_number();
        let mut given_way = Some(highest).filter(|&it| it > number);
        while let Some(lane) = given_way {
            self.get_mut(lane).has_given_way();
            given_way = self.occupied_below(lane).filter(|&it| it > number);
        }
        self.change(number, Lane::pop)
    }

    /// Takes the message that stands before all others, whoever gives way, unless it lies on disk: what goes when the
    /// queue is too long.
    pub(super) fn pop_oldest(&mut self) -> Option<Entry> {
        self.change(self.highest(), |lane| {
            lane.pop_returned().or_else(|| lane.pop_ready())
        })
    }

    /// Messages that lie on disk only.
    pub(super) fn paged(&self) -> usize {
        self.occupied().map(Lane::paged).sum()
    }

    /// Sets a place aside for each of `messages`.
    pub(super) fn reserve_row(&mut self, messages: &[Message]) -> Places {
        let mut places = Places::none();
        if self.higher.is_none() {
            places.lowest.first = self.lowest.reserve_row(messages.len());
            places.lowest.count = messages.len();
            return places;
        }
        for message in messages {
            let number = self.lane_of(message);
            let position = self.get_mut(number).reserve();
            places.add(number, position);
        }
        places
    }

    /// Notes the ticket of the records of the messages that come to these places.
    pub(super) fn note_records(
        &mut self,
        places: &Places,
        ticket: Ticket,
        durable: &dyn Fn() -> Ticket,
    ) {
        for row in std::iter::once(&places.lowest).chain(&places.higher) {
            if row.count > 0 {
                let lane = self.get_mut(row.lane);
                lane.note_records(row.first, row.count, ticket, durable);
            }
        }
    }

    /// Takes everything that waits out of all lanes, and with `durable` out of the store.
    pub(super) fn purge(
        &mut self,
        durable: bool,
        elsewhere: Elsewhere,
        effects: &mut Effects,
        garbage: &mut Garbage,
    ) {
        self.change_all(|lane| lane.purge(durable, elsewhere, effects, garbage));
    }

    /// Forgets everything that waits.
    pub(super) fn clear(&mut self, garbage: &mut Garbage) {
        self.change_all(|lane| lane.clear(garbage));
    }

    fn change_all(&mut self, mut each: impl FnMut(&mut Lane)) {
        each(&mut self.lowest);
        if let Some(higher) = &mut self.higher {
            higher.lanes.iter_mut().for_each(each);
            (higher.count, higher.bytes) = (0, 0);
            higher.occupied = Occupied::default();
        }
    }

    /// What the store may know the queue by.
    pub(super) fn ids(&self) -> impl Iterator<Item = QueueId> {
        let higher = self.higher.iter().flat_map(|higher| &higher.lanes);
        let used = higher.filter(|lane| lane.next_position > 1).map(Lane::id);
        std::iter::once(self.queue).chain(used)
    }
}

impl Higher {
    /// A lane, made when its first message comes.
    fn grown(&mut self, lowest: &Lane, number: u8) -> Option<&mut Lane> {
        if number > self.priorities.highest() {
            return None;
        }
        while self.lanes.len() < usize::from(number) {
            let next = self.lanes.len() as u8 + 1;
            self.lanes.push(lowest.above(next));
        }
        self.lanes.get_mut(usize::from(number).checked_sub(1)?)
    }
}

impl Places {
    fn none() -> Self {
        Self {
            lowest: Aside::default(),
            higher: Vec::new(),
        }
    }

    /// Adds a place that follows those of its lane.
    fn add(&mut self, lane: u8, position: Position) {
        let row = match self.row(lane) {
            Some(row) => row,
            None => {
                self.higher.push(Aside::default());
                let Some(row) = self.higher.last_mut() else {
                    return;
                };
                row
            }
        };
        if row.count == 0 {
            (row.lane, row.first) = (lane, position);
        }
        row.count += 1;
    }

    fn row(&mut self, lane: u8) -> Option<&mut Aside> {
        match lane {
            0 => Some(&mut self.lowest),
            lane => self.higher.iter_mut().find(|row| row.lane == lane),
        }
    }

    /// The place of the next message of this lane.
    pub(super) fn take(&mut self, lane: u8) -> Place {
        let position = self.row(lane).map_or(0, Aside::take);
        Place { lane, position }
    }
}
