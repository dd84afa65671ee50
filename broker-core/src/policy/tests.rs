//! Which policy a queue or exchange has, what of it counts, and what is refused with which text.

use serde_json::{Value, json};

use super::*;
use crate::{
    arguments::{AMQPValue, FieldTable},
    queue::arguments::{Overflow, QueueArguments},
};

fn request(definition: Value) -> PolicyRequest {
    PolicyRequest {
        pattern: json!("^q"),
        definition,
        ..PolicyRequest::default()
    }
}

fn refusal(kind: PolicyKind, request: PolicyRequest) -> String {
    request.check(kind, "/", "p").unwrap_err().to_string()
}

fn policy_named(name: &str, request: PolicyRequest) -> Arc<Policy> {
    let record = request.check(PolicyKind::Policy, "/", name).unwrap();
    Arc::new(Policy::new(record).unwrap())
}

fn policy(definition: Value) -> Arc<Policy> {
    policy_named("p", request(definition))
}

fn prioritised(name: &str, pattern: &str, priority: Value) -> Arc<Policy> {
    let definition = json!({"max-length": 1});
    policy_named(
        name,
        PolicyRequest {
            pattern: json!(pattern),
            priority: Some(priority),
            ..request(definition)
        },
    )
}

fn name_of(policy: Option<&Arc<Policy>>) -> Option<&str> {
    policy.map(|policy| policy.record.name.as_str())
}

#[test]
fn each_setting_is_refused_with_its_own_text() {
    let cases = [
        (
            "alternate-exchange",
            json!(1),
            "1 is not a valid alternate exchange name",
        ),
        (
            "consumer-disconnected-timeout",
            json!(-1),
            "-1 is not a valid consumer disconnected timeout",
        ),
        (
            "consumer-timeout",
            json!("1"),
            "<<\"1\">> is not a valid consumer timeout",
        ),
        (
            "dead-letter-exchange",
            json!(true),
            "true is not a valid dead letter exchange name",
        ),
        (
            "dead-letter-routing-key",
            json!(null),
            "null is not a valid dead letter routing key",
        ),
        (
            "dead-letter-strategy",
            json!("never"),
            "<<\"never\">> is not a valid dead letter strategy",
        ),
        ("message-ttl", json!(-1), "-1 is not a valid message TTL"),
        ("message-ttl", json!(1.5), "1.5 is not a valid message TTL"),
        ("expires", json!(0), "0 is not a valid queue expiry"),
        ("max-length", json!(-1), "-1 is not a valid maximum length"),
        (
            "max-length-bytes",
            json!([]),
            "[] is not a valid maximum length in bytes",
        ),
        (
            "max-in-memory-length",
            json!(-1),
            "-1 is not a valid maximum memory in bytes",
        ),
        (
            "max-in-memory-bytes",
            json!(-1),
            "-1 is not a valid maximum memory in bytes",
        ),
        (
            "queue-mode",
            json!("eager"),
            "<<\"eager\">> is not a valid queue-mode value",
        ),
        (
            "queue-version",
            json!(3),
            "3 is not a valid queue-version value",
        ),
        (
            "overflow",
            json!("drop-tail"),
            "<<\"drop-tail\">> is not a valid overflow value",
        ),
        (
            "delivery-limit",
            json!(1.5),
            "1.5 is not a valid delivery limit",
        ),
        ("max-age", json!("0Y"), "<<\"0Y\">> is not a valid max age"),
        ("max-age", json!("1W"), "<<\"1W\">> is not a valid max age"),
        ("max-age", json!("Y"), "<<\"Y\">> is not a valid max age"),
        (
            "stream-max-segment-size-bytes",
            json!(3_000_000_001_u64),
            "3000000001 is not a valid segment size",
        ),
        (
            "stream-filter-size-bytes",
            json!(15),
            "15 is not a valid filter size. Valid range is 16-255",
        ),
        (
            "queue-leader-locator",
            json!("here"),
            "<<\"here\">> is not a valid queue leader locator value",
        ),
        (
            "initial-cluster-size",
            json!(-1),
            "-1 is not a valid cluster size",
        ),
        (
            "target-group-size",
            json!(0),
            "0 is not a valid qq target count value",
        ),
        (
            "member-placement-tag",
            json!(""),
            "<<>> is not a valid member-placement-tag value. Must be a non-empty string",
        ),
        (
            "delayed-retry-type",
            json!("some"),
            "<<\"some\">> is not a valid delayed retry type. Must be one of: all, failed, returned, disabled",
        ),
        (
            "delayed-retry-min",
            json!(0),
            "0 is not a valid delayed retry minimum delay. Must be a positive integer",
        ),
        (
            "delayed-retry-max",
            json!(0),
            "0 is not a valid delayed retry maximum delay. Must be a positive integer",
        ),
        (
            "queue-master-locator",
            json!("min-masters"),
            "use of deprecated queue-master-locator argument is not permitted",
        ),
        (
            "ha-mode",
            json!("all"),
            "[{<<\"ha-mode\">>,<<\"all\">>}] are not recognised policy settings",
        ),
    ];
    for (key, value, text) in cases {
        let refused = refusal(PolicyKind::Policy, request(json!({ key: value })));
        assert_eq!(refused, format!("Validation failed\n\n{text}\n"), "{key}");
    }
}

#[test]
fn every_setting_is_accepted_with_a_valid_value() {
    let all = json!({
        "alternate-exchange": "x", "consumer-disconnected-timeout": 0, "consumer-timeout": 0,
        "dead-letter-exchange": "", "dead-letter-routing-key": "k", "dead-letter-strategy": "at-least-once",
        "message-ttl": 0, "expires": 1, "max-length": 0, "max-length-bytes": 0, "max-in-memory-length": 0,
        "max-in-memory-bytes": 0, "queue-mode": "lazy", "queue-version": 1, "overflow": "reject-publish-dlx",
        "delivery-limit": -1, "max-age": "10D", "stream-max-segment-size-bytes": 3_000_000_000_u64,
        "stream-filter-size-bytes": 16, "queue-leader-locator": "balanced", "initial-cluster-size": 0,
        "target-group-size": 3, "member-placement-tag": "t", "delayed-retry-type": "all", "delayed-retry-min": 1,
        "delayed-retry-max": 1,
    });
    let checked = request(all.clone()).check(PolicyKind::Policy, "/", "p");
    assert_eq!(Value::Object(checked.unwrap().definition), all);
}

#[test]
fn an_operator_policy_has_limits_only() {
    let allowed = json!({
        "expires": 1, "message-ttl": 1, "max-length": 1, "max-length-bytes": 1, "max-in-memory-length": 1,
        "max-in-memory-bytes": 1, "delivery-limit": 1, "queue-version": 2, "overflow": "drop-head",
        "target-group-size": 1, "member-placement-tag": "t", "delayed-retry-type": "disabled",
    });
    let checked = request(allowed).check(PolicyKind::OperatorPolicy, "/", "p");
    assert!(checked.is_ok(), "{checked:?}");
    let refused = json!({"max-length": 1, "dead-letter-exchange": "x", "queue-mode": "lazy"});
    assert_eq!(
        refusal(PolicyKind::OperatorPolicy, request(refused)),
        "Validation failed\n\n[{<<\"dead-letter-exchange\">>,<<\"x\">>},{<<\"queue-mode\">>,<<\"lazy\">>}] are not \
         recognised policy settings\n"
    );
}

#[test]
fn delayed_retries_have_a_least_delay_and_no_smaller_greatest_one() {
    let refused = |definition| refusal(PolicyKind::Policy, request(definition));
    assert_eq!(
        refused(json!({"delayed-retry-type": "all"})),
        "Validation failed\n\ndelayed-retry-min is required when delayed-retry-type is all\n"
    );
    assert_eq!(
        refused(json!({"delayed-retry-min": 5, "delayed-retry-max": 4})),
        "Validation failed\n\ndelayed-retry-max (4) must not be smaller than delayed-retry-min (5)\n"
    );
}

#[test]
fn a_definition_is_an_object_with_settings() {
    let refused = |definition| refusal(PolicyKind::Policy, request(definition));
    let nothing = "Validation failed\n\nno policy provided\n";
    assert_eq!(refused(json!({})), nothing);
    assert_eq!(refused(json!([])), nothing);
    assert_eq!(
        refused(json!(["max-length", 1])),
        "Validation failed\n\ndefinition must be a dictionary: [<<\"max-length\">>,1]\n"
    );
    assert_eq!(
        refused(json!("max-length")),
        "Validation failed\n\nparse error while reading policy definition: <<\"max-length\">>. Validator: \
         policy_validator.\n"
    );
}

#[test]
fn every_faulty_part_is_named_the_last_first() {
    let request = PolicyRequest {
        pattern: json!(1),
        definition: json!({"max-length": -1}),
        priority: Some(json!("high")),
        apply_to: Some(json!("topics")),
    };
    assert_eq!(
        refusal(PolicyKind::Policy, request),
        "Validation failed\n\n-1 is not a valid maximum length\napply-to 'topics' unrecognised; should be one of: \
         'queues', 'classic_queues',  'quorum_queues', 'streams', 'exchanges', or 'all'\npattern should be a binary but \
         was 1\npriority should be a number, actually was <<\"high\">>\n"
    );
}

#[test]
fn a_pattern_is_a_regular_expression_of_at_most_1024_bytes() {
    let refused = |pattern: String| {
        let pattern = json!(pattern);
        let request = PolicyRequest {
            pattern,
            ..request(json!({"max-length": 1}))
        };
        refusal(PolicyKind::Policy, request)
    };
    let long = "Validation failed\n\npattern must not exceed 1024 bytes\n";
    assert_eq!(refused("a".repeat(1025)), long);
    let broken = "Validation failed\n\npattern should be regular expression but is invalid: {";
    assert!(refused("(".to_owned()).starts_with(broken));
}

#[test]
fn the_matching_policy_of_the_highest_priority_counts() {
    let mut policies = Policies::default();
    let sorts = [
        ("low", "^q", json!(-1)),
        ("high", "^q", json!(1.5)),
        ("other", "^x", json!(9)),
        ("middle", "^q", json!(1)),
    ];
    for (name, pattern, priority) in sorts {
        policies.set(PolicyKind::Policy, prioritised(name, pattern, priority));
    }
    let of = |policies: &Policies| {
        let matched = policies.of_queue("q1", QueueType::Classic);
        assert!(matched.operator_policy.is_none());
        name_of(matched.policy.as_ref()).map(str::to_owned)
    };
    assert_eq!(of(&policies).as_deref(), Some("high"));
    policies.remove(PolicyKind::Policy, "high");
    assert_eq!(of(&policies).as_deref(), Some("middle"));
    policies.set(PolicyKind::Policy, prioritised("middle", "^x", json!(1)));
    assert_eq!(of(&policies).as_deref(), Some("low"));
    policies.remove(PolicyKind::Policy, "low");
    assert_eq!(of(&policies), None);
}

#[test]
fn of_the_same_priority_the_first_by_name_counts() {
    let mut policies = Policies::default();
    for name in ["b", "a", "c"] {
        policies.set(PolicyKind::Policy, prioritised(name, "", json!(0)));
    }
    let matched = policies.of_queue("q", QueueType::Classic);
    assert_eq!(name_of(matched.policy.as_ref()), Some("a"));
}

#[test]
fn a_policy_is_for_what_it_applies_to() {
    use QueueType::{Classic, Quorum};
    let cases = [
        ("all", [true, true, true]),
        ("queues", [true, true, false]),
        ("classic_queues", [true, false, false]),
        ("quorum_queues", [false, true, false]),
        ("streams", [false, false, false]),
        ("exchanges", [false, false, true]),
    ];
    for (apply_to, expected) in cases {
        let request = PolicyRequest {
            apply_to: Some(json!(apply_to)),
            ..request(json!({"max-length": 1}))
        };
        let mut policies = Policies::default();
        policies.set(PolicyKind::Policy, policy_named("p", request));
        let found = [
            policies.of_queue("q", Classic),
            policies.of_queue("q", Quorum),
            policies.of_exchange("q"),
        ];
        assert_eq!(found.map(|it| it.policy.is_some()), expected, "{apply_to}");
    }
}

#[test]
fn a_policy_with_a_setting_that_the_queue_does_not_know_gives_way_to_the_next() {
    let mut policies = Policies::default();
    let definition = json!({"dead-letter-strategy": "at-least-once", "max-length": 1});
    let first = PolicyRequest {
        priority: Some(json!(1)),
        ..request(definition)
    };
    policies.set(PolicyKind::Policy, policy_named("quorum", first));
    let second = request(json!({"max-length": 2}));
    policies.set(PolicyKind::Policy, policy_named("any", second));
    let of = |queue_type| policies.of_queue("q", queue_type);
    assert_eq!(name_of(of(QueueType::Classic).policy.as_ref()), Some("any"));
    assert_eq!(
        name_of(of(QueueType::Quorum).policy.as_ref()),
        Some("quorum")
    );
}

fn matched(policy_definition: Option<Value>, operator_definition: Option<Value>) -> Matched {
    let of = |definition: Option<Value>| definition.map(policy);
    Matched {
        policy: of(policy_definition),
        operator_policy: of(operator_definition),
    }
}

fn table(fields: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in fields {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn in_force(table: &FieldTable, matched: &Matched) -> Arc<QueueArguments> {
    let declared = QueueArguments::parse(table, "queue 'q' in vhost '/'").unwrap();
    effective::queue_arguments(&Arc::new(declared), table, matched)
}

fn setting(table: &FieldTable, queue_type: QueueType, matched: &Matched, key: &str) -> Setting {
    let settings = effective::queue_settings(table, queue_type, matched);
    let setting = settings.into_iter().find(|setting| setting.key == key);
    setting.unwrap()
}

#[test]
fn the_lower_of_argument_and_policy_counts_for_limits() {
    let declared = table(&[
        ("x-message-ttl", AMQPValue::LongInt(100)),
        ("x-max-length", AMQPValue::LongInt(5)),
        ("x-expires", AMQPValue::LongInt(7)),
    ]);
    let matched = matched(
        Some(json!({"message-ttl": 50, "max-length": 10, "max-length-bytes": 9, "expires": 7})),
        Some(json!({"message-ttl": 60, "max-length-bytes": 8})),
    );
    let arguments = in_force(&declared, &matched);
    assert_eq!(arguments.message_ttl_ms, Some(50));
    assert_eq!(arguments.max_length, Some(5));
    assert_eq!(arguments.max_length_bytes, Some(8));
    assert_eq!(arguments.expires_ms, Some(7));
    let source = |key| setting(&declared, QueueType::Classic, &matched, key).source;
    assert_eq!(source("message-ttl"), Source::Policy);
    assert_eq!(source("max-length"), Source::Argument);
    assert_eq!(source("max-length-bytes"), Source::OperatorPolicy);
    assert_eq!(source("expires"), Source::Argument);
    assert_eq!(source("overflow"), Source::Default);
}

#[test]
fn an_argument_counts_before_a_policy_for_dead_lettering() {
    let declared = table(&[("x-dead-letter-exchange", AMQPValue::LongString("a".into()))]);
    let matched = matched(
        Some(json!({"dead-letter-exchange": "p", "dead-letter-routing-key": "k"})),
        None,
    );
    let arguments = in_force(&declared, &matched);
    assert_eq!(arguments.dead_letter_exchange.as_deref(), Some("a"));
    assert_eq!(arguments.dead_letter_routing_key.as_deref(), Some("k"));
}

#[test]
fn overflow_is_the_argument_s_on_a_classic_queue_and_the_policy_s_on_a_quorum_queue() {
    let matched = matched(Some(json!({"overflow": "reject-publish"})), None);
    let overflow = |queue_type: &str| {
        let declared = table(&[
            ("x-overflow", AMQPValue::LongString("drop-head".into())),
            ("x-queue-type", AMQPValue::LongString(queue_type.into())),
        ]);
        in_force(&declared, &matched).overflow
    };
    assert_eq!(overflow("classic"), Overflow::DropHead);
    assert_eq!(overflow("quorum"), Overflow::RejectPublish);
}

#[test]
fn a_quorum_queue_drops_its_head_instead_of_dead_lettering_what_it_refuses() {
    let quorum = ("x-queue-type", AMQPValue::LongString("quorum".into()));
    let overflow = AMQPValue::LongString("reject-publish-dlx".into());
    let declared = table(&[quorum.clone(), ("x-overflow", overflow)]);
    let nothing = Matched::default();
    assert_eq!(in_force(&declared, &nothing).overflow, Overflow::DropHead);
    let matched = matched(Some(json!({"overflow": "reject-publish-dlx"})), None);
    let arguments = in_force(&table(&[quorum]), &matched);
    assert_eq!(arguments.overflow, Overflow::DropHead);
}

#[test]
fn a_quorum_queue_has_a_delivery_limit_of_20_unless_somebody_says_otherwise() {
    let nothing = table(&[]);
    let of = |matched: &Matched| setting(&nothing, QueueType::Quorum, matched, "delivery-limit");
    let default = of(&Matched::default());
    assert_eq!(
        (default.value, default.source),
        (json!(20), Source::Default)
    );
    let set = of(&matched(Some(json!({"delivery-limit": -1})), None));
    assert_eq!((set.value, set.source), (json!(-1), Source::Policy));
    let bounded = of(&matched(
        Some(json!({"delivery-limit": -1})),
        Some(json!({"delivery-limit": 9})),
    ));
    let nine = (json!(9), Source::OperatorPolicy);
    assert_eq!((bounded.value, bounded.source), nine);
}

#[test]
fn an_exchange_s_alternate_is_the_argument_s_before_the_policy_s() {
    let matched = matched(Some(json!({"alternate-exchange": "p"})), None);
    let of = |table: &FieldTable| effective::alternate_exchange(table, &matched);
    assert_eq!(of(&table(&[])), Some(("p".into(), Source::Policy)));
    let argument = table(&[("alternate-exchange", AMQPValue::LongString("a".into()))]);
    assert_eq!(of(&argument), Some(("a".into(), Source::Argument)));
    let nothing = effective::alternate_exchange(&table(&[]), &Matched::default());
    assert_eq!(nothing, None);
}

#[test]
fn both_definitions_make_one() {
    let matched = matched(
        Some(json!({"max-length": 5, "dead-letter-exchange": "x"})),
        Some(json!({"max-length": 3, "expires": 9})),
    );
    let expected = json!({"max-length": 3, "dead-letter-exchange": "x", "expires": 9});
    assert_eq!(Value::Object(matched.definition()), expected);
}

#[test]
fn a_record_is_kept_in_the_words_of_a_definitions_file() {
    let record = prioritised("p", "^q", json!(2)).record.clone();
    let kept = serde_json::to_value(&record).unwrap();
    let expected = json!({
        "vhost": "/", "name": "p", "pattern": "^q", "apply-to": "all", "definition": {"max-length": 1}, "priority": 2,
    });
    assert_eq!(kept, expected);
    let operator = OperatorPolicyDefinition(record);
    assert_eq!(serde_json::to_value(&operator).unwrap(), expected);
}
