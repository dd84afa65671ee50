//! Policies in action: set over HTTP, changed and cleared, they count at once for queues and exchanges that are there, and
//! clients of AMQP see it. The rules of merging and of time are tested in virtual time in `broker-core/tests/policies.rs`.

use std::time::Instant;

use serde_json::{Value, json};

use crate::leveret_only;
use crate::support::http::Http;
use crate::support::table::text;
use crate::support::{
    AMQPClass, AMQPValue, FieldTable, PATIENCE, Peer, basic, durable_queue, exchange, longstr,
    pause, queue, table, unique,
};

const POLICIES: &str = "policies";
const OPERATOR_POLICIES: &str = "operator-policies";

/// A client, and an operator who sets policies for single queues and exchanges.
struct Scene {
    peer: Peer,
    http: Http,
}

impl Scene {
    fn new() -> Self {
        let peer = Peer::connect();
        let http = Http::guest(peer.broker());
        Self { peer, http }
    }

    /// Sets or changes the one policy of its kind for what has this name.
    #[track_caller]
    fn set(&self, kind: &str, name: &str, definition: Value) {
        let policy = json!({ "pattern": format!("^{name}$"), "definition": definition });
        let path = format!("/api/{kind}/%2F/{name}");
        self.http.done("PUT", &path, Some(policy));
    }

    #[track_caller]
    fn clear(&self, kind: &str, name: &str) {
        let path = format!("/api/{kind}/%2F/{name}");
        self.http.done("DELETE", &path, None);
    }

    fn queue<const N: usize>(&mut self, arguments: [(&str, AMQPValue); N]) -> String {
        let arguments = table(arguments);
        self.peer.fresh_queue_with(1, "governed", arguments)
    }

    fn ready(&mut self, queue: &str) -> u32 {
        self.peer.counts(1, queue).0
    }

    /// Polls until so many messages are ready: what a new policy lets go leaves a moment later.
    #[track_caller]
    fn wait_for(&mut self, queue: &str, count: u32) {
        let deadline = Instant::now() + PATIENCE;
        while self.ready(queue) != count {
            assert!(Instant::now() < deadline, "{queue} has not {count}");
            pause();
        }
    }

    /// What comes to a queue of dead letters, once so many have.
    #[track_caller]
    fn letters(&mut self, queue: &str, count: u32) -> Vec<String> {
        self.wait_for(queue, count);
        self.peer.drain(1, queue)
    }

    /// Publishes with a confirm; says whether the queue took it.
    fn is_taken(&mut self, queue: &str, body: &str) -> bool {
        const CONFIRMS: u16 = 7;
        self.peer.open_channel(CONFIRMS);
        self.peer.confirm_select(CONFIRMS);
        self.peer.publish(CONFIRMS, "", queue, body);
        let answer = self.peer.next_method(CONFIRMS, "an ack or a nack");
        self.peer.close_channel(CONFIRMS);
        match answer {
            AMQPClass::Basic(basic::AMQPMethod::Ack(_)) => true,
            AMQPClass::Basic(basic::AMQPMethod::Nack(_)) => false,
            other => panic!("neither an ack nor a nack: {other:?}"),
        }
    }
}

fn long(number: i64) -> AMQPValue {
    AMQPValue::LongLongInt(number)
}

const REASON: &str = "policies are set over the HTTP API of the broker that the tests start";

#[test]
fn a_length_limit_acts_when_it_is_set_changed_and_cleared() {
    leveret_only!(REASON);
    let mut scene = Scene::new();
    let queue = scene.queue([]);
    scene.peer.fill(&queue, &["a", "b", "c", "d"]);
    scene.set(POLICIES, &queue, json!({ "max-length": 2 }));
    scene.wait_for(&queue, 2);
    scene.peer.fill(&queue, &["e"]);
    assert_eq!(scene.ready(&queue), 2);
    scene.set(POLICIES, &queue, json!({ "max-length-bytes": 4 }));
    scene.peer.fill(&queue, &["f", "g", "h"]);
    assert_eq!(scene.ready(&queue), 4);
    scene.clear(POLICIES, &queue);
    scene.peer.fill(&queue, &["i", "j"]);
    assert_eq!(scene.peer.drain(1, &queue), ["e", "f", "g", "h", "i", "j"]);
    scene.peer.close();
}

#[test]
fn a_time_to_live_acts_on_what_is_queued_already_and_no_longer_when_it_is_cleared() {
    leveret_only!(REASON);
    let mut scene = Scene::new();
    let letters = scene.queue([]);
    let queue = scene.queue([
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&letters)),
    ]);
    scene.peer.fill(&queue, &["a", "b"]);
    scene.set(POLICIES, &queue, json!({ "message-ttl": 3_600_000 }));
    assert_eq!(scene.ready(&queue), 2);
    scene.set(POLICIES, &queue, json!({ "message-ttl": 1 }));
    scene.wait_for(&letters, 2);
    let got = scene.peer.get(1, &letters, true).expect("a dead letter");
    let headers = got.properties.headers().clone().expect("headers");
    assert_eq!(text(&headers, "x-first-death-reason"), "expired");
    scene.clear(POLICIES, &queue);
    scene.peer.fill(&queue, &["c"]);
    // Long enough for the limit that is no more: another queue has it, and its message goes.
    let clock = scene.queue([("x-message-ttl", long(1))]);
    scene.peer.fill(&clock, &["tick"]);
    scene.wait_for(&clock, 0);
    assert_eq!(scene.peer.drain(1, &queue), ["c"]);
    scene.peer.close();
}

#[test]
fn dead_letters_go_where_the_policy_says_at_the_time() {
    leveret_only!(REASON);
    let mut scene = Scene::new();
    let [first, second] = [(); 2].map(|()| scene.queue([]));
    let queue = scene.queue([]);
    let refuse = |scene: &mut Scene, body: &str| {
        scene.peer.fill(&queue, &[body]);
        let got = scene.peer.get(1, &queue, false).expect("a message");
        scene.peer.reject(1, got.method.delivery_tag, false);
        // An answer, so that the broker has seen the refusal before the next policy.
        scene.ready(&queue);
    };
    let to = |key: &str| json!({ "dead-letter-exchange": "", "dead-letter-routing-key": key });
    refuse(&mut scene, "before");
    scene.set(POLICIES, &queue, to(&first));
    refuse(&mut scene, "one");
    scene.set(POLICIES, &queue, to(&second));
    refuse(&mut scene, "two");
    scene.clear(POLICIES, &queue);
    refuse(&mut scene, "after");
    assert_eq!(scene.letters(&first, 1), ["one"]);
    assert_eq!(scene.letters(&second, 1), ["two"]);
    scene.peer.close();
}

#[test]
fn a_queue_expires_by_a_policy_that_is_set_while_nobody_uses_it() {
    leveret_only!(REASON);
    let mut scene = Scene::new();
    let [unused, consumed] = [(); 2].map(|()| {
        let name = unique("expires");
        scene.peer.declare(1, durable_queue(&name));
        name
    });
    scene.peer.consume(1, &consumed, "c");
    let policy = |ms: u64| json!({ "expires": ms });
    scene.set(POLICIES, &consumed, policy(1));
    scene.set(POLICIES, &unused, policy(3_600_000));
    let exists = |http: &Http, queue: &str| {
        let answer = http.send("GET", &format!("/api/queues/%2F/{queue}"), None);
        answer.status == 200
    };
    assert!(exists(&scene.http, &unused));
    scene.set(POLICIES, &unused, policy(1));
    let deadline = Instant::now() + PATIENCE;
    while exists(&scene.http, &unused) {
        assert!(Instant::now() < deadline, "the queue is still there");
        pause();
    }
    assert!(exists(&scene.http, &consumed));
    scene.clear(POLICIES, &consumed);
    scene.clear(POLICIES, &unused);
    scene.peer.cancel(1, "c");
    assert_eq!(scene.peer.delete_queue(1, &consumed), 0);
    scene.peer.close();
}

#[test]
fn a_delivery_limit_counts_the_failures_that_were_before_it() {
    leveret_only!(REASON);
    let mut scene = Scene::new();
    let queue = scene.queue([]);
    scene.peer.fill(&queue, &["poison"]);
    let fail = |scene: &mut Scene| {
        let got = scene.peer.get(1, &queue, false).expect("the message");
        scene.peer.reject(1, got.method.delivery_tag, true);
        scene.ready(&queue)
    };
    for _ in 0..3 {
        assert_eq!(fail(&mut scene), 1);
    }
    scene.set(POLICIES, &queue, json!({ "delivery-limit": 4 }));
    assert_eq!(fail(&mut scene), 1);
    assert_eq!(fail(&mut scene), 0);
    scene.clear(POLICIES, &queue);
    scene.peer.fill(&queue, &["again"]);
    for _ in 0..6 {
        assert_eq!(fail(&mut scene), 1);
    }
    scene.peer.close();
}

#[test]
fn an_overflow_policy_makes_a_full_queue_refuse_until_it_is_cleared() {
    leveret_only!(REASON);
    let mut scene = Scene::new();
    let letters = scene.queue([]);
    let queue = scene.queue([
        ("x-max-length", long(1)),
        ("x-dead-letter-exchange", longstr("")),
        ("x-dead-letter-routing-key", longstr(&letters)),
    ]);
    assert!(scene.is_taken(&queue, "a"));
    scene.set(POLICIES, &queue, json!({ "overflow": "reject-publish" }));
    assert!(!scene.is_taken(&queue, "b"));
    assert_eq!(scene.ready(&letters), 0);
    scene.set(
        POLICIES,
        &queue,
        json!({ "overflow": "reject-publish-dlx" }),
    );
    assert!(!scene.is_taken(&queue, "c"));
    assert_eq!(scene.letters(&letters, 1), ["c"]);
    scene.clear(POLICIES, &queue);
    assert!(scene.is_taken(&queue, "d"));
    assert_eq!(scene.letters(&letters, 1), ["a"]);
    assert_eq!(scene.peer.drain(1, &queue), ["d"]);
    scene.peer.close();
}

#[test]
fn of_argument_policy_and_operator_policy_the_lowest_limit_counts() {
    leveret_only!(REASON);
    let mut scene = Scene::new();
    let queue = scene.queue([("x-max-length", long(4))]);
    let bodies = ["a", "b", "c", "d", "e"];
    let left = |scene: &mut Scene| {
        scene.peer.fill(&queue, &bodies);
        scene.peer.purge(1, &queue)
    };
    assert_eq!(left(&mut scene), 4);
    scene.set(POLICIES, &queue, json!({ "max-length": 5 }));
    assert_eq!(left(&mut scene), 4, "the argument is lower");
    scene.set(POLICIES, &queue, json!({ "max-length": 3 }));
    assert_eq!(left(&mut scene), 3);
    scene.set(OPERATOR_POLICIES, &queue, json!({ "max-length": 2 }));
    assert_eq!(left(&mut scene), 2);
    scene.set(OPERATOR_POLICIES, &queue, json!({ "max-length": 9 }));
    assert_eq!(left(&mut scene), 3, "the policy is lower");
    scene.clear(POLICIES, &queue);
    assert_eq!(left(&mut scene), 4);
    scene.set(OPERATOR_POLICIES, &queue, json!({ "max-length": 1 }));
    assert_eq!(left(&mut scene), 1);
    scene.clear(OPERATOR_POLICIES, &queue);
    assert_eq!(left(&mut scene), 4);
    scene.peer.close();
}

#[test]
fn an_alternate_exchange_comes_and_goes_with_its_policy() {
    leveret_only!(REASON);
    let mut scene = Scene::new();
    let unrouted = scene.queue([]);
    let alternate = scene.peer.fresh_exchange(1, "fanout");
    scene.peer.bind(1, &unrouted, &alternate, "");
    let exchange = scene.peer.fresh_exchange(1, "direct");
    scene.peer.expect_unroutable(1, &exchange, "nowhere");
    let definition = json!({ "alternate-exchange": alternate });
    scene.set(POLICIES, &exchange, definition);
    scene.peer.publish(1, &exchange, "nowhere", "kept");
    assert_eq!(scene.peer.drain(1, &unrouted), ["kept"]);
    scene.clear(POLICIES, &exchange);
    scene.peer.expect_unroutable(1, &exchange, "nowhere");
    for name in [exchange, alternate] {
        scene.peer.delete_exchange(1, &name);
    }
    scene.peer.close();
}

#[test]
fn of_two_policies_that_match_the_higher_priority_counts_where_it_applies() {
    leveret_only!(REASON);
    let mut scene = Scene::new();
    let word = unique("kinds");
    let mut policies = Vec::new();
    for (priority, (apply_to, limit)) in [
        ("queues", 1),
        ("quorum_queues", 2),
        ("streams", 3),
        ("exchanges", 4),
    ]
    .into_iter()
    .enumerate()
    {
        let policy = json!({ "pattern": format!("^{word}"), "apply-to": apply_to, "priority": priority,
            "definition": match apply_to {
                "exchanges" => json!({ "alternate-exchange": "amq.fanout" }),
                _ => json!({ "max-length": limit }),
            } });
        let path = format!("/api/policies/%2F/{word}-{apply_to}");
        scene.http.done("PUT", &path, Some(policy));
        policies.push(path);
    }
    for (queue_type, left) in [("classic", 1), ("quorum", 2)] {
        let name = format!("{word}-{queue_type}");
        let declare = queue::Declare {
            arguments: table([("x-queue-type", longstr(queue_type))]),
            ..durable_queue(&name)
        };
        scene.peer.declare(1, declare);
        scene.peer.fill(&name, &["a", "b", "c", "d"]);
        assert_eq!(scene.peer.delete_queue(1, &name), left, "{queue_type}");
    }
    let name = format!("{word}-exchange");
    scene.peer.call::<_, exchange::DeclareOk>(
        1,
        exchange::Declare {
            exchange: name.as_str().into(),
            kind: "direct".into(),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments: FieldTable::default(),
        },
    );
    let shown = scene.http.get(&format!("/api/exchanges/%2F/{name}"));
    assert_eq!(shown["policy"], format!("{word}-exchanges"));
    scene.peer.delete_exchange(1, &name);
    for path in policies {
        scene.http.done("DELETE", &path, None);
    }
    scene.peer.close();
}

#[test]
fn what_is_in_force_is_told_with_its_source() {
    leveret_only!(REASON);
    let mut scene = Scene::new();
    let queue = scene.queue([("x-max-length", long(4)), ("x-message-ttl", long(60_000))]);
    scene.set(
        POLICIES,
        &queue,
        json!({ "max-length": 3, "delivery-limit": 7 }),
    );
    let operator = json!({ "message-ttl": 50_000 });
    scene.set(OPERATOR_POLICIES, &queue, operator);
    let told = scene.http.get(&format!("/api/leveret/queues/%2F/{queue}"));
    let setting = |key: &str, value: Value, source: &str| json!({ "key": key, "value": value, "source": source });
    assert_eq!(
        told["effective_configuration"],
        json!([
            setting("consumer-timeout", json!(1_800_000), "default"),
            setting("delivery-limit", json!(7), "policy"),
            setting("max-length", json!(3), "policy"),
            setting("message-ttl", json!(50_000), "operator_policy"),
            setting("overflow", json!("drop-head"), "default"),
            setting("queue-type", json!("classic"), "default"),
        ])
    );
    for kind in [POLICIES, OPERATOR_POLICIES] {
        scene.clear(kind, &queue);
    }
    scene.peer.close();
}

/// What each setting refuses, and with which text.
fn refused_settings() -> Vec<(Value, &'static str)> {
    let mut cases = vec![
        (json!({}), "no policy provided"),
        (
            json!({ "ha-mode": "all" }),
            "[{<<\"ha-mode\">>,<<\"all\">>}] are not recognised policy settings",
        ),
        (
            json!({ "delayed-retry-type": "all" }),
            "delayed-retry-min is required when delayed-retry-type is all",
        ),
        (
            json!({ "delayed-retry-min": 5, "delayed-retry-max": 4 }),
            "delayed-retry-max (4) must not be smaller than delayed-retry-min (5)",
        ),
        (
            json!({ "queue-master-locator": "min-masters" }),
            "use of deprecated queue-master-locator argument is not permitted",
        ),
    ];
    for (key, text) in [
        ("message-ttl", "-1 is not a valid message TTL"),
        ("expires", "-1 is not a valid queue expiry"),
        ("max-length", "-1 is not a valid maximum length"),
        (
            "max-length-bytes",
            "-1 is not a valid maximum length in bytes",
        ),
        (
            "max-in-memory-length",
            "-1 is not a valid maximum memory in bytes",
        ),
        (
            "max-in-memory-bytes",
            "-1 is not a valid maximum memory in bytes",
        ),
        ("overflow", "-1 is not a valid overflow value"),
        (
            "dead-letter-exchange",
            "-1 is not a valid dead letter exchange name",
        ),
        (
            "dead-letter-routing-key",
            "-1 is not a valid dead letter routing key",
        ),
        (
            "dead-letter-strategy",
            "-1 is not a valid dead letter strategy",
        ),
        ("consumer-timeout", "-1 is not a valid consumer timeout"),
        (
            "consumer-disconnected-timeout",
            "-1 is not a valid consumer disconnected timeout",
        ),
        (
            "alternate-exchange",
            "-1 is not a valid alternate exchange name",
        ),
        ("queue-mode", "-1 is not a valid queue-mode value"),
        ("queue-version", "-1 is not a valid queue-version value"),
        (
            "queue-leader-locator",
            "-1 is not a valid queue leader locator value",
        ),
        ("max-age", "-1 is not a valid max age"),
        (
            "stream-max-segment-size-bytes",
            "-1 is not a valid segment size",
        ),
        (
            "stream-filter-size-bytes",
            "-1 is not a valid filter size. Valid range is 16-255",
        ),
        ("initial-cluster-size", "-1 is not a valid cluster size"),
        (
            "target-group-size",
            "-1 is not a valid qq target count value",
        ),
        (
            "member-placement-tag",
            "-1 is not a valid member-placement-tag value. Must be a non-empty string",
        ),
        (
            "delayed-retry-type",
            "-1 is not a valid delayed retry type. Must be one of: all, failed, returned, disabled",
        ),
        (
            "delayed-retry-min",
            "-1 is not a valid delayed retry minimum delay. Must be a positive integer",
        ),
        (
            "delayed-retry-max",
            "-1 is not a valid delayed retry maximum delay. Must be a positive integer",
        ),
    ] {
        cases.push((json!({ key: -1 }), text));
    }
    cases.push((
        json!({ "delivery-limit": 1.5 }),
        "1.5 is not a valid delivery limit",
    ));
    cases
}

#[track_caller]
fn assert_refused(http: &Http, kind: &str, policy: Value, text: &str) {
    let path = format!("/api/{kind}/%2F/{}", unique("refused"));
    let answer = http.send("PUT", &path, Some(policy));
    assert_eq!(answer.status, 400, "{text}: {answer:?}");
    let reason = format!("Validation failed\n\n{text}\n");
    assert_eq!(answer.body["reason"], reason);
}

#[test]
fn a_setting_that_is_not_valid_is_refused_with_rabbitmqs_text() {
    leveret_only!(REASON);
    let scene = Scene::new();
    for (definition, text) in refused_settings() {
        let policy = json!({ "pattern": "^none$", "definition": definition });
        assert_refused(&scene.http, POLICIES, policy, text);
    }
    let policy = json!({ "pattern": "^none$", "definition": { "queue-mode": "lazy" } });
    let text = "[{<<\"queue-mode\">>,<<\"lazy\">>}] are not recognised policy settings";
    assert_refused(&scene.http, OPERATOR_POLICIES, policy, text);
    scene.peer.close();
}

#[test]
fn what_a_policy_is_for_is_checked_too() {
    leveret_only!(REASON);
    let scene = Scene::new();
    let with = |key: &str, value: Value| {
        let mut policy = json!({ "pattern": "^none$", "definition": { "max-length": 1 } });
        policy[key] = value;
        policy
    };
    for (policy, text) in [
        (
            with("apply-to", json!("topics")),
            "apply-to 'topics' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', \
             'exchanges', or 'all'",
        ),
        (
            with("priority", json!("high")),
            "priority should be a number, actually was <<\"high\">>",
        ),
        (
            with("pattern", json!("a".repeat(1025))),
            "pattern must not exceed 1024 bytes",
        ),
    ] {
        assert_refused(&scene.http, POLICIES, policy, text);
    }
    let answer = scene.http.send("DELETE", "/api/policies/%2F/none", None);
    assert_eq!(answer.status, 404);
    scene.peer.close();
}
