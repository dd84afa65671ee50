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
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(address) = broker.http_address() {
            return address;
        }
        assert!(Instant::now() < deadline, "no HTTP API");
        crate::broker::pause();
    }
}

/// A broker that has just been restarted may not listen for HTTP yet.
fn connect(address: SocketAddr) -> TcpStream {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < deadline, "{address}: {error}"),
        }
        crate::broker::pause();
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
    body: (&str, &str),
) -> Answer {
    send_to(http(broker), user, method, path, body)
}

/// The same to any address.
pub fn send_to(
    address: SocketAddr,
    user: &str,
    method: &str,
    path: &str,
    (kind, body): (&str, &str),
) -> Answer {
    let mut stream = connect(address);
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
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

#[test]
fn a_connection_is_kept_for_the_next_request_and_closed_when_the_broker_stops() {
    let mut broker = Broker::start();
    let mut stream = TcpStream::connect(http(&broker)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    for _ in 0..2 {
        stream
            .write_all(b"GET /api/version HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(broker.stop().success());
    assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
}
