//! The HTTP API of the real binary, asked by the tools that people have for RabbitMQ's, and the commands that ask it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and its panic is the report"
)]

mod commands;
mod compared;
mod dead_letters;
mod definitions;
mod http_client;
mod openapi;
mod rabbitmqadmin;
mod rabbitmqadmin_in_rust;
mod requests;
mod schemathesis;

#[path = "../support/rabbitmq.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod rabbitmq;

#[path = "../support/broker.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod broker;
