//! The level of the log, changed while the broker runs.

use std::time::Instant;

use serde_json::json;

use crate::support::{Broker, PATIENCE, Peer, http::Http};

const PATH: &str = "/api/leveret/log-level";

/// Waits until a line has this in it.
fn wait_for(broker: &Broker, part: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !broker.log().iter().any(|line| line.contains(part)) {
        assert!(Instant::now() < deadline, "{part:?} is not logged");
        crate::support::pause();
    }
}

#[test]
fn the_level_changes_at_once_and_only_for_administrators() {
    let broker = Broker::start();
    let http = Http::guest(&broker);
    assert_eq!(http.get(PATH), json!({ "level": "info" }));
    Peer::connect_to(&broker).close();
    http.done("PUT", PATH, Some(json!({ "level": "info,leveret=debug" })));
    assert_eq!(http.get(PATH), json!({ "level": "info,leveret=debug" }));
    wait_for(&broker, "log level changed");
    Peer::connect_to(&broker).close();
    wait_for(&broker, "connection ended");
    http.done("PUT", PATH, Some(json!({ "level": "error" })));
    http.done("PUT", "/api/vhosts/quiet", None);
    http.done("PUT", PATH, Some(json!({ "level": "info" })));
    http.done("PUT", "/api/vhosts/loud", None);
    wait_for(&broker, "loud");
    let log = broker.log().join("\n");
    assert!(!log.contains("quiet"), "{log}");
}

#[test]
fn a_level_that_is_none_changes_nothing() {
    let broker = Broker::start();
    let http = Http::guest(&broker);
    for wrong in [
        json!({ "level": "loud" }),
        json!({ "level": 3 }),
        json!({}),
        json!({ "lvl": "info" }),
    ] {
        let answer = http.send("PUT", PATH, Some(wrong.clone()));
        assert_eq!(answer.status, 400, "{wrong}: {answer:?}");
    }
    let answer = http.send("PUT", PATH, Some(json!({ "level": "loud" })));
    let reason = answer.body["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("level must be one of off, error"),
        "{reason}"
    );
    assert_eq!(http.get(PATH), json!({ "level": "info" }));
    let monitor = json!({ "password": "m", "tags": "monitoring" });
    http.done("PUT", "/api/users/monitor", Some(monitor));
    let monitor = Http::user(&broker, "monitor", "m");
    assert_eq!(monitor.send("GET", PATH, None).status, 401);
    let level = Some(json!({ "level": "debug" }));
    assert_eq!(monitor.send("PUT", PATH, level).status, 401);
}
