//! What the OpenAPI document says is true: every field that an answer of the running program has stands there.

use serde_json::{Value, json};

use crate::{
    broker::Broker,
    requests::{http, send},
};

/// A client that consumes, connected as long as the value lives.
pub struct Consumer {
    _connection: lapin::Connection,
    _runtime: tokio::runtime::Runtime,
}

impl Consumer {
    /// A client that consumes from this queue.
    pub fn of(broker: &Broker, queue: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let uri = format!("amqp://guest:guest@{}/%2f", broker.amqp_address());
        let connection = runtime.block_on(async {
            let properties = lapin::ConnectionProperties::default();
            let connection = lapin::Connection::connect(&uri, properties).await.unwrap();
            let channel = connection.create_channel().await.unwrap();
            let options = lapin::options::BasicQosOptions::default();
            channel.basic_qos(1, options).await.unwrap();
            let consumer = channel.basic_consume(
                queue.into(),
                "eater".into(),
                lapin::options::BasicConsumeOptions::default(),
                lapin::types::FieldTable::default(),
            );
            // Neither is to end with this function.
            std::mem::forget((consumer.await.unwrap(), channel));
            connection
        });
        Self {
            _connection: connection,
            _runtime: runtime,
        }
    }
}

/// A broker with something of everything.
pub fn furnished() -> (Broker, Consumer) {
    let broker = Broker::start();
    let put = |path: &str, body: &str| {
        let answer = send(&broker, "PUT", &format!("/api/{path}"), body);
        assert!(answer.status < 300, "{path}: {}", answer.body);
    };
    put("vhosts/v", r#"{"description":"d","tags":"a"}"#);
    put("users/u", r#"{"password":"x","tags":"management"}"#);
    for permitted in ["permissions/%2F/u", "permissions/v/u"] {
        put(permitted, r#"{"configure":".*","write":".*","read":".*"}"#);
    }
    let topic = r#"{"exchange":"amq.topic","write":"^a","read":""}"#;
    put("topic-permissions/%2F/u", topic);
    put("exchanges/%2F/x", r#"{"type":"topic","durable":true}"#);
    put(
        "queues/%2F/q",
        r#"{"durable":true,"arguments":{"x-dead-letter-exchange":""}}"#,
    );
    let binding = r#"{"routing_key":"k","arguments":{"a":1}}"#;
    send(&broker, "POST", "/api/bindings/%2F/e/x/q/q", binding);
    let policy = r#"{"pattern":"^q","definition":{"max-length":100000},"apply-to":"queues"}"#;
    put("policies/%2F/p", policy);
    put("operator-policies/%2F/p", policy);
    put("vhost-limits/v/max-queues", r#"{"value":50}"#);
    put("user-limits/u/max-channels", r#"{"value":50}"#);
    put("global-parameters/g", r#"{"value":{"a":[1]}}"#);
    let message = r#"{"routing_key":"q","properties":{"headers":{"h":1}},"payload":"m","payload_encoding":"string"}"#;
    for _ in 0..3 {
        send(
            &broker,
            "POST",
            "/api/exchanges/%2F/amq.default/publish",
            message,
        );
    }
    let client = Consumer::of(&broker, "q");
    (broker, client)
}

/// The names of the furnished broker, by their place in a path.
fn name_of(broker: &Broker, placeholder: &str, path: &str) -> String {
    let connection = || {
        let all = send(broker, "GET", "/api/connections", "").body;
        all[0]["name"].as_str().unwrap().to_owned()
    };
    let encoded = |name: String| {
        form_urlencoded::byte_serialize(name.as_bytes())
            .collect::<String>()
            .replace('+', "%20")
    };
    match placeholder {
        "vhost" if path.contains("vhost-limits") => "v".to_owned(),
        "vhost" => "%2F".to_owned(),
        "queue" | "destination" => "q".to_owned(),
        "exchange" if path.contains("topic-permissions") => "amq.topic".to_owned(),
        "exchange" | "source" => "x".to_owned(),
        "dtype" => "q".to_owned(),
        "props" => {
            let all = send(broker, "GET", "/api/bindings/%2F/e/x/q/q", "").body;
            encoded(all[0]["properties_key"].as_str().unwrap().to_owned())
        }
        "connection" => encoded(connection()),
        "channel" => encoded(format!("{} (1)", connection())),
        "user" | "username" => "u".to_owned(),
        "node" => {
            let all = send(broker, "GET", "/api/nodes", "").body;
            encoded(all[0]["name"].as_str().unwrap().to_owned())
        }
        "component" => "operator_policy".to_owned(),
        "name" if path.contains("global") => "g".to_owned(),
        "port" => http(broker).port().to_string(),
        "protocols" => "amqp".to_owned(),
        "within" => "1".to_owned(),
        "unit" => "days".to_owned(),
        _ => "p".to_owned(),
    }
}

fn filled(broker: &Broker, path: &str) -> String {
    let parts = path.split('/').map(|part| {
        let name = part
            .strip_prefix('{')
            .and_then(|part| part.strip_suffix('}'));
        name.map_or_else(|| part.to_owned(), |name| name_of(broker, name, path))
    });
    parts.collect::<Vec<_>>().join("/")
}

/// The paths of fields in a value that a schema does not have.
fn undescribed(
    value: &Value,
    schema: &Value,
    document: &Value,
    path: &str,
    found: &mut Vec<String>,
) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).unwrap();
        return undescribed(value, schema, document, path, found);
    }
    let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    if let Some(choices) = choices {
        // The one that leaves the least over is the one that is meant.
        let each = choices.iter().map(|choice| {
            let mut left = Vec::new();
            undescribed(value, choice, document, path, &mut left);
            left
        });
        found.extend(each.min_by_key(Vec::len).unwrap_or_default());
        return;
    }
    match value {
        Value::Array(items) if schema["items"].is_object() => {
            for item in items {
                undescribed(item, &schema["items"], document, path, found);
            }
        }
        Value::Object(fields) if schema["properties"].is_object() => {
            for (field, value) in fields {
                let path = format!("{path}.{field}");
                match schema["properties"].get(field) {
                    Some(schema) => undescribed(value, schema, document, &path, found),
                    None => found.push(path),
                }
            }
        }
        // A list where an object is described, or the other way round.
        Value::Array(items) if schema["properties"].is_object() && !items.is_empty() => {
            found.push(path.to_owned())
        }
        Value::Object(_) if schema["items"].is_object() => found.push(path.to_owned()),
        _ => {}
    }
}

#[test]
fn every_field_of_an_answer_stands_in_the_document() {
    let (broker, _client) = furnished();
    let document = send(&broker, "GET", "/api/openapi.json", "").body;
    let mut wrong = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let schema =
            &operations["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            continue;
        }
        let address = filled(&broker, path);
        let range = "lengths_age=60&lengths_incr=5&msg_rates_age=60&msg_rates_incr=5&latency_age=60&latency_incr=5";
        let answer = send(&broker, "GET", &format!("{address}?{range}"), "");
        // There is no move that could be asked for.
        if answer.status != 200 && !path.ends_with("/moves/{id}") {
            wrong.push(format!("{address}: {} {}", answer.status, answer.body));
        }
        if answer.status == 200 {
            undescribed(&answer.body, schema, &document, path, &mut wrong);
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_posted_is_answered_as_the_document_says() {
    let (broker, _client) = furnished();
    let document = send(&broker, "GET", "/api/openapi.json", "").body;
    let mut wrong = Vec::new();
    let get = json!({ "ackmode": "ack_requeue_true", "count": 1, "encoding": "auto" });
    for (path, body) in [
        ("/api/queues/{vhost}/{queue}/get", get),
        ("/api/leveret/queues/{vhost}/{queue}/peek", json!({})),
        (
            "/api/leveret/queues/{vhost}/{queue}/requeue",
            json!({ "dry_run": true }),
        ),
        (
            "/api/leveret/queues/{vhost}/{queue}/move",
            json!({ "to": { "exchange": "x" }, "dry_run": true }),
        ),
        (
            "/api/leveret/exchanges/{vhost}/{exchange}/explain",
            json!({ "routing_key": "k" }),
        ),
        (
            "/api/leveret/policies/{vhost}/preview",
            json!({ "pattern": "q" }),
        ),
        (
            "/api/exchanges/{vhost}/{exchange}/publish",
            json!({ "routing_key": "k", "properties": {}, "payload": "", "payload_encoding": "string" }),
        ),
    ] {
        let schema = &document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]
            ["schema"];
        assert!(!schema.is_null(), "{path}");
        let answer = send(&broker, "POST", &filled(&broker, path), &body.to_string());
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        undescribed(&answer.body, schema, &document, path, &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn answers_of_moves_and_pages_are_described() {
    let (broker, _client) = furnished();
    let document = send(&broker, "GET", "/api/openapi.json", "").body;
    let page = send(&broker, "GET", "/api/queues?page=1&page_size=1", "").body;
    let schema = &document["paths"]["/api/queues"]["get"]["responses"]["200"]["content"]["application/json"]
        ["schema"];
    let mut wrong = Vec::new();
    undescribed(&page, schema, &document, "/api/queues", &mut wrong);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
