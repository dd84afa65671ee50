//! aio-pika (Python, asyncio), whose robust connections restore themselves when the broker is back.

use std::process::Command;

use crate::{
    clients::{Program, python, run_python, scenarios, source},
    support::{Broker, foreign_broker},
};

scenarios!(
    run_python,
    "aio_pika_client.py",
    [
        publishes_consumes_and_gets,
        raises_on_returned_messages,
        rejects_requeues_and_dead_letters,
        reports_channel_exceptions,
        calls_through_its_rpc_pattern,
        commits_transactions,
    ]
);

#[test]
fn survives_a_broker_restart() {
    across_a_restart("survives_a_broker_restart");
}

#[test]
fn finds_its_messages_after_a_broker_restart() {
    across_a_restart("finds_its_messages_after_a_broker_restart");
}

/// Runs a scenario that says `ready` when the broker may go, and goes on when told.
fn across_a_restart(scenario: &str) {
    if foreign_broker() {
        eprintln!("not run against another broker: it cannot be restarted from here");
        return;
    }
    let mut broker = Broker::start();
    let mut command = Command::new(python());
    command
        .arg(source("python/aio_pika_client.py"))
        .arg(scenario);
    let mut client = Program::start(&mut command, &broker.amqp_uri());
    client.wait_for("ready");
    broker.restart();
    client.say("the broker is back");
    client.finish();
}
