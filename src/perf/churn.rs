//! Connections that come and go: open, open a channel, close.

use std::time::Instant;

use serde::Serialize;

use super::arguments::PerfArgs;
use super::connection::Connection;
use super::latency::{Latencies, Percentiles};
use super::process;
use super::report::{self, grouped, rate};
use super::runtime;
use super::target::Target;
use crate::error::Error;

/// Enough for the login's frames.
const READ_BUFFER: usize = 4096;

/// The result of opening and closing, one after the other.
#[derive(Debug, Serialize)]
struct Churn {
    connections: usize,
    per_second: f64,
    /// How long one took, in microseconds.
    duration_us: Option<Percentiles>,
    /// The broker's CPU time for each, in milliseconds.
    broker_cpu_ms_each: Option<f64>,
}

/// Opens and closes so many times, and reports.
pub fn run(arguments: &PerfArgs, connections: usize) -> Result<(), Error> {
    let target = Target::parse(&arguments.uri)?;
    let before = process::usage(&arguments.broker_pid);
    let started = Instant::now();
    let durations = runtime()?.block_on(open_and_close(&target, connections))?;
    let seconds = started.elapsed().as_secs_f64();
    let after = process::usage(&arguments.broker_pid);
    let used = before.zip(after);
    let used = used.map(|(before, after)| after.cpu_seconds - before.cpu_seconds);
    let report = Churn {
        connections,
        per_second: connections as f64 / seconds,
        duration_us: durations.percentiles(),
        broker_cpu_ms_each: used.map(|cpu| cpu * 1000.0 / connections.max(1) as f64),
    };
    report::print(arguments, &report, &report.text())
}

async fn open_and_close(target: &Target, connections: usize) -> Result<Latencies, Error> {
    let mut durations = Latencies::new()?;
    for _ in 0..connections {
        let started = Instant::now();
        let connection = Connection::open(target, READ_BUFFER).await?;
        connection.close().await;
        durations.record(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(durations)
}

impl Churn {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "opened and closed  {} connections with a channel, {}/s",
            grouped(self.connections as u64),
            rate(self.per_second)
        )];
        lines.extend(
            self.duration_us
                .map(|found| format!("each               {found}")),
        );
        let cpu = self.broker_cpu_ms_each;
        lines.extend(cpu.map(|cpu| format!("broker             CPU {cpu:.2} ms each")));
        lines.join("\n")
    }
}
