//! One definition from a policy and an operator policy (`rabbit_policy:merge_operator_definitions`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Definition, Source};

/// Settings with whichever of the two policies they come from.
pub(super) type Merged = BTreeMap<String, (Value, Source)>;

/// Merges the two definitions. Where both have a setting, the operator's bounds the other, or replaces it where there is
/// nothing to compare.
pub(super) fn merge(policy: Option<Definition>, operator_policy: Option<Definition>) -> Merged {
    let from_policy = policy.into_iter().flatten();
    let mut merged: Merged = from_policy
        .map(|(key, value)| (key, (value, Source::Policy)))
        .collect();
    for (key, theirs) in operator_policy.into_iter().flatten() {
        let ours = merged.remove(&key).map(|(value, _)| value);
        let value = match ours {
            Some(ours) if ours == theirs || keeps(&key, &ours, &theirs) => (ours, Source::Policy),
            _ => (theirs, Source::OperatorPolicy),
        };
        merged.insert(key, value);
    }
    merged
}

/// Whether the policy's value counts beside the operator's.
fn keeps(key: &str, policy: &Value, operator: &Value) -> bool {
    let (Some(policy), Some(operator)) = (policy.as_i64(), operator.as_i64()) else {
        return false;
    };
    match key {
        "queue-version" => false,
        "target-group-size" | "delayed-retry-min" => policy > operator,
        "delivery-limit" => lower_delivery_limit(policy, operator) == policy,
        "consumer-timeout" => lower_timeout(policy, operator) == policy,
        _ => policy < operator,
    }
}

/// The stricter of two delivery limits: a negative one is none.
pub(super) fn lower_delivery_limit(one: i64, other: i64) -> i64 {
    match one < 0 || other < 0 {
        true => one.max(other),
        false => one.min(other),
    }
}

/// The stricter of two consumer timeouts: 0 is none.
pub(super) fn lower_timeout(one: i64, other: i64) -> i64 {
    match one == 0 || other == 0 {
        true => one.max(other),
        false => one.min(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(key: &str, policy: Value, operator: Value) -> (Value, Source) {
        let definition = |value| Some(Definition::from_iter([(key.to_owned(), value)]));
        merge(definition(policy), definition(operator))
            .remove(key)
            .unwrap()
    }

    #[test]
    fn the_lower_of_two_limits_counts() {
        for key in ["message-ttl", "max-length", "max-length-bytes", "expires"] {
            let lower = (json!(1), Source::Policy);
            assert_eq!(merged(key, json!(1), json!(2)), lower, "{key}");
            let lower = (json!(1), Source::OperatorPolicy);
            assert_eq!(merged(key, json!(2), json!(1)), lower, "{key}");
        }
    }

    #[test]
    fn an_operator_replaces_what_cannot_be_compared() {
        let theirs = (json!("drop-head"), Source::OperatorPolicy);
        let ours = json!("reject-publish");
        assert_eq!(merged("overflow", ours, json!("drop-head")), theirs);
        let theirs = (json!(2), Source::OperatorPolicy);
        assert_eq!(merged("queue-version", json!(1), json!(2)), theirs);
    }

    #[test]
    fn the_larger_group_and_the_longer_least_delay_count() {
        for key in ["target-group-size", "delayed-retry-min"] {
            let larger = (json!(5), Source::Policy);
            assert_eq!(merged(key, json!(5), json!(3)), larger, "{key}");
            let larger = (json!(5), Source::OperatorPolicy);
            assert_eq!(merged(key, json!(3), json!(5)), larger, "{key}");
        }
    }

    #[test]
    fn any_delivery_limit_is_stricter_than_none() {
        assert_eq!(lower_delivery_limit(-1, 5), 5);
        assert_eq!(lower_delivery_limit(5, -1), 5);
        assert_eq!(lower_delivery_limit(3, 5), 3);
        assert_eq!(lower_delivery_limit(-1, -2), -1);
    }

    #[test]
    fn any_consumer_timeout_is_stricter_than_none() {
        assert_eq!(lower_timeout(0, 5), 5);
        assert_eq!(lower_timeout(5, 0), 5);
        assert_eq!(lower_timeout(3, 5), 3);
        assert_eq!(lower_timeout(0, 0), 0);
    }

    #[test]
    fn settings_of_only_one_policy_are_kept() {
        let policy = Definition::from_iter([("overflow".to_owned(), json!("drop-head"))]);
        let operator = Definition::from_iter([("max-length".to_owned(), json!(3))]);
        let both = merge(Some(policy), Some(operator));
        assert_eq!(both.get("overflow").unwrap().1, Source::Policy);
        assert_eq!(both.get("max-length").unwrap().1, Source::OperatorPolicy);
    }
}
