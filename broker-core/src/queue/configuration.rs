//! What a queue's arguments and policies come to, and what a change of policies does to a queue that is there.

use std::sync::Arc;

use super::{Millis, Queue, QueueArguments, QueueCounts, limits::Limits};
use crate::policy::{
    Matched, Setting,
    effective::{self},
};

/// What a queue's arguments and policies come to.
#[derive(Debug)]
pub(super) struct Configuration {
    /// The policies that match.
    pub(super) matched: Matched,
    /// What is in force.
    pub(super) arguments: Arc<QueueArguments>,
}

impl Queue {
    /// The arguments in force: those of the declaration, changed by the queue's policies.
    pub fn arguments(&self) -> Arc<QueueArguments> {
        Arc::clone(&self.configuration.read().arguments)
    }

    /// The policies that the queue has.
    pub fn policies(&self) -> Matched {
        self.configuration.read().matched.clone()
    }

    /// Every setting in force, and where it comes from.
    pub fn settings(&self) -> Vec<Setting> {
        let (table, queue_type) = (&self.properties.table, self.properties.arguments.queue_type);
        effective::queue_settings(table, queue_type, &self.policies())
    }

    /// Gives the queue other policies. Messages that a new limit leaves no room or no time for go when the alarm comes
    /// that is set here, which is at once. The caller has the vhost's turn, so nobody else configures the queue meanwhile:
    /// the limits that are set last are those of `configuration`, though its lock is released before.
    pub(crate) fn configure(self: &Arc<Self>, matched: Matched) {
        let (declared, table) = (&self.properties.arguments, &self.properties.table);
        let mut configuration = self.configuration.write();
        if configuration.matched == matched {
            return;
        }
        let arguments = effective::queue_arguments(declared, table, &matched);
        let same = configuration.arguments == arguments;
        let (limits, expires) = (Limits::new(&arguments), arguments.expires_ms);
        let retry = arguments.delayed_retry();
        *configuration = Configuration { matched, arguments };
        drop(configuration);
        if !same {
            self.idle.set_limit(expires);
            self.idle.end();
            let mut state = self.state.lock();
            state.set_limits(limits);
            state.set_delayed_retry(retry);
            drop(state);
            self.schedule(0);
        }
    }

    /// Puts off the end of a queue that goes when it is not used for a time: it was declared again, asked for a message,
    /// or left by a consumer.
    pub(crate) fn used(self: &Arc<Self>) {
        if self.idle.is_limited() {
            self.idle.end();
            self.schedule(0);
        }
    }

    /// Whether nobody has used the queue for as long as it may be idle. To be asked under its lock, with its counts.
    pub(crate) fn is_idle_too_long(&self, counts: &QueueCounts, now: Millis) -> bool {
        counts.consumers == 0 && self.idle.is_over(now)
    }
}
