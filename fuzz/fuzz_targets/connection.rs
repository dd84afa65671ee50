//! Two clients that do anything to one broker; see `exercise.rs` for what must hold.
//!
//! Run with `cargo +nightly fuzz run connection`. Its corpus is replayed by `cargo test --test state_machine`.
#![no_main]
#![allow(dead_code)]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/state_machine/client.rs"]
mod client;
#[path = "../../tests/state_machine/exercise.rs"]
mod exercise;
#[path = "../../tests/state_machine/operations.rs"]
mod operations;
#[path = "../../tests/state_machine/wire.rs"]
mod wire;

fuzz_target!(|data: &[u8]| exercise::exercise(data));
