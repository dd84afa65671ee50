//! What a journal tells those who wait for it.

use std::time::{Duration, Instant};

use broker_core::{
    Error,
    store::{Completion, Ticket},
};
use parking_lot::{Condvar, Mutex};

/// Nothing in these tests takes longer, on any machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// What the journal told.
#[derive(Default)]
pub struct Told {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    durable: Ticket,
    failed: Vec<String>,
}

impl Completion for Told {
    fn durable(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        assert!(state.durable <= ticket, "tickets complete in order");
        state.durable = ticket;
        self.changed.notify_all();
    }
}

impl Told {
    pub fn fail(&self, error: &Error) {
        self.state.lock().failed.push(error.to_string());
        self.changed.notify_all();
    }

    pub fn failure(&self) -> Option<String> {
        self.state.lock().failed.first().cloned()
    }

    /// The last ticket that was complete.
    pub fn ticket(&self) -> Ticket {
        self.state.lock().durable
    }

    /// A store that refuses has failed, and says so soon.
    pub fn wait_for_failure(&self) -> String {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.state.lock();
        while state.failed.is_empty() {
            let late = self.changed.wait_until(&mut state, deadline).timed_out();
            assert!(!late, "refused without a failure");
        }
        state.failed.join(", then ")
    }

    /// Waits until the ticket is complete; false if the journal failed before.
    pub fn wait(&self, ticket: Ticket) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.state.lock();
        while state.durable < ticket {
            if !state.failed.is_empty() {
                return false;
            }
            let late = self.changed.wait_until(&mut state, deadline).timed_out();
            assert!(!late, "the journal did not get there");
        }
        true
    }
}
