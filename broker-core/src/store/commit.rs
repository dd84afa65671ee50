//! Group commit without a timer: one writer thread takes everything that gathered, writes it, syncs it, and tells those
//! who wait; meanwhile the next group gathers.
//!
//! The message stores and the definitions stand on this. A [`Sink`] is what they differ in: how a group is written, and
//! what a sync is. A failed write or sync is never tried again (after a failed `fsync` nobody knows what the disk
//! holds): the failure hook is called once, and no ticket completes any more. A full disk is no failure: the group
//! waits until there is room.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{Completion, FailureHook, Ticket, sequence::Sequence};
use crate::error::Error;

/// A group's allocation beyond this many bytes is given back after a group that needed little of it.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// How long that which nobody waits for may stay in memory, so that many small appends share one write.
const LAZY: Duration = Duration::from_millis(10);

/// Bytes that nobody waits for and that are worth a write at once.
const LAZY_BYTES: usize = 256 * 1024;

/// How long until a write that found no room is tried again.
const RETRY: Duration = Duration::from_millis(250);

/// How long a close waits for room on a full disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a writer puts its groups.
pub(crate) trait Sink<T>: Send + 'static {
    /// Writes a whole group as one atomic unit: after a crash all of it is there, or nothing. The group must stay as it
    /// is if there was no room for it.
    fn apply(&mut self, group: &mut Vec<T>) -> Result<Applied, Error>;

    /// Makes everything applied so far survive a power cut.
    fn sync(&mut self) -> Result<(), Error>;

    /// Does a bounded piece of the work that nobody waits for, and tells whether there is more.
    fn tidy(&mut self) -> Result<bool, Error> {
        Ok(false)
    }

    /// Called last, after everything was applied and synced.
    fn close(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// What became of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is written.
    Done,
    /// The disk is full: it must be applied again later. With the reason, for operators.
    NoRoom(String),
}

/// Whether an append asks for a sync by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// The group that it falls into is synced.
    Soon,
    /// It is synced when somebody waits for it, or along with a later group.
    WhenAwaited,
}

/// What a completed ticket stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// It survives a power cut: completed after the sync.
    #[default]
    Sync,
    /// It survives the end of the process: completed after the write. A sync follows within this time, so a power cut
    /// costs at most what was confirmed in it.
    Interval(Duration),
    /// It survives the end of the process. When it reaches the disk is left to the system; closing syncs.
    None,
}

struct State<T> {
    sequence: Sequence,
    pending: Vec<T>,
    pending_bytes: usize,
    /// Up to here somebody waits.
    awaited: Ticket,
    /// Up to here everything is synced.
    synced: Ticket,
    /// When the next sync is due that is made by the clock.
    next_sync: Option<Instant>,
    /// Why the disk takes nothing at the moment.
    blocked: Option<String>,
    closing: bool,
    /// The writer is gone: closed or failed.
    ended: bool,
}

struct Shared<T> {
    durability: Durability,
    state: Mutex<State<T>>,
    work: Condvar,
    /// A copy of the sequence's durable ticket that is read without the lock.
    durable: AtomicU64,
}

/// The queue in front of a writer thread.
pub(crate) struct GroupCommit<T: Send + 'static> {
    shared: Arc<Shared<T>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl<T: Send + 'static> GroupCommit<T> {
    /// Starts the writer thread under the name `name`.
    pub(crate) fn start(
        name: &str,
        durability: Durability,
        sink: impl Sink<T>,
        on_failure: FailureHook,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            durability,
            state: Mutex::new(State::new()),
            work: Condvar::new(),
            durable: AtomicU64::new(0),
        });
        let own = Arc::clone(&shared);
        let writer = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || own.write_until_closed(sink, &on_failure))
            .map_err(|error| Error::Internal(format!("cannot start thread {name}: {error}")))?;
        Ok(Self {
            shared,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Takes all of `items`, which weigh `bytes`, as one unit. After the end it takes nothing and answers
    /// [`Ticket::NEVER`].
    pub(crate) fn append(&self, items: &mut Vec<T>, bytes: usize, sync: Sync) -> Ticket {
        let mut state = self.shared.state.lock();
        if state.closing || state.ended {
            drop(state);
            items.clear();
            return Ticket::NEVER;
        }
        let ticket = state.sequence.append();
        let wake = state.add(items, bytes) || sync == Sync::Soon;
        if sync == Sync::Soon {
            state.awaited = ticket;
        }
        drop(state);
        if wake {
            self.shared.work.notify_one();
        }
        ticket
    }

    /// Calls `completion` once `ticket` is durable, at once if it is, never if it cannot become so.
    pub(crate) fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>) {
        let mut state = self.shared.state.lock();
        if ticket <= state.sequence.durable() {
            drop(state);
            completion.durable(ticket);
        } else if !state.ended && ticket <= state.sequence.appended() {
            state.sequence.wait(ticket, completion);
            state.awaited = state.awaited.max(ticket);
            drop(state);
            self.shared.work.notify_one();
        }
    }

    /// The last durable ticket.
    pub(crate) fn durable(&self) -> Ticket {
        Ticket(self.shared.durable.load(Ordering::Acquire))
    }

    /// Bytes that were appended and not yet written.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.shared.state.lock().pending_bytes
    }

    /// Why nothing can be written at the moment, if so.
    pub(crate) fn blocked(&self) -> Option<String> {
        self.shared.state.lock().blocked.clone()
    }

    /// Makes everything durable and ends the writer; does nothing when called again. On a full disk it gives up after
    /// [`PATIENCE`].
    pub(crate) fn close(&self) {
        self.shared.state.lock().closing = true;
        self.shared.work.notify_one();
        let Some(writer) = self.writer.lock().take() else {
            return;
        };
        // The last owner may be a completion, which runs on the writer itself: it cannot wait for its own end.
        if writer.thread().id() != thread::current().id() && writer.join().is_err() {
            tracing::error!("the writer thread ended with a panic in its failure hook");
        }
    }
}

impl<T: Send + 'static> Drop for GroupCommit<T> {
    fn drop(&mut self) {
        self.close();
    }
}

/// What the writer does in one turn.
struct Turn {
    target: Ticket,
    bytes: usize,
    sync: bool,
    ending: bool,
}

impl<T> State<T> {
    fn new() -> Self {
        Self {
            sequence: Sequence::default(),
            pending: Vec::new(),
            pending_bytes: 0,
            awaited: Ticket::NONE,
            synced: Ticket::NONE,
            next_sync: None,
            blocked: None,
            closing: false,
            ended: false,
        }
    }

    /// Adds to what is pending, and tells whether the writer should look at it though nobody waits.
    fn add(&mut self, items: &mut Vec<T>, bytes: usize) -> bool {
        let first = self.pending.is_empty();
        self.pending.append(items);
        let before = self.pending_bytes;
        self.pending_bytes += bytes;
        first || (before < LAZY_BYTES && self.pending_bytes >= LAZY_BYTES)
    }

    /// What there is to do at `now`; nothing if it can wait.
    fn turn(&self, durability: Durability, now: Instant) -> Option<Turn> {
        let target = self.sequence.appended();
        let unsynced = self.synced < target;
        let awaited = self.sequence.durable() < self.awaited;
        let due = match durability {
            Durability::Sync => awaited,
            Durability::Interval(_) => self.next_sync.is_some_and(|due| due <= now),
            Durability::None => false,
        };
        let turn = Turn {
            target,
            bytes: self.pending_bytes,
            sync: due || (self.closing && unsynced),
            ending: self.closing && !unsynced,
        };
        let urgent = awaited || self.pending_bytes >= LAZY_BYTES;
        (turn.sync || turn.ending || (urgent && !self.pending.is_empty())).then_some(turn)
    }
}

impl<T: Send + 'static> Shared<T> {
    fn write_until_closed(&self, mut sink: impl Sink<T>, on_failure: &FailureHook) {
        let result = catch_unwind(AssertUnwindSafe(|| self.write(&mut sink)));
        let result = result.unwrap_or_else(|_| {
            Err(Error::Internal(
                "the writer of the store panicked".to_owned(),
            ))
        });
        self.end();
        if let Err(error) = result {
            on_failure(error);
        }
    }

    fn write(&self, sink: &mut impl Sink<T>) -> Result<(), Error> {
        let mut group = Vec::new();
        let mut untidy = true;
        loop {
            let turn = self.gather(&mut group, untidy);
            if turn.ending {
                return sink.close();
            }
            if !group.is_empty() {
                if !self.apply(sink, &mut group)? {
                    return Ok(());
                }
                self.written(&mut group, turn.bytes);
                if self.durability != Durability::Sync {
                    self.complete(turn.target);
                }
            }
            if turn.sync {
                sink.sync()?;
                self.synced(turn.target);
            }
            untidy = sink.tidy()?;
        }
    }

    /// Waits for something to do, and takes all of it.
    fn gather(&self, group: &mut Vec<T>, untidy: bool) -> Turn {
        let mut state = self.state.lock();
        let mut lazy = None;
        loop {
            let now = Instant::now();
            let can_wait = !untidy && lazy.is_none_or(|until| now < until);
            let turn = match state.turn(self.durability, now) {
                Some(turn) => turn,
                None if can_wait => {
                    if !state.pending.is_empty() {
                        lazy.get_or_insert(now + LAZY);
                    }
                    match state.next_sync.into_iter().chain(lazy).min() {
                        Some(until) => _ = self.work.wait_until(&mut state, until),
                        None => self.work.wait(&mut state),
                    }
                    continue;
                }
                None => Turn {
                    target: state.sequence.appended(),
                    bytes: state.pending_bytes,
                    sync: false,
                    ending: false,
                },
            };
            std::mem::swap(group, &mut state.pending);
            return turn;
        }
    }

    /// Writes the group, waiting for room if there is none. False: there was none until the close gave up.
    fn apply(&self, sink: &mut impl Sink<T>, group: &mut Vec<T>) -> Result<bool, Error> {
        let mut deadline = None;
        while let Applied::NoRoom(why) = sink.apply(group)? {
            if !self.wait_for_room(why, &mut deadline) {
                return Ok(false);
            }
        }
        if self.state.lock().blocked.take().is_some() {
            tracing::warn!("there is room on the disk again: writing goes on");
        }
        Ok(true)
    }

    /// Waits a little before the next attempt. False: a close has waited long enough, until `deadline`.
    fn wait_for_room(&self, why: String, deadline: &mut Option<Instant>) -> bool {
        let mut state = self.state.lock();
        let now = Instant::now();
        if state.closing && now >= *deadline.get_or_insert(now + PATIENCE) {
            tracing::error!("closing without what was not written yet: {why}");
            return false;
        }
        if state.blocked.is_none() {
            tracing::error!("{why}; nothing is confirmed until there is room");
        }
        state.blocked = Some(why);
        while !self.work.wait_until(&mut state, now + RETRY).timed_out() {}
        true
    }

    fn written(&self, group: &mut Vec<T>, bytes: usize) {
        let kept = KEPT_BYTES / size_of::<T>().max(1);
        if group.capacity() > kept && group.len() < group.capacity() / 4 {
            *group = Vec::new();
        }
        group.clear();
        let mut state = self.state.lock();
        state.pending_bytes -= bytes;
        if let Durability::Interval(time) = self.durability {
            state.next_sync.get_or_insert_with(|| Instant::now() + time);
        }
    }

    fn synced(&self, target: Ticket) {
        let mut state = self.state.lock();
        state.synced = target;
        state.next_sync = None;
        drop(state);
        self.complete(target);
    }

    fn complete(&self, target: Ticket) {
        // Whoever is called looks here how far things are, so this moves first.
        self.durable.store(target.0, Ordering::Release);
        loop {
            let due = self.state.lock().sequence.complete(target);
            let Some(due) = due else { return };
            for (ticket, completion) in due {
                completion.durable(ticket);
            }
        }
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.blocked = None;
        state.pending_bytes = 0;
        let pending = std::mem::take(&mut state.pending);
        let waiting = state.sequence.abandon();
        drop(state);
        drop((pending, waiting));
    }
}

#[cfg(test)]
mod tests;
