//! The thread that brings the memory of queued messages back under the budget, wherever they are.
//!
//! It goes over all queues: first over those with much in memory, then over smaller ones, and stops as soon as there is
//! room. Only it writes to the spill.

use std::{
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::Pager;
use crate::queue::Queue;

/// Queues with less in memory than this are left alone until those with more were not enough.
const LEVELS: [usize; 3] = [1024 * 1024, 32 * 1024, 1];

/// How long it rests after it has found nothing to page out.
const REST: Duration = Duration::from_millis(200);

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is no thread.
    #[default]
    Idle,
    /// There is one.
    Working,
    Closed,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// The thread, while there is one.
#[derive(Default)]
pub(super) struct Evictor {
    shared: Arc<Shared>,
}

impl Evictor {
    /// Starts the thread unless it runs.
    pub(super) fn wake(&self, pager: &Arc<Pager>) {
        let mut state = self.shared.state.lock();
        if *state != State::Idle {
            return;
        }
        let (shared, weak) = (Arc::clone(&self.shared), Arc::downgrade(pager));
        let thread = thread::Builder::new().name("page-out".to_owned());
        match thread.spawn(move || shared.work(&weak)) {
            Ok(_) => *state = State::Working,
            Err(error) => tracing::error!("cannot start the thread that pages out: {error}"),
        }
    }

    /// Ends the thread.
    pub(super) fn close(&self) {
        *self.shared.state.lock() = State::Closed;
        self.shared.changed.notify_all();
    }
}

impl Drop for Evictor {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// Works until there is room, and rests now and then while there is none to be made.
    fn work(&self, pager: &Weak<Pager>) {
        loop {
            let Some(pager) = pager.upgrade() else { return };
            let progress = pager.evict();
            if self.rests_for_good(&pager) {
                return;
            }
            drop(pager);
            let mut state = self.state.lock();
            if *state == State::Working && !progress {
                self.changed.wait_for(&mut state, REST);
            }
        }
    }

    /// Ends the work if there is room, or the broker ends. It looks under the lock: whoever takes the last room after that
    /// finds nobody at work, and starts another thread.
    fn rests_for_good(&self, pager: &Pager) -> bool {
        let mut state = self.state.lock();
        if *state == State::Working && !pager.is_over() {
            *state = State::Idle;
        }
        *state != State::Working
    }
}

impl Pager {
    /// What is aimed at: somewhat below the budget, so that there is not always something to do.
    fn target(&self) -> usize {
        self.budget - self.budget / 8
    }

    /// Says whether anything was paged out.
    fn evict(&self) -> bool {
        let mut progress = false;
        let Some(surroundings) = self.surroundings() else {
            return progress;
        };
        for level in LEVELS {
            // Names first: paging out takes its time, and the registries are not to be held up.
            let mut queues: Vec<Weak<Queue>> = Vec::new();
            surroundings.for_each_queue(&mut |queue| {
                if queue.resident() >= level {
                    queues.push(Arc::downgrade(queue));
                }
            });
            for queue in queues {
                if self.resident() <= self.target() {
                    return progress;
                }
                if let Some(queue) = queue.upgrade() {
                    progress |= queue.evict(&|| self.resident() <= self.target());
                }
            }
        }
        progress
    }
}
