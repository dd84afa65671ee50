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
pub enum Sync {
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
        state.pending_bytes = 0;
        let pending = std::mem::take(&mut state.pending);
        let waiting = state.sequence.abandon();
        drop(state);
        drop((pending, waiting));
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use parking_lot::MutexGuard;

    use super::*;

    /// Writes down what happens; fails or panics when it is told a certain item.
    #[derive(Clone, Default)]
    struct Recorder {
        events: Arc<Mutex<Vec<String>>>,
        changed: Arc<Condvar>,
    }

    const FAIL: u32 = 1_000;
    const PANIC: u32 = 1_001;

    impl Recorder {
        fn record(&self, event: String) {
            self.events.lock().push(event);
            self.changed.notify_all();
        }

        fn wait_for(&self, event: &str) -> Vec<String> {
            let deadline = Instant::now() + Duration::from_secs(60);
            let mut events = self.events.lock();
            while !events.iter().any(|found| found == event) {
                let late = self.changed.wait_until(&mut events, deadline).timed_out();
                assert!(!late, "no {event:?} in {events:?}");
            }
            events.clone()
        }

        fn commit(&self) -> GroupCommit<u32> {
            let own = self.clone();
            let hook = move |error| own.record(format!("failed: {error}"));
            GroupCommit::start("test", self.clone(), Box::new(hook)).unwrap()
        }
    }

    impl Sink<u32> for Recorder {
        fn apply(&mut self, group: &mut Vec<u32>) -> Result<(), Error> {
            assert!(!group.contains(&PANIC));
            if group.contains(&FAIL) {
                return Err(Error::Internal("no space".to_owned()));
            }
            self.record(format!("apply {group:?}"));
            Ok(())
        }

        fn sync(&mut self) -> Result<(), Error> {
            self.record("sync".to_owned());
            Ok(())
        }
    }

    impl Completion for Recorder {
        fn durable(&self, ticket: Ticket) {
            self.record(format!("durable {}", ticket.0));
        }
    }

    #[test]
    fn group_that_nobody_waits_for_is_written_and_not_synced() {
        let recorder = Recorder::default();
        let commit = recorder.commit();
        let ticket = commit.append(&mut vec![1], 10, Sync::WhenAwaited);
        assert_eq!(recorder.wait_for("apply [1]"), ["apply [1]"]);
        assert_eq!(commit.durable(), Ticket::NONE);
        commit.notify(ticket, Arc::new(recorder.clone()));
        let events = recorder.wait_for("durable 1");
        assert_eq!(events, ["apply [1]", "sync", "durable 1"]);
    }

    #[test]
    fn close_syncs_what_nobody_waited_for() {
        let recorder = Recorder::default();
        let commit = recorder.commit();
        commit.append(&mut vec![1], 10, Sync::WhenAwaited);
        commit.close();
        assert_eq!(*recorder.events.lock(), ["apply [1]", "sync"]);
        assert_eq!(commit.durable(), Ticket(1));
        assert_eq!(commit.append(&mut vec![2], 10, Sync::Soon), Ticket::NEVER);
    }

    #[test]
    fn pending_bytes_count_until_written() {
        let recorder = Recorder::default();
        let commit = recorder.commit();
        let hold = recorder.events.lock();
        commit.append(&mut vec![1], 10, Sync::Soon);
        commit.append(&mut vec![2], 10, Sync::Soon);
        assert_eq!(commit.pending_bytes(), 20);
        drop(hold);
        commit.close();
        assert_eq!(commit.pending_bytes(), 0);
    }

    fn check_failure(item: u32, text: &str) {
        let recorder = Recorder::default();
        let commit = recorder.commit();
        let ticket = commit.append(&mut vec![item], 10, Sync::WhenAwaited);
        commit.notify(ticket, Arc::new(recorder.clone()));
        let events = recorder.wait_for(text);
        assert_eq!(events, [text]);
        assert_eq!(commit.append(&mut vec![2], 10, Sync::Soon), Ticket::NEVER);
        commit.notify(ticket, Arc::new(recorder.clone()));
        commit.close();
        assert_eq!(*recorder.events.lock(), [text]);
        assert_eq!(commit.durable(), Ticket::NONE);
    }

    #[test]
    fn failed_write_is_told_once_and_nothing_completes_any_more() {
        check_failure(FAIL, "failed: no space");
    }

    #[test]
    fn panicking_writer_counts_as_failed() {
        check_failure(PANIC, "failed: the writer of the store panicked");
    }

    #[test]
    fn completion_that_holds_the_last_owner_can_end_it() {
        struct Owner(Mutex<Option<GroupCommit<u32>>>, Recorder);
        impl Completion for Owner {
            fn durable(&self, _: Ticket) {
                drop(self.0.lock().take());
                self.1.record("dropped".to_owned());
            }
        }
        let recorder = Recorder::default();
        let owner = Arc::new(Owner(Mutex::new(Some(recorder.commit())), recorder.clone()));
        let mut slot = owner.0.lock();
        if let Some(commit) = slot.as_ref() {
            // Not `Soon`: were it durable before `notify`, the completion would run here, under `slot`.
            let ticket = commit.append(&mut vec![1], 10, Sync::WhenAwaited);
            commit.notify(ticket, owner.clone());
        }
        MutexGuard::unlocked(&mut slot, || recorder.wait_for("dropped"));
    }
}
