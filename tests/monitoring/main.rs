//! What operators see of a running broker: statistics and rates over HTTP, in RabbitMQ's form, and metrics for
//! Prometheus. With the real binary and a scripted client.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed step is a failed test, and its panic is the report"
)]

mod connections;
mod fields;
mod http;
mod metrics;
mod queues;
mod rates;
#[path = "../support/mod.rs"]
mod support;
