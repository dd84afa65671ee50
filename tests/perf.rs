//! `leveret perf` against the real broker: what it reports is what happened.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside of test functions"
)]

mod support;

use std::process::{Command, Output};

use serde_json::Value;
use support::Broker;

fn perf(broker: &Broker, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args(["perf", "--uri", &broker.amqp_uri()])
        .args(arguments)
        .output()
        .unwrap()
}

fn report(broker: &Broker, arguments: &[&str]) -> Value {
    let output = perf(broker, arguments);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn perf_reports_deliveries_latency_and_the_brokers_cpu() {
    let broker = Broker::start();
    let pid = broker.pid().unwrap().to_string();
    let load = ["--messages", "3000", "--rate", "3000"];
    let arguments = [&load[..], &["--json", "--broker-pid", &pid]].concat();
    let report = report(&broker, &arguments);
    assert_eq!(report["delivered"].as_u64(), Some(3000), "{report}");
    assert!(report["latency_us"].is_object(), "{report}");
    assert!(report["broker_cpu_seconds_per_million"].as_f64().unwrap() > 0.0);
}

#[test]
fn perf_counts_confirms_of_persistent_messages() {
    let broker = Broker::start();
    let load = ["--persistent", "--confirm-window", "10", "--ack-batch", "5"];
    let count = ["--messages", "200", "--json"];
    let report = report(&broker, &[&count[..], &load].concat());
    // It ends with the last delivery, which the last confirms may follow.
    assert!(report["confirmed"].as_u64() >= Some(190), "{report}");
    assert_eq!(report["refused"].as_u64(), Some(0));
}

#[test]
fn perf_publishes_to_topics_and_asks_for_replies() {
    let broker = Broker::start();
    let topic = ["--topic-bindings", "100", "--queues", "3"];
    let topic = [&topic[..], &["--messages", "300", "--json"]].concat();
    assert_eq!(report(&broker, &topic)["delivered"].as_u64(), Some(900));
    // A busy machine may not come to a reply in three seconds.
    let mut reports = ["3", "10", "60"].iter().map(|seconds| {
        let replies = ["--rpc", "10", "--duration", seconds, "--json"];
        report(&broker, &replies)
    });
    let replies = reports.find(|it| it["delivered"].as_u64() > Some(0));
    let replies = replies.unwrap();
    assert!(replies["latency_us"].is_object(), "{replies}");
}

#[test]
fn perf_fills_a_queue_and_drains_it() {
    let broker = Broker::start();
    let queue = [
        "--queue-prefix",
        "backlog",
        "--messages",
        "1000",
        "--persistent",
        "--json",
    ];
    let fill = [&queue[..], &["--consumers", "0", "--keep"]].concat();
    assert_eq!(report(&broker, &fill)["published"].as_u64(), Some(1000));
    let drain = [&queue[..], &["--publishers", "0"]].concat();
    assert_eq!(report(&broker, &drain)["delivered"].as_u64(), Some(1000));
}

#[test]
fn perf_holds_idle_connections_alone_or_beside_a_load() {
    let broker = Broker::start();
    let idle = ["--idle-connections", "20", "--duration", "0.1", "--json"];
    assert_eq!(report(&broker, &idle)["connections"].as_u64(), Some(20));
    let load = ["--messages", "100", "--rate", "1000"];
    let beside = report(&broker, &[&idle[..], &load].concat());
    assert_eq!(beside["delivered"].as_u64(), Some(100), "{beside}");
    assert!(beside["latency_us"]["max"].as_f64() > Some(0.0));
}

#[test]
fn perf_declares_and_deletes_queues() {
    let broker = Broker::start();
    let queues = ["--declare-queues", "200", "--publishers", "3", "--json"];
    for how in [&[][..], &["--synchronous"], &["--bound", "--exclusive"]] {
        let report = report(&broker, &[&queues, how].concat());
        assert_eq!(report["connections"].as_u64(), Some(3), "{report}");
        assert!(report["declared"]["per_second"].as_f64() > Some(0.0));
        assert!(report["deleted"]["per_second"].as_f64() > Some(0.0));
    }
}

#[test]
fn perf_publishes_a_message_with_each_connection_that_comes_and_goes() {
    let broker = Broker::start();
    let churn = ["--churn", "20", "--publishers", "4", "--json"];
    let report = report(&broker, &churn);
    assert_eq!(report["messages"].as_u64(), Some(20), "{report}");
    assert_eq!(report["side_by_side"].as_u64(), Some(4));
}

#[test]
fn perf_says_in_one_line_why_it_cannot_log_in() {
    let broker = Broker::start();
    let uri = format!("amqp://guest:wrong@127.0.0.1:{}/%2f", broker.amqp_port());
    let output = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args(["perf", "--uri", &uri])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("ACCESS_REFUSED"), "{error}");
}

#[test]
fn perf_relay_reports_what_copying_costs_without_a_broker() {
    let output = Command::new(env!("CARGO_BIN_EXE_leveret"))
        .args(["perf", "relay", "--duration", "0.3", "--json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["bytes"].as_u64().unwrap() > 1 << 20, "{report}");
    assert!(
        report["cpu_seconds_per_million_mebibytes"].as_f64() > Some(0.0),
        "{report}"
    );
}
