//! Metrics for Prometheus.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use crate::{
    http::{Http, started},
    support::{AMQPProperties, AMQPValue, Broker, Peer, durable_queue, queue, table},
};

/// The metrics that RabbitMQ's overview dashboard for Grafana reads, and the labels by which it joins them.
const DASHBOARD: &str = "rabbitmq_build_info rabbitmq_channels rabbitmq_channels_closed_total \
    rabbitmq_channels_opened_total rabbitmq_connections rabbitmq_connections_closed_total \
    rabbitmq_connections_opened_total rabbitmq_disk_space_available_bytes rabbitmq_disk_space_available_limit_bytes \
    rabbitmq_erlang_uptime_seconds rabbitmq_global_consumers rabbitmq_global_messages_acknowledged_total \
    rabbitmq_global_messages_confirmed_total rabbitmq_global_messages_delivered_consume_auto_ack_total \
    rabbitmq_global_messages_delivered_consume_manual_ack_total rabbitmq_global_messages_delivered_get_auto_ack_total \
    rabbitmq_global_messages_delivered_get_manual_ack_total rabbitmq_global_messages_delivered_total \
    rabbitmq_global_messages_get_empty_total rabbitmq_global_messages_received_confirm_total \
    rabbitmq_global_messages_received_total rabbitmq_global_messages_redelivered_total \
    rabbitmq_global_messages_routed_total rabbitmq_global_messages_unroutable_dropped_total \
    rabbitmq_global_messages_unroutable_returned_total rabbitmq_global_publishers rabbitmq_identity_info \
    rabbitmq_message_size_bytes_bucket rabbitmq_message_size_bytes_count rabbitmq_message_size_bytes_sum \
    rabbitmq_process_max_fds rabbitmq_process_open_fds rabbitmq_process_resident_memory_bytes \
    rabbitmq_queue_messages_ready rabbitmq_queue_messages_unacked rabbitmq_queues rabbitmq_queues_created_total \
    rabbitmq_queues_declared_total rabbitmq_queues_deleted_total rabbitmq_resident_memory_limit_bytes";

fn value(page: &str, sample: &str) -> Option<f64> {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

fn busy() -> (Broker, Http, Peer) {
    let (broker, http, mut peer) = started();
    peer.declare(1, durable_queue("q"));
    peer.declare(1, durable_queue("a \"quoted\" one"));
    peer.fill("q", &["a", "b", "c"]);
    peer.consume(1, "q", "eater");
    peer.expect_deliveries(1, &["a", "b", "c"]);
    http.wait_for("/api/overview", |it| it["message_stats"]["deliver"] == 3);
    (broker, http, peer)
}

#[test]
fn every_metric_of_the_grafana_overview_dashboard_is_there() {
    let (_broker, http, _peer) = busy();
    let page = http.text("/metrics");
    let samples: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
    for metric in DASHBOARD.split_whitespace() {
        let of = |line: &&str| {
            let rest = line.strip_prefix(metric);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        };
        assert!(samples.iter().any(of), "{metric} is missing");
    }
    for label in [
        "rabbitmq_node=",
        "rabbitmq_cluster=",
        "rabbitmq_endpoint=\"aggregated\"",
    ] {
        assert!(page.contains(label), "{label} is missing");
    }
}

#[test]
fn totals_and_samples_of_objects_say_the_same() {
    let (_broker, http, _peer) = busy();
    let page = http.text("/metrics");
    let received = r#"rabbitmq_global_messages_received_total{protocol="amqp091"}"#;
    assert_eq!(value(&page, received), Some(3.0));
    assert_eq!(value(&page, "rabbitmq_queue_messages_unacked"), Some(3.0));
    assert_eq!(value(&page, "rabbitmq_queues"), Some(2.0));
    let small = r#"rabbitmq_message_size_bytes_bucket{protocol="amqp091",le="100"}"#;
    assert_eq!(value(&page, small), Some(3.0));
    let each = http.text("/metrics/per-object");
    let unacked = r#"rabbitmq_queue_messages_unacked{vhost="/",queue="q"}"#;
    assert_eq!(value(&each, unacked), Some(3.0));
    let quoted = r#"rabbitmq_queue_messages{vhost="/",queue="a \"quoted\" one"}"#;
    assert_eq!(value(&each, quoted), Some(0.0));
}

#[test]
fn detailed_metrics_are_those_that_were_asked_for() {
    let (_broker, http, _peer) = busy();
    let path = "/metrics/detailed?family=queue_coarse_metrics&family=vhost_status&queue=^q$";
    let page = http.text(path);
    let unacked = r#"rabbitmq_detailed_queue_messages_unacked{vhost="/",queue="q"}"#;
    assert_eq!(value(&page, unacked), Some(3.0));
    assert_eq!(
        value(&page, r#"rabbitmq_cluster_vhost_status{vhost="/"}"#),
        Some(1.0)
    );
    assert!(
        !page.contains("quoted") && !page.contains("channel_"),
        "{page}"
    );
    let none = http.text("/metrics/detailed?family=queue_coarse_metrics&vhost=other");
    assert!(!none.contains("rabbitmq_detailed_queue_messages"), "{none}");
    let (status, reason) = http.send("GET", "/metrics/detailed?queue=(", "", "");
    assert_eq!(status, 400, "{reason}");
}

#[test]
fn what_leveret_alone_tells_is_there() {
    let (_broker, http, mut peer) = busy();
    peer.cancel(1, "eater");
    peer.confirm_select(1);
    let persistent = AMQPProperties::default().with_delivery_mode(2);
    peer.publish_with(1, "", "a \"quoted\" one", persistent, b"old");
    peer.expect_confirms_to(1, 1);
    let page = http.text("/metrics");
    assert!(value(&page, "leveret_oldest_message_age_seconds").is_some());
    assert_eq!(value(&page, "leveret_blocked_publishers"), Some(0.0));
    assert!(value(&page, "leveret_journal_sync_duration_seconds_count") > Some(0.0));
    assert!(value(&page, "leveret_journal_log_files") > Some(0.0));
}

#[test]
fn metrics_can_be_for_monitors_only() {
    let broker = Broker::start_with_options(&[("LEVERET_HTTP_METRICS_ACCESS", "monitors")]);
    let http = Http::of(&broker);
    assert!(http.text("/metrics").contains("rabbitmq_queues 0"));
    assert_eq!(http.anonymous_status("/metrics"), 401);
    let open = Broker::start();
    assert_eq!(Http::of(&open).anonymous_status("/metrics"), 200);
}

/// `promtool` comes with Prometheus (Debian: the package `prometheus`). `PROMTOOL` may name it.
#[test]
fn promtool_has_no_complaint() {
    let promtool = std::env::var("PROMTOOL").unwrap_or_else(|_| "promtool".to_owned());
    if Command::new(&promtool).arg("--version").output().is_err() {
        panic!("no {promtool}: apt-get install prometheus, or say where it is with PROMTOOL");
    }
    let (_broker, http, _peer) = busy();
    let families = "family=queue_metrics&family=channel_metrics&family=exchange_metrics&family=exchange_bindings";
    for path in [
        "/metrics",
        "/metrics/per-object",
        &format!("/metrics/detailed?{families}"),
    ] {
        let page = http.text(path);
        let mut check = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        check
            .stdin
            .take()
            .unwrap()
            .write_all(page.as_bytes())
            .unwrap();
        let output = check.wait_with_output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && complaints.is_empty(),
            "{path}: {complaints}"
        );
    }
}

#[test]
fn dead_letters_that_go_nowhere_are_counted_also_when_their_queue_is_gone() {
    let (_broker, http, mut peer) = started();
    let exchange = AMQPValue::LongString("missing".into());
    peer.declare(
        1,
        queue::Declare {
            arguments: table([("x-dead-letter-exchange", exchange)]),
            ..durable_queue("losing")
        },
    );
    peer.fill("losing", &["a", "b"]);
    for body in ["a", "b"] {
        let got = peer.get(1, "losing", false).expect(body);
        peer.reject(1, got.method.delivery_tag, false);
    }
    assert_eq!(peer.counts(1, "losing"), (0, 0));
    let of_all = "leveret_dead_letters_dropped_total{reason=\"missing_exchange\"}";
    let of_queue = "leveret_queue_dead_letters_dropped_total\
                    {vhost=\"/\",queue=\"losing\",reason=\"missing_exchange\"}";
    let page = http.text("/metrics/per-object");
    assert_eq!(value(&page, of_queue), Some(2.0), "{page}");
    peer.delete_queue(1, "losing");
    let page = http.text("/metrics");
    assert_eq!(value(&page, of_all), Some(2.0));
    let unroutable = "leveret_dead_letters_dropped_total{reason=\"unroutable\"}";
    assert_eq!(value(&page, unroutable), Some(0.0));
}
