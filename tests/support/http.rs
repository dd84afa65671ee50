//! Requests to the HTTP API of a broker, as JSON, one connection each.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Instant,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{Broker, PATIENCE};

/// Somebody who uses the API.
#[derive(Debug, Clone)]
pub struct Http {
    address: SocketAddr,
    credentials: String,
}

/// What the API answered.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, null if it is none.
    pub body: Value,
}

impl Http {
    /// The user guest, who may do everything.
    pub fn guest(broker: &Broker) -> Self {
        Self::user(broker, "guest", "guest")
    }

    /// A user.
    pub fn user(broker: &Broker, user: &str, password: &str) -> Self {
        // It is told a moment after the port for AMQP answers.
        let deadline = Instant::now() + PATIENCE;
        let address = loop {
            match broker.http_address() {
                Some(address) => break address,
                None => assert!(Instant::now() < deadline, "no HTTP port"),
            }
            crate::support::pause();
        };
        Self {
            address,
            credentials: BASE64_STANDARD.encode(format!("{user}:{password}")),
        }
    }

    /// Where the API is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a request and waits for the answer.
    pub fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut stream = self.connect();
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: leveret\r\nAuthorization: Basic {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.credentials,
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Answer {
            status: status.expect("a status"),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    /// The port for AMQP answers a moment before this one.
    fn connect(&self) -> TcpStream {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => return stream,
                Err(error) => assert!(Instant::now() < deadline, "the HTTP port: {error}"),
            }
            crate::support::pause();
        }
    }

    /// A request that must be answered with 200 or 202.
    #[track_caller]
    pub fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.send("POST", path, Some(body));
        assert!([200, 202].contains(&answer.status), "{path}: {answer:?}");
        answer.body
    }

    /// A request that must be answered with 200.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.send("GET", path, None);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// A request that must be answered with 204, or 201 for something new.
    #[track_caller]
    pub fn done(&self, method: &str, path: &str, body: Option<Value>) {
        let answer = self.send(method, path, body);
        assert!([201, 204].contains(&answer.status), "{path}: {answer:?}");
    }
}
