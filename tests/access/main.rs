//! Who may do what, over real connections: logins, permissions, vhosts, limits. The broker runs in the test's own
//! process, so that a test can change users and permissions while clients are connected.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a failed step is a failed test, and its panic is the report"
)]

mod alarms;
mod audit;
mod guesses;
mod half_open;
mod imported;
mod logins;
mod outside;
mod permissions;
mod served;
mod service;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod tokens;
mod topic_permissions;
mod vhosts;
mod web;
