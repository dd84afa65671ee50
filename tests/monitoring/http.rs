//! A client of the HTTP API, as small as can be.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{Broker, PATIENCE, Peer};

/// `guest:guest`.
const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";

/// Sends requests as `guest`.
#[derive(Debug, Clone, Copy)]
pub struct Http(SocketAddr);

/// A broker, and clients of both kinds.
pub fn started() -> (Broker, Http, Peer) {
    let broker = Broker::start();
    let peer = Peer::connect_to(&broker);
    let http = Http::of(&broker);
    (broker, http, peer)
}

impl Http {
    /// A client of this broker.
    pub fn of(broker: &Broker) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // It is printed a moment after the port for AMQP answers.
            if let Some(address) = broker.http_address() {
                return Self(address);
            }
            assert!(Instant::now() < deadline, "no HTTP port");
            crate::support::pause();
        }
    }

    /// A broker that starts again listens for AMQP first.
    fn connect(&self) -> TcpStream {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect(self.0) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            crate::support::pause();
        }
    }

    /// Status and body of the answer.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = self.connect();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        // HTTP/1.0: the answer comes in one piece.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: here\r\nAuthorization: {GUEST}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        )
        .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).expect("a status");
        (status.parse().unwrap(), body.to_owned())
    }

    /// The status of the answer to a request without credentials.
    pub fn anonymous_status(&self, path: &str) -> u16 {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: here\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).expect("a status").parse().unwrap()
    }

    /// What is there.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let (status, body) = self.send("GET", path, "", "");
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    /// The text that is there.
    #[track_caller]
    pub fn text(&self, path: &str) -> String {
        let (status, body) = self.send("GET", path, "", "");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// The status and the JSON of the answer to a request with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, answer) = self.send("POST", path, "", &body.to_string());
        (status, serde_json::from_str(&answer).unwrap_or_default())
    }

    /// Asks until what is there is as wanted, and says how long that took.
    #[track_caller]
    pub fn wait_for(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> (Value, Duration) {
        let started = Instant::now();
        loop {
            let found = self.get(path);
            if wanted(&found) {
                return (found, started.elapsed());
            }
            assert!(started.elapsed() < PATIENCE, "{path}: {found:#}");
            crate::support::pause();
        }
    }
}

/// A name in a path.
pub fn encoded(name: &str) -> String {
    let bytes = name.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    bytes.collect()
}
