//! What survives. The real binary is ended in good order and with `kill -9`, at random moments, and started again on the
//! same data: what was confirmed is there, in order; what was settled stays away; a transaction happened whole or not at
//! all; counts, flags and durable definitions come back.
//!
//! Moments come from a seed that is the same each time, as far as the scheduling of processes lets it; with another
//! `LEVERET_TEST_SEED` there are others. `LEVERET_STORE_ENGINE` chooses the engine, `LEVERET_TEST_KILLS` the number of kills, and
//! `LEVERET_TEST_SOAK` the minutes of the soak.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed step is a failed test, and its panic is the report"
)]

use rand::{SeedableRng, rngs::StdRng};
use support::{Broker, foreign_broker};

#[path = "../support/client.rs"]
mod client;
#[path = "../support/mod.rs"]
mod support;

mod bit_flips;
mod chain;
mod dead_letter;
mod definitions;
mod full_disk;
mod kill;
mod ledger;
mod many_queues;
mod mixed;
mod moves;
mod poison;
mod priorities;
mod purge;
mod refusals;
mod restart;
mod soak;
mod transactions;

/// A broker of our own; another one cannot be killed from here.
fn mortal_broker() -> Option<Broker> {
    mortal_broker_with(&[])
}

/// The same with options from the environment.
fn mortal_broker_with(options: &[(&str, String)]) -> Option<Broker> {
    if foreign_broker() {
        eprintln!("not run against another broker: it cannot be killed from here");
        return None;
    }
    let options: Vec<_> = options
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    Some(Broker::start_with_options(&options))
}

fn random() -> StdRng {
    let chosen = std::env::var("LEVERET_TEST_SEED").ok();
    let seed = chosen.and_then(|text| text.parse().ok()).unwrap_or(1);
    eprintln!("LEVERET_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
