use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{
    broker::Broker,
    definitions::{DestinationKind, MemoryDefinitions},
    policy::PolicyKind,
    store::MemoryStore,
    users::NewPassword,
};

fn broker() -> Arc<Broker> {
    let store = Arc::new(MemoryStore::new());
    Broker::start(store, Arc::new(MemoryDefinitions::new()), 0).unwrap()
}

fn import(broker: &Broker, document: &Value) -> Result<Imported, Error> {
    let file = DefinitionsFile::parse(document.to_string().as_bytes())?;
    broker.import_definitions(&file, None, "test")
}

/// One of everything.
fn everything() -> Value {
    json!({
        "rabbitmq_version": "3.10.8",
        "users": [
            { "name": "app", "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
              "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "monitoring,policymaker",
              "limits": { "max-channels": 7 } },
            { "name": "clear", "password": "secret", "tags": [] },
        ],
        "vhosts": [
            { "name": "v", "metadata": { "description": "d", "tags": ["t"], "default_queue_type": "quorum" } },
            { "name": "w" },
        ],
        "permissions": [{ "user": "app", "vhost": "v", "configure": ".*", "write": "", "read": "^r" }],
        "topic_permissions": [{ "user": "app", "vhost": "v", "exchange": "t", "write": "^{username}", "read": "" }],
        "global_parameters": [{ "name": "cluster_name", "value": "ours" }],
        "parameters": [
            { "vhost": "v", "component": "operator_policy", "name": "o",
              "value": { "pattern": "^q", "definition": { "max-length": 9 }, "priority": 0, "apply-to": "queues" } },
            { "vhost": "v", "component": "vhost-limits", "name": "limits", "value": { "max-queues": 10 } },
            { "vhost": "w", "component": "vhost-limits", "name": "limits", "value": [] },
        ],
        "policies": [{ "vhost": "v", "name": "p", "pattern": "^q", "apply-to": "classic_queues",
                       "definition": { "message-ttl": 1000 }, "priority": 1 }],
        "exchanges": [
            { "vhost": "v", "name": "t", "type": "topic", "durable": true, "auto_delete": false, "internal": true,
              "arguments": { "alternate-exchange": "amq.fanout" } },
            { "vhost": "v", "name": "passing", "type": "fanout", "durable": false, "auto_delete": false, "arguments": {} },
            { "vhost": "v", "name": "amq.topic", "type": "topic", "durable": true },
        ],
        "queues": [
            { "vhost": "v", "name": "q", "durable": true, "auto_delete": false, "arguments": { "x-queue-type": "classic", "x-max-priority": 3 } },
            { "vhost": "v", "name": "default", "durable": true, "auto_delete": false, "arguments": {} },
            { "vhost": "v", "name": "transient", "durable": false, "auto_delete": false, "arguments": {} },
        ],
        "bindings": [
            { "vhost": "v", "source": "t", "destination": "q", "destination_type": "queue", "routing_key": "a.#", "arguments": {} },
            { "vhost": "v", "source": "amq.headers", "destination": "default", "destination_type": "queue", "routing_key": "", "arguments": { "x-match": "any", "k": 1 } },
            { "vhost": "v", "source": "t", "destination": "passing", "destination_type": "exchange", "routing_key": "#", "arguments": {} },
            { "vhost": "v", "source": "passing", "destination": "transient", "destination_type": "queue", "routing_key": "", "arguments": {} },
        ],
    })
}

#[test]
fn everything_in_a_document_is_there_afterwards() {
    let broker = broker();
    import(&broker, &everything()).unwrap();
    let user = broker.user("app").unwrap();
    assert_eq!(user.tags, ["monitoring", "policymaker"]);
    assert!(broker.authenticate("app", b"test12"));
    assert!(broker.authenticate("clear", b"secret"));
    assert_eq!(broker.user_limits("app").unwrap().max_channels, Some(7));
    assert_eq!(broker.cluster_name().as_deref(), Some("ours"));
    assert_eq!(broker.vhost_definition("v").unwrap().description, "d");
    assert_eq!(broker.vhost_limits("v").unwrap().max_queues, Some(10));
    let vhost = broker.vhost("v").unwrap();
    let queue = vhost.queue("q").unwrap();
    assert_eq!(queue.policies().policy.unwrap().record.name, "p");
    assert_eq!(queue.policies().operator_policy.unwrap().record.name, "o");
    let default = vhost.queue("default").unwrap();
    assert_eq!(default.properties.arguments.queue_type.as_str(), "quorum");
    assert!(!vhost.queue("transient").unwrap().properties.durable);
    let bound =
        |destination: &str| vhost.bindings_between("t", DestinationKind::Queue, destination);
    assert_eq!(bound("q").len(), 1);
    let passing = vhost.bindings_between("t", DestinationKind::Exchange, "passing");
    assert_eq!(passing.len(), 1);
    assert_eq!(vhost.policies(PolicyKind::Policy).len(), 1);
    assert_eq!(broker.topic_permissions().len(), 1);
}

#[test]
fn a_document_that_was_imported_changes_nothing_the_next_time() {
    let broker = broker();
    let first = import(&broker, &everything()).unwrap();
    assert!(first.changed > 15);
    let before = broker.definitions().revision();
    assert_eq!(import(&broker, &everything()).unwrap().changed, 0);
    assert_eq!(broker.definitions().revision(), before);
}

#[test]
fn an_export_brings_everything_into_another_broker() {
    let (one, other) = (broker(), broker());
    import(&one, &everything()).unwrap();
    let password = NewPassword::Clear("own");
    one.put_user("own", password, &[], "test").unwrap();
    one.protect_vhost("w", true, "test").unwrap();
    let export = |broker: &Broker| broker.export_definitions(&Scope::All, "4.3.0", "c");
    import(&other, &export(&one)).unwrap();
    assert_eq!(export(&other), export(&one));
    assert!(other.authenticate("own", b"own"));
    assert!(other.vhost_definition("w").unwrap().protected_from_deletion);
}

#[test]
fn a_document_of_one_vhost_goes_into_any_vhost() {
    let broker = broker();
    import(&broker, &everything()).unwrap();
    let vhost = broker.vhost("v").unwrap();
    let export = broker.export_definitions(&Scope::One(vhost), "4.3.0", "c");
    assert_eq!(export["queues"].as_array().unwrap().len(), 3);
    assert_eq!(export["queues"][0].get("vhost"), None);
    let file = DefinitionsFile::parse(export.to_string().as_bytes()).unwrap();
    broker.import_definitions(&file, Some("w"), "test").unwrap();
    let other = broker.vhost("w").unwrap();
    assert_eq!(other.queue_count(), 3);
    assert_eq!(other.policies(PolicyKind::OperatorPolicy).len(), 1);
    let whole = broker.import_definitions(&file, None, "test").unwrap_err();
    assert!(whole.to_string().contains("vhost is missing"), "{whole}");
}

/// The document with one item more in a section.
fn with(section: &str, item: Value) -> Value {
    let mut document = everything();
    document[section].as_array_mut().unwrap().push(item);
    document
}

#[test]
fn one_fault_anywhere_and_nothing_is_changed() {
    let broker = broker();
    let before = broker.definitions().revision();
    for (section, item, text) in [
        (
            "users",
            json!({ "name": "bad", "password_hash": "?" }),
            "users[2] 'bad': the password hash is not one of",
        ),
        (
            "vhosts",
            json!({ "name": "x", "default_queue_type": "nope" }),
            "vhosts[2] 'x': nope is not a valid queue type",
        ),
        (
            "permissions",
            json!({ "user": "nobody", "vhost": "v", "configure": "", "write": "", "read": "" }),
            "permissions[1] 'nobody' in vhost 'v': no user 'nobody'",
        ),
        (
            "policies",
            json!({ "vhost": "v", "name": "bad", "pattern": "(", "definition": { "max-length": 1 } }),
            "policies[1] 'bad' in vhost 'v': Validation failed",
        ),
        (
            "parameters",
            json!({ "vhost": "v", "component": "shovel", "name": "s", "value": {} }),
            "component shovel not found",
        ),
        (
            "exchanges",
            json!({ "vhost": "v", "name": "x", "type": "x-delayed-message" }),
            "exchanges[3] 'x' in vhost 'v': unknown exchange type",
        ),
        (
            "queues",
            json!({ "vhost": "v", "name": "bad", "arguments": { "x-message-ttl": -1 } }),
            "queues[3] 'bad' in vhost 'v': invalid arg 'x-message-ttl'",
        ),
        (
            "queues",
            json!({ "vhost": "gone", "name": "bad" }),
            "Please create virtual host \"gone\" prior to importing",
        ),
        (
            "bindings",
            json!({ "vhost": "v", "source": "t", "destination": "gone", "destination_type": "queue", "routing_key": "" }),
            "bindings[4] 't' in vhost 'v': no queue 'gone'",
        ),
        ("bindings", json!("x"), "bindings[4] is no object"),
    ] {
        let error = import(&broker, &with(section, item))
            .unwrap_err()
            .to_string();
        assert!(error.contains(text), "{error}");
        assert_eq!(broker.definitions().revision(), before, "{text}");
        assert!(broker.vhost("v").is_none(), "{text}");
    }
}

#[test]
fn more_queues_than_a_vhost_may_have_are_refused() {
    let broker = broker();
    import(&broker, &everything()).unwrap();
    let queue = |number: usize| json!({ "vhost": "v", "name": format!("more {number}") });
    let document = json!({ "queues": (0..8).map(queue).collect::<Vec<_>>() });
    let error = import(&broker, &document).unwrap_err().to_string();
    assert!(error.contains("exceed the limit of 10 queue(s)"), "{error}");
    assert_eq!(broker.vhost("v").unwrap().queue_count(), 3);
}

#[test]
fn what_is_no_document_is_refused_with_the_place() {
    let error = |text: &[u8]| DefinitionsFile::parse(text).unwrap_err().to_string();
    assert!(error(b"{\"users\": [}").contains("line 1 column"));
    assert_eq!(error(b"[]"), "the document is no JSON object");
    assert!(DefinitionsFile::parse(b"").is_ok());
    assert!(DefinitionsFile::parse(b"\xef\xbb\xbf{}").is_ok());
}
