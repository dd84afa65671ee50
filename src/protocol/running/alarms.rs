//! What alarms do to a connection, and what others see of it.

use std::sync::Arc;

use broker_core::broker::ConnectionState;

use super::Running;
use crate::protocol::{batch::Batch, spans::debug_in};

impl Running {
    /// Tells the client that it is blocked, once it has published.
    pub(super) fn tell_blocked(&mut self, batch: &mut Batch) {
        if let Some(reason) = &self.blocked
            && self.session.publishes
            && !self.told_blocked
        {
            self.told_blocked = true;
            debug_in!(self.session.span(), "connection blocked: {reason}");
            self.session.entry.set_state(ConnectionState::Blocked);
            self.session.send_blocked(&Arc::clone(reason), batch);
        }
    }

    /// Shows those who look from outside what the connection does.
    pub(super) fn show_state(&self) {
        let state = match (&self.blocked, &self.paused) {
            (Some(_), _) if self.session.publishes => ConnectionState::Blocked,
            (Some(_), _) => ConnectionState::Blocking,
            (None, Some(_)) => ConnectionState::Flow,
            (None, None) => ConnectionState::Running,
        };
        self.session.entry.set_state(state);
    }

    /// An alarm starts.
    pub fn block(&mut self, reason: Arc<str>, batch: &mut Batch) {
        self.blocked = Some(reason);
        self.tell_blocked(batch);
        self.show_state();
    }

    /// The alarms have ended.
    pub fn unblock(&mut self, batch: &mut Batch) {
        self.blocked = None;
        self.show_state();
        if std::mem::take(&mut self.told_blocked) {
            self.session.send_unblocked(batch);
        }
    }
}
