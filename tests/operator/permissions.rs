//! Who may look at messages, move them and stop deliveries.

use serde_json::json;

use crate::{Http, path, scene, support::durable_queue};

#[test]
fn what_an_operator_does_needs_the_permissions_of_a_client() {
    let Some((broker, http, mut peer)) = scene(&[]) else {
        return;
    };
    for queue in ["from", "to"] {
        peer.declare(1, durable_queue(queue));
    }
    peer.fill("from", &["one"]);
    let user = json!({ "password": "secret", "tags": "management" });
    http.done("PUT", "/api/users/carol", Some(user));
    let carol = Http::user(&broker, "carol", "secret");
    let permit = |configure: &str, write: &str, read: &str| {
        let permissions = json!({ "configure": configure, "write": write, "read": read });
        http.done("PUT", "/api/permissions/%2F/carol", Some(permissions));
    };
    let to = json!({ "to": { "queue": "to" } });
    let status = |what: &str, body| carol.send("POST", &path("from", what), Some(body)).status;
    assert_eq!(
        status("peek", json!({})),
        404,
        "the vhost is not known to carol"
    );
    permit("", "", "");
    assert_eq!(
        (status("peek", json!({})), status("move", to.clone())),
        (401, 401)
    );
    permit("", "", "from");
    assert_eq!(
        (status("peek", json!({})), status("move", to.clone())),
        (200, 401)
    );
    assert_eq!(status("pause", json!({})), 401);
    permit("from", "to", "from");
    assert_eq!(
        (status("pause", json!({})), status("resume", json!({}))),
        (204, 204)
    );
    let done = carol.post(&path("from", "move"), to);
    assert_eq!(
        (&done["moved"], &done["user"]),
        (&json!(1), &json!("carol"))
    );

    // Dead letters go back only where the user may write; what was never dead stays.
    let done = carol.post(&path("from", "requeue"), json!({}));
    assert_eq!(done["state"], "done");
    broker.await_line("the audit log's", |line| {
        line.contains("move begun") && line.contains("carol")
    });
}
