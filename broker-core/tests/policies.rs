//! Policies on a whole broker: what they do to queues and exchanges that exist, and when they go again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed step is a failed test, and its panic is the report"
)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use broker_core::{
    arguments::{AMQPValue, FieldTable},
    broker::Broker,
    definitions::{Change, Definitions, MemoryDefinitions},
    message::Message,
    policy::{PolicyKind, PolicyRequest, Source},
    queue::{ConnectionId, Millis, Queue, Work},
    store::MemoryStore,
    vhost::{BindingRequest, ExchangeDeclaration, QueueDeclaration, Vhost},
};
use serde_json::{Value, json};

/// How long something may take that another thread does.
const PATIENCE: Duration = Duration::from_secs(60);

const CLIENT: ConnectionId = ConnectionId(1);

struct System {
    broker: Arc<Broker>,
    vhost: Arc<Vhost>,
    definitions: Arc<MemoryDefinitions>,
    store: Arc<MemoryStore>,
}

impl System {
    fn start() -> Self {
        Self::start_over(Arc::new(MemoryStore::new()), Arc::default())
    }

    fn start_over(store: Arc<MemoryStore>, definitions: Arc<MemoryDefinitions>) -> Self {
        let broker = Broker::start(
            Arc::<MemoryStore>::clone(&store),
            Arc::<MemoryDefinitions>::clone(&definitions) as Arc<dyn Definitions>,
            0,
        );
        let broker = broker.unwrap();
        let vhost = broker.vhost("/").unwrap();
        Self {
            broker,
            vhost,
            definitions,
            store,
        }
    }

    fn restart(self) -> Self {
        Self::start_over(self.store, self.definitions)
    }

    fn set(&self, kind: PolicyKind, name: &str, priority: i64, definition: Value) {
        let request = PolicyRequest {
            pattern: json!("^q"),
            definition,
            priority: Some(json!(priority)),
            apply_to: None,
        };
        self.vhost.set_policy(kind, name, request).unwrap();
    }

    fn set_policy(&self, definition: Value) {
        self.set(PolicyKind::Policy, "p", 0, definition);
    }

    fn clear_policy(&self) {
        self.vhost.clear_policy(PolicyKind::Policy, "p").unwrap();
    }

    fn declare(&self, name: &str, arguments: &[(&str, AMQPValue)]) -> Arc<Queue> {
        let declaration = QueueDeclaration {
            name: name.to_owned(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: table(arguments),
        };
        self.vhost.declare_queue(declaration, CLIENT).unwrap().0
    }

    fn declare_exchange(&self, name: &str) {
        let declaration = ExchangeDeclaration {
            name: name.to_owned(),
            kind: "fanout".to_owned(),
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: FieldTable::default(),
        };
        self.vhost.declare_exchange(declaration).unwrap();
    }

    fn bind(&self, source: &str, queue: &str) {
        let request = BindingRequest {
            source: source.to_owned(),
            destination_kind: Default::default(),
            destination: queue.to_owned(),
            routing_key: String::new(),
            arguments: FieldTable::default(),
        };
        self.vhost.bind(&request, CLIENT).unwrap();
    }

    /// Publishes a message, as a channel does; says which queues it was routed to, and whether all of them took it.
    fn publish(&self, exchange: &str, key: &str, body: &str, now: Millis) -> (usize, bool) {
        let exchange = self.vhost.existing_exchange(exchange).unwrap();
        let route = self.vhost.route(&exchange, key, &[], None);
        let message = Message::new(&exchange.name, key, &[0, 0], body.as_bytes(), true);
        let (mut work, mut refused) = (Work::default(), Vec::new());
        for queue in &route.queues {
            let message = std::iter::once(message.clone());
            queue.publish(message, now, &mut work, &mut refused);
        }
        self.vhost.bury(now, &mut work);
        (route.queues.len(), refused.is_empty())
    }
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in fields {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn bodies(queue: &Arc<Queue>, now: Millis) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut work = Work::default();
    while let Ok(Some((entry, _))) = queue.get(true, now, &mut work) {
        bodies.push(String::from_utf8_lossy(entry.message.body()).into_owned());
    }
    bodies
}

fn source_of(queue: &Queue, key: &str) -> Option<Source> {
    let settings = queue.settings();
    let setting = settings.iter().find(|setting| setting.key == key);
    setting.map(|setting| setting.source)
}

#[test]
fn a_length_limit_that_is_set_drops_what_a_queue_has_too_much_of() {
    let system = System::start();
    let queue = system.declare("q", &[]);
    for number in 0..5 {
        system.publish("", "q", &number.to_string(), 0);
    }
    system.set_policy(json!({"max-length": 2}));
    system.broker.run_expiries(0);
    assert_eq!(queue.counts().ready, 2);
    system.publish("", "q", "5", 0);
    assert_eq!(bodies(&queue, 0), ["4", "5"]);
}

#[test]
fn a_limit_ends_with_its_policy() {
    let system = System::start();
    let queue = system.declare("q", &[]);
    system.set_policy(json!({"max-length": 1}));
    system.clear_policy();
    for body in ["a", "b"] {
        system.publish("", "q", body, 0);
    }
    system.broker.run_expiries(0);
    assert_eq!(bodies(&queue, 0), ["a", "b"]);
}

#[test]
fn a_new_definition_of_a_policy_replaces_the_old_one() {
    let system = System::start();
    let queue = system.declare("q", &[]);
    system.set_policy(json!({"max-length": 1}));
    system.set_policy(json!({"max-length-bytes": 2}));
    for body in ["a", "b", "c"] {
        system.publish("", "q", body, 0);
    }
    assert_eq!(bodies(&queue, 0), ["b", "c"]);
    assert_eq!(system.vhost.policies(PolicyKind::Policy).len(), 1);
}

#[test]
fn a_queue_that_is_declared_later_has_the_policy_too() {
    let system = System::start();
    system.set_policy(json!({"max-length": 1}));
    let (matching, other) = (system.declare("q", &[]), system.declare("other", &[]));
    for name in ["q", "q", "other", "other"] {
        system.publish("", name, "x", 0);
    }
    assert_eq!((matching.counts().ready, other.counts().ready), (1, 2));
}

#[test]
fn an_operator_policy_bounds_a_policy_and_an_argument() {
    let system = System::start();
    let queue = system.declare("q", &[("x-max-length", AMQPValue::LongInt(5))]);
    system.set_policy(json!({"max-length": 3}));
    let operator = json!({"max-length": 2});
    system.set(PolicyKind::OperatorPolicy, "o", 0, operator);
    assert_eq!(queue.arguments().max_length, Some(2));
    assert_eq!(
        source_of(&queue, "max-length"),
        Some(Source::OperatorPolicy)
    );
    let cleared = system.vhost.clear_policy(PolicyKind::OperatorPolicy, "o");
    assert!(cleared.is_ok());
    assert_eq!(queue.arguments().max_length, Some(3));
    assert_eq!(source_of(&queue, "max-length"), Some(Source::Policy));
    system.clear_policy();
    assert_eq!(queue.arguments().max_length, Some(5));
    assert_eq!(source_of(&queue, "max-length"), Some(Source::Argument));
}

#[test]
fn when_the_first_policy_goes_the_next_one_counts() {
    let system = System::start();
    let queue = system.declare("q", &[]);
    let kind = PolicyKind::Policy;
    system.set(kind, "low", 1, json!({"max-length": 1}));
    system.set(kind, "high", 2, json!({"message-ttl": 9}));
    let name = || queue.policies().policy.map(|it| it.record.name.clone());
    assert_eq!(name().as_deref(), Some("high"));
    assert_eq!(queue.arguments().max_length, None);
    assert!(system.vhost.clear_policy(kind, "high").is_ok());
    assert_eq!(name().as_deref(), Some("low"));
    assert_eq!(queue.arguments().message_ttl_ms, None);
}

#[test]
fn a_time_to_live_counts_for_what_comes_in_and_for_what_is_there() {
    let system = System::start();
    let queue = system.declare("q", &[]);
    system.publish("", "q", "a", 0);
    system.publish("", "q", "b", 5);
    system.set_policy(json!({"message-ttl": 10}));
    system.publish("", "q", "c", 8);
    let left = |now| {
        system.broker.run_expiries(now);
        queue.counts().ready
    };
    assert_eq!([9, 10, 15, 18].map(left), [3, 2, 1, 0]);
}

#[test]
fn what_is_too_old_for_a_new_time_to_live_goes_at_once() {
    let system = System::start();
    let queue = system.declare("q", &[]);
    system.publish("", "q", "a", 0);
    system.publish("", "q", "b", 95);
    system.set_policy(json!({"message-ttl": 10}));
    system.broker.run_expiries(100);
    assert_eq!(bodies(&queue, 100), ["b"]);
}

#[test]
fn a_time_to_live_that_is_cleared_or_raised_counts_no_longer() {
    let system = System::start();
    let queue = system.declare("q", &[]);
    system.set_policy(json!({"message-ttl": 10}));
    system.publish("", "q", "a", 0);
    system.set_policy(json!({"message-ttl": 20}));
    system.broker.run_expiries(19);
    assert_eq!(queue.counts().ready, 1);
    system.clear_policy();
    system.broker.run_expiries(1_000);
    assert_eq!(bodies(&queue, 1_000), ["a"]);
}

#[test]
fn an_overflow_policy_makes_a_full_queue_refuse() {
    let system = System::start();
    let queue = system.declare("q", &[("x-max-length", AMQPValue::LongInt(1))]);
    assert_eq!(system.publish("", "q", "a", 0), (1, true));
    system.set_policy(json!({"overflow": "reject-publish"}));
    assert_eq!(system.publish("", "q", "b", 0), (1, false));
    assert_eq!(bodies(&queue, 0), ["a"]);
}

#[test]
fn a_route_says_that_a_queue_may_refuse_as_soon_as_its_policy_does() {
    let system = System::start();
    system.declare("q", &[]);
    let exchange = system.vhost.existing_exchange("").unwrap();
    let route = || system.vhost.route(&exchange, "q", &[], None);
    let before = route();
    assert!(!before.refuses);
    system.set_policy(json!({"overflow": "reject-publish", "max-length": 0}));
    assert_ne!(system.vhost.generation(), before.generation);
    assert!(route().refuses);
}

#[test]
fn dead_letters_go_where_a_policy_says() {
    let system = System::start();
    system.declare("q", &[]);
    let grave = system.declare("grave", &[]);
    let definition = json!({
        "max-length": 1, "dead-letter-exchange": "", "dead-letter-routing-key": "grave",
    });
    system.set_policy(definition);
    for body in ["a", "b", "c"] {
        system.publish("", "q", body, 0);
    }
    assert_eq!(bodies(&grave, 0), ["a", "b"]);
    system.clear_policy();
    system.set_policy(json!({"max-length": 1}));
    system.publish("", "q", "d", 0);
    assert!(bodies(&grave, 0).is_empty());
}

#[test]
fn what_a_new_limit_drops_is_dead_lettered() {
    let system = System::start();
    let dead_letters = ("x-dead-letter-exchange", text(""));
    let key = ("x-dead-letter-routing-key", text("grave"));
    system.declare("q", &[dead_letters, key]);
    let grave = system.declare("grave", &[]);
    for body in ["a", "b", "c"] {
        system.publish("", "q", body, 0);
    }
    system.set_policy(json!({"max-length": 1}));
    system.broker.run_expiries(0);
    assert_eq!(bodies(&grave, 0), ["a", "b"]);
}

#[test]
fn an_alternate_exchange_comes_and_goes_with_its_policy() {
    let system = System::start();
    system.declare_exchange("q-exchange");
    system.declare_exchange("alternate");
    system.declare("unrouted", &[]);
    system.bind("alternate", "unrouted");
    let routed = || system.publish("q-exchange", "k", "x", 0).0;
    assert_eq!(routed(), 0);
    system.set_policy(json!({"alternate-exchange": "alternate"}));
    assert_eq!(routed(), 1);
    let exchange = system.vhost.existing_exchange("q-exchange").unwrap();
    let settings = exchange.settings();
    assert_eq!(settings[0].value, json!("alternate"));
    assert_eq!(settings[0].source, Source::Policy);
    system.clear_policy();
    assert_eq!(routed(), 0);
}

#[test]
fn the_default_exchange_has_no_alternate() {
    let system = System::start();
    system.declare("unrouted", &[]);
    system.bind("amq.fanout", "unrouted");
    let request = PolicyRequest {
        pattern: json!(""),
        definition: json!({"alternate-exchange": "amq.fanout"}),
        ..PolicyRequest::default()
    };
    let set = system.vhost.set_policy(PolicyKind::Policy, "p", request);
    assert!(set.is_ok());
    assert_eq!(system.publish("", "missing", "x", 0).0, 0);
    assert_eq!(system.publish("amq.direct", "missing", "x", 0).0, 1);
}

#[test]
fn policies_and_what_they_do_outlive_a_restart() {
    let system = System::start();
    system.declare("q", &[]);
    system.declare_exchange("q-exchange");
    system.set_policy(json!({"max-length": 3, "alternate-exchange": "amq.fanout"}));
    let operator = json!({"max-length": 2});
    system.set(PolicyKind::OperatorPolicy, "o", 0, operator);
    let system = system.restart();
    let queue = system.vhost.existing_queue("q").unwrap();
    assert_eq!(queue.arguments().max_length, Some(2));
    let exchange = system.vhost.existing_exchange("q-exchange").unwrap();
    assert_eq!(exchange.alternate().as_deref(), Some("amq.fanout"));
    system.clear_policy();
    let cleared = system.vhost.clear_policy(PolicyKind::OperatorPolicy, "o");
    assert!(cleared.is_ok());
    let system = system.restart();
    let queue = system.vhost.existing_queue("q").unwrap();
    assert_eq!(queue.arguments().max_length, None);
    assert!(queue.policies().is_empty());
}

#[test]
fn what_a_queue_had_too_much_of_when_the_broker_ended_goes_after_the_start() {
    let system = System::start();
    system.declare("q", &[]);
    for number in 0..5 {
        system.publish("", "q", &number.to_string(), 0);
    }
    // No alarm comes any more.
    system.set_policy(json!({"max-length": 2}));
    let system = system.restart();
    let queue = system.vhost.existing_queue("q").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while queue.counts().ready > 2 {
        assert!(Instant::now() < deadline, "{:?}", queue.counts());
        system.broker.run_expiries(1);
        std::thread::yield_now();
    }
    assert_eq!(bodies(&queue, 1), ["3", "4"]);
}

#[test]
fn dead_letters_of_several_threads_arrive_in_their_order() {
    let system = System::start();
    let arguments = [
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("grave")),
        ("x-message-ttl", AMQPValue::LongInt(1)),
    ];
    system.declare("q", &arguments);
    let grave = system.declare("grave", &[]);
    let numbers = 0..2_000_u64;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while grave.counts().ready < 2_000 {
                    system.broker.run_expiries(Millis::from(u32::MAX));
                }
            });
        }
        for number in numbers.clone() {
            system.publish("", "q", &number.to_string(), number);
        }
    });
    let expected: Vec<_> = numbers.map(|number| number.to_string()).collect();
    assert_eq!(bodies(&grave, 0), expected);
}

#[test]
fn clearing_what_is_not_there_is_refused() {
    let system = System::start();
    for kind in [PolicyKind::Policy, PolicyKind::OperatorPolicy] {
        let error = system.vhost.clear_policy(kind, "p").unwrap_err();
        assert_eq!(error.to_string(), "Parameter does not exist");
    }
}

#[test]
fn what_is_not_valid_changes_nothing() {
    let system = System::start();
    let queue = system.declare("q", &[]);
    system.set_policy(json!({"max-length": 2}));
    let request = PolicyRequest {
        pattern: json!("^q"),
        definition: json!({"max-length": -1}),
        ..PolicyRequest::default()
    };
    let refused = system.vhost.set_policy(PolicyKind::Policy, "p", request);
    assert_eq!(
        refused.unwrap_err().to_string(),
        "Validation failed\n\n-1 is not a valid maximum length\n"
    );
    assert_eq!(queue.arguments().max_length, Some(2));
}

#[test]
fn a_policy_that_somebody_else_writes_is_in_force_at_once() {
    let system = System::start();
    let queue = system.declare("q", &[]);
    let request = PolicyRequest {
        pattern: json!("q"),
        definition: json!({"max-length": 1}),
        ..PolicyRequest::default()
    };
    let record = request.check(PolicyKind::Policy, "/", "p").unwrap();
    let put = Change::put(&record).unwrap();
    system.definitions.apply(vec![put.clone()]).unwrap();
    assert_eq!(queue.arguments().max_length, Some(1));
    let delete = Change::delete(put.kind, put.key);
    system.definitions.apply(vec![delete]).unwrap();
    assert_eq!(queue.arguments().max_length, None);
}

#[test]
fn a_policy_and_an_operator_policy_of_one_name_are_two() {
    let system = System::start();
    let queue = system.declare("q", &[]);
    system.set_policy(json!({"max-length": 2}));
    let operator = json!({"message-ttl": 3});
    system.set(PolicyKind::OperatorPolicy, "p", 0, operator);
    system.clear_policy();
    assert_eq!(queue.arguments().message_ttl_ms, Some(3));
    assert_eq!(queue.arguments().max_length, None);
}
