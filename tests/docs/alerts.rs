//! The alerts for Prometheus and the dashboard for Grafana name metrics that the broker has.

use std::collections::HashSet;
use std::fs;

use crate::page;
use crate::replies::{http_get, with_http};
use crate::support::Broker;

#[test]
fn every_metric_of_alerts_and_dashboard_is_one_of_the_broker() {
    let broker = Broker::start();
    let metrics = http_get(with_http(&broker), "/metrics");
    let known: HashSet<&str> = metrics
        .lines()
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for file in ["docs/alerts.yaml", "docker/grafana/dashboards/leveret.json"] {
        let text = fs::read_to_string(page::root().join(file)).unwrap();
        let named = metrics_in(&text);
        assert!(named.len() > 10, "{file}: {named:?}");
        // the same by queue, in /metrics/detailed
        let summed = |name: &&String| name.replace("rabbitmq_detailed_", "rabbitmq_");
        let unknown: Vec<&String> = named
            .iter()
            .filter(|name| !known.contains(summed(name).as_str()))
            .collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

fn metrics_in(text: &str) -> HashSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("rabbitmq_") || word.starts_with("leveret_"))
        .map(str::to_owned)
        .collect()
}
