//! The end of a vhost: nothing is declared in it any more, and what no definition speaks of goes too.

use std::sync::{Arc, atomic::Ordering};

use super::{Vhost, apply::TopologyChange};
use crate::{Error, definitions::Kind, definitions::VhostLimitsDefinition};

impl Vhost {
    /// Lets nothing durable be declared from now on.
    pub(crate) fn close(&self) {
        // Whoever has the turn ends with it before the definitions of the vhost are gathered.
        let _turn = self.turn();
        self.closed.store(true, Ordering::Release);
    }

    /// Whether the vhost is being deleted.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends the queues that are left when the definitions are gone.
    pub(crate) fn drop_transient_queues(&self) {
        let mut left = Vec::new();
        self.for_each_queue(|queue| left.push(Arc::clone(queue.name())));
        let mut turn = self.turn();
        for name in left {
            if let Err(error) = turn.apply(TopologyChange::RemoveQueue(name.to_string())) {
                tracing::error!(vhost = &*self.name, %error, "cannot end a queue");
            }
        }
    }

    /// Checks that there may be one more queue (RabbitMQ: `rabbit_queue_type:check_vhost_queue_limit`).
    pub(super) fn check_queue_limit(&self, name: &str) -> Result<(), Error> {
        let vhost = &self.name;
        let key = VhostLimitsDefinition::key_of(vhost);
        let Some(limits) = self.shared.definitions.get(Kind::VhostLimits, &key) else {
            return Ok(());
        };
        let limit = limits.record::<VhostLimitsDefinition>()?.max_queues;
        match limit.and_then(|limit| usize::try_from(limit).ok()) {
            Some(limit) if self.queue_count() >= limit => Err(Error::PreconditionFailed(format!(
                "cannot declare queue '{name}': queue limit in vhost '{vhost}' ({limit}) is reached"
            ))),
            _ => Ok(()),
        }
    }
}
