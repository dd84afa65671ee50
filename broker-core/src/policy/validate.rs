//! What RabbitMQ refuses of a policy, with its words (`rabbit_policy`, `rabbit_policies`, `rabbit_quorum_queue`,
//! `rabbit_classic_queue`).
//!
//! Settings of features that do not exist here are checked as well: a definition that RabbitMQ takes is taken, and one
//! with a slip in it is not.

use serde_json::{Number, Value};

use super::{
    ApplyTo, Definition, PolicyKind,
    term::{JsonTerm, Pairs},
};
use crate::{Error, pattern::Pattern};

/// The largest segment of a stream (`MAX_STREAM_MAX_SEGMENT_SIZE`).
const MAX_SEGMENT_SIZE: u64 = 3_000_000_000;

const LEADER_LOCATORS: &[&str] = &["client-local", "balanced", "random", "least-leaders"];
const RETRY_TYPES: &[&str] = &["all", "failed", "returned", "disabled"];

/// What a value has to be.
enum Rule {
    Text,
    NonEmptyText,
    OneOf(&'static [&'static str]),
    Integer,
    /// A number in this range.
    Within(u64, u64),
    MaxAge,
    /// Nothing is allowed any more: the whole fault.
    Never(&'static str),
}

/// One setting that policies may have.
struct Setting {
    key: &'static str,
    rule: Rule,
    /// What follows the value in the text of its fault.
    fault: &'static str,
    /// Whether operator policies may have it too.
    for_operators: bool,
}

const fn setting(key: &'static str, rule: Rule, fault: &'static str) -> Setting {
    Setting {
        key,
        rule,
        fault,
        for_operators: false,
    }
}

const fn limit(key: &'static str, rule: Rule, fault: &'static str) -> Setting {
    Setting {
        for_operators: true,
        ..setting(key, rule, fault)
    }
}

const UNSIGNED: Rule = Rule::Within(0, u64::MAX);
const POSITIVE: Rule = Rule::Within(1, u64::MAX);

/// The settings of `rabbit_policies`.
const GENERAL: &[Setting] = &[
    setting(
        "alternate-exchange",
        Rule::Text,
        "is not a valid alternate exchange name",
    ),
    setting(
        "consumer-disconnected-timeout",
        UNSIGNED,
        "is not a valid consumer disconnected timeout",
    ),
    setting(
        "consumer-timeout",
        UNSIGNED,
        "is not a valid consumer timeout",
    ),
    setting(
        "dead-letter-exchange",
        Rule::Text,
        "is not a valid dead letter exchange name",
    ),
    setting(
        "dead-letter-routing-key",
        Rule::Text,
        "is not a valid dead letter routing key",
    ),
    setting(
        "dead-letter-strategy",
        Rule::OneOf(&["at-most-once", "at-least-once"]),
        "is not a valid dead letter strategy",
    ),
    limit("message-ttl", UNSIGNED, "is not a valid message TTL"),
    limit("expires", POSITIVE, "is not a valid queue expiry"),
    limit("max-length", UNSIGNED, "is not a valid maximum length"),
    limit(
        "max-length-bytes",
        UNSIGNED,
        "is not a valid maximum length in bytes",
    ),
    limit(
        "max-in-memory-length",
        UNSIGNED,
        "is not a valid maximum memory in bytes",
    ),
    limit(
        "max-in-memory-bytes",
        UNSIGNED,
        "is not a valid maximum memory in bytes",
    ),
    setting(
        "queue-mode",
        Rule::OneOf(&["default", "lazy"]),
        "is not a valid queue-mode value",
    ),
    limit(
        "queue-version",
        Rule::Within(1, 2),
        "is not a valid queue-version value",
    ),
    limit(
        "overflow",
        Rule::OneOf(&["drop-head", "reject-publish", "reject-publish-dlx"]),
        "is not a valid overflow value",
    ),
    limit(
        "delivery-limit",
        Rule::Integer,
        "is not a valid delivery limit",
    ),
    setting("max-age", Rule::MaxAge, "is not a valid max age"),
    setting(
        "queue-leader-locator",
        Rule::OneOf(LEADER_LOCATORS),
        "is not a valid queue leader locator value",
    ),
    setting(
        "initial-cluster-size",
        UNSIGNED,
        "is not a valid cluster size",
    ),
    setting(
        "stream-max-segment-size-bytes",
        Rule::Within(0, MAX_SEGMENT_SIZE),
        "is not a valid segment size",
    ),
    setting(
        "stream-filter-size-bytes",
        Rule::Within(16, 255),
        "is not a valid filter size. Valid range is 16-255",
    ),
];

/// The settings of `rabbit_quorum_queue`.
const QUORUM: &[Setting] = &[
    limit(
        "target-group-size",
        POSITIVE,
        "is not a valid qq target count value",
    ),
    limit(
        "member-placement-tag",
        Rule::NonEmptyText,
        "is not a valid member-placement-tag value. Must be a non-empty string",
    ),
    limit(
        "delayed-retry-type",
        Rule::OneOf(RETRY_TYPES),
        "is not a valid delayed retry type. Must be one of: all, failed, returned, disabled",
    ),
    limit(
        "delayed-retry-min",
        POSITIVE,
        "is not a valid delayed retry minimum delay. Must be a positive integer",
    ),
    limit(
        "delayed-retry-max",
        POSITIVE,
        "is not a valid delayed retry maximum delay. Must be a positive integer",
    ),
];

/// The setting of `rabbit_classic_queue`, deprecated since 4.0 and refused by default.
const CLASSIC: &[Setting] = &[limit(
    "queue-master-locator",
    Rule::Never("use of deprecated queue-master-locator argument is not permitted"),
    "",
)];

/// All faults of a policy in one error (`rabbit_runtime_parameters:format_error`).
pub(super) fn failed(faults: impl Iterator<Item = String>) -> Error {
    let faults = faults.flat_map(|fault| [fault, "\n".to_owned()]);
    let text: String = std::iter::once("Validation failed\n\n".to_owned())
        .chain(faults)
        .collect();
    Error::PreconditionFailed(text)
}

/// Checks the settings.
pub(super) fn definition(kind: PolicyKind, value: Value) -> Result<Definition, String> {
    let definition = match value {
        Value::Object(definition) if !definition.is_empty() => definition,
        Value::Object(_) => return Err("no policy provided".to_owned()),
        Value::Array(list) if list.is_empty() => return Err("no policy provided".to_owned()),
        Value::Array(_) => {
            let value = JsonTerm(&value);
            return Err(format!("definition must be a dictionary: {value}"));
        }
        value => return Err(unreadable(kind, &value)),
    };
    for group in [GENERAL, QUORUM, CLASSIC] {
        check(kind, group, &definition)?;
    }
    let unknown =
        |(key, _): &(&String, &Value)| find(kind, &[GENERAL, QUORUM, CLASSIC], key).is_none();
    let unknown: Vec<_> = definition.iter().filter(unknown).collect();
    if !unknown.is_empty() {
        let unknown = Pairs(&unknown);
        return Err(format!("{unknown} are not recognised policy settings"));
    }
    Ok(definition)
}

fn unreadable(kind: PolicyKind, value: &Value) -> String {
    let validator = match kind {
        PolicyKind::Policy => "policy_validator",
        PolicyKind::OperatorPolicy => "operator_policy_validator",
    };
    let value = JsonTerm(value);
    format!("parse error while reading policy definition: {value}. Validator: {validator}.")
}

fn check(kind: PolicyKind, group: &[Setting], definition: &Definition) -> Result<(), String> {
    for (key, value) in definition {
        if let Some(setting) = find(kind, &[group], key) {
            setting.check(value)?;
        }
    }
    delayed_retry(group, definition)
}

fn find<'a>(kind: PolicyKind, groups: &[&'a [Setting]], key: &str) -> Option<&'a Setting> {
    let all = groups.iter().flat_map(|group| group.iter());
    let mut allowed = all.filter(|setting| kind == PolicyKind::Policy || setting.for_operators);
    allowed.find(|setting| setting.key == key)
}

/// The settings of delayed retries belong together.
fn delayed_retry(group: &[Setting], definition: &Definition) -> Result<(), String> {
    if !group
        .iter()
        .any(|setting| setting.key == "delayed-retry-type")
    {
        return Ok(());
    }
    let number = |key| definition.get(key).and_then(Value::as_u64);
    let retries = definition.get("delayed-retry-type").and_then(Value::as_str);
    let (min, max) = (number("delayed-retry-min"), number("delayed-retry-max"));
    match (retries, min, max) {
        (Some(retries), None, _) if retries != "disabled" => Err(format!(
            "delayed-retry-min is required when delayed-retry-type is {retries}"
        )),
        (_, Some(min), Some(max)) if max < min => Err(format!(
            "delayed-retry-max ({max}) must not be smaller than delayed-retry-min ({min})"
        )),
        _ => Ok(()),
    }
}

impl Setting {
    fn check(&self, value: &Value) -> Result<(), String> {
        let text = value.as_str();
        let valid = match &self.rule {
            Rule::Text => text.is_some(),
            Rule::NonEmptyText => text.is_some_and(|text| !text.is_empty()),
            Rule::OneOf(words) => text.is_some_and(|text| words.contains(&text)),
            Rule::Integer => value.is_i64() || value.is_u64(),
            Rule::Within(from, to) => value.as_u64().is_some_and(|n| (*from..=*to).contains(&n)),
            Rule::MaxAge => text.is_some_and(is_max_age),
            Rule::Never(fault) => return Err((*fault).to_owned()),
        };
        match valid {
            true => Ok(()),
            false => Err(format!("{} {}", JsonTerm(value), self.fault)),
        }
    }
}

/// `rabbit_amqqueue:check_max_age`: a number above 0 and its unit.
fn is_max_age(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_suffix(unit).unwrap_or_default();
    number.bytes().any(|digit| digit != b'0') && ["Y", "M", "D", "h", "m", "s"].contains(&unit)
}

/// Checks what the policy is for.
pub(super) fn apply_to(value: &Value) -> Result<ApplyTo, String> {
    let word = value.as_str().unwrap_or_default();
    ApplyTo::parse(word).ok_or_else(|| {
        // Both spaces before 'quorum_queues' are RabbitMQ's.
        format!(
            "apply-to '{word}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', \
             'exchanges', or 'all'"
        )
    })
}

/// Checks the pattern.
pub(super) fn pattern(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => match Pattern::compile(&text) {
            Ok(_) => Ok(text),
            Err(error) => Err(format!("pattern {error}")),
        },
        other => Err(format!(
            "pattern should be a binary but was {}",
            JsonTerm(&other)
        )),
    }
}

/// Checks the priority.
pub(super) fn priority(value: Value) -> Result<Number, String> {
    match value {
        Value::Number(number) => Ok(number),
        other => Err(format!(
            "priority should be a number, actually was {}",
            JsonTerm(&other)
        )),
    }
}
