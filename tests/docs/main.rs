//! The documentation, held to what it says: links lead somewhere, configurations and JSON are read, commands have
//! arguments that the program takes, programs run against the real binary, and replies are those that the broker sends.
//!
//! Python and Node are those of the interoperability tests, with the same libraries below `target/interop`. Programs in
//! languages that need more are run by `cargo test --test docs -- --ignored`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and its panic is the report"
)]

mod alerts;
mod blocks;
mod commands;
mod links;
mod page;
mod replies;
mod requests;
mod snippets;

#[path = "../support/mod.rs"]
mod support;

#[path = "../interop/clients.rs"]
#[allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "other tests use the rest of it"
)]
mod clients;
