//! One request to the HTTP API of the broker on this machine, over a connection of its own.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::{config::Config, error::Error};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes.
const LONGEST: u64 = 16 << 20;

/// Where the API listens.
pub(super) struct Api(SocketAddr);

/// What it says.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Api {
    /// The first address of `http.listen`, reached from this machine.
    ///
    /// # Errors
    /// There is none, or its port was left to the system.
    pub(super) fn of(config: &Config) -> Result<Self, Error> {
        let mut address = *config.http.listen.first().ok_or_else(|| {
            fault("http.listen is empty, so there is nothing to ask; HTTP over TLS is not enough")
        })?;
        if address.port() == 0 {
            return Err(fault("http.listen leaves the port to the system; name one"));
        }
        if address.ip().is_unspecified() {
            match address {
                SocketAddr::V4(_) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
                SocketAddr::V6(_) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            }
        }
        Ok(Self(address))
    }

    /// Asks for one path.
    ///
    /// # Errors
    /// Nobody answers there, or not in HTTP.
    pub(super) fn get(&self, path: &str, login: Option<(&str, &str)>) -> Result<Answer, Error> {
        let answer = self.exchange(path, login);
        let answer =
            answer.map_err(|error| fault(format!("no answer from {}: {error}", self.0)))?;
        let parsed = parse(&answer);
        parsed.ok_or_else(|| fault(format!("what listens on {} does not speak HTTP", self.0)))
    }

    fn exchange(&self, path: &str, login: Option<(&str, &str)>) -> std::io::Result<Vec<u8>> {
        let mut stream = self.connect()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let login = login.map(|(user, password)| {
            let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
            format!("Authorization: Basic {encoded}\r\n")
        });
        // In HTTP/1.0 the answer ends with the connection, and has no chunks.
        let login = login.unwrap_or_default();
        let host = self.0;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n{login}\r\n")?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer)?;
        Ok(answer)
    }

    /// A listener on `[::]` serves IPv4 too, and is reached that way where there is no IPv6.
    fn connect(&self) -> std::io::Result<TcpStream> {
        let connected = TcpStream::connect_timeout(&self.0, PATIENCE);
        match connected {
            Err(_) if self.0.ip() == Ipv6Addr::LOCALHOST => {
                let other = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), self.0.port());
                TcpStream::connect_timeout(&other, PATIENCE)
            }
            connected => connected,
        }
    }
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut line = head.lines().next()?.split(' ');
    let status = line.nth(1)?.parse().ok()?;
    let body = serde_json::from_str(body).unwrap_or_default();
    Some(Answer { status, body })
}

pub(super) fn fault(text: impl Into<String>) -> Error {
    Error::Inspect(text.into())
}
