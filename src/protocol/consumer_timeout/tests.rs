//! Deliveries that nobody answers, in virtual time.

use std::sync::Arc;

use amqp_codec::{AMQPValue, FieldTable, Properties, protocol::basic};
use broker_core::{
    policy::{PolicyKind, PolicyRequest},
    queue::Queue,
};
use serde_json::json;

use super::*;
use crate::protocol::connection::tests::{Scene, message, publish};

/// What the tests' broker allows.
const DEFAULT: Millis = 1_800_000;

/// The granularity of what is noted beside a delivery, and of looks.
const COARSE: Millis = 128;

fn scene() -> Scene {
    Scene::with(|settings| settings.consumer_timeout = DEFAULT)
}

fn timeout(milliseconds: i64) -> FieldTable {
    let mut arguments = FieldTable::default();
    let value = AMQPValue::LongLongInt(milliseconds);
    arguments.insert("x-consumer-timeout".into(), value);
    arguments
}

fn fill(queue: &Arc<Queue>, bodies: &[&str]) {
    for body in bodies {
        publish(queue, message(Properties::default(), body.as_bytes()), 0);
    }
}

fn text(milliseconds: Millis) -> String {
    format!(
        "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: {milliseconds} ms. \
         This timeout value can be configured, see consumers doc guide to learn more"
    )
}

/// A delivery is held exactly so long: not closed before, closed soon after.
#[track_caller]
fn assert_held_for(scene: &mut Scene, milliseconds: Millis) {
    assert_eq!(scene.pass_to(milliseconds - 1), "");
    let closed = scene.pass_to(milliseconds + COARSE);
    assert!(closed.contains(&text(milliseconds)), "{closed}");
}

#[test]
fn a_delivery_without_an_answer_closes_the_channel_after_the_default_time_and_comes_back() {
    let mut scene = scene();
    let queue = scene.queue("living", FieldTable::default());
    fill(&queue, &["a", "b"]);
    scene.consume("living");
    scene.deliver();
    assert_eq!(queue.counts().unacknowledged, 2);
    assert_held_for(&mut scene, DEFAULT);
    assert_eq!(
        (queue.counts().ready, queue.counts().unacknowledged),
        (2, 0)
    );
    assert_eq!(queue.counts().consumers, 0);
}

#[test]
fn queue_argument_and_consumer_argument_take_the_place_of_the_default() {
    let mut scene = scene();
    fill(&scene.queue("living", timeout(5_000)), &["a"]);
    scene.consume("living");
    scene.deliver();
    assert_held_for(&mut scene, 5_000);

    let mut scene = self::scene();
    fill(&scene.queue("living", timeout(5_000)), &["a"]);
    scene.consume_with("living", timeout(7_000));
    scene.deliver();
    assert_held_for(&mut scene, 7_000);
}

#[test]
fn zero_is_no_timeout() {
    let mut scene = scene();
    fill(&scene.queue("living", timeout(0)), &["a"]);
    scene.consume("living");
    scene.deliver();
    assert_eq!(scene.pass_to(100 * DEFAULT), "");

    let mut scene = Scene::with(|settings| settings.consumer_timeout = 0);
    fill(&scene.queue("living", FieldTable::default()), &["a"]);
    scene.consume("living");
    scene.deliver();
    assert_eq!(scene.pass_to(100 * DEFAULT), "");
}

#[test]
fn a_message_of_basic_get_times_out_too() {
    let mut scene = scene();
    let queue = scene.queue("living", timeout(5_000));
    fill(&queue, &["a"]);
    scene.get("living");
    assert_held_for(&mut scene, 5_000);
    assert_eq!(queue.counts().ready, 1);
}

#[test]
fn a_delivery_that_needs_no_answer_never_times_out() {
    let mut scene = scene();
    fill(&scene.queue("living", timeout(5_000)), &["a"]);
    let consume = basic::Consume {
        queue: "living".into(),
        no_ack: true,
        ..basic::Consume::default()
    };
    scene.basic(basic::AMQPMethod::Consume(consume));
    scene.deliver();
    assert_eq!(scene.pass_to(100 * DEFAULT), "");
}

#[test]
fn an_answer_in_time_ends_the_waiting_and_the_next_delivery_starts_its_own() {
    let mut scene = scene();
    let queue = scene.queue("living", timeout(5_000));
    fill(&queue, &["a"]);
    scene.consume("living");
    scene.deliver();
    assert_eq!(scene.pass_to(4_000), "");
    scene.ack(1);
    assert_eq!(scene.pass_to(10_000), "");
    fill(&queue, &["b"]);
    scene.deliver();
    assert_eq!(scene.pass_to(14_999), "");
    let closed = scene.pass_to(15_000 + COARSE);
    assert!(closed.contains(&text(5_000)), "{closed}");
}

#[test]
fn the_shortest_timeout_on_a_channel_counts_for_its_own_deliveries_only() {
    let mut scene = scene();
    fill(&scene.queue("patient", timeout(50_000)), &["a"]);
    fill(&scene.queue("hasty", timeout(5_000)), &["b"]);
    scene.consume("patient");
    scene.deliver();
    scene.consume("hasty");
    scene.deliver();
    scene.ack(2);
    assert_held_for(&mut scene, 50_000);
}

#[test]
fn what_timed_out_is_no_failure_and_what_else_the_channel_held_is() {
    let mut scene = scene();
    let late = scene.queue("late", timeout(5_000));
    let other = scene.queue("other", FieldTable::default());
    fill(&late, &["a"]);
    fill(&other, &["b"]);
    scene.consume("late");
    scene.consume("other");
    scene.deliver();
    assert_held_for(&mut scene, 5_000);
    let counts = |queue: &Arc<Queue>| {
        let mut work = broker_core::queue::Work::default();
        let (entry, _) = queue.get(true, 6_000, &mut work).unwrap().unwrap();
        assert!(entry.redelivered);
        (entry.counts.acquired, entry.counts.failed)
    };
    assert_eq!(counts(&late), (1, 0));
    assert_eq!(counts(&other), (1, 1));
}

#[test]
fn a_policy_takes_effect_on_what_is_held_already_within_a_look() {
    let mut scene = scene();
    fill(&scene.queue("living", FieldTable::default()), &["a"]);
    scene.consume("living");
    scene.deliver();
    let request = PolicyRequest {
        pattern: json!(".*"),
        definition: json!({"consumer-timeout": 1_000}),
        ..PolicyRequest::default()
    };
    let vhost = scene.vhost();
    vhost.set_policy(PolicyKind::Policy, "p", request).unwrap();
    let closed = scene.pass_to(LOOK_EVERY + COARSE);
    assert!(closed.contains(&text(1_000)), "{closed}");
}

#[test]
fn a_connection_that_owes_no_answer_sets_no_alarm() {
    let mut scene = scene();
    fill(&scene.queue("living", FieldTable::default()), &["a"]);
    assert_eq!(scene.machine.poll_timeout(), None);
    scene.consume("living");
    scene.deliver();
    assert!(scene.machine.poll_timeout().is_some());
    scene.ack(1);
    assert_eq!(scene.pass_to(LOOK_EVERY + COARSE), "");
    assert_eq!(scene.machine.poll_timeout(), None);
}

#[test]
fn the_time_of_a_delivery_comes_back_within_64_milliseconds_whenever_it_was() {
    for sent in [
        0,
        63,
        64,
        1 << 31,
        (1 << 38) - 1,
        1 << 38,
        1_800_000_000_000,
    ] {
        for held in [0, 1, 1_000, 86_400_000, 10_000_000_000] {
            let millis = Sent::at(sent).millis(sent + held);
            assert!((sent..=sent + 64).contains(&millis), "{sent} {held}");
        }
    }
}
