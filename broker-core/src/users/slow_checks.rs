//! Turns at checking passwords that are hashed slowly: each takes 19 MiB while it lasts.

use parking_lot::{Condvar, Mutex};

/// Checks at the same time.
const MOST: usize = 4;

/// Who checks, and who waits for a turn.
#[derive(Debug, Default)]
pub(super) struct SlowChecks {
    running: Mutex<usize>,
    ended: Condvar,
}

/// A turn, which ends with the value.
pub(super) struct Turn<'a>(&'a SlowChecks);

impl SlowChecks {
    /// Waits for a turn.
    pub(super) fn wait(&self) -> Turn<'_> {
        let mut running = self.running.lock();
        self.ended
            .wait_while(&mut running, |running| *running >= MOST);
        *running += 1;
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.ended.notify_one();
    }
}
