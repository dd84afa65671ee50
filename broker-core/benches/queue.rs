//! What one message costs in a queue: published, delivered into an outbox, taken from there and settled, in the runs that
//! connections make of what they read together. And the same with many threads on one queue, each a connection that
//! publishes and consumes: how the time of a message grows with them is what the queue's lock costs.
//!
//! `cargo bench -p broker-core --bench queue`. Items are messages.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{cell::RefCell, iter, sync::Arc};

use broker_core::{
    message::Message,
    outbox::{Delivery, Event, Outbox, SubscriptionKey},
    paging::Pager,
    queue::{ConsumerHandle, Entry, Queue, QueueArguments, QueueProperties, Subscription, Work},
    store::{MemoryStore, QueueId},
};
use divan::{Bencher, counter::ItemsCount};

fn main() {
    divan::main();
}

/// Messages of a run: about what one read of a socket brings of small ones.
const RUN: usize = 100;

fn queue() -> Arc<Queue> {
    let properties = QueueProperties {
        name: "queue".into(),
        vhost: "/".into(),
        durable: false,
        auto_delete: false,
        exclusive_owner: None,
        table: Default::default(),
        priorities: None,
        arguments: Arc::new(QueueArguments::default()),
    };
    let store = Arc::new(MemoryStore::new());
    let expiries = Arc::default();
    Queue::new(QueueId(1), properties, store, expiries, Pager::unlimited())
}

/// What a connection has at a queue.
struct Peer {
    queue: Arc<Queue>,
    consumer: Option<ConsumerHandle>,
    outbox: Arc<Outbox>,
    deliveries: Vec<Delivery>,
    events: Vec<Event>,
    refused: Vec<usize>,
    work: Work,
}

impl Peer {
    fn new(queue: &Arc<Queue>) -> Self {
        Self {
            queue: Arc::clone(queue),
            consumer: None,
            outbox: Outbox::new(),
            deliveries: Vec::new(),
            events: Vec::new(),
            refused: Vec::new(),
            work: Work::default(),
        }
    }

    fn consume(mut self, no_ack: bool) -> Self {
        let subscription = Subscription {
            key: SubscriptionKey(1),
            outbox: Arc::clone(&self.outbox),
            channel_credit: Arc::default(),
            no_ack,
            prefetch: 0,
            priority: 0,
            entry: Arc::default(),
        };
        self.consumer = self.queue.consume(subscription, false).unwrap();
        self
    }

    fn publish(&mut self) {
        let messages = iter::repeat_with(|| Message::new("", "queue", &[0, 0], &[0; 16], false));
        let (work, refused) = (&mut self.work, &mut self.refused);
        self.queue.publish(messages.take(RUN), 0, work, refused);
    }

    /// Takes what was delivered and, if it is to be answered, settles it.
    fn take(&mut self, no_ack: bool) {
        self.outbox.take(&mut self.deliveries, &mut self.events);
        if !no_ack {
            let entries = self.deliveries.iter().map(|delivery| &delivery.entry);
            self.queue.settle(self.consumer, entries, 0, &mut self.work);
        }
        self.deliveries.clear();
    }
}

#[divan::bench(args = [true, false])]
fn publish_and_deliver(bencher: Bencher<'_, '_>, no_ack: bool) {
    let mut peer = Peer::new(&queue()).consume(no_ack);
    bencher.counter(ItemsCount::new(RUN)).bench_local(|| {
        peer.publish();
        peer.take(no_ack);
    });
}

#[divan::bench]
fn publish_and_get(bencher: Bencher<'_, '_>) {
    let queue = queue();
    let mut peer = Peer::new(&queue);
    bencher.counter(ItemsCount::new(RUN)).bench_local(|| {
        peer.publish();
        for _ in 0..RUN {
            let got = queue.get(true, 0, &mut peer.work).unwrap();
            drop::<Entry>(got.unwrap().0);
        }
    });
}

thread_local! {
    /// The connection that a thread plays, for as long as the queue is the same.
    static PEER: RefCell<Option<Peer>> = const { RefCell::new(None) };
}

/// Threads far beyond the cores stand for a machine with many: whoever holds the lock may be taken off its core then,
/// so this is worse than many cores would be. A sample is long enough for all of them to be at it together.
#[divan::bench(threads = [1, 2, 8, 32], sample_count = 320, sample_size = 100)]
fn publish_deliver_and_settle_on_one_queue(bencher: Bencher<'_, '_>) {
    let queue = queue();
    bencher.counter(ItemsCount::new(RUN)).bench(|| {
        PEER.with_borrow_mut(|known| {
            let peer = match known.take() {
                Some(peer) if Arc::ptr_eq(&peer.queue, &queue) => known.insert(peer),
                _ => known.insert(Peer::new(&queue).consume(false)),
            };
            peer.publish();
            peer.take(false);
        });
    });
}
