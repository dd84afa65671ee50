//! Definitions files: uploaded, downloaded, and imported when the broker starts.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    broker::Broker,
    rabbitmq::RabbitMq,
    requests::{send, send_as},
};

const FILE: &str = "LEVERET_DEFINITIONS_IMPORT_FILE";
const WHEN: &str = "LEVERET_DEFINITIONS_IMPORT_WHEN";

fn document(queue: &str) -> Value {
    json!({
        "users": [{ "name": "admin", "password": "secret", "tags": "administrator" }],
        "vhosts": [{ "name": "/" }],
        "permissions": [{ "user": "admin", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*" }],
        "queues": [{ "vhost": "/", "name": queue, "durable": true, "auto_delete": false, "arguments": {} }],
        "bindings": [{ "vhost": "/", "source": "amq.fanout", "destination": queue, "destination_type": "queue",
                       "routing_key": "", "arguments": {} }],
    })
}

fn write(folder: &Path, name: &str, document: &Value) -> String {
    let path = folder.join(name);
    fs::write(&path, document.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn bindings(broker: &Broker) -> Vec<String> {
    let json = ("application/json", "");
    let answer = send_as(broker, "admin:secret", "GET", "/api/bindings", json);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let bindings = answer.body.as_array().unwrap().iter();
    let explicit = bindings.filter(|it| it["source"] != "");
    explicit
        .map(|it| it["destination"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_file_is_imported_at_the_start_and_its_users_are_the_only_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "d.json", &document("q"));
    let mut broker = Broker::start_with_options(&[(FILE, &path)]);
    assert_eq!(bindings(&broker), ["q"]);
    let guest = send(&broker, "GET", "/api/whoami", "");
    assert_eq!(guest.status, 401);
    broker.restart();
    assert_eq!(bindings(&broker), ["q"]);
}

#[test]
fn a_directory_is_imported_in_the_order_of_its_files_names() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "1.json", &document("first"));
    let more = json!({ "queues": [{ "vhost": "/", "name": "second" }] });
    write(folder.path(), "2.json", &more);
    write(folder.path(), "3.txt", &json!("no definitions"));
    let path = folder.path().to_str().unwrap();
    let broker = Broker::start_with_options(&[(FILE, path)]);
    let json = ("application/json", "");
    let all = send_as(&broker, "admin:secret", "GET", "/api/definitions/%2F", json).body;
    let names: Vec<_> = all["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["first", "second"]);
}

#[test]
fn what_was_changed_since_then_stays_if_the_file_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "d.json", &document("q"));
    let mut broker = Broker::start_with_options(&[(FILE, &path), (WHEN, "changed")]);
    let binding = "/api/bindings/%2F/e/amq.fanout/q/q/~";
    let deleted = send_as(&broker, "admin:secret", "DELETE", binding, ("", ""));
    assert_eq!(deleted.status, 204);
    broker.restart();
    assert!(bindings(&broker).is_empty());
    write(folder.path(), "d.json", &document("other"));
    broker.restart();
    assert_eq!(bindings(&broker), ["other"]);
}

#[test]
fn a_file_with_a_fault_stops_the_start_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut document = document("q");
    document["bindings"][0]["destination"] = json!("no such queue");
    let path = write(folder.path(), "d.json", &document);
    let data = tempfile::tempdir().unwrap();
    let Err((data, log)) = Broker::try_start(data, &[(FILE, &path)]) else {
        panic!("it started");
    };
    let expected =
        "d.json: bindings[0] 'amq.fanout' in vhost '/': no queue 'no such queue' in vhost '/'";
    assert!(log.contains(expected), "{log}");
    // With the file left out the first start is still to come.
    let Ok(broker) = Broker::try_start(data, &[]) else {
        panic!("it did not start");
    };
    assert_eq!(
        send(&broker, "GET", "/api/users", "")
            .body
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_form_is_imported_like_a_body() {
    let broker = Broker::start();
    let definitions = json!({ "queues": [{ "vhost": "/", "name": "uploaded" }] });
    let form = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n\
         Content-Type: application/json\r\n\r\n{definitions}\r\n--b\r\n\
         Content-Disposition: form-data; name=\"redirect\"\r\n\r\n/#/done\r\n--b--\r\n"
    );
    let kind = "multipart/form-data; boundary=b";
    let answer = send_as(
        &broker,
        "guest:guest",
        "POST",
        "/api/definitions",
        (kind, &form),
    );
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(answer.head.contains("location: /#/done"), "{}", answer.head);
    let all = send(&broker, "GET", "/api/definitions", "").body;
    assert_eq!(all["queues"][0]["name"], "uploaded");
}

#[test]
fn a_fault_in_an_upload_is_400_with_the_item_and_nothing_is_changed() {
    let broker = Broker::start();
    let definitions = json!({
        "queues": [{ "vhost": "/", "name": "good" }, { "vhost": "/", "name": "bad", "arguments": { "x-expires": 0 } }],
    });
    let answer = send(
        &broker,
        "POST",
        "/api/definitions",
        &definitions.to_string(),
    );
    assert_eq!(answer.status, 400);
    let reason = answer.body["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("queues[1] 'bad' in vhost '/': invalid arg"),
        "{reason}"
    );
    let all = send(&broker, "GET", "/api/definitions", "").body;
    assert_eq!(all["queues"], json!([]));
}

#[test]
fn rabbitmq_imports_what_leveret_exports_and_the_other_way_round() {
    let rabbit = RabbitMq::start("[].");
    let broker = Broker::start();
    for (path, body) in [
        (
            "/api/users/own",
            r#"{"password":"secret","tags":"management"}"#,
        ),
        ("/api/vhosts/v", r#"{"description":"d","tags":"a,b"}"#),
        (
            "/api/permissions/v/own",
            r#"{"configure":".*","write":"","read":".*"}"#,
        ),
        (
            "/api/exchanges/v/x",
            r#"{"type":"topic","durable":true,"arguments":{"alternate-exchange":"amq.fanout"}}"#,
        ),
        (
            "/api/exchanges/v/inner",
            r#"{"type":"fanout","durable":true,"internal":true}"#,
        ),
        (
            "/api/policies/v/p",
            r#"{"pattern":"^q","definition":{"max-length":5},"apply-to":"queues"}"#,
        ),
        (
            "/api/operator-policies/v/o",
            r#"{"pattern":"^q","definition":{"max-length":9},"apply-to":"queues"}"#,
        ),
        ("/api/vhost-limits/v/max-queues", r#"{"value":50}"#),
        ("/api/global-parameters/g", r#"{"value":{"a":[1,2]}}"#),
    ] {
        let answer = send(&broker, "PUT", path, body);
        assert!(answer.status < 300, "{path} {}", answer.body);
    }
    let topology = json!({
        "queues": [{ "vhost": "v", "name": "q", "arguments": { "x-queue-type": "classic", "x-message-ttl": 5 } }],
        "bindings": [{ "vhost": "v", "source": "x", "destination": "q", "destination_type": "queue",
                       "routing_key": "a.#", "arguments": { "k": "v" } }],
    });
    assert_eq!(
        send(&broker, "POST", "/api/definitions", &topology.to_string()).status,
        204
    );
    let export = send(&broker, "GET", "/api/definitions", "").body;
    let path = write(rabbit.folder(), "ours.json", &export);
    let imported = rabbit.ctl(&["import_definitions", &path]);
    assert!(imported.status.success(), "{imported:?}");
    let theirs = rabbit.folder().join("theirs.json");
    let exported = rabbit.ctl(&["export_definitions", theirs.to_str().unwrap()]);
    assert!(exported.status.success(), "{exported:?}");
    let theirs: Value = serde_json::from_slice(&fs::read(theirs).unwrap()).unwrap();
    for section in ["exchanges", "queues", "bindings", "policies", "permissions"] {
        let names = |document: &Value| {
            let items = document[section].as_array().unwrap().iter();
            let mut names: Vec<_> = items
                .filter(|it| it["vhost"] == "v" && it["name"] != "inner")
                .map(|it| {
                    (
                        it["name"].to_string(),
                        it["arguments"].to_string(),
                        it["definition"].to_string(),
                    )
                })
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(&theirs), names(&export), "{section}");
    }
    let other = Broker::start();
    let answer = send(&other, "POST", "/api/definitions", &theirs.to_string());
    assert_eq!(answer.status, 204, "{}", answer.body);
}
