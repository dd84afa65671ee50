//! What a policy would match, before it is set.

use serde_json::{Value, json};

use crate::{Http, scene, support::durable_queue, texts};

const PREVIEW: &str = "/api/leveret/policies/%2F/preview";

fn scene_with_queues(queues: &[&str]) -> Option<(crate::Broker, Http)> {
    let (broker, http, mut peer) = scene(&[])?;
    for queue in queues {
        peer.declare(1, durable_queue(queue));
    }
    Some((broker, http))
}

#[test]
fn preview_names_what_a_pattern_matches_and_what_is_in_force_there() {
    let Some((_broker, http)) = scene_with_queues(&["orders.eu", "orders.us", "invoices"]) else {
        return;
    };
    let set = json!({ "pattern": "us$", "definition": { "max-length": 7 }, "priority": 5 });
    http.done("PUT", "/api/policies/%2F/us", Some(set));

    let found = http.post(
        PREVIEW,
        json!({ "pattern": "^orders", "apply-to": "queues" }),
    );
    assert_eq!(
        found,
        json!({
            "queues": 2,
            "exchanges": 0,
            "takes_effect": 1,
            "lost": 0,
            "truncated": false,
            "matches": [
                { "type": "queue", "name": "orders.eu", "queue_type": "classic", "policy": null,
                  "operator_policy": null, "takes_effect": true },
                { "type": "queue", "name": "orders.us", "queue_type": "classic", "policy": "us",
                  "operator_policy": null, "takes_effect": false },
            ],
        })
    );
    let higher = json!({ "pattern": "^orders", "apply-to": "queues", "priority": 6 });
    assert_eq!(http.post(PREVIEW, higher)["takes_effect"], 2);

    let exchanges = json!({ "pattern": "^amq\\.(topic|direct)$", "apply-to": "exchanges" });
    let found = http.post(PREVIEW, exchanges);
    assert_eq!(
        texts(&found["matches"], "name"),
        ["amq.direct", "amq.topic"]
    );
    let found = http.post(PREVIEW, json!({ "pattern": "", "limit": 2 }));
    assert_eq!(
        (&found["queues"], &found["truncated"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(texts(&found["matches"], "name"), ["invoices", "orders.eu"]);
    assert_eq!(http.get("/api/policies").as_array().map(Vec::len), Some(1));
}

#[test]
fn preview_of_a_changed_policy_counts_what_loses_it() {
    let Some((_broker, http)) = scene_with_queues(&["orders", "invoices"]) else {
        return;
    };
    let set = json!({ "pattern": ".*", "definition": { "max-length": 7 }, "apply-to": "queues" });
    http.done("PUT", "/api/policies/%2F/short", Some(set));
    let narrower = json!({ "name": "short", "pattern": "^orders$", "apply-to": "queues" });
    let found = http.post(PREVIEW, narrower);
    assert_eq!(
        (&found["takes_effect"], &found["lost"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn preview_is_refused_in_the_words_of_setting_the_policy() {
    let Some((broker, http)) = scene_with_queues(&[]) else {
        return;
    };
    for wrong in [
        json!({ "pattern": "a(b", "definition": { "max-length": 7 } }),
        json!({ "pattern": 7, "definition": { "max-length": 7 } }),
        json!({ "pattern": "a", "definition": { "max-length": "many" } }),
        json!({ "pattern": "a", "definition": { "max-length": 7 }, "apply-to": "everything" }),
        json!({ "pattern": "a".repeat(1025), "definition": { "max-length": 7 } }),
    ] {
        let set = http.send("PUT", "/api/policies/%2F/wrong", Some(wrong.clone()));
        let preview = http.send("POST", PREVIEW, Some(wrong));
        assert_eq!((preview.status, &preview.body), (400, &set.body));
        assert_ne!(preview.body["reason"], Value::Null);
    }
    let unknown = "/api/leveret/policies/none/preview";
    let body = json!({ "pattern": "" });
    assert_eq!(http.send("POST", unknown, Some(body.clone())).status, 404);

    // As for setting them.
    for (name, tags) in [("carol", "management"), ("pat", "policymaker")] {
        let user = json!({ "password": "secret", "tags": tags });
        http.done("PUT", &format!("/api/users/{name}"), Some(user));
        let permissions = json!({ "configure": "", "write": "", "read": "" });
        http.done(
            "PUT",
            &format!("/api/permissions/%2F/{name}"),
            Some(permissions),
        );
    }
    let status = |name: &str, path: &str| {
        let http = Http::user(&broker, name, "secret");
        http.send("POST", path, Some(body.clone())).status
    };
    assert_eq!(
        (status("carol", PREVIEW), status("pat", PREVIEW)),
        (401, 200)
    );
    assert_eq!(
        status("pat", "/api/leveret/operator-policies/%2F/preview"),
        401
    );
    assert_eq!(status("guest", PREVIEW), 401, "another password");
    let operator = http.post("/api/leveret/operator-policies/%2F/preview", body.clone());
    assert_eq!(operator["queues"], 0);
}
