//! `leveret healthcheck` and `leveret status`.

use std::process::{Command, Output};

use crate::{
    broker::Broker,
    requests::{http, send},
};

fn leveret(broker: &Broker, arguments: &[&str]) -> Output {
    let address = http(broker).to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    command.args(["--http-listen", &address]).args(arguments);
    command.output().unwrap()
}

fn text(output: &Output) -> String {
    let both = [&*output.stdout, &*output.stderr].concat();
    String::from_utf8(both).unwrap()
}

#[test]
fn the_healthcheck_succeeds_while_the_broker_serves_and_fails_without_it() {
    let mut broker = Broker::start();
    let healthy = leveret(&broker, &["healthcheck"]);
    assert!(healthy.status.success(), "{}", text(&healthy));
    broker.kill();
    let dead = leveret(&broker, &["healthcheck"]);
    assert_eq!(dead.status.code(), Some(1));
    assert!(text(&dead).contains("no answer from"), "{}", text(&dead));
}

#[test]
fn a_full_broker_is_not_healthy() {
    let broker = Broker::start_with_options(&[("LEVERET_AMQP_CONNECTION_MAX", "1")]);
    let stream = std::net::TcpStream::connect(broker.amqp_address()).unwrap();
    // Nobody has logged in yet, so there is still a place.
    assert!(leveret(&broker, &["healthcheck"]).status.success());
    drop(stream);
}

#[test]
fn the_status_shows_what_there_is_to_who_may_see_it() {
    let broker = Broker::start();
    send(&broker, "PUT", "/api/exchanges/%2F/mine", "{}");
    let shown = leveret(&broker, &["status"]);
    assert!(shown.status.success(), "{}", text(&shown));
    let shown = text(&shown);
    for line in [
        "version      Leveret ",
        "exchanges    8",
        "alarms       none",
        "listener     amqp on ",
    ] {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
    let refused = leveret(&broker, &["status", "--user", "nobody", "--password", "x"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("may not ask"), "{}", text(&refused));
}
