//! Requests as they are sent, for what no tool asks.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::broker::Broker;

/// Where the HTTP API listens, as soon as the broker has said it.
pub fn http(broker: &Broker) -> SocketAddr {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(address) = broker.http_address() {
            return address;
        }
        assert!(Instant::now() < deadline, "no HTTP API");
        std::thread::yield_now();
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

/// Sends a request as `guest`.
pub fn send(broker: &Broker, method: &str, path: &str, body: &str) -> Answer {
    send_as(
        broker,
        "guest:guest",
        method,
        path,
        ("application/json", body),
    )
}

/// Sends a request as this user, with a body of this type.
pub fn send_as(
    broker: &Broker,
    user: &str,
    method: &str,
    path: &str,
    (kind, body): (&str, &str),
) -> Answer {
    let address = http(broker);
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let user = BASE64_STANDARD.encode(user);
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nAuthorization: Basic {user}\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: serde_json::from_str(body).unwrap_or_default(),
    }
}

#[test]
fn a_body_that_is_too_long_is_refused_and_the_broker_lives_on() {
    let broker = Broker::shared();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(20_000_001));
    let answer = send(&broker, "PUT", "/api/users/u", &long);
    assert_eq!(answer.status, 400);
    let reason = "Exceeded HTTP request body size limit";
    assert_eq!(answer.body["reason"], reason);
    assert_eq!(send(&broker, "GET", "/api/whoami", "").status, 200);
}

#[test]
fn no_other_site_may_read_answers() {
    let broker = Broker::shared();
    let answer = send(&broker, "OPTIONS", "/api/users", "");
    assert_eq!(answer.status, 200);
    assert!(
        !answer.head.to_lowercase().contains("access-control"),
        "{}",
        answer.head
    );
}
