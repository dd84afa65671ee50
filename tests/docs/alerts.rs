//! The alerts for Prometheus name metrics that the broker has.

use std::collections::HashSet;
use std::fs;

use crate::page;
use crate::replies::{http_get, with_http};
use crate::support::Broker;

#[test]
fn every_metric_of_the_alerts_is_one_of_the_broker() {
    let broker = Broker::start();
    let metrics = http_get(with_http(&broker), "/metrics");
    let known: HashSet<&str> = metrics
        .lines()
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let rules = fs::read_to_string(page::root().join("docs/alerts.yaml")).unwrap();
    let words = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let named: HashSet<&str> = words
        .filter(|word| word.starts_with("rabbitmq_") || word.starts_with("leveret_"))
        .collect();
    assert!(named.len() > 10, "{named:?}");
    let unknown: Vec<&&str> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
