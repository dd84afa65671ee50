//! One move: a thread that goes through a queue once, in slices.
//!
//! What the queue holds when the move begins is looked at once, from the front to the back. A slice is read, sorted into
//! what is meant and what is not, and what is meant leaves the queue in one batch of the store together with its arrival
//! elsewhere. No lock is held between two slices, and none for long.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    Order,
    filter::Matcher,
    pace::Pace,
    progress::{Phase, Progress, Tracker, wait_for},
    target::{Destination, Stays},
};
use crate::{
    Error,
    permissions::{Access, Operation, Resource},
    queue::{Entry, LaneLength, Millis, Queue, SLICE, Work},
    store::{MessageStore, Position, Ticket},
    vhost::Vhost,
};

/// How long a move waits before it looks again whether a full queue has room.
const FULL: Duration = Duration::from_millis(200);

/// What a move works with.
pub(super) struct Job {
    pub(super) order: Arc<Order>,
    pub(super) matcher: Matcher,
    pub(super) vhost: Arc<Vhost>,
    pub(super) source: Arc<Queue>,
    pub(super) access: Arc<Access>,
    pub(super) store: Arc<dyn MessageStore>,
    pub(super) clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    pub(super) tracker: Arc<Tracker>,
}

/// Messages that are to be moved and where they go.
type Pending = VecDeque<(Entry, Destination)>;

/// Why a move ends before its time.
enum Stop {
    Cancelled,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Job {
    /// Carries the move out.
    pub(super) fn run(&self) {
        let result = self.go_through();
        let now = (self.clock)();
        self.tracker.update(|progress| {
            progress.finished = Some(now);
            (progress.phase, progress.reason) = match result {
                Ok(()) => (Phase::Done, None),
                Err(Stop::Cancelled) => (Phase::Cancelled, None),
                Err(Stop::Failed(error)) => (Phase::Failed, Some(error.to_string())),
            };
        });
        self.tell(&self.tracker.progress());
    }

    fn tell(&self, progress: &Progress) {
        let (by, vhost, queue) = (&self.order.user, &self.order.vhost, &self.order.queue);
        let (moved, phase) = (progress.moved, progress.phase.as_str());
        let (dry_run, reason) = (self.order.dry_run, progress.reason.as_deref());
        tracing::info!(target: "audit", by = &**by, vhost = &**vhost, queue, moved, phase, dry_run, reason, "move ended");
    }

    fn go_through(&self) -> Result<(), Stop> {
        let lanes = self.source.lane_lengths();
        let ready = lanes.iter().map(|lane| lane.ready as u64).sum();
        self.tracker.update(|progress| progress.ready = ready);
        let mut mover = Mover {
            job: self,
            pace: self.order.rate.map(|rate| Pace::new(rate, (self.clock)())),
            left: self.order.limit.unwrap_or(u64::MAX),
            work: Work::default(),
        };
        for lane in lanes {
            mover.go_through_lane(lane)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Stop> {
        match self.tracker.is_cancelled() {
            true => Err(Stop::Cancelled),
            false => Ok(()),
        }
    }

    /// Sorts out what is meant, and where it goes.
    fn examine(&self, entries: Vec<Entry>, now: Millis) -> Pending {
        let mut pending = Pending::new();
        let (mut unroutable, mut not_dead, mut refused, mut matched) = (0, 0, 0, 0);
        let examined = entries.len() as u64;
        for entry in entries {
            if self.source.has_expired(&entry, now) || !self.matcher.matches(&entry, now) {
                continue;
            }
            matched += 1;
            let target = &self.order.target;
            match target.of(&entry.message, &self.vhost, &self.access) {
                Ok(destination) => pending.push_back((entry, destination)),
                Err(Stays::Unroutable) => unroutable += 1,
                Err(Stays::NotDead) => not_dead += 1,
                Err(Stays::Refused(_)) => refused += 1,
            }
        }
        self.tracker.update(|progress| {
            progress.examined += examined;
            progress.matched += matched;
            progress.unroutable += unroutable;
            progress.not_dead += not_dead;
            progress.refused += refused;
        });
        pending
    }
}

/// The state of a move that is under way.
struct Mover<'a> {
    job: &'a Job,
    pace: Option<Pace>,
    /// How many messages may still be moved.
    left: u64,
    work: Work,
}

impl Mover<'_> {
    fn go_through_lane(&mut self, lane: LaneLength) -> Result<(), Stop> {
        let job = self.job;
        let mut from: Position = 0;
        while self.left > 0 {
            job.check()?;
            let source = Resource::Queue(&job.order.queue);
            let access = &job.access;
            access.decide(|| access.check(Operation::Read, source))?;
            let row = job.source.row(lane.lane, from, SLICE)?;
            let mut entries = row.entries;
            // What has come since is not looked at: it may be what was moved.
            entries.retain(|entry| entry.position < lane.end);
            let mut pending = job.examine(entries, (job.clock)());
            pending.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.move_all(lane.lane, pending)?;
            match row.next {
                Some(next) if next < lane.end => from = next,
                _ => break,
            }
        }
        Ok(())
    }

    fn move_all(&mut self, lane: u8, mut pending: Pending) -> Result<(), Stop> {
        let job = self.job;
        while !pending.is_empty() {
            job.check()?;
            if job.order.dry_run {
                self.note_moved(pending.len());
                return Ok(());
            }
            let now = (job.clock)();
            let allowed = self
                .pace
                .as_mut()
                .map_or(usize::MAX, |pace| pace.allowed(now));
            if allowed == 0 {
                let wait = self.pace.as_ref().map(Pace::wait).unwrap_or_default();
                job.tracker.rest(wait);
                continue;
            }
            let count = room_for(&pending, allowed.min(pending.len()));
            let Ok(count) = count.map_err(|full| self.wait_for_room(&full)) else {
                continue;
            };
            self.move_some(lane, pending.drain(..count).collect(), now)?;
        }
        Ok(())
    }

    fn move_some(
        &mut self,
        lane: u8,
        messages: Vec<(Entry, Destination)>,
        now: Millis,
    ) -> Result<(), Stop> {
        let job = self.job;
        self.work.ticket = Ticket::NONE;
        let moved = job
            .vhost
            .move_messages(&job.source, lane, messages, now, &mut self.work);
        let ticket = self.work.ticket;
        let durable = wait_for(&*job.store, ticket, || job.tracker.is_cancelled());
        job.source.forget_left();
        if ticket == Ticket::NEVER {
            return Err(Stop::Cancelled);
        }
        self.note_moved(moved);
        match durable {
            true => Ok(()),
            false => Err(Stop::Cancelled),
        }
    }

    fn note_moved(&mut self, count: usize) {
        self.left -= count as u64;
        if let Some(pace) = &mut self.pace {
            pace.moved(count);
        }
        self.job.tracker.update(|progress| {
            progress.moved += count as u64;
            progress.phase = Phase::Running;
            progress.reason = None;
        });
    }

    fn wait_for_room(&self, full: &Queue) {
        let text = self.job.vhost.queue_text(full.name());
        self.job.tracker.update(|progress| {
            progress.phase = Phase::Waiting;
            progress.reason = Some(format!("{text} is full"));
        });
        self.job.tracker.rest(FULL);
    }
}

/// How many of the first `count` messages fit into their queues: all, or fewer in halves.
///
/// # Errors
/// The full queue, when there is not even room for the first message.
fn room_for(pending: &Pending, mut count: usize) -> Result<usize, Arc<Queue>> {
    loop {
        let Some(full) = full_queue(pending, count) else {
            return Ok(count);
        };
        if count == 1 {
            return Err(full);
        }
        count /= 2;
    }
}

/// A queue that would refuse one of the first `count` messages.
fn full_queue(pending: &Pending, count: usize) -> Option<Arc<Queue>> {
    let mut loads: Vec<(&Arc<Queue>, usize, usize)> = Vec::new();
    for (entry, destination) in pending.iter().take(count) {
        let bytes = entry.message.body_length();
        for queue in &destination.queues {
            match loads.iter_mut().find(|load| Arc::ptr_eq(load.0, queue)) {
                Some(load) => {
                    load.1 += 1;
                    load.2 += bytes;
                }
                None => loads.push((queue, 1, bytes)),
            }
        }
    }
    let mut loads = loads.into_iter();
    let full = loads.find(|(queue, count, bytes)| queue.refuses(*count, *bytes));
    full.map(|(queue, ..)| Arc::clone(queue))
}
