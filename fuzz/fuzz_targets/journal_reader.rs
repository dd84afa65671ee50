//! Arbitrary bytes as the files of the journal's log: reading gives whole groups only, and never panics.
//!
//! Run with `cargo +nightly fuzz run journal_reader`. Its corpus is replayed by `cargo test -p broker-core`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| broker_core::journal::exercise_reader(data));
