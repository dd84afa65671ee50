//! What the core wants a connection to send: deliveries and events, kept until the connection's task takes them.
//!
//! There is one outbox a connection. Queues put deliveries in while they hold their own lock (lock order: queue, then
//! outbox); the connection's task takes everything at once, encodes it and writes once. The outbox is bounded in bytes:
//! a reader that does not keep up has no room left, queues stop picking its consumers, and once its connection has
//! emptied the outbox it calls the queues again (see [`Taken::starved`]).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Waker,
};

use parking_lot::Mutex;

use crate::{
    queue::Entry,
    store::{Completion, Ticket},
};

/// Bytes of messages that may wait for one connection before its consumers stop being picked.
///
/// Large enough that a connection's task finds a full write's worth each time it runs, small enough that ten thousand
/// slow readers cost no more than 10 GiB at the very worst.
pub const OUTBOX_BYTES: usize = 1024 * 1024;

/// Room for deliveries that an emptied outbox keeps.
const KEPT_DELIVERIES: usize = 256;

/// What one delivery weighs beside its message: the frames around it.
pub const DELIVERY_OVERHEAD: usize = 64;

/// Names a consumer within its connection; chosen by the connection, and not used again while anything on its way to the
/// connection may name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriptionKey(pub u32);

/// A message on its way to a consumer.
#[derive(Debug)]
pub struct Delivery {
    /// The consumer, in the connection's own numbering.
    pub subscription: SubscriptionKey,
    /// The message and its place in the queue it came from.
    pub entry: Entry,
}

/// Something that the connection's client has to hear of, other than a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The queue of this consumer is gone: `basic.cancel` to clients that understand it.
    ConsumerCancelled(SubscriptionKey),
    /// An alarm stops publishers, for this reason: `connection.blocked`.
    Blocked(Arc<str>),
    /// The alarms have ended: `connection.unblocked`.
    Unblocked,
    /// The operator or a shutdown ends the connection with 320 CONNECTION_FORCED and this text.
    Close(Arc<str>),
}

#[derive(Debug, Default)]
struct Inner {
    deliveries: Vec<Delivery>,
    events: Vec<Event>,
    waker: Option<Waker>,
    durable: bool,
    starved: bool,
    closed: bool,
}

impl Inner {
    fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    fn has_news(&self) -> bool {
        !self.deliveries.is_empty() || !self.events.is_empty() || self.durable
    }
}

/// What [`Outbox::take`] found beside the deliveries and events themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Consumers of this connection were passed over for want of room: their queues must be asked again.
    pub starved: bool,
    /// The store made progress: confirms may be due.
    pub durable: bool,
}

/// The mailbox between the core and one connection's task.
#[derive(Debug, Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    bytes: AtomicUsize,
}

impl Outbox {
    /// An empty outbox with nobody listening.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Bytes that may still be put in before consumers of this connection are passed over.
    pub fn room(&self) -> usize {
        OUTBOX_BYTES.saturating_sub(self.bytes.load(Ordering::Relaxed))
    }

    /// Puts all of `batch` in and wakes the connection's task once. Returns false, and leaves `batch` as it is, when the
    /// connection is gone.
    pub fn deliver(&self, batch: &mut Vec<Delivery>) -> bool {
        let bytes: usize = batch.iter().map(|d| weight(&d.entry)).sum();
        let mut inner = self.inner.lock();
        if inner.closed {
            return false;
        }
        inner.deliveries.append(batch);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.wake(inner);
        true
    }

    /// Notes that consumers were passed over for want of room. Returns false when the outbox has been emptied in the
    /// meantime, so that nobody would come back: the caller tries again at once.
    pub fn note_starved(&self) -> bool {
        let mut inner = self.inner.lock();
        let waits = inner.has_news() && !inner.closed;
        inner.starved |= waits;
        waits || inner.closed
    }

    /// Adds an event and wakes the connection's task.
    pub fn post(&self, event: Event) {
        let mut inner = self.inner.lock();
        if !inner.closed {
            inner.events.push(event);
            self.wake(inner);
        }
    }

    /// Moves everything into the caller's vectors. An outbox keeps little room of its own: there are as many of them as
    /// connections.
    pub fn take(&self, deliveries: &mut Vec<Delivery>, events: &mut Vec<Event>) -> Taken {
        let mut inner = self.inner.lock();
        deliveries.append(&mut inner.deliveries);
        if inner.deliveries.capacity() > KEPT_DELIVERIES {
            inner.deliveries = Vec::new();
        }
        events.append(&mut inner.events);
        self.bytes.store(0, Ordering::Relaxed);
        Taken {
            starved: std::mem::take(&mut inner.starved),
            durable: std::mem::take(&mut inner.durable),
        }
    }

    /// True when there is something to take; otherwise `waker` is called when there is.
    pub fn poll_ready(&self, waker: &Waker) -> bool {
        let mut inner = self.inner.lock();
        let ready = inner.has_news();
        if !ready {
            inner.register(waker);
        }
        ready
    }

    /// True, once, when the store made progress; otherwise `waker` is called when it does. For a connection that takes
    /// nothing until then.
    pub fn poll_durable(&self, waker: &Waker) -> bool {
        let mut inner = self.inner.lock();
        let durable = std::mem::take(&mut inner.durable);
        if !durable {
            inner.register(waker);
        }
        durable
    }

    /// Refuses everything from now on and gives back what was never taken.
    pub fn close(&self) -> Vec<Delivery> {
        let mut inner = self.inner.lock();
        inner.closed = true;
        inner.waker = None;
        inner.events.clear();
        std::mem::take(&mut inner.deliveries)
    }

    fn wake(&self, mut inner: parking_lot::MutexGuard<'_, Inner>) {
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Completion for Outbox {
    fn durable(&self, _ticket: Ticket) {
        let mut inner = self.inner.lock();
        inner.durable = true;
        self.wake(inner);
    }
}

/// What an entry counts against [`OUTBOX_BYTES`].
pub fn weight(entry: &Entry) -> usize {
    entry.message.size() + DELIVERY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_on_its_way_costs_40_bytes() {
        assert_eq!(size_of::<Delivery>(), 40);
    }

    /// There may be 100,000 of them.
    #[test]
    fn an_outbox_without_deliveries_stays_small() {
        assert_eq!(size_of::<Outbox>(), 88);
    }
}
