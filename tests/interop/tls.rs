//! Real clients over TLS: pika and amqplib, with passwords and with certificates that the test makes.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    clients::{node, python, run, source},
    leveret_only,
    support::{Broker, PATIENCE, certificates::Authority},
};

/// Runs a program's scenario against a broker that speaks TLS.
fn run_over_tls(mut program: Command, scenario: &str) {
    let authority = Authority::new();
    let (server, client) = (authority.server("server"), authority.client("guest"));
    let text = |path: &std::path::Path| path.to_str().expect("a path in UTF-8").to_owned();
    let broker = Broker::start_with_options(&[
        ("LEVERET_TLS_LISTEN", "127.0.0.1:0"),
        ("LEVERET_TLS_CERTIFICATE", &text(&server.certificate)),
        ("LEVERET_TLS_KEY", &text(&server.key)),
        ("LEVERET_TLS_CLIENT_CERTIFICATES", "optional"),
        ("LEVERET_TLS_CLIENT_CA", &text(&authority.root())),
    ]);
    let deadline = Instant::now() + PATIENCE;
    let line = loop {
        let mut lines = broker.log().into_iter();
        if let Some(line) = lines.find(|line| line.contains("over TLS on ")) {
            break line;
        }
        assert!(Instant::now() < deadline, "it does not listen");
        std::thread::sleep(Duration::from_millis(5));
    };
    let (_, address) = line.rsplit_once(' ').expect("an address");
    let (_, port) = address.rsplit_once(':').expect("a port");
    program
        .arg(scenario)
        .env("CA", authority.root())
        .env("CERTIFICATE", &client.certificate)
        .env("KEY", &client.key);
    let uri = format!("amqps://guest:guest@localhost:{port}/%2f");
    run(&mut program, &uri);
}

fn pika(scenario: &str) {
    let mut program = Command::new(python());
    program.arg(source("python").join("pika_tls.py"));
    run_over_tls(program, scenario);
}

fn amqplib(scenario: &str) {
    let mut program = Command::new("node");
    program.arg(node().join("amqplib_tls.mjs"));
    run_over_tls(program, scenario);
}

#[test]
fn pika_speaks_tls() {
    leveret_only!("the certificates are the test's own");
    pika("speaks_tls");
    pika("speaks_tls_1_2");
}

#[test]
fn pika_logs_in_with_a_certificate() {
    leveret_only!("the certificates are the test's own");
    pika("logs_in_with_a_certificate");
}

#[test]
fn pika_does_not_trust_a_broker_of_another_authority() {
    leveret_only!("the certificates are the test's own");
    pika("trusts_nobody_else");
}

#[test]
fn amqplib_speaks_tls() {
    leveret_only!("the certificates are the test's own");
    amqplib("speaks_tls");
}

#[test]
fn amqplib_logs_in_with_a_certificate() {
    leveret_only!("the certificates are the test's own");
    amqplib("logs_in_with_a_certificate");
}
