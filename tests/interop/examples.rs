//! The programs in `examples/`, as a newcomer runs them.

use std::{path::PathBuf, process::Command};

use crate::{
    clients::{python, run},
    support::Broker,
};

const DEAD_LETTER_QUEUE: &str = "notification-service.dead-letter";

/// Cargo builds the examples along with the tests and puts them beside them.
fn example(name: &str) -> Command {
    let test = std::env::current_exe().expect("the path of this test");
    let profile = test.ancestors().nth(2).expect("target/debug");
    Command::new(profile.join("examples").join(name))
}

fn order_pipeline(program: &str) -> Command {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/order-pipeline");
    let mut command = Command::new(python());
    command.arg(folder.join(program));
    command
}

/// Runs an example on its own broker, as its queues have fixed names, and looks for a line.
fn prints(name: &str, line: &str) {
    let broker = Broker::start();
    let printed = run(&mut example(name), &broker.amqp_uri());
    assert!(
        printed.lines().any(|l| l == line),
        "no {line:?} in:\n{printed}"
    );
}

#[test]
fn hello() {
    prints("hello", "received 'Hello World!'");
}

#[test]
fn client() {
    prints("client", "received: Hello World!");
}

#[test]
fn work_queue() {
    prints("work_queue", "worker-1 did 'first.'");
}

#[test]
fn publish_subscribe() {
    prints("publish_subscribe", "file: done");
}

#[test]
fn routing() {
    prints("routing", "pager: [error] it broke");
}

#[test]
fn topics() {
    prints("topics", "rabbits and lazy ones: lazy.hare");
}

#[test]
fn rpc() {
    prints("rpc", "fibonacci(30) = 832040");
}

#[test]
fn confirms() {
    prints("confirms", "returned: 312 NO_ROUTE");
}

#[test]
fn failing_orders_end_in_the_dead_letter_queue() {
    let broker = Broker::start();
    let uri = broker.amqp_uri();
    run(
        order_pipeline("notification_service.py").arg("--declare-only"),
        &uri,
    );
    // Only another broker can have something left from an earlier run.
    crate::client::blocking(&uri, async |channel| {
        for queue in ["notification-service", DEAD_LETTER_QUEUE] {
            crate::client::purge(channel, queue).await;
        }
    });
    run(order_pipeline("publisher.py").arg("10"), &uri);
    let printed = run(
        order_pipeline("notification_service.py").args(["--count", "10"]),
        &uri,
    );
    assert!(
        printed.contains("order 9: mail to customer9@example.com"),
        "{printed}"
    );

    let dead = crate::client::blocking(&uri, async |channel| {
        crate::client::drain(channel, DEAD_LETTER_QUEUE).await
    });
    assert_eq!(
        crate::client::bodies(&dead),
        [r#"{"id": 5, "amount": 50}"#, r#"{"id": 10, "amount": 100}"#]
    );
}
