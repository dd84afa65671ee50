//! What happened lately, as operators read it.

use std::time::Instant;

use serde_json::{Value, json};

use crate::{
    Http, scene,
    support::{PATIENCE, durable_queue},
};

fn events(http: &Http, query: &str) -> Vec<Value> {
    let found = http.get(&format!("/api/leveret/events?{query}"));
    found["events"].as_array().expect("a list").clone()
}

#[test]
fn changes_are_listed_with_who_made_them() {
    let Some((_broker, http, _peer)) = scene(&[]) else {
        return;
    };
    let before = http.get("/api/leveret/events?limit=1");
    let next = before["next"].as_u64().expect("a number");
    let user = json!({ "password": "a long secret", "tags": "" });
    http.done("PUT", "/api/users/carol", Some(user));
    let permissions = json!({ "configure": "", "write": "^orders$", "read": "" });
    http.done("PUT", "/api/permissions/%2F/carol", Some(permissions));
    let policy = json!({ "pattern": "^orders", "definition": { "max-length": 7 } });
    http.done("PUT", "/api/policies/%2F/short", Some(policy));
    http.done("PUT", "/api/queues/%2F/orders", Some(json!({})));
    http.done("DELETE", "/api/queues/%2F/orders", None);

    let found = http.get(&format!("/api/leveret/events?since={next}"));
    assert_eq!(found["missed"], false);
    let listed = found["events"].as_array().expect("a list");
    let texts: Vec<_> = listed
        .iter()
        .map(|event| (event["kind"].as_str(), event["text"].as_str()))
        .collect();
    let expected = [
        ("user", "user created"),
        ("permission", "permissions set"),
        ("policy", "policy set"),
        ("queue", "queue declared"),
        ("queue", "queue deleted"),
    ];
    assert_eq!(texts, expected.map(|(kind, text)| (Some(kind), Some(text))));
    assert!(listed.iter().all(|event| event["fields"]["by"] == "guest"));
    assert_eq!(listed[1]["fields"]["write"], "^orders$");
    assert!(!found.to_string().contains("a long secret"), "{found}");

    // Only what is asked for, and nothing twice.
    assert_eq!(
        events(&http, &format!("since={next}&kind=policy,user")).len(),
        2
    );
    let last = found["next"].as_u64().expect("a number");
    assert_eq!(events(&http, &format!("since={last}")), Vec::<Value>::new());
}

#[test]
fn refusals_and_failing_connections_are_warnings() {
    let Some((broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    let mallory = Http::user(&broker, "mallory", "guess");
    assert_eq!(mallory.send("GET", "/api/whoami", None).status, 401);
    let refused = events(&http, "kind=login&severity=warning");
    assert_eq!(refused[0]["fields"]["user"], "mallory");
    assert!(!Value::Array(refused).to_string().contains("guess"));

    // A channel that is not open.
    peer.send(7, durable_queue("orders"));
    let deadline = Instant::now() + PATIENCE;
    while events(&http, "kind=connection&severity=warning").is_empty() {
        assert!(Instant::now() < deadline, "no event of the connection");
        crate::support::pause();
    }
}

#[test]
fn events_are_for_those_who_may_see_everything() {
    let Some((broker, http, _peer)) = scene(&[]) else {
        return;
    };
    for (name, tags) in [("eve", "policymaker"), ("mona", "monitoring")] {
        let user = json!({ "password": "secret", "tags": tags });
        http.done("PUT", &format!("/api/users/{name}"), Some(user));
    }
    let status = |name: &str, path: &str| {
        let http = Http::user(&broker, name, "secret");
        http.send("GET", path, None).status
    };
    assert_eq!(status("eve", "/api/leveret/events"), 401);
    assert_eq!(status("mona", "/api/leveret/events"), 200);
    for wrong in ["kind=logins", "since=yesterday", "severity=bad", "limit=x"] {
        assert_eq!(status("mona", &format!("/api/leveret/events?{wrong}")), 400);
    }
}
