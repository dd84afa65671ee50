//! Routing follows the definitions, whoever writes them: a client of this broker or another writer. The other writer is
//! here the test itself, or a second broker over the same definitions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use amqp_codec::{AMQPValue, FieldTable};
use broker_core::{
    Error,
    broker::Broker,
    definitions::{
        BindingDefinition, Change, Definition, Definitions, DestinationKind, ExchangeDefinition,
        Kind, MemoryDefinitions, QueueDefinition, Record, SledDefinitions, VhostDefinition,
    },
    outbox::{Event, Outbox, SubscriptionKey},
    queue::{ChannelCredit, ConnectionId, Subscription, Work},
    store::{MemoryStore, QueueId, SledDatabase},
    vhost::{BindingRequest, ExchangeDeclaration, QueueDeclaration, Vhost},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

const ME: ConnectionId = ConnectionId(1);

/// Far more than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn broker(definitions: &Arc<dyn Definitions>) -> Arc<Broker> {
    Broker::start(Arc::new(MemoryStore::new()), Arc::clone(definitions), 0).unwrap()
}

fn exchange(name: &str) -> ExchangeDefinition {
    ExchangeDefinition {
        vhost: "/".to_owned(),
        name: name.to_owned(),
        kind: "direct".to_owned(),
        durable: true,
        ..Default::default()
    }
}

fn queue(definitions: &dyn Definitions, name: &str) -> QueueDefinition {
    QueueDefinition {
        id: definitions.next_queue_id(),
        higher_lanes: 0,
        vhost: "/".to_owned(),
        name: name.to_owned(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::default(),
        paused: false,
        created_at: None,
    }
}

fn binding(source: &str, destination: &str, routing_key: &str) -> BindingDefinition {
    BindingDefinition {
        vhost: "/".to_owned(),
        source: source.to_owned(),
        destination: destination.to_owned(),
        destination_kind: DestinationKind::Queue,
        routing_key: routing_key.to_owned(),
        arguments: FieldTable::default(),
    }
}

fn put<R: Record>(definitions: &dyn Definitions, record: &R) {
    definitions
        .apply(vec![Change::put(record).unwrap()])
        .unwrap();
}

fn delete<R: Record>(definitions: &dyn Definitions, record: &R) {
    let change = Change::delete(R::KIND, record.key());
    definitions.apply(vec![change]).unwrap();
}

fn exchange_declaration(name: &str, durable: bool, auto_delete: bool) -> ExchangeDeclaration {
    ExchangeDeclaration {
        name: name.to_owned(),
        kind: "direct".to_owned(),
        durable,
        auto_delete,
        internal: false,
        arguments: FieldTable::default(),
    }
}

fn queue_declaration(name: &str, durable: bool) -> QueueDeclaration {
    QueueDeclaration {
        name: name.to_owned(),
        durable,
        exclusive: false,
        auto_delete: false,
        arguments: FieldTable::default(),
    }
}

fn request(source: &str, destination: &str, routing_key: &str) -> BindingRequest {
    BindingRequest {
        source: source.to_owned(),
        destination_kind: DestinationKind::Queue,
        destination: destination.to_owned(),
        routing_key: routing_key.to_owned(),
        arguments: FieldTable::default(),
    }
}

/// The names of the queues that a message goes to.
fn routed(vhost: &Vhost, source: &str, key: &str) -> BTreeSet<String> {
    let Some(source) = vhost.exchange(source) else {
        return BTreeSet::new();
    };
    let route = vhost.route(&source, key, &[], None);
    route.queues.iter().map(|q| q.name().to_string()).collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

fn subscription(outbox: &Arc<Outbox>) -> Subscription {
    Subscription {
        key: SubscriptionKey(0),
        outbox: Arc::clone(outbox),
        channel_credit: Arc::new(ChannelCredit::default()),
        no_ack: true,
        prefetch: 0,
        priority: 0,
        entry: Arc::default(),
    }
}

fn is_cancelled(outbox: &Outbox) -> bool {
    let mut events = Vec::new();
    outbox.take(&mut Vec::new(), &mut events);
    matches!(events[..], [Event::ConsumerCancelled(SubscriptionKey(0))])
}

fn what_another_writer_declares_routes_here(definitions: Arc<dyn Definitions>) {
    let broker = broker(&definitions);
    let vhost = broker.vhost("/").unwrap();
    let before = vhost.generation();
    let (x, q) = (exchange("x"), queue(&*definitions, "q"));
    put(&*definitions, &x);
    put(&*definitions, &q);
    put(&*definitions, &binding("x", "q", "k"));
    assert_eq!(routed(&vhost, "x", "k"), names(["q"]));
    assert_eq!(vhost.queue("q").unwrap().id, q.id);
    assert!(vhost.generation() > before, "cached routes stay in use");
    // Declaring it again is agreeing with the other writer, in whose change the client may trust once it is on disk.
    let (same, ticket) = vhost
        .declare_queue(queue_declaration("q", true), ME)
        .unwrap();
    assert_eq!(same.id, q.id);
    assert_eq!(ticket, definitions.written());
    let other = vhost.declare_queue(queue_declaration("q", false), ME);
    assert!(matches!(other, Err(Error::PreconditionFailed(_))));
}

fn what_another_writer_deletes_is_gone_here(definitions: Arc<dyn Definitions>) {
    let broker = broker(&definitions);
    let vhost = broker.vhost("/").unwrap();
    let x = exchange_declaration("x", true, false);
    vhost.declare_exchange(x).unwrap();
    for name in ["a", "b"] {
        vhost
            .declare_queue(queue_declaration(name, true), ME)
            .unwrap();
        vhost.bind(&request("x", name, "k"), ME).unwrap();
    }
    assert_eq!(routed(&vhost, "x", "k"), names(["a", "b"]));
    delete(&*definitions, &binding("x", "a", "k"));
    assert_eq!(routed(&vhost, "x", "k"), names(["b"]));

    let outbox = Outbox::new();
    let consumed = vhost.queue("b").unwrap();
    consumed.consume(subscription(&outbox), false).unwrap();
    let key = QueueDefinition::key_of("/", "b");
    let changes = [
        Change::delete(Kind::Queue, key),
        Change::delete(Kind::Binding, binding("x", "b", "k").key()),
    ];
    definitions.apply(changes.into()).unwrap();
    assert!(vhost.queue("b").is_none());
    assert_eq!(routed(&vhost, "x", "k"), names([]));
    assert_eq!(vhost.exchange("x").unwrap().binding_count(), 0);
    assert!(is_cancelled(&outbox), "its consumer has not heard of it");

    delete(&*definitions, &exchange("x"));
    assert!(vhost.exchange("x").is_none());
    delete(
        &*definitions,
        &VhostDefinition {
            name: "/".to_owned(),
            ..Default::default()
        },
    );
    assert!(broker.vhost("/").is_none());
}

fn a_vhost_of_another_writer_is_there_with_all_that_every_vhost_has(
    definitions: Arc<dyn Definitions>,
) {
    let broker = broker(&definitions);
    let vhost = VhostDefinition {
        name: "new".to_owned(),
        ..Default::default()
    };
    let binding = BindingDefinition {
        vhost: "new".to_owned(),
        ..binding("amq.direct", "q", "k")
    };
    let queue = QueueDefinition {
        vhost: "new".to_owned(),
        ..queue(&*definitions, "q")
    };
    let changes = [
        Change::put(&vhost).unwrap(),
        Change::put(&queue).unwrap(),
        Change::put(&binding).unwrap(),
    ];
    definitions.apply(changes.into()).unwrap();
    let vhost = broker.vhost("new").unwrap();
    assert_eq!(routed(&vhost, "amq.direct", "k"), names(["q"]));
}

fn an_auto_delete_exchange_goes_when_another_writer_takes_its_last_binding(
    definitions: Arc<dyn Definitions>,
) {
    let broker = broker(&definitions);
    let vhost = broker.vhost("/").unwrap();
    vhost
        .declare_exchange(exchange_declaration("x", true, true))
        .unwrap();
    vhost
        .declare_queue(queue_declaration("q", true), ME)
        .unwrap();
    vhost.bind(&request("x", "q", "k"), ME).unwrap();
    delete(&*definitions, &binding("x", "q", "k"));
    assert!(vhost.exchange("x").is_none());
    assert_eq!(definitions.list(Kind::Exchange), []);
}

fn a_binding_to_what_another_writer_has_deleted_is_deleted_too(definitions: Arc<dyn Definitions>) {
    let broker = broker(&definitions);
    let vhost = broker.vhost("/").unwrap();
    put(&*definitions, &exchange("x"));
    put(&*definitions, &binding("x", "never", "k"));
    assert_eq!(definitions.list(Kind::Binding), []);
    vhost
        .declare_queue(queue_declaration("q", true), ME)
        .unwrap();
    vhost.bind(&request("x", "q", "k"), ME).unwrap();
    // The other writer has not seen the binding and deletes the queue alone.
    delete(&*definitions, &queue(&*definitions, "q"));
    assert_eq!(definitions.list(Kind::Binding), []);
    assert_eq!(vhost.exchange("x").unwrap().binding_count(), 0);
}

fn a_definition_takes_the_place_of_what_is_transient(definitions: Arc<dyn Definitions>) {
    let broker = broker(&definitions);
    let vhost = broker.vhost("/").unwrap();
    vhost
        .declare_queue(queue_declaration("q", false), ME)
        .unwrap();
    let x = exchange_declaration("x", false, false);
    vhost.declare_exchange(x).unwrap();
    let q = queue(&*definitions, "q");
    put(&*definitions, &q);
    put(&*definitions, &exchange("x"));
    assert_eq!(vhost.queue("q").unwrap().id, q.id);
    assert!(vhost.exchange("x").unwrap().durable);
}

fn a_queue_declared_anew_by_another_writer_is_another_queue(definitions: Arc<dyn Definitions>) {
    let broker = broker(&definitions);
    let vhost = broker.vhost("/").unwrap();
    let (first, second) = (queue(&*definitions, "q"), queue(&*definitions, "q"));
    put(&*definitions, &first);
    let old = vhost.queue("q").unwrap();
    put(&*definitions, &second);
    assert_eq!(vhost.queue("q").unwrap().id, second.id);
    // Whoever still holds the old one cannot delete the new one with it.
    vhost.drop_queue(&old, &mut Work::default()).unwrap();
    assert_eq!(vhost.queue("q").unwrap().id, second.id);
    assert_eq!(definitions.list(Kind::Queue).len(), 1);
}

fn what_was_declared_in_any_order_can_be_deleted_after_a_restart(
    definitions: Arc<dyn Definitions>,
) {
    drop(broker(&definitions));
    put(&*definitions, &queue(&*definitions, "early"));
    put(&*definitions, &binding("amq.direct", "early", "k"));
    put(&*definitions, &queue(&*definitions, "late"));
    put(&*definitions, &exchange("latest"));
    let broker = broker(&definitions);
    let vhost = broker.vhost("/").unwrap();
    let mut work = Work::default();
    vhost.delete_exchange("latest", false).unwrap();
    for name in ["late", "early"] {
        vhost
            .delete_queue(name, ME, (false, false), &mut work)
            .unwrap();
    }
    assert_eq!(stored_topology(&*definitions), Topology::default());
}

fn a_binding_is_unbound_by_arguments_that_are_equal_but_written_otherwise(
    definitions: Arc<dyn Definitions>,
) {
    let broker = broker(&definitions);
    let vhost = broker.vhost("/").unwrap();
    vhost
        .declare_queue(queue_declaration("q", true), ME)
        .unwrap();
    let with = |value| {
        let mut arguments = FieldTable::default();
        arguments.insert("number".into(), value);
        BindingRequest {
            arguments,
            ..request("amq.headers", "q", "")
        }
    };
    vhost.bind(&with(AMQPValue::LongInt(1)), ME).unwrap();
    vhost.bind(&with(AMQPValue::LongLongInt(1)), ME).unwrap();
    assert_eq!(definitions.list(Kind::Binding).len(), 1);
    vhost.unbind(&with(AMQPValue::LongLongInt(1)), ME).unwrap();
    assert_eq!(definitions.list(Kind::Binding), []);
}

fn brokers_over_the_same_definitions_agree_whatever_their_clients_do_at_once(
    definitions: Arc<dyn Definitions>,
) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seed = std::env::var("LEVERET_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(now.unwrap().as_nanos() as u64);
    eprintln!("LEVERET_TEST_SEED={seed}");
    let brokers = [broker(&definitions), broker(&definitions)];
    thread::scope(|scope| {
        for (number, broker) in (0..).zip(brokers.iter().chain(&brokers)) {
            let vhost = broker.vhost("/").unwrap();
            let mut random = StdRng::seed_from_u64(seed + number);
            scope.spawn(move || (0..400).for_each(|_| change_something(&vhost, &mut random)));
        }
    });
    let deadline = Instant::now() + PATIENCE;
    let stored = stored_topology(&*definitions);
    for broker in brokers {
        let vhost = broker.vhost("/").unwrap();
        while topology(&vhost) != stored {
            assert!(
                Instant::now() < deadline,
                "{:#?}",
                (topology(&vhost), stored)
            );
            thread::yield_now();
        }
    }
    let again = broker(&definitions);
    assert_eq!(topology(&again.vhost("/").unwrap()), stored);
    assert_eq!(stored_topology(&*definitions), stored, "a start changes it");
}

const SOURCES: [&str; 4] = ["amq.direct", "x", "y", "passing"];
const QUEUES: [&str; 3] = ["a", "b", "c"];
const KEYS: [&str; 3] = ["0", "1", "2"];

fn change_something(vhost: &Vhost, random: &mut StdRng) {
    let source = SOURCES[random.random_range(0..SOURCES.len())];
    let queue = QUEUES[random.random_range(0..QUEUES.len())];
    let key = KEYS[random.random_range(0..KEYS.len())];
    // What is refused is refused: that the brokers agree afterwards is what matters.
    let _ = match random.random_range(0..100) {
        0..20 if source != "amq.direct" => {
            vhost.declare_exchange(exchange_declaration(source, true, source == "passing"))
        }
        20..25 => vhost.delete_exchange(source, false),
        25..45 => {
            let declared = vhost.declare_queue(queue_declaration(queue, true), ME);
            declared.map(|(_, ticket)| ticket)
        }
        45..50 => {
            let mut work = Work::default();
            let deleted = vhost.delete_queue(queue, ME, (false, false), &mut work);
            deleted.map(|(_, ticket)| ticket)
        }
        50..80 => vhost.bind(&request(source, queue, key), ME),
        _ => vhost.unbind(&request(source, queue, key), ME),
    };
}

/// The durable exchanges, the queues with their ids, and the bindings.
type Topology = (
    BTreeSet<String>,
    BTreeSet<(String, QueueId)>,
    BTreeSet<(String, String, String)>,
);

fn topology(vhost: &Vhost) -> Topology {
    let declared = SOURCES.into_iter().skip(1);
    let exchanges = declared.filter(|name| vhost.exchange(name).is_some());
    let queues = QUEUES.into_iter().filter_map(|name| {
        let queue = vhost.queue(name)?;
        Some((name.to_owned(), queue.id))
    });
    let mut bindings = BTreeSet::new();
    for (source, key) in SOURCES
        .into_iter()
        .flat_map(|source| KEYS.map(|key| (source, key)))
    {
        for queue in routed(vhost, source, key) {
            bindings.insert((source.to_owned(), queue, key.to_owned()));
        }
    }
    (
        exchanges.map(str::to_owned).collect(),
        queues.collect(),
        bindings,
    )
}

fn stored_topology(definitions: &dyn Definitions) -> Topology {
    let all = |kind| definitions.list(kind).into_iter();
    let exchange = |it: Definition| {
        let record = it.record::<ExchangeDefinition>().unwrap();
        record.name
    };
    let queue = |it: Definition| {
        let record = it.record::<QueueDefinition>().unwrap();
        (record.name, record.id)
    };
    let binding = |it: Definition| {
        let record = it.record::<BindingDefinition>().unwrap();
        (record.source, record.destination, record.routing_key)
    };
    (
        all(Kind::Exchange).map(exchange).collect(),
        all(Kind::Queue).map(queue).collect(),
        all(Kind::Binding).map(binding).collect(),
    )
}

macro_rules! every_definitions {
    ($($rule:ident),+ $(,)?) => {
        mod memory {
            use super::*;
            $(#[test]
            fn $rule() {
                super::$rule(Arc::new(MemoryDefinitions::new()));
            })+
        }
        mod sled {
            use super::*;
            $(#[test]
            fn $rule() {
                let folder = TempDir::new().unwrap();
                let database = SledDatabase::open(folder.path()).unwrap();
                let no_failure = Box::new(|error| panic!("the store failed: {error}"));
                super::$rule(Arc::new(SledDefinitions::open(&database, no_failure).unwrap()));
            })+
        }
    };
}

every_definitions!(
    what_another_writer_declares_routes_here,
    what_another_writer_deletes_is_gone_here,
    a_vhost_of_another_writer_is_there_with_all_that_every_vhost_has,
    an_auto_delete_exchange_goes_when_another_writer_takes_its_last_binding,
    a_binding_to_what_another_writer_has_deleted_is_deleted_too,
    a_definition_takes_the_place_of_what_is_transient,
    a_queue_declared_anew_by_another_writer_is_another_queue,
    what_was_declared_in_any_order_can_be_deleted_after_a_restart,
    a_binding_is_unbound_by_arguments_that_are_equal_but_written_otherwise,
    brokers_over_the_same_definitions_agree_whatever_their_clients_do_at_once,
);
