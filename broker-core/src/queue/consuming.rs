//! How consumers come to a queue and leave it.

use std::sync::{Arc, atomic::Ordering};

use super::{
    ConsumerHandle, Millis, Queue, Subscription, Work, arguments::QueueType, consumers::Removed,
};
use crate::Error;

/// What is to be done after a consumer has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// It was the last one of an auto-delete queue, which is to go with it.
    pub last: bool,
    /// The queue has a single active consumer: once the unanswered deliveries of this one have come back,
    /// [`Queue::hand_over`] is to be called. Until then nobody takes its place.
    pub single_active: bool,
}

impl Queue {
    /// How long a consumer may hold a delivery, in milliseconds: what it says itself (`own`), or else the queue, or else
    /// the broker (`rabbit_queue_type:get_consumer_timeout`). 0 is for ever.
    pub fn consumer_timeout(&self, own: Option<Millis>, of_broker: Millis) -> Millis {
        let of_queue = || self.arguments().consumer_timeout_ms;
        own.or_else(of_queue).unwrap_or(of_broker)
    }

    /// Starts a consumer, refused (`None`) when there is an exclusive one or this one would be exclusive beside others,
    /// or in a queue that has one at a time anyway. Deliveries start with [`Self::dispatch`], so that the channel can
    /// answer `consume-ok` first.
    ///
    /// # Errors
    /// 541 when the queue's messages cannot be read.
    pub fn consume(
        &self,
        subscription: Subscription,
        exclusive: bool,
    ) -> Result<Option<ConsumerHandle>, Error> {
        let mut state = self.state.lock();
        if let Some(damage) = state.damage() {
            return Err(Error::Internal(damage.to_string()));
        }
        let shared = state.consumer_count() > 0 || state.consumers().is_single_active();
        let occupied = self.exclusive_consumer.load(Ordering::Relaxed) || (exclusive && shared);
        if occupied || state.is_deleted() {
            return Ok(None);
        }
        self.exclusive_consumer.store(exclusive, Ordering::Relaxed);
        self.had_consumer.store(true, Ordering::Relaxed);
        Ok(Some(state.add_consumer(subscription)))
    }

    /// Ends a consumer.
    pub fn cancel(self: &Arc<Self>, consumer: ConsumerHandle) -> Left {
        let mut state = self.state.lock();
        let removed = state.consumers().remove(consumer);
        if removed == Removed::Nobody {
            return Left::default();
        }
        self.exclusive_consumer.store(false, Ordering::Relaxed);
        let last = state.consumer_count() == 0;
        drop(state);
        self.used();
        let had_consumer = self.had_consumer.load(Ordering::Relaxed);
        Left {
            last: last && self.properties.auto_delete && had_consumer,
            single_active: removed == Removed::FromSingleActive,
        }
    }

    /// Lets another consumer take over from one that has left a queue with a single active consumer, and serves it.
    pub fn hand_over(self: &Arc<Self>, now: Millis, work: &mut Work) {
        self.change(now, work, |state, effects| {
            state.consumers().hand_over();
            state.dispatch(now, effects);
        });
    }

    /// Checks that single messages can be taken out with `basic.get`: a quorum queue with a single active consumer has
    /// its messages for that one alone (RabbitMQ: `rabbit_channel:unsupported_single_active_consumer_error`).
    ///
    /// # Errors
    /// 405, for the queue that `text` names.
    pub fn check_get(&self, text: &str) -> Result<(), Error> {
        let arguments = &self.properties.arguments;
        let quorum = arguments.queue_type == QueueType::Quorum;
        if !(quorum && arguments.single_active_consumer) {
            return Ok(());
        }
        let kind = arguments.queue_type.as_str();
        Err(Error::ResourceLocked(format!(
            "cannot obtain access to locked {text}. basic.get operations are not supported by <<\"{kind}\">> queues with \
             single active consumer"
        )))
    }
}
