//! The same tests against Debian's RabbitMQ: whatever queues do there is what they do here. Where RabbitMQ 3.10 is known to
//! differ, a test says so itself (`leveret_only!`, `foreign_broker`).

use std::{env, process::Command};

use crate::leveret_only;
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
    let run = Command::new(tests)
        .args(MODULES)
        .env("LEVERET_TEST_AMQP", rabbit.amqp().to_string())
        .output()
        .expect("the tests");
    let printed = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{printed}");
    for module in MODULES {
        assert!(printed.contains(&format!("test {module}")), "{module}");
    }
}
