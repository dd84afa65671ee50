//! Every request to the HTTP API that a page shows with `curl` is sent, in the order of the page, and succeeds.

use serde_json::{Value, json};

use crate::commands::split;
use crate::page::{self, Page};
use crate::support::{Broker, http::Http};

/// Queues of the vhost `/` that the pages speak of.
const QUEUES: [&str; 6] = [
    "dead",
    "dead-letters",
    "forgotten",
    "greetings",
    "orders",
    "orders-eu",
];

/// A connection whose name nobody can know.
const EXAMPLE: &str = "127.0.0.1%3A50000";

#[test]
fn every_request_that_a_page_shows_succeeds() {
    let mut sent = 0;
    for page in page::all() {
        let requests = requests(&page);
        if requests.is_empty() {
            continue;
        }
        let broker = Broker::start();
        let http = Http::guest(&broker);
        prepare(&http);
        for request in requests {
            let Request {
                method,
                path,
                body,
                line,
            } = &request;
            let answer = http.send(method, path, body.clone());
            let place = page.place(*line);
            assert!(
                answer.status < 400,
                "{place}: {method} {path}: {} {}",
                answer.status,
                answer.body
            );
            sent += 1;
        }
    }
    assert!(sent > 40, "only {sent} requests were found");
}

fn prepare(http: &Http) {
    let durable = || Some(json!({ "durable": true }));
    for queue in QUEUES {
        http.done("PUT", &format!("/api/queues/%2F/{queue}"), durable());
    }
    let topic = json!({ "type": "topic", "durable": true });
    http.done("PUT", "/api/exchanges/%2F/events", Some(topic));
    http.done("PUT", "/api/vhosts/shop", None);
    http.done("PUT", "/api/queues/shop/app.new", durable());
}

struct Request {
    method: String,
    path: String,
    body: Option<Value>,
    line: usize,
}

/// The requests of a page. What it has given a name before (`api=...`, `alias lv='...'`) is filled in.
fn requests(page: &Page) -> Vec<Request> {
    let mut names: Vec<(String, String)> = Vec::new();
    let mut found = Vec::new();
    for block in page.blocks_of("sh") {
        let mut text = String::new();
        for line in block.text.lines() {
            if let Some(name) = named(line) {
                names.retain(|(known, _)| *known != name.0);
                names.push(name);
                continue;
            }
            let mut line = line.to_owned();
            for (name, value) in &names {
                line = match line.strip_prefix(&format!("{name} ")) {
                    Some(rest) => format!("{value} {rest}"),
                    None => line.replace(&format!("${name}"), value),
                };
            }
            text.push_str(&line);
            text.push('\n');
        }
        for words in split(&text) {
            found.extend(request(&words, block.line));
        }
    }
    found
}

fn named(line: &str) -> Option<(String, String)> {
    let (name, value) = line.trim_start_matches("alias ").split_once('=')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase());
    is_name.then(|| (name.to_owned(), value.trim_matches('\'').to_owned()))
}

fn request(words: &[String], line: usize) -> Option<Request> {
    if words.first()? != "curl" {
        return None;
    }
    let (mut method, mut path, mut body) = (None, None, None);
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-X" => method = words.next().cloned(),
            "-u" | "-H" => drop(words.next()),
            // a file that another request has written
            "-F" => return None,
            "-d" => body = Some(words.next()?).cloned(),
            ">" => break,
            word if word.starts_with("http://") => {
                path = word
                    .get(7..)
                    .and_then(|rest| rest.find('/').map(|at| rest[at..].to_owned()));
            }
            _ => {}
        }
    }
    let path = path?;
    let file = body.as_deref().is_some_and(|it| it.starts_with('@'));
    if file || path.contains(EXAMPLE) {
        return None;
    }
    let default = if body.is_some() { "POST" } else { "GET" };
    let read = |text: String| serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    Some(Request {
        method: method.unwrap_or_else(|| default.to_owned()),
        path,
        body: body.map(read),
        line,
    })
}
