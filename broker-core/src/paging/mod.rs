//! The memory that queued messages may take, and the threads that keep to it.
//!
//! Every queue reports what its waiting messages cost in memory, once for each batch of changes. Above the budget,
//! a queue that is published to forgets what the store can give back, at once and without I/O; what else has to go is
//! the evictor's work. Readers bring back what consumers are about to want. Both sorts of threads
//! are started when there is something to do and end when there is not.

mod evictor;
mod readers;

use std::sync::{
    Arc, OnceLock, Weak,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use self::readers::Request;
use crate::{
    queue::{Millis, Queue, Spilling, Work},
    spill::Spill,
};

/// Bytes of messages that are loaded at once: few enough to read in a millisecond, enough that locks and wakes cost
/// nothing. Less if the budget is very small.
const CHUNK: usize = 512 * 1024;

/// What the pager needs of the broker around it.
pub trait Surroundings: Send + Sync {
    /// Dead-letters what `work` has gathered from this queue.
    fn bury(&self, queue: &Queue, now: Millis, work: &mut Work);

    /// Calls `each` for every queue.
    fn for_each_queue(&self, each: &mut dyn FnMut(&Arc<Queue>));
}

/// What a reader thread is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Errand {
    /// Load what comes next in a lane.
    Load(u8),
    /// Read what has expired in a lane.
    ReadExpired(u8),
    /// Look through the queue's backlog for what expires.
    Scan,
}

/// The budget of a broker, and who pages in and out.
pub struct Pager {
    /// In bytes, as [`cost`](crate::queue::page::cost) reckons.
    budget: usize,
    resident: AtomicUsize,
    spill: Option<Spill>,
    /// The last write to the spill failed. The evictor tries again.
    spill_failed: AtomicBool,
    surroundings: OnceLock<Weak<dyn Surroundings>>,
    readers: readers::Readers,
    evictor: evictor::Evictor,
}

impl std::fmt::Debug for Pager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let resident = self.resident();
        write!(f, "{resident} bytes in memory of {}", self.budget)
    }
}

impl Pager {
    /// A pager for messages that may take `budget` bytes of memory. Without a spill, what the store cannot give back
    /// stays in memory.
    pub fn new(budget: usize, spill: Option<Spill>) -> Arc<Self> {
        Arc::new(Self {
            budget,
            resident: AtomicUsize::new(0),
            spill,
            spill_failed: AtomicBool::new(false),
            surroundings: OnceLock::new(),
            readers: readers::Readers::default(),
            evictor: evictor::Evictor::default(),
        })
    }

    /// A pager that pages nothing out.
    pub fn unlimited() -> Arc<Self> {
        Self::new(usize::MAX, None)
    }

    /// Tells it of the broker, once that is there.
    pub fn attach(&self, surroundings: Weak<dyn Surroundings>) {
        // Only the first broker counts; there is no other.
        let _ = self.surroundings.set(surroundings);
    }

    fn surroundings(&self) -> Option<Arc<dyn Surroundings>> {
        self.surroundings.get()?.upgrade()
    }

    /// What all messages that wait in queues cost in memory, in bytes.
    pub fn resident(&self) -> usize {
        self.resident.load(Ordering::Relaxed)
    }

    /// What they may cost.
    pub fn budget(&self) -> usize {
        self.budget
    }

    /// Bytes of messages that a queue loads at once.
    pub(crate) fn chunk(&self) -> usize {
        CHUNK.min(self.budget / 4)
    }

    /// Where messages go that the store cannot give back.
    pub(crate) fn spill(&self) -> Option<&Spill> {
        self.spill.as_ref()
    }

    /// What becomes of such messages when a queue is published to. The evictor writes them, unless it does not keep up:
    /// then publishers have to wait for the disk.
    pub(crate) fn spilling(&self) -> Spilling {
        let far = self.resident() / 2 > self.budget;
        match &self.spill {
            None => Spilling::Never,
            Some(_) if far && !self.spill_failed.load(Ordering::Relaxed) => Spilling::Now,
            Some(_) => Spilling::Later,
        }
    }

    /// Notes whether the spill could be written.
    pub(crate) fn note_spill(&self, written: bool) {
        self.spill_failed.store(!written, Ordering::Relaxed);
    }

    /// Notes that a queue's messages cost `after` now instead of `before`.
    pub(crate) fn account(&self, before: usize, after: usize) {
        if after > before {
            self.resident.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.resident.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Whether messages cost more than they may.
    pub(crate) fn is_over(&self) -> bool {
        self.resident() > self.budget
    }

    /// Pages out until there is room again, on a thread of its own.
    pub(crate) fn relieve(self: &Arc<Self>) {
        self.evictor.wake(self);
    }

    /// Has something of `queue` read, on one of the reader threads. `now` is when that was asked for.
    pub(crate) fn request(self: &Arc<Self>, queue: &Arc<Queue>, errand: Errand, now: Millis) {
        let queue = Arc::clone(queue);
        self.readers.request(self, Request { queue, errand, now });
    }

    fn run(&self, request: &Request, work: &mut Work) {
        let Request { queue, errand, now } = request;
        let now = *now;
        match *errand {
            Errand::Load(lane) => queue.load(lane, now, work),
            Errand::ReadExpired(lane) => queue.expire_on_disk(lane, now, work),
            Errand::Scan => queue.scan(now, work),
        }
        if !work.dead.is_empty()
            && let Some(surroundings) = self.surroundings()
        {
            surroundings.bury(queue, now, work);
        }
    }

    /// Ends the threads.
    pub fn close(&self) {
        self.readers.close();
        self.evictor.close();
    }
}
