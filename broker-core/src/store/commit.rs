//! Group commit without a timer: one writer thread takes everything that gathered, writes it, syncs it, and tells those
//! who wait; meanwhile the next group gathers.
//!
//! The message store and the definitions both stand on this. A [`Sink`] is what they differ in: how a group is
//! written, and what a sync is. A failed write or sync is never tried again (after a failed `fsync` nobody knows what
//! the disk holds): the failure hook is called once, and no ticket completes any more.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};

use super::{Completion, FailureHook, Ticket, sequence::Sequence};
use crate::error::Error;

/// A group's allocation beyond this many items is given back after use.
const KEPT_ITEMS: usize = 16 * 1024;

/// Where a writer puts its groups.
pub(crate) trait Sink<T>: Send + 'static {
    /// Writes a whole group as one atomic unit: after a crash all of it is there, or nothing.
    fn apply(&mut self, group: &mut Vec<T>) -> Result<(), Error>;

    /// Makes everything applied so far survive a power cut.
    fn sync(&mut self) -> Result<(), Error>;

    /// Does a bounded piece of the work that nobody waits for, and tells whether there is more.
    fn tidy(&mut self) -> Result<bool, Error> {
        Ok(false)
    }
}

/// Whether an append asks for a sync by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// The group that it falls into is synced.
    Soon,
    /// It is synced when somebody waits for it, or along with a later group.
    WhenAwaited,
}

struct State<T> {
    sequence: Sequence,
    pending: Vec<T>,
    pending_bytes: usize,
    /// Up to here somebody asked for durability.
    awaited: Ticket,
    closing: bool,
    /// The writer is gone: closed or failed.
    ended: bool,
}

struct Shared<T> {
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
        sink: impl Sink<T>,
        on_failure: FailureHook,
    ) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                sequence: Sequence::default(),
                pending: Vec::new(),
                pending_bytes: 0,
                awaited: Ticket::NONE,
                closing: false,
                ended: false,
            }),
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
        state.pending.append(items);
        state.pending_bytes += bytes;
        if sync == Sync::Soon {
            state.awaited = ticket;
        }
        drop(state);
        self.shared.work.notify_one();
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

    /// Makes everything durable and ends the writer; does nothing when called again.
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
                return Ok(());
            }
            if !group.is_empty() {
                sink.apply(&mut group)?;
                self.written(&mut group, turn.bytes);
            }
            if turn.sync {
                sink.sync()?;
                self.complete(turn.target);
            }
            untidy = sink.tidy()?;
        }
    }

    /// Waits for something to do, and takes all of it.
    fn gather(&self, group: &mut Vec<T>, untidy: bool) -> Turn {
        let mut state = self.state.lock();
        loop {
            let target = state.sequence.appended();
            let unsynced = state.sequence.durable() < target;
            let sync = state.sequence.durable() < state.awaited || (state.closing && unsynced);
            let ending = state.closing && !unsynced;
            if sync || ending || untidy || !state.pending.is_empty() {
                std::mem::swap(group, &mut state.pending);
                return Turn {
                    target,
                    bytes: state.pending_bytes,
                    sync,
                    ending,
                };
            }
            self.work.wait(&mut state);
        }
    }

    fn written(&self, group: &mut Vec<T>, bytes: usize) {
        group.clear();
        group.shrink_to(KEPT_ITEMS);
        self.state.lock().pending_bytes -= bytes;
    }

    fn complete(&self, target: Ticket) {
        loop {
            let due = {
                let mut state = self.state.lock();
                let due = state.sequence.complete(target);
                if due.is_none() {
                    self.durable
                        .store(state.sequence.durable().0, Ordering::Release);
                }
                due
            };
            let Some(due) = due else { return };
            for (ticket, completion) in due {
                completion.durable(ticket);
            }
        }
    }

    fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        state.pending_bytes = 0;
        let pending = std::mem::take(&mut state.pending);
        let waiting = state.sequence.abandon();
        drop(state);
        drop((pending, waiting));
    }
}
