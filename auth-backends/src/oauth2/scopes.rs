//! The scopes of a token that are for this broker (RabbitMQ: `rabbit_auth_backend_oauth2:normalize_token_scope`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Claims, Options};

/// The most scopes that a token may have.
const MOST: usize = 2048;

/// Where a Requesting Party Token of Keycloak has scopes.
const REQUESTING_PARTY_SCOPES: &str = "authorization.permissions.scopes";

/// All scopes with this broker's prefix, without it.
pub(super) fn of(claims: &Claims, options: &Options) -> Result<Vec<String>, &'static str> {
    let id = &options.resource_server_id;
    let mut scopes = words(claims.get("scope"));
    let further = options.additional_scopes_key.split_whitespace();
    for path in further.chain([REQUESTING_PARTY_SCOPES]) {
        let keys: Vec<_> = path.split('.').filter(|key| !key.is_empty()).collect();
        in_map(claims, &keys, id, &mut scopes);
    }
    let aliased = scopes.iter().filter_map(|s| options.scope_aliases.get(s));
    let aliased: Vec<String> = aliased.flatten().cloned().collect();
    scopes.extend(aliased);
    let prefix = options.prefix();
    let ours = scopes.iter().filter_map(|s| s.strip_prefix(&prefix));
    let ours: BTreeSet<_> = ours.map(str::to_owned).collect();
    match ours.len() > MOST {
        true => Err("too_many_scopes"),
        false => Ok(ours.into_iter().collect()),
    }
}

/// The tags among them.
pub(super) fn tags(scopes: &[String]) -> Vec<String> {
    let tags = scopes.iter().filter_map(|scope| scope.strip_prefix("tag:"));
    tags.map(str::to_owned).collect()
}

/// Words of a text, or of a list of them.
fn words(value: Option<&Value>) -> Vec<String> {
    let split = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let mut words = match value {
        Some(Value::String(text)) => split(text),
        Some(Value::Array(list)) => list.iter().filter_map(text).collect(),
        _ => Vec::new(),
    };
    words.retain(|word| !word.is_empty());
    words
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Scopes at a place inside of `map` (`extract_token_value_from_map`).
fn in_map(map: &Claims, keys: &[&str], id: &str, scopes: &mut Vec<String>) {
    let Some((key, rest)) = keys.split_first() else {
        return;
    };
    match (map.get(*key), rest) {
        (Some(value), []) => scopes.extend(found(value, id)),
        (Some(Value::Object(inner)), _) => in_map(inner, rest, id, scopes),
        (Some(Value::Array(list)), _) => in_list(list, rest, id, scopes),
        _ => {}
    }
}

/// The same for each map of a list (`extract_token_value_from_list`).
fn in_list(list: &[Value], keys: &[&str], id: &str, scopes: &mut Vec<String>) {
    for item in list {
        match item {
            _ if keys.is_empty() => scopes.extend(found(item, id)),
            Value::Object(map) => in_map(map, keys, id, scopes),
            _ => {}
        }
    }
}

/// What stands at the place: a list, words, or lists by the names of those for whom they are.
fn found(value: &Value, id: &str) -> Vec<String> {
    match value {
        Value::Object(map) => {
            let ours = words(map.get(id));
            ours.iter().map(|scope| format!("{id}.{scope}")).collect()
        }
        value => words(Some(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::options, *};
    use serde_json::json;

    fn scopes(value: Value, options: &Options) -> Vec<String> {
        of(value.as_object().unwrap(), options).unwrap()
    }

    #[test]
    fn scopes_are_a_text_or_a_list_and_those_of_others_do_not_count() {
        let options = options();
        let text = json!({ "scope": "rabbitmq.read:*/* openid  rabbitmq.tag:administrator" });
        let expected = ["read:*/*", "tag:administrator"];
        assert_eq!(scopes(text, &options), expected);
        let list = json!({ "scope": ["rabbitmq.read:*/*", 1, "rabbitmq.tag:administrator"] });
        let found = scopes(list, &options);
        assert_eq!(found, expected);
        assert_eq!(tags(&found), ["administrator"]);
        assert!(scopes(json!({}), &options).is_empty());
    }

    #[test]
    fn the_prefix_is_configured() {
        let mut options = options();
        options.scope_prefix = "api://".to_owned();
        let value = json!({ "scope": "api://read:a/b rabbitmq.read:c/d" });
        assert_eq!(scopes(value.clone(), &options), ["read:a/b"]);
        options.scope_prefix = String::new();
        let all = ["api://read:a/b", "rabbitmq.read:c/d"];
        assert_eq!(scopes(value, &options), all);
    }

    #[test]
    fn aliases_stand_for_scopes() {
        let mut options = options();
        let admin = ["rabbitmq.tag:administrator", "rabbitmq.read:*/*"];
        options
            .scope_aliases
            .insert("admin".to_owned(), admin.map(str::to_owned).to_vec());
        let found = scopes(json!({ "scope": "admin other" }), &options);
        assert_eq!(found, ["read:*/*", "tag:administrator"]);
    }

    #[test]
    fn further_scopes_are_in_other_places() {
        let mut options = options();
        options.additional_scopes_key = "roles realm.access.roles accounts.roles".to_owned();
        let value = json!({
            "roles": { "rabbitmq": ["read:a/b"], "other": ["read:x/y"] },
            "realm": { "access": { "roles": "rabbitmq.read:c/d" } },
            "accounts": [{ "roles": ["rabbitmq.read:e/f"] }, { "roles": "rabbitmq.read:g/h" }, 1],
            "authorization": { "permissions": [{ "scopes": ["rabbitmq.read:i/j"] }] },
        });
        let expected = ["read:a/b", "read:c/d", "read:e/f", "read:g/h", "read:i/j"];
        assert_eq!(scopes(value, &options), expected);
    }

    #[test]
    fn a_token_with_very_many_scopes_is_refused() {
        let many: Vec<_> = (0..=MOST).map(|n| format!("rabbitmq.read:a/{n}")).collect();
        let value = json!({ "scope": many });
        let found = of(value.as_object().unwrap(), &options());
        assert_eq!(found, Err("too_many_scopes"));
    }
}
