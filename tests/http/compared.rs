//! The same requests to Leveret and to Debian's RabbitMQ 3.10 with its management plugin: the status and the fields of
//! every answer are the same, but for what is listed here with its reason. What RabbitMQ answers is recorded in
//! `rabbitmq_fields.json`, once for all.

use std::{collections::BTreeSet, fs, net::SocketAddr};

use serde_json::Value;

use crate::{
    broker::Broker,
    rabbitmq::RabbitMq,
    requests::{Answer, http, send_to},
};

/// Fields of answers that only one of the two has: anywhere in an answer, or with `=` only there.
const EXPLAINED: &[(&str, &str)] = &[
    ("messages_details", "3.10 has it once there were messages"),
    (
        "messages_ready_details",
        "3.10 has it once there were messages",
    ),
    (
        "messages_unacknowledged_details",
        "3.10 has it once there were messages",
    ),
    ("recv_oct", "3.10 has it once there were connections"),
    (
        "recv_oct_details",
        "3.10 has it once there were connections",
    ),
    ("send_oct", "3.10 has it once there were connections"),
    (
        "send_oct_details",
        "3.10 has it once there were connections",
    ),
    (
        "=global_parameters.name",
        "3.10 exports the cluster's id, which is its own business",
    ),
    (
        "=global_parameters.value",
        "3.10 exports the cluster's id, which is its own business",
    ),
    ("queues", "the aliveness test of 3.10 leaves a queue behind"),
    (
        "=description",
        "RabbitMQ 4 has it in definitions of a vhost",
    ),
    ("=limits", "RabbitMQ 4 has it in definitions of a vhost"),
    ("=metadata", "RabbitMQ 4 has it in definitions of a vhost"),
    (
        "=metadata.description",
        "RabbitMQ 4 has it in definitions of a vhost",
    ),
    (
        "=metadata.tags",
        "RabbitMQ 4 has it in definitions of a vhost",
    ),
    (
        "=original_vhost_name",
        "RabbitMQ 4 has it in definitions of a vhost",
    ),
    (
        "=product_name",
        "RabbitMQ 4 has it in definitions of a vhost",
    ),
    (
        "=product_version",
        "RabbitMQ 4 has it in definitions of a vhost",
    ),
    (
        "=rabbitmq_version",
        "RabbitMQ 4 has it in definitions of a vhost",
    ),
    (
        "=parameters.vhost",
        "RabbitMQ 4 leaves it out of definitions of a vhost",
    ),
    (
        "=policies.vhost",
        "RabbitMQ 4 leaves it out of definitions of a vhost",
    ),
    ("is_internal_user", "RabbitMQ 4 has it"),
    ("user_who_performed_action", "not kept here"),
    ("protected_from_deletion", "RabbitMQ 4 has it"),
    ("metadata.default_queue_type", "RabbitMQ 4 has it"),
    ("messages", "3.10 has it once there were messages"),
    ("messages_ready", "3.10 has it once there were messages"),
    (
        "messages_unacknowledged",
        "3.10 has it once there were messages",
    ),
    ("explanation", "RabbitMQ 4 has it"),
    ("original_cluster_name", "RabbitMQ 4 has it"),
    ("rabbitmq_definition_format", "RabbitMQ 4 has it"),
    ("leveret_password_hash", "RabbitMQ knows no argon2id"),
    ("vhosts.limits", "RabbitMQ 4 has it"),
    ("vhosts.metadata", "RabbitMQ 4 has it"),
    ("vhosts.description", "RabbitMQ 4 has it"),
    ("vhosts.tags", "RabbitMQ 4 has it"),
    ("default_queue_type", "RabbitMQ 4 has it"),
    ("cluster_state", "it has the node's name as a field"),
    ("queues.type", "RabbitMQ 4 has it"),
    ("message_stats", "3.10 has it once there were messages"),
    (
        "internal",
        "3.10 leaves internal exchanges out of definitions",
    ),
];

/// Requests in the order in which they are sent: method, path below `/api`, body.
#[rustfmt::skip]
const REQUESTS: &[(&str, &str, &str)] = &[
    ("GET", "whoami", ""),
    ("GET", "no/such/path", ""),
    ("PUT", "users/u", r#"{"password":"x","tags":"management"}"#),
    ("PUT", "users/u", r#"{"password":"x","tags":["management"]}"#),
    ("PUT", "users/u", r#"{"password":"x"}"#),
    ("PUT", "users/u", "no json"),
    ("GET", "users/u", ""),
    ("GET", "users", ""),
    ("GET", "users?columns=name,tags", ""),
    ("GET", "users/gone", ""),
    ("DELETE", "users/gone", ""),
    ("GET", "users/without-permissions", ""),
    ("PUT", "permissions/%2F/u", r#"{"configure":".*","write":"","read":"^r"}"#),
    ("PUT", "permissions/%2F/u", r#"{"configure":".*","write":"","read":"^r"}"#),
    ("PUT", "permissions/%2F/u", r#"{"configure":".*"}"#),
    ("PUT", "permissions/gone/u", r#"{"configure":"","write":"","read":""}"#),
    ("GET", "permissions", ""),
    ("GET", "permissions/%2F/u", ""),
    ("GET", "users/u/permissions", ""),
    ("GET", "vhosts/%2F/permissions", ""),
    ("PUT", "topic-permissions/%2F/u", r#"{"exchange":"amq.topic","write":"^a","read":""}"#),
    ("GET", "topic-permissions", ""),
    ("GET", "topic-permissions/%2F/u", ""),
    ("DELETE", "topic-permissions/%2F/u", ""),
    ("DELETE", "topic-permissions/%2F/u", ""),
    ("DELETE", "permissions/%2F/u", ""),
    ("DELETE", "permissions/%2F/u", ""),
    ("PUT", "vhosts/v", r#"{"description":"d","tags":"a,b"}"#),
    ("PUT", "vhosts/v", r#"{"description":"d","tags":"a,b"}"#),
    ("GET", "vhosts/v", ""),
    ("GET", "vhosts", ""),
    ("GET", "vhosts/v/permissions", ""),
    ("GET", "vhosts/gone", ""),
    ("PUT", "vhost-limits/v/max-queues", r#"{"value":5}"#),
    ("PUT", "vhost-limits/v/max-nothing", r#"{"value":5}"#),
    ("GET", "vhost-limits", ""),
    ("GET", "vhost-limits/v", ""),
    ("PUT", "user-limits/u/max-channels", r#"{"value":5}"#),
    ("GET", "user-limits", ""),
    ("GET", "user-limits/u", ""),
    ("GET", "parameters", ""),
    ("PUT", "parameters/nothing/%2F/x", r#"{"value":1}"#),
    ("PUT", "policies/%2F/p", r#"{"pattern":"^x","definition":{"alternate-exchange":"amq.fanout"},"apply-to":"exchanges"}"#),
    ("PUT", "policies/%2F/p", r#"{"pattern":"^x","definition":{"max-length":"x"}}"#),
    ("PUT", "policies/%2F/p", r#"{"pattern":"^x"}"#),
    ("GET", "policies", ""),
    ("GET", "policies/%2F/p", ""),
    ("GET", "policies/%2F/gone", ""),
    ("PUT", "operator-policies/%2F/o", r#"{"pattern":"^q","definition":{"max-length":9},"apply-to":"queues"}"#),
    ("GET", "operator-policies/%2F", ""),
    ("GET", "parameters/operator_policy/%2F/o", ""),
    ("PUT", "global-parameters/g", r#"{"value":{"a":[1]}}"#),
    ("GET", "global-parameters/g", ""),
    ("DELETE", "global-parameters/g", ""),
    ("DELETE", "global-parameters/g", ""),
    ("PUT", "exchanges/%2F/x", r#"{"type":"topic","durable":true,"arguments":{"k":1}}"#),
    ("PUT", "exchanges/%2F/x", r#"{"type":"topic","durable":true}"#),
    ("PUT", "exchanges/%2F/x", r#"{"type":"fanout","durable":true}"#),
    ("PUT", "exchanges/%2F/y", r#"{"type":"fanout"}"#),
    ("PUT", "exchanges/%2F/amq.mine", r#"{"type":"topic"}"#),
    ("PUT", "exchanges/gone/x", r#"{"type":"topic"}"#),
    ("GET", "exchanges", ""),
    ("GET", "exchanges?page=1&page_size=3&name=amq&sort=name&sort_reverse=true&columns=name", ""),
    ("GET", "exchanges/%2F", ""),
    ("GET", "exchanges/%2F/x", ""),
    ("GET", "exchanges/%2F/gone", ""),
    ("POST", "bindings/%2F/e/x/e/y", r##"{"routing_key":"a.#"}"##),
    ("POST", "bindings/%2F/e/x/e/y", r#"{"routing_key":"a b/~","arguments":{"k":"v","n":-70000,"d":1.5,"b":true}}"#),
    ("POST", "bindings/%2F/e/x/e/gone", "{}"),
    ("GET", "bindings", ""),
    ("GET", "bindings/%2F/e/x/e/y", ""),
    ("GET", "bindings/%2F/e/x/e/y/a.%2523", ""),
    ("GET", "bindings/%2F/e/x/e/y/gone", ""),
    ("GET", "exchanges/%2F/x/bindings/source", ""),
    ("GET", "exchanges/%2F/y/bindings/destination", ""),
    ("DELETE", "exchanges/%2F/x?if-unused=true", ""),
    ("DELETE", "bindings/%2F/e/x/e/y/a.%2523", ""),
    ("POST", "exchanges/%2F/y/publish", r#"{"routing_key":"","properties":{},"payload":"x","payload_encoding":"string"}"#),
    ("POST", "exchanges/%2F/y/publish", r#"{"routing_key":"","properties":{},"payload":"?","payload_encoding":"base64"}"#),
    ("POST", "exchanges/%2F/y/publish", "{}"),
    ("GET", "health/checks/alarms", ""),
    ("GET", "health/checks/local-alarms", ""),
    ("GET", "health/checks/node-is-quorum-critical", ""),
    ("GET", "health/checks/port-listener/1", ""),
    ("GET", "health/checks/virtual-hosts", ""),
    ("GET", "health/checks/certificate-expiration/1/moons", ""),
    ("GET", "aliveness-test/%2F", ""),
    ("GET", "cluster-name", ""),
    ("GET", "definitions", ""),
    ("GET", "definitions/%2F", ""),
    ("POST", "definitions", "{}"),
    ("DELETE", "exchanges/%2F/x", ""),
    ("DELETE", "exchanges/%2F/amq.topic", ""),
    ("DELETE", "policies/%2F/p", ""),
    ("DELETE", "operator-policies/%2F/o", ""),
    ("DELETE", "vhosts/v", ""),
    ("DELETE", "users/u", ""),
];

/// The paths of all fields of an answer, those of lists' items together.
fn fields(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let path = match path {
                    "" => key.clone(),
                    path => format!("{path}.{key}"),
                };
                fields(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| fields(value, path, found)),
        _ => {}
    }
}

fn fields_of(answer: &Answer) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    fields(&answer.body, "", &mut found);
    found
}

fn is_explained(field: &str) -> bool {
    EXPLAINED.iter().any(|(known, _)| {
        if let Some(exact) = known.strip_prefix('=') {
            return field == exact;
        }
        field == *known
            || field.ends_with(&format!(".{known}"))
            || field.starts_with(&format!("{known}."))
            || field.contains(&format!(".{known}."))
    })
}

/// What RabbitMQ has answered to each request, in the order of [`REQUESTS`].
const RECORDED: &str = "tests/http/rabbitmq_fields.json";

/// A request, and what came back: the status and the fields.
type Recorded = (String, u16, BTreeSet<String>);

/// Sends all requests.
fn answers_of(address: SocketAddr) -> Vec<Recorded> {
    let each = REQUESTS.iter().map(|(method, path, body)| {
        let path = format!("/api/{path}");
        let body = ("application/json", *body);
        let answer = send_to(address, "guest:guest", method, &path, body);
        let request = format!("{method} {path} {}", body.1);
        (request, answer.status, fields_of(&answer))
    });
    each.collect()
}

/// Sends the requests to Debian's RabbitMQ and writes down what it answers. It runs with
/// `UPDATE_RABBITMQ_FIELDS=1 cargo test --test http compared`.
fn record() {
    let rabbit = RabbitMq::start("[rabbitmq_management].");
    let lines = answers_of(rabbit.http()).into_iter().map(|recorded| {
        let line = serde_json::to_string(&recorded).unwrap();
        format!("  {line}")
    });
    let all = format!("[\n{}\n]\n", lines.collect::<Vec<_>>().join(",\n"));
    fs::write(RECORDED, all).unwrap();
}

#[test]
fn answers_have_the_status_and_the_fields_of_rabbitmqs() {
    if std::env::var_os("UPDATE_RABBITMQ_FIELDS").is_some() {
        record();
    }
    let recorded = fs::read_to_string(RECORDED).unwrap();
    let recorded: Vec<Recorded> = serde_json::from_str(&recorded).unwrap();
    let broker = Broker::start();
    let ours = answers_of(http(&broker));
    assert_eq!(recorded.len(), ours.len(), "record anew: {RECORDED}");
    let mut differences = Vec::new();
    for (theirs, ours) in recorded.iter().zip(&ours) {
        let request = &ours.0;
        assert_eq!(&theirs.0, request, "record anew: {RECORDED}");
        if theirs.1 != ours.1 {
            differences.push(format!("{request}: {} there, {} here", theirs.1, ours.1));
        }
        for field in theirs.2.symmetric_difference(&ours.2) {
            if !is_explained(field) {
                let here = ours.2.contains(field);
                let side = if here { "here" } else { "there" };
                differences.push(format!("{request}: {field} only {side}"));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
