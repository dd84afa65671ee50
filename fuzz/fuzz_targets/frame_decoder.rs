//! Arbitrary bytes through every parser of the codec; what is understood must survive a round trip.
//!
//! Run with `cargo +nightly fuzz run frame_decoder`. Its corpus is replayed by `cargo test -p amqp-codec`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| amqp_codec::exercise(data));
