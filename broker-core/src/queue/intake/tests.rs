//! A run of messages has the rules of its messages one by one; but for priorities, which order a run before anybody gets
//! anything of it.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    outbox::{Outbox, SubscriptionKey},
    queue::{
        ChannelCredit, ConsumerHandle, DeliveryCounts, QueueArguments, Requeued, Subscription,
        arguments::Overflow, limits::Limits, priorities::Priorities,
    },
    store::QueueId,
};

struct Scene {
    state: QueueState,
    effects: Effects,
    outbox: Arc<Outbox>,
    refused: Vec<usize>,
}

impl Scene {
    fn new(arguments: &QueueArguments) -> Self {
        let priorities = Priorities::of(arguments);
        let limits = Limits::new(arguments);
        Self {
            state: QueueState::new(QueueId(1), false, priorities, limits, 1000),
            effects: Effects::default(),
            outbox: Outbox::new(),
            refused: Vec::new(),
        }
    }

    fn consume(&mut self, prefetch: u16) -> ConsumerHandle {
        self.state.add_consumer(Subscription {
            key: SubscriptionKey(0),
            outbox: Arc::clone(&self.outbox),
            channel_credit: Arc::new(ChannelCredit::default()),
            no_ack: false,
            prefetch,
            priority: 0,
            entry: Arc::default(),
        })
    }

    fn publish(&mut self, messages: impl Iterator<Item = Message>) {
        let (effects, refused) = (&mut self.effects, &mut self.refused);
        self.state.publish(messages, 0, effects, refused);
    }

    fn delivered(&self) -> Vec<Entry> {
        let mut deliveries = Vec::new();
        self.outbox.take(&mut deliveries, &mut Vec::new());
        deliveries.into_iter().map(|it| it.entry).collect()
    }

    /// What is ready, in its order.
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        while let Some(entry) = self.state.get(true, 0, &mut self.effects) {
            bodies.push(entry.message.body().to_vec());
        }
        bodies
    }
}

fn message(number: usize, length: usize, priority: u8) -> Message {
    let mut body = vec![0; length];
    body.push(number as u8);
    let properties = amqp_codec::Properties {
        priority: Some(priority),
        ..amqp_codec::Properties::default()
    };
    let mut raw = Vec::new();
    properties.encode(&mut raw);
    Message::new("", "q", &raw, &body, false)
}

fn arguments() -> impl Strategy<Value = QueueArguments> {
    let overflow = prop_oneof![
        Just(Overflow::DropHead),
        Just(Overflow::RejectPublish),
        Just(Overflow::RejectPublishDlx),
    ];
    let limits = (prop::option::of(0..6_u64), prop::option::of(0..40_u64));
    (overflow, limits).prop_map(
        |(overflow, (max_length, max_length_bytes))| QueueArguments {
            overflow,
            max_length,
            max_length_bytes,
            dead_letter_exchange: Some("dlx".into()),
            ..QueueArguments::default()
        },
    )
}

proptest! {
    #[test]
    fn a_run_ends_as_its_messages_one_by_one_would(
        arguments in arguments(),
        before in 0..4_usize,
        prefetch in prop::option::of(1..5_u16),
        lengths in vec(0..12_usize, 1..12),
    ) {
        let (mut whole, mut single) = (Scene::new(&arguments), Scene::new(&arguments));
        for scene in [&mut whole, &mut single] {
            scene.publish((100..100 + before).map(|number| message(number, 1, 0)));
            if let Some(prefetch) = prefetch {
                scene.consume(prefetch);
            }
            scene.effects = Effects::default();
            scene.refused.clear();
        }
        let messages: Vec<_> = lengths
            .iter()
            .enumerate()
            .map(|(number, length)| message(number, *length, 0))
            .collect();
        whole.publish(messages.iter().cloned());
        for (number, message) in messages.into_iter().enumerate() {
            let refused = std::mem::take(&mut single.refused);
            single.publish(std::iter::once(message));
            let now_refused = single.refused.len();
            single.refused = refused;
            single.refused.extend(std::iter::repeat_n(number, now_refused));
        }
        prop_assert_eq!(&whole.refused, &single.refused);
        let bodies = |scene: &Scene| -> Vec<_> {
            let delivered = scene.delivered();
            delivered.iter().map(|entry| entry.message.body().to_vec()).collect()
        };
        let of_whole = bodies(&whole);
        prop_assert_eq!(&of_whole, &bodies(&single));
        let dead = |scene: &Scene| -> Vec<_> {
            let dead = scene.effects.dead.iter();
            dead.map(|(entry, reason)| (entry.message.body().to_vec(), *reason)).collect()
        };
        prop_assert_eq!(dead(&whole), dead(&single));
        prop_assert_eq!(whole.drain(), single.drain());
    }
}

/// Counts deliveries until the other messages are consumed, where some are requeued whenever they come.
fn deliveries_of_a_storm(arguments: &QueueArguments, poisonous: usize, prefetch: u16) -> usize {
    const OTHERS: usize = 100;
    let mut scene = Scene::new(arguments);
    let highest = arguments.max_priority.unwrap_or_default();
    scene.publish((0..poisonous).map(|number| message(number, 0, highest)));
    scene.publish((0..OTHERS).map(|number| message(poisonous + number, 0, 0)));
    let consumer = scene.consume(prefetch);
    let (mut deliveries, mut consumed) = (0, 0);
    let mut order = Vec::new();
    scene.state.dispatch(0, &mut scene.effects);
    while consumed < OTHERS {
        let delivered = scene.delivered();
        assert!(!delivered.is_empty(), "nobody gets anything");
        deliveries += delivered.len();
        assert!(deliveries < 1_000_000, "the queue starves");
        for entry in delivered {
            let number = usize::from(entry.message.body()[0]);
            if number < poisonous {
                let again = std::iter::once((entry, Requeued::Unprocessed));
                scene.state.requeue(again, 0, &mut scene.effects);
            } else {
                consumed += 1;
                order.push(number);
                let settled = [&entry].into_iter();
                scene.state.settle(settled, 0, &mut scene.effects);
            }
            scene.state.release(consumer, 1);
        }
        scene.state.dispatch(0, &mut scene.effects);
    }
    assert!(order.is_sorted(), "the others keep their order");
    deliveries
}

/// The most deliveries that 100 other messages may wait for. Each of the poisonous ones comes back 20 times before it
/// begins to take turns, and the one behind it has a turn only every second time until then; from there on one of the
/// others comes after each round of them.
fn bound(poisonous: usize) -> usize {
    20 * poisonous * (poisonous + 1) / 2 + 100 * (poisonous + 1) + poisonous
}

#[test]
fn a_message_that_is_requeued_for_ever_does_not_starve_the_queue() {
    let plain = QueueArguments::default();
    assert_eq!(deliveries_of_a_storm(&plain, 0, 1), 100);
    for (poisonous, prefetch) in [(1, 1), (2, 1), (3, 1), (3, 2), (10, 1)] {
        let deliveries = deliveries_of_a_storm(&plain, poisonous, prefetch);
        assert!(deliveries <= bound(poisonous), "{poisonous}: {deliveries}");
    }
}

#[test]
fn nor_does_it_where_it_has_a_higher_priority() {
    let arguments = QueueArguments {
        max_priority: Some(5),
        ..QueueArguments::default()
    };
    for poisonous in 1..4 {
        let deliveries = deliveries_of_a_storm(&arguments, poisonous, 1);
        assert!(deliveries <= bound(poisonous), "{poisonous}: {deliveries}");
    }
}

#[test]
fn a_message_comes_back_to_its_place_as_long_as_it_does_not_come_back_too_often() {
    let mut scene = Scene::new(&QueueArguments::default());
    scene.publish((0..3).map(|number| message(number, 0, 0)));
    for count in 1..=20 {
        let entry = scene.state.get(false, 0, &mut scene.effects).unwrap();
        assert_eq!(entry.message.body(), [0], "return {count}");
        let again = std::iter::once((entry, Requeued::Unprocessed));
        scene.state.requeue(again, 0, &mut scene.effects);
    }
    let entry = scene.state.get(false, 0, &mut scene.effects).unwrap();
    assert_eq!(entry.message.body(), [0]);
    let expected = DeliveryCounts {
        acquired: 20,
        failed: 0,
    };
    assert_eq!(entry.counts, expected);
    let again = std::iter::once((entry, Requeued::Unprocessed));
    scene.state.requeue(again, 0, &mut scene.effects);
    assert_eq!(scene.drain(), [[1], [0], [2]]);
}

#[test]
fn a_single_active_consumer_gets_the_order_however_often_messages_come_back() {
    let prioritised = QueueArguments {
        max_priority: Some(1),
        ..QueueArguments::default()
    };
    for (arguments, highest) in [(QueueArguments::default(), 0), (prioritised, 1)] {
        let mut scene = Scene::new(&arguments);
        scene.state.have_single_active_consumer();
        scene.publish((0..6).map(|number| message(number, 0, highest)));
        for _ in 0..30 {
            let taken: Vec<_> = (0..3)
                .map(|_| scene.state.get(false, 0, &mut scene.effects).unwrap())
                .collect();
            let bodies: Vec<_> = taken.iter().map(|entry| entry.message.body()[0]).collect();
            assert_eq!(bodies, [0, 1, 2]);
            let again = taken.into_iter().map(|it| (it, Requeued::Failed));
            scene.state.requeue(again, 0, &mut scene.effects);
        }
        assert_eq!(scene.drain(), [[0], [1], [2], [3], [4], [5]]);
    }
}

#[test]
fn a_message_that_gives_way_is_dropped_before_those_behind_it() {
    let limited = QueueArguments {
        max_length: Some(3),
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    };
    let prioritised = QueueArguments {
        max_priority: Some(1),
        ..limited.clone()
    };
    for (arguments, highest) in [(limited, 0), (prioritised, 1)] {
        let mut scene = Scene::new(&arguments);
        scene.publish(std::iter::once(message(0, 0, highest)));
        for _ in 0..21 {
            let entry = scene.state.get(false, 0, &mut scene.effects).unwrap();
            let again = std::iter::once((entry, Requeued::Unprocessed));
            scene.state.requeue(again, 0, &mut scene.effects);
        }
        scene.publish((1..4).map(|number| message(number, 0, 0)));
        let dead = scene.effects.dead.iter();
        let dead: Vec<_> = dead.map(|(entry, _)| entry.message.body()).collect();
        assert_eq!(dead, [[0]]);
        assert_eq!(scene.drain(), [[1], [2], [3]]);
    }
}

#[test]
fn a_message_that_failed_once_more_than_it_may_is_dead_lettered() {
    let arguments = QueueArguments {
        delivery_limit: Some(1),
        dead_letter_exchange: Some("dlx".into()),
        ..QueueArguments::default()
    };
    let mut scene = Scene::new(&arguments);
    scene.publish(std::iter::once(message(7, 0, 0)));
    for requeued in [
        Requeued::Unprocessed,
        Requeued::Failed,
        Requeued::Unprocessed,
        Requeued::Failed,
    ] {
        assert!(scene.effects.dead.is_empty());
        let entry = scene.state.get(false, 0, &mut scene.effects).unwrap();
        let again = std::iter::once((entry, requeued));
        scene.state.requeue(again, 0, &mut scene.effects);
    }
    let [(_, reason)] = &scene.effects.dead[..] else {
        panic!("not dead: {:?}", scene.effects.dead);
    };
    assert_eq!(*reason, DeadReason::DeliveryLimit);
    assert!(scene.drain().is_empty());
}
