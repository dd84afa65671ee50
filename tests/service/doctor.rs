//! `leveret doctor` finds what is wrong, and says what to do about it.

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde_json::Value;

use crate::{leveret, support::Broker};

const FREE: [&str; 4] = [
    "--amqp-listen",
    "127.0.0.1:0",
    "--http-listen",
    "127.0.0.1:0",
];

/// The exit code, and what was found of one thing.
fn found(data_dir: &Path, arguments: &[&str], check: &str) -> (i32, Vec<Value>) {
    let done = leveret(data_dir, &[&["doctor", "--json"], arguments].concat());
    let all: Vec<Value> = serde_json::from_str(&done.text).expect("JSON");
    let found = all.into_iter().filter(|it| it["check"] == check);
    (done.code, found.collect())
}

/// That a check finds this, with advice, and whether a broker could work.
fn finds(data_dir: &Path, arguments: &[&str], check: &str, status: &str, part: &str) {
    let (code, found) = found(data_dir, arguments, check);
    assert_eq!(code == 1, status == "error", "{found:?}");
    let of_it = |it: &&Value| it["found"].as_str().unwrap().contains(part);
    let one = found
        .iter()
        .find(of_it)
        .unwrap_or_else(|| panic!("{part:?} in {found:?}"));
    assert_eq!(one["status"], status, "{one}");
    assert!(!one["advice"].as_str().unwrap().is_empty());
}

#[test]
fn a_good_place_is_good_and_every_check_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let done = leveret(folder.path(), &[&["doctor"][..], &FREE].concat());
    assert_eq!(done.code, 0, "{}", done.text);
    for check in [
        "configuration",
        "data directory",
        "disk",
        "ports",
        "file descriptors",
        "memory",
        "clock",
    ] {
        assert!(done.text.contains(check), "{check}: {}", done.text);
    }
    assert!(done.text.contains("a sync takes"), "{}", done.text);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_keeps_a_broker_from_working_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["--amqp-listen", &address, "--http-listen", "127.0.0.1:0"];
    finds(
        data,
        &arguments,
        "ports",
        "error",
        "another process is using this port",
    );
    let config = folder.path().join("leveret.toml");
    fs::write(&config, "[amqp]\nframe_mx = 1\n").unwrap();
    let arguments = ["--config", config.to_str().unwrap()];
    finds(
        data,
        &arguments,
        "configuration",
        "error",
        "unknown key amqp.frame_mx",
    );
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    finds(&file, &FREE, "data directory", "error", "is a file");
    let newer = tempfile::tempdir().unwrap();
    fs::write(newer.path().join("format"), "format = 9\n").unwrap();
    finds(
        newer.path(),
        &FREE,
        "data directory",
        "error",
        "has format 9",
    );
}

#[test]
fn what_others_can_read_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    finds(
        folder.path(),
        &FREE,
        "data directory",
        "warning",
        "can look into",
    );
}

#[test]
fn the_broker_that_runs_is_asked() {
    let broker = Broker::start();
    let http = loop {
        if let Some(http) = broker.http_address() {
            break http.to_string();
        }
        crate::support::pause();
    };
    let amqp = broker.amqp_address().to_string();
    let arguments = ["--amqp-listen", &amqp, "--http-listen", &http];
    let (code, ports) = found(broker.data_dir(), &arguments, "ports");
    assert_eq!(code, 0);
    assert_eq!(ports[0]["found"], "the broker that runs serves clients");
    let (_, data) = found(broker.data_dir(), &arguments, "data directory");
    let process = format!(
        "in use by the broker that is process {}",
        broker.pid().unwrap()
    );
    assert!(
        data[0]["found"].as_str().unwrap().contains(&process),
        "{data:?}"
    );
}
