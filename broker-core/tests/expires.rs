//! Queues that go when nobody uses them, in virtual time.
#![allow(
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and its panic is the report"
)]

use std::sync::Arc;

use broker_core::{
    arguments::{AMQPValue, FieldTable},
    broker::Broker,
    definitions::{Definitions, Kind, MemoryDefinitions},
    message::Message,
    outbox::{Outbox, SubscriptionKey},
    policy::{PolicyKind, PolicyRequest},
    queue::{ConnectionId, Millis, Queue, Subscription, Work},
    store::MemoryStore,
    vhost::{QueueDeclaration, Vhost},
};
use serde_json::json;

const CLIENT: ConnectionId = ConnectionId(1);

struct System {
    broker: Arc<Broker>,
    vhost: Arc<Vhost>,
    definitions: Arc<MemoryDefinitions>,
}

impl System {
    fn start() -> Self {
        Self::start_over(Arc::default())
    }

    fn start_over(definitions: Arc<MemoryDefinitions>) -> Self {
        let held = Arc::<MemoryDefinitions>::clone(&definitions);
        let broker = Broker::start(Arc::new(MemoryStore::new()), held, 0).unwrap();
        let vhost = broker.vhost("/").unwrap();
        Self {
            broker,
            vhost,
            definitions,
        }
    }

    fn declare(&self, expires: Option<i32>) -> Arc<Queue> {
        let mut arguments = FieldTable::default();
        if let Some(expires) = expires {
            arguments.insert("x-expires".into(), AMQPValue::LongInt(expires));
        }
        let declaration = QueueDeclaration {
            name: "q".to_owned(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments,
        };
        self.vhost.declare_queue(declaration, CLIENT).unwrap().0
    }

    /// Lets every moment from `from` to `to` pass, and says at which one the queue went.
    fn gone(&self, from: Millis, to: Millis) -> Option<Millis> {
        (from..=to).find(|&now| {
            self.broker.run_expiries(now);
            self.vhost.queue("q").is_none()
        })
    }

    fn set_policy(&self, definition: serde_json::Value) {
        let request = PolicyRequest {
            pattern: json!("q"),
            definition,
            ..PolicyRequest::default()
        };
        let set = self.vhost.set_policy(PolicyKind::Policy, "p", request);
        assert!(set.is_ok());
    }
}

fn consumer() -> Subscription {
    Subscription {
        key: SubscriptionKey(1),
        outbox: Outbox::new(),
        channel_credit: Arc::default(),
        no_ack: true,
        prefetch: 0,
        priority: 0,
        entry: Arc::default(),
    }
}

#[test]
fn an_unused_queue_goes_when_its_time_has_come() {
    let system = System::start();
    system.declare(Some(10));
    assert_eq!(system.gone(100, 200), Some(110));
    let left = system.definitions.list(Kind::Queue);
    assert!(left.is_empty(), "its definition went with it");
}

#[test]
fn a_queue_that_is_declared_again_or_asked_starts_anew() {
    let system = System::start();
    let queue = system.declare(Some(10));
    assert_eq!(system.gone(100, 109), None);
    system.declare(Some(10));
    assert_eq!(system.gone(109, 118), None);
    system.vhost.check_queue("q", CLIENT).unwrap();
    assert_eq!(system.gone(118, 127), None);
    queue.get(true, 127, &mut Work::default()).unwrap();
    assert_eq!(system.gone(127, 200), Some(137));
}

#[test]
fn publishing_is_no_use() {
    let system = System::start();
    let queue = system.declare(Some(10));
    assert_eq!(system.gone(100, 105), None);
    let message = Message::new("", "q", &[0, 0], b"m", true);
    let (mut work, mut refused) = (Work::default(), Vec::new());
    queue.publish(std::iter::once(message), 105, &mut work, &mut refused);
    assert_eq!(system.gone(105, 200), Some(110));
}

#[test]
fn a_queue_with_a_consumer_stays_and_goes_some_time_after_it() {
    let system = System::start();
    let queue = system.declare(Some(10));
    assert_eq!(system.gone(100, 105), None);
    let handle = queue.consume(consumer(), false).unwrap().unwrap();
    assert_eq!(system.gone(105, 300), None);
    queue.cancel(handle);
    assert_eq!(system.gone(300, 400), Some(310));
}

#[test]
fn messages_that_expire_do_not_prolong_the_life_of_their_queue() {
    let system = System::start();
    let queue = system.declare(Some(10));
    system.set_policy(json!({"message-ttl": 3}));
    assert_eq!(system.gone(100, 101), None);
    let message = Message::new("", "q", &[0, 0], b"m", true);
    let (mut work, mut refused) = (Work::default(), Vec::new());
    queue.publish(std::iter::once(message), 102, &mut work, &mut refused);
    assert_eq!(system.gone(102, 200), Some(110));
}

#[test]
fn a_policy_starts_and_ends_the_clock() {
    let system = System::start();
    system.declare(None);
    assert_eq!(system.gone(1, 1_000), None);
    system.set_policy(json!({"expires": 10}));
    assert_eq!(system.gone(1_000, 1_005), None);
    let cleared = system.vhost.clear_policy(PolicyKind::Policy, "p");
    assert!(cleared.is_ok());
    assert_eq!(system.gone(1_005, 2_000), None);
    system.set_policy(json!({"expires": 10}));
    assert_eq!(system.gone(2_000, 3_000), Some(2_010));
}

#[test]
fn the_shorter_of_argument_and_policy_counts() {
    let system = System::start();
    system.declare(Some(10));
    system.set_policy(json!({"expires": 20}));
    assert_eq!(system.gone(100, 200), Some(110));
}

#[test]
fn a_queue_that_was_unused_before_a_restart_has_its_whole_time_again() {
    let system = System::start();
    system.declare(Some(10));
    assert_eq!(system.gone(100, 105), None);
    let system = System::start_over(system.definitions);
    assert_eq!(system.gone(1_000, 2_000), Some(1_010));
}
