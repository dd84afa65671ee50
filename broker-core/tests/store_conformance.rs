//! The rules that every message store and every store of definitions keeps, run against each implementation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

#[path = "store/crash.rs"]
mod crash;
#[path = "store/definitions.rs"]
mod definitions;
#[path = "store/messages.rs"]
mod messages;
#[path = "store/model.rs"]
mod model;
#[path = "store/support.rs"]
mod support;
