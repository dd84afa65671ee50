//! How far a move has come, for those who ask and those who wait.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{
    queue::Millis,
    store::{Completion, MessageStore, Ticket},
};

/// Where a move stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It goes on.
    Running,
    /// It waits for room: a queue that messages go to is full and refuses them.
    Waiting,
    /// It has come to its end.
    Done,
    /// Somebody cancelled it, or the broker stops. What was moved by then stays moved.
    Cancelled,
    /// It could not go on.
    Failed,
}

impl Phase {
    /// The word for it in the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing will change any more.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled | Self::Failed)
    }
}

/// What a move has done so far, in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub phase: Phase,
    /// Ready when it began.
    pub ready: u64,
    /// Looked at.
    pub examined: u64,
    /// Meant by the filter.
    pub matched: u64,
    /// Moved; in a dry run, what would have been.
    pub moved: u64,
    /// Meant, and left where they are because no queue would get them.
    pub unroutable: u64,
    /// Meant, and left where they are because they were never dead-lettered.
    pub not_dead: u64,
    /// Meant, and left where they are because the user may not write where they would go.
    pub refused: u64,
    /// When it ended.
    pub finished: Option<Millis>,
    /// Why it waits or has failed.
    pub reason: Option<String>,
}

impl Progress {
    fn new() -> Self {
        Self {
            phase: Phase::Running,
            ready: 0,
            examined: 0,
            matched: 0,
            moved: 0,
            unroutable: 0,
            not_dead: 0,
            refused: 0,
            finished: None,
            reason: None,
        }
    }
}

#[derive(Debug)]
struct State {
    progress: Progress,
    cancelled: bool,
}

/// The progress of one move, shared by its thread and those who ask.
#[derive(Debug)]
pub(super) struct Tracker {
    state: Mutex<State>,
    changed: Condvar,
}

impl Tracker {
    pub(super) fn new() -> Self {
        let state = State {
            progress: Progress::new(),
            cancelled: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.state.lock().progress.clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.state.lock().progress);
        self.changed.notify_all();
    }

    /// Asks the move to end.
    pub(super) fn cancel(&self) {
        self.state.lock().cancelled = true;
        self.changed.notify_all();
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.state.lock().cancelled
    }

    /// Waits until the move is over, not longer than `patience`.
    pub(super) fn wait_until_over(&self, patience: Duration) {
        let until = Instant::now().checked_add(patience);
        let mut state = self.state.lock();
        while !state.progress.phase.is_over() {
            let timed_out = match until {
                Some(until) => self.changed.wait_until(&mut state, until).timed_out(),
                None => false,
            };
            if timed_out {
                return;
            }
        }
    }

    /// Lets time pass; ends early when the move is cancelled.
    pub(super) fn rest(&self, time: Duration) {
        let mut state = self.state.lock();
        if !state.cancelled {
            self.changed.wait_for(&mut state, time);
        }
    }
}

/// A thread that waits for a ticket.
#[derive(Debug, Default)]
struct Written {
    done: Mutex<bool>,
    changed: Condvar,
}

impl Completion for Written {
    fn durable(&self, _ticket: Ticket) {
        *self.done.lock() = true;
        self.changed.notify_all();
    }
}

/// Waits until everything up to `ticket` is on disk. False if `give_up` said so, or the store takes nothing any more.
pub(super) fn wait_for(
    store: &dyn MessageStore,
    ticket: Ticket,
    give_up: impl Fn() -> bool,
) -> bool {
    if ticket == Ticket::NONE {
        return true;
    }
    if ticket == Ticket::NEVER {
        return false;
    }
    let written = Arc::new(Written::default());
    store.notify(ticket, Arc::clone(&written) as _);
    let mut done = written.done.lock();
    while !*done {
        let late = written.changed.wait_for(&mut done, LOOK_AGAIN).timed_out();
        if late && !*done && give_up() {
            return false;
        }
    }
    true
}

/// How often a thread that waits for the disk asks whether it is still worth it.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
