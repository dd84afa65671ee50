//! Random operations against a tiny reference model of queues and exchanges and, over a socket,
//! against the real broker. Where the two differ, proptest shrinks the operations to the few that
//! show it. The sequences are the same each time; `LEVERET_TEST_SEED=$RANDOM` tries others, and
//! `LEVERET_TEST_CASES` sets how many there are.
//!
//! [`operation`] says what can happen, [`reference`] what should come of it, [`system`] does it. Queues have
//! [`features`]; a time to live is nothing or an hour, so that no test depends on a clock. Time itself is the business of
//! the core's own model tests, where it is virtual (`broker-core/src/queue/paging_tests.rs`).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed step is a failed test, and its panic is the report"
)]

mod features;
mod operation;
mod queue;
mod reference;
mod system;

#[path = "../support/client.rs"]
mod client;
#[path = "../support/mod.rs"]
mod support;

use operation::Operation;
use proptest::{
    collection::vec,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use reference::Reference;
use support::Broker;
use system::System;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn runner() -> TestRunner {
    let seed = from_environment("LEVERET_TEST_SEED").unwrap_or(1);
    eprintln!("LEVERET_TEST_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: from_environment("LEVERET_TEST_CASES").map_or(60, |cases| cases as u32),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Does the operations one after another and compares every answer.
async fn compare(uri: &str, operations: &[Operation]) -> Result<(), String> {
    let mut reference = Reference::default();
    let mut system = System::connect(uri).await;
    let mut difference = Ok(());
    for (step, operation) in operations.iter().enumerate() {
        if !reference.allows(operation) {
            continue;
        }
        let expected = reference.apply(operation);
        let got = system.apply(operation).await;
        if expected != got {
            difference = Err(format!(
                "step {step}, {operation:?}: expected {expected:?}, got {got:?}"
            ));
            break;
        }
    }
    system.close().await;
    difference
}

#[test]
fn the_broker_does_what_the_reference_does() {
    check(&Broker::start());
}

/// Nearly everything is paged out at once, and read back when somebody wants it.
#[test]
fn the_broker_does_so_without_memory_for_messages() {
    let budget = ("LEVERET_MEMORY_MESSAGE_BUDGET", "256");
    check(&Broker::start_with_options(&[budget]));
}

fn check(broker: &Broker) {
    let uri = broker.amqp_uri();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let result = runner().run(&vec(operation::any_operation(), 1..80), |operations| {
        runtime
            .block_on(compare(&uri, &operations))
            .map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, operations)) => panic!("{why}\nafter {operations:#?}"),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}
