//! Arbitrary bytes as items, blocks, segments and edits of a journal: nothing panics, verifying changes nothing, only whole
//! blocks are delivered, and a repair leaves a whole journal.
//!
//! Run with `cargo +nightly fuzz run journal_files -- -malloc_limit_mb=16`: inputs of a few KiB must not cost more memory.
//! Its corpus is replayed by `cargo test -p broker-core`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| broker_core::journal::exercise_files(data));
