//! Connections at rest: what each costs the broker in memory, and all of them in CPU.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::arguments::PerfArgs;
use super::connection::Connection;
use super::process;
use super::report::{self, grouped, mebibytes, rate};
use super::runtime;
use super::target::Target;
use crate::error::Error;

/// Enough for the login's frames: ten thousand idle clients must be cheap for the generator, too.
const READ_BUFFER: usize = 1024;

/// The result of an idle run.
#[derive(Debug, Serialize)]
struct Idle {
    connections: usize,
    opened_per_second: f64,
    held_seconds: f64,
    /// The broker's memory that came with the connections, divided by their number.
    broker_bytes_per_connection: Option<f64>,
    /// The broker's memory while they are held.
    broker_rss_bytes: Option<u64>,
    /// The broker's CPU time while they are held.
    broker_cpu_seconds: Option<f64>,
}

/// Opens connections with a channel each, holds them, and reports.
pub fn run(arguments: &PerfArgs, connections: usize) -> Result<(), Error> {
    let target = Target::parse(&arguments.uri)?;
    let runtime = runtime()?;
    let before = process::usage(&arguments.broker_pid);
    let started = Instant::now();
    let held = runtime.block_on(open_all(&target, connections))?;
    let opening = started.elapsed().as_secs_f64();
    let opened = process::usage(&arguments.broker_pid);
    std::thread::sleep(Duration::from_secs_f64(arguments.duration));
    let after = process::usage(&arguments.broker_pid);
    let grown = before
        .zip(after)
        .map(|(before, after)| after.rss_bytes.saturating_sub(before.rss_bytes));
    let report = Idle {
        connections,
        opened_per_second: connections as f64 / opening,
        held_seconds: arguments.duration,
        broker_bytes_per_connection: grown.map(|bytes| bytes as f64 / connections.max(1) as f64),
        broker_rss_bytes: after.map(|usage| usage.rss_bytes),
        broker_cpu_seconds: opened
            .zip(after)
            .map(|(opened, after)| after.cpu_seconds - opened.cpu_seconds),
    };
    report::print(arguments, &report, &report.text())?;
    runtime.block_on(close_all(held));
    Ok(())
}

/// Opens so many connections with a channel each, one after the other.
pub async fn open_all(target: &Target, connections: usize) -> Result<Vec<Connection>, Error> {
    let mut held = Vec::with_capacity(connections);
    for _ in 0..connections {
        held.push(Connection::open(target, READ_BUFFER).await?);
        if held.len().is_multiple_of(1000) {
            eprintln!("{} connections", grouped(held.len() as u64));
        }
    }
    Ok(held)
}

/// Closes them in order.
pub async fn close_all(held: Vec<Connection>) {
    for connection in held {
        connection.close().await;
    }
}

impl Idle {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "opened  {} connections with a channel each, {}/s",
            grouped(self.connections as u64),
            rate(self.opened_per_second)
        )];
        let numbers = (
            self.broker_bytes_per_connection,
            self.broker_rss_bytes,
            self.broker_cpu_seconds,
        );
        if let (Some(each), Some(rss), Some(cpu)) = numbers {
            lines.push(format!(
                "broker  {:.1} KiB per connection, memory {}",
                each / 1024.0,
                mebibytes(rss)
            ));
            lines.push(format!(
                "        CPU {cpu:.2} s while held for {:.1} s",
                self.held_seconds
            ));
        }
        lines.join("\n")
    }
}
