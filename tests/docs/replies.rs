//! The texts in `docs/troubleshooting.md` are those that the broker sends: a program does what is wrong, and what is
//! too hard to bring about stands in the source.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::clients::{python, run};
use crate::page::{self, Page};
use crate::support::Broker;

/// Stands for what differs.
const GAP: char = '…';

#[test]
fn the_texts_of_the_troubleshooting_page_are_those_of_the_broker() {
    // a limit that is reached without a large message
    let broker = Broker::start_with_options(&[("LEVERET_AMQP_MAX_MESSAGE_SIZE", "65536")]);
    let mut program = Command::new(python());
    program.arg(page::root().join("tests/docs/replies.py"));
    program.env("HTTP_URL", format!("http://{}", with_http(&broker)));
    let printed = run(&mut program, &broker.amqp_uri());
    let sent: Vec<&str> = printed
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.1))
        .collect();
    let source = source();

    let page = Page::read(Path::new("docs/troubleshooting.md"));
    let texts: Vec<&(String, usize)> = page
        .code_cells
        .iter()
        .filter(|(text, _)| is_reply(text))
        .collect();
    for (text, line) in &texts {
        let explanation = text.split_once(" - ").unwrap().1;
        assert!(
            sent.iter().any(|it| fits(text, it))
                || pieces(explanation).all(|it| source.contains(it)),
            "{}: the broker sends no such text: {text}\n{printed}",
            page.place(*line)
        );
    }
    for text in sent.iter().filter(|it| is_reply(it)) {
        assert!(
            texts.iter().any(|(known, _)| fits(known, text)),
            "missing on the page: {text}"
        );
    }
}

/// `NOT_FOUND - no queue ...`
fn is_reply(text: &str) -> bool {
    let name = text.split_once(" - ").map(|(name, _)| name);
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
}

fn pieces(pattern: &str) -> impl Iterator<Item = &str> {
    pattern
        .split(GAP)
        .map(str::trim)
        .filter(|piece| !piece.is_empty())
}

/// Whether the text is the pattern with something in each of its gaps.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split(GAP);
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap()) else {
        return false;
    };
    let mut ended_in_gap = false;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        ended_in_gap = part.is_empty();
    }
    rest.is_empty() || ended_in_gap
}

#[test]
fn a_pattern_fits_texts_with_something_in_its_gaps() {
    assert!(fits(
        "no queue '…' in vhost '…'",
        "no queue 'q' in vhost '/'"
    ));
    assert!(fits("size …", "size 7"));
    assert!(!fits(
        "no queue '…' in vhost '…'",
        "no exchange 'q' in vhost '/'"
    ));
    assert!(!fits("no queue '…'", "no queue 'q' in vhost '/'"));
}

/// All of the source, with texts that go on over lines in one piece.
fn source() -> String {
    let mut all = String::new();
    for folder in [
        "src",
        "broker-core/src",
        "amqp-codec/src",
        "auth-backends/src",
        "management-api/src",
    ] {
        read_folder(&page::root().join(folder), &mut all);
    }
    let lines: Vec<&str> = all.split("\\\n").collect();
    let joined: Vec<&str> = lines.iter().map(|it| it.trim_start()).collect();
    joined.concat()
}

fn read_folder(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(&path, all);
        } else if path.extension().is_some_and(|it| it == "rs") {
            all.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// The address of the broker's HTTP API, which it prints after the one for AMQP.
pub fn with_http(broker: &Broker) -> SocketAddr {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(address) = broker.http_address() {
            return address;
        }
        assert!(Instant::now() < deadline, "no HTTP listener");
        crate::support::pause();
    }
}

/// Asks for a path without logging in, and gives the whole answer.
pub fn http_get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
