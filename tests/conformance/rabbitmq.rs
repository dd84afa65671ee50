//! The same tests against Debian's RabbitMQ: whatever queues do there is what they do here. Where RabbitMQ 3.10 is known to
//! differ, a test says so itself (`leveret_only!`, `foreign_broker`).

use std::{
    env,
    io::{Read as _, Seek as _},
    process::Command,
    time::Instant,
};

use crate::leveret_only;
use crate::support::{PATIENCE, pause};
use debian::RabbitMq;

#[path = "../support/rabbitmq.rs"]
#[allow(dead_code, reason = "other tests use the rest of it")]
mod debian;

/// What is tried there: what queues and their consumers can do.
const MODULES: &[&str] = &[
    "consume::",
    "copies::",
    "dead_letter::",
    "delivery_limit::",
    "priorities::",
    "queue_arguments::",
    "single_active_consumer::",
    "ttl::",
];

#[test]
fn queues_do_the_same_in_debians_rabbitmq() {
    leveret_only!("the tests that it would run are running");
    let rabbit = RabbitMq::start("[].");
    let tests = env::current_exe().expect("the path of the tests");
    let mut file = tempfile::tempfile().expect("a file");
    let mut run = Command::new(tests)
        .args(MODULES)
        .env("LEVERET_TEST_AMQP", rabbit.amqp().to_string())
        .stdout(file.try_clone().expect("the file"))
        .spawn()
        .expect("the tests");
    let deadline = Instant::now() + 3 * PATIENCE;
    let ended = loop {
        match run.try_wait().expect("the tests") {
            None if Instant::now() < deadline => pause(),
            ended => break ended,
        }
    };
    let _ = run.kill();
    let mut printed = String::new();
    file.rewind().expect("the file");
    file.read_to_string(&mut printed).expect("what was printed");
    let succeeded = ended.is_some_and(|status| status.success());
    assert!(succeeded, "{ended:?}: {printed}");
    for module in MODULES {
        assert!(printed.contains(&format!("test {module}")), "{module}");
    }
}
