//! What every whole-broker test needs: a Leveret of its own, on a free port, with its data in a
//! temporary folder. Each test crate says `#[path = "../support/mod.rs"] mod support;`.
#![allow(
    dead_code,
    reason = "each test crate uses a part of what is shared between them"
)]

pub mod broker;

#[allow(
    unused_imports,
    reason = "some crates only use the modules they name in full"
)]
pub use broker::Broker;
