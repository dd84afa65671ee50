//! Real clients over TLS: pika, amqplib and lapin, with passwords and with certificates that the test makes.

use std::{path::Path, process::Command};

use lapin::{Connection, ConnectionProperties, options::ConfirmSelectOptions, tcp::OwnedTLSConfig};

use crate::{
    client::{declare_exclusive, message_count, publish_confirmed},
    clients::{node, python, run, source},
    leveret_only,
    support::{Broker, certificates::Authority},
};

/// A broker that speaks TLS, and the certificates around it.
struct Scene {
    authority: Authority,
    /// Keeps running while the value lives.
    _broker: Broker,
    uri: String,
}

impl Scene {
    fn start() -> Self {
        let authority = Authority::new();
        let server = authority.server("server");
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
        let broker = Broker::start_with_options(&[
            ("LEVERET_TLS_LISTEN", "127.0.0.1:0"),
            ("LEVERET_TLS_CERTIFICATE", &text(&server.certificate)),
            ("LEVERET_TLS_KEY", &text(&server.key)),
            ("LEVERET_TLS_CLIENT_CERTIFICATES", "optional"),
            ("LEVERET_TLS_CLIENT_CA", &text(&authority.root())),
        ]);
        let line = broker.await_line("where it listens", |line| {
            line.contains("AMQP 0-9-1 over TLS on ")
        });
        let (_, port) = line.rsplit_once(':').expect("a port");
        let uri = format!("amqps://guest:guest@localhost:{port}/%2f");
        Self {
            authority,
            _broker: broker,
            uri,
        }
    }
}

/// Runs a program's scenario against a broker that speaks TLS.
fn run_over_tls(mut program: Command, scenario: &str) {
    let scene = Scene::start();
    let client = scene.authority.client("guest");
    program
        .arg(scenario)
        .env("CA", scene.authority.root())
        .env("CERTIFICATE", &client.certificate)
        .env("KEY", &client.key);
    run(&mut program, &scene.uri);
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

#[tokio::test]
async fn lapin_speaks_tls() {
    leveret_only!("the certificates are the test's own");
    let scene = Scene::start();
    let root = std::fs::read_to_string(scene.authority.root()).expect("the root");
    let config = OwnedTLSConfig {
        identity: None,
        cert_chain: Some(root),
    };
    let properties = ConnectionProperties::default();
    let runtime = lapin::runtime::default_runtime().expect("a runtime");
    let connection = Connection::connect_with_config(&scene.uri, properties, config, runtime).await;
    let connection = connection.expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    let queue = declare_exclusive(&channel).await;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirms");
    let body = vec![b'x'; 1_000_000];
    let returned = publish_confirmed(&channel, "", &queue, &body).await;
    assert!(returned.is_none(), "not routed");
    assert_eq!(message_count(&channel, &queue).await, 1);
    connection.close(200, "bye".into()).await.expect("a close");
}
