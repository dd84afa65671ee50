//! Queues whose deliveries an operator has stopped: messages come in and stay, consumers stay and get nothing, and
//! `basic.get` finds nothing. Messages still expire, and limits still hold.

use std::sync::Arc;

use super::Queue;

impl Queue {
    /// Whether deliveries are stopped.
    pub fn is_paused(&self) -> bool {
        self.state.lock().paused
    }

    /// Stops deliveries, or lets them go on. What waits is handed on by the thread that looks after expiries: whoever
    /// changes a definition has neither the time nor room for what comes of deliveries.
    pub(crate) fn set_paused(self: &Arc<Self>, paused: bool) {
        let was = std::mem::replace(&mut self.state.lock().paused, paused);
        if was && !paused {
            self.schedule(0);
        }
    }
}
