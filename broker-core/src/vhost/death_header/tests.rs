//! The bytes that are sent, and which of those that came in are believed.

use std::sync::Arc;

use amqp_codec::FieldArray;

use super::*;
use crate::{
    paging::Pager,
    queue::{Entry, Queue, QueueProperties},
    store::{MemoryStore, QueueId},
};

fn queue(name: &str) -> Arc<Queue> {
    let properties = QueueProperties {
        name: name.into(),
        vhost: "/".into(),
        durable: false,
        auto_delete: false,
        exclusive_owner: None,
        priorities: None,
        table: FieldTable::default(),
        arguments: Default::default(),
    };
    let store = Arc::new(MemoryStore::new());
    let pager = Pager::unlimited();
    Queue::new(QueueId(1), properties, store, Arc::default(), pager)
}

fn dead(message: &Message, queue_name: &str, reason: DeadReason) -> Dead {
    let entry = Entry::new(1, message.clone(), 0);
    Dead {
        queue: queue(queue_name),
        entry,
        reason,
    }
}

fn properties(headers: &FieldTable, expiration: Option<&str>) -> Vec<u8> {
    let (mut table, mut raw) = (Vec::new(), Vec::new());
    encode_table(headers, &mut table).unwrap();
    Properties {
        headers: Some(&table),
        expiration,
        ..Properties::default()
    }
    .encode(&mut raw);
    raw
}

fn table<const N: usize>(fields: [(&str, AMQPValue); N]) -> FieldTable {
    let fields = fields.into_iter();
    let fields: BTreeMap<_, _> = fields.map(|(key, value)| (key.into(), value)).collect();
    fields.into()
}

fn long_string(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// The message after a death.
fn after(message: &Message, queue_name: &str, reason: DeadReason, now: Millis) -> Message {
    let mut deaths = Deaths::of(message);
    deaths.record(&dead(message, queue_name, reason), now);
    let properties = deaths.properties(message);
    Message::with_flags("dlx", "key", &properties, b"", deaths.flags(false))
}

fn headers_of(message: &Message) -> FieldTable {
    let properties = Properties::parse(message.properties()).unwrap();
    parse_table(properties.headers.unwrap()).unwrap()
}

fn deaths_of(message: &Message) -> Vec<Death> {
    read(&headers_of(message))
}

fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn sized(kind: u8, inner: &[u8]) -> Vec<u8> {
    bytes(&[&[kind], &(inner.len() as u32).to_be_bytes(), inner])
}

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    bytes(&[&[name.len() as u8], name.as_bytes(), value])
}

#[test]
fn a_death_has_rabbitmq_s_fields_in_rabbitmq_s_order() {
    let cc = AMQPValue::FieldArray(FieldArray::from(vec![long_string("copy")]));
    let headers = table([("z", AMQPValue::Boolean(true)), ("CC", cc)]);
    let message = Message::new("x", "k", &properties(&headers, Some("+07")), b"", false);
    let dead = after(&message, "q", DeadReason::Expired, 5_999);
    let string = |text: &str| sized(b'S', text.as_bytes());
    let death = bytes(&[
        &named("original-expiration", &string("7")),
        &named("count", &bytes(&[b"l", &1_u64.to_be_bytes()])),
        &named("reason", &string("expired")),
        &named("queue", &string("q")),
        &named("time", &bytes(&[b"T", &5_u64.to_be_bytes()])),
        &named("exchange", &string("x")),
        &named(
            "routing-keys",
            &sized(b'A', &bytes(&[&string("k"), &string("copy")])),
        ),
    ]);
    let expected = bytes(&[
        &named("CC", &sized(b'A', &string("copy"))),
        &named("x-death", &sized(b'A', &sized(b'F', &death))),
        &named("x-first-death-exchange", &string("x")),
        &named("x-first-death-queue", &string("q")),
        &named("x-first-death-reason", &string("expired")),
        &named("x-last-death-exchange", &string("x")),
        &named("x-last-death-queue", &string("q")),
        &named("x-last-death-reason", &string("expired")),
        &named("z", b"t\x01"),
    ]);
    let properties = Properties::parse(dead.properties()).unwrap();
    assert_eq!(properties.headers.unwrap(), expected);
    assert_eq!(properties.expiration, None);
}

#[test]
fn a_death_again_counts_and_comes_first_and_keeps_its_time() {
    let message = Message::new("x", "k", &[0, 0], b"", true);
    let message = after(&message, "a", DeadReason::Rejected, 1_000);
    let message = after(&message, "b", DeadReason::Expired, 2_000);
    let message = after(&message, "a", DeadReason::Rejected, 3_000);
    let deaths = deaths_of(&message);
    let shown: Vec<_> = deaths
        .iter()
        .map(|death| (death.queue.as_str(), death.count, death.time))
        .collect();
    assert_eq!(shown, [("a", 2, 1), ("b", 1, 2)]);
    assert_eq!(deaths[0].exchange, "x");
    assert_eq!(deaths[0].routing_keys, ["k"]);
    let headers = headers_of(&message);
    let header = |name| lookup(&headers, name).and_then(text).unwrap();
    assert_eq!(header("x-first-death-queue"), "a");
    assert_eq!(header("x-first-death-exchange"), "x");
    assert_eq!(header("x-last-death-queue"), "a");
    assert_eq!(header("x-last-death-exchange"), "dlx");
    assert!(message.persistent());
}

#[test]
fn deaths_for_another_reason_are_another_entry() {
    let message = Message::new("x", "k", &[0, 0], b"", true);
    let message = after(&message, "a", DeadReason::Expired, 0);
    let message = after(&message, "a", DeadReason::MaxLength, 0);
    let reasons: Vec<_> = deaths_of(&message)
        .into_iter()
        .map(|it| it.reason)
        .collect();
    assert_eq!(reasons, ["maxlen", "expired"]);
}

#[test]
fn deaths_that_a_client_published_count_for_nothing() {
    let earlier = Message::new("x", "k", &[0, 0], b"", true);
    let earlier = headers_of(&after(&earlier, "a", DeadReason::Expired, 0));
    let malformed = [
        AMQPValue::Boolean(true),
        long_string("x-death"),
        AMQPValue::FieldArray(vec![AMQPValue::Void].into()),
    ];
    let malformed = malformed.map(|value| table([("x-death", value)]));
    for headers in malformed.into_iter().chain([earlier]) {
        let published = Message::new("y", "k", &properties(&headers, None), b"", true);
        assert!(!Deaths::of(&published).is_cycle("a"));
        let dead = after(&published, "a", DeadReason::Expired, 0);
        let deaths = deaths_of(&dead);
        assert_eq!((deaths.len(), deaths[0].count), (1, 1), "{headers:?}");
        let headers = headers_of(&dead);
        let first = lookup(&headers, "x-first-death-exchange");
        assert_eq!(first.and_then(text), Some("y"));
    }
}

#[test]
fn a_cycle_is_broken_by_any_rejection_since_the_message_was_there() {
    let cycle = |deaths: &[(&str, DeadReason)]| {
        let mut message = Message::new("x", "k", &[0, 0], b"", true);
        for (queue, reason) in deaths {
            message = after(&message, queue, *reason, 0);
        }
        Deaths::of(&message).is_cycle("a")
    };
    use DeadReason::{Expired, Rejected};
    assert!(!cycle(&[]));
    assert!(!cycle(&[("b", Expired)]));
    assert!(cycle(&[("a", Expired)]));
    assert!(cycle(&[("a", Expired), ("b", Expired)]));
    assert!(cycle(&[("b", Rejected), ("a", Expired)]));
    assert!(!cycle(&[("a", Rejected)]));
    assert!(!cycle(&[("a", Expired), ("b", Rejected)]));
}

#[test]
fn copies_are_followed_until_a_routing_key_replaces_them() {
    let cc = AMQPValue::FieldArray(FieldArray::from(vec![long_string("copy")]));
    let raw = properties(&table([("CC", cc)]), None);
    let message = Message::new("x", "k", &raw, b"", true);
    let deaths = Deaths::of(&message);
    assert_eq!(deaths.copies(), ["copy"]);
    let flags = deaths.flags(true);
    let rerouted = Message::with_flags("dlx", "new", &raw, b"", flags);
    assert!(Deaths::of(&rerouted).copies().is_empty());
}

#[test]
fn origin_is_the_first_death_also_after_deaths_that_were_counted_again() {
    let published = Message::new(
        "x",
        "key",
        &properties(&table([("a", long_string("1"))]), None),
        b"body",
        true,
    );
    let once = after(&published, "work", DeadReason::Rejected, 1000);
    let twice = after(&once, "parking", DeadReason::Expired, 2000);
    // Back in the first queue, and dead there again: now that death stands in front.
    let thrice = after(&twice, "work", DeadReason::Rejected, 3000);
    let four = after(&thrice, "parking", DeadReason::Expired, 4000);
    let origin = Origin::of(&four).unwrap();
    assert_eq!((&*origin.queue, &*origin.exchange), ("work", "x"));
    assert_eq!(origin.routing_keys, ["key"]);
    let last = crate::vhost::LastDeath::of(&four).unwrap();
    assert_eq!((&*last.queue, &*last.reason), ("parking", "expired"));
}

#[test]
fn revived_message_is_as_it_was_published() {
    let fields = table([("a", long_string("1"))]);
    let published = Message::new("x", "key", &properties(&fields, None), b"", true);
    let dead = after(&published, "work", DeadReason::Rejected, 1000);
    let revived = Origin::of(&dead).unwrap().revive(&dead);
    assert_eq!(revived.packed(), published.packed());
    assert_eq!(revived.flags(), published.flags());

    let bare = Message::new("x", "key", &[0, 0], b"", false);
    let dead = after(&bare, "work", DeadReason::MaxLength, 1000);
    let revived = Origin::of(&dead).unwrap().revive(&dead);
    assert_eq!(revived.packed(), bare.packed());
    assert!(Origin::of(&revived).is_none());
}
