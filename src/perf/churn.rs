//! Connections that come and go: open with a channel, publish one message, close.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use amqp_codec::AMQPClass;
use amqp_codec::protocol::queue;
use serde::Serialize;
use tokio::task::JoinSet;

use super::arguments::PerfArgs;
use super::batch::Messages;
use super::connection::{ANSWER_TIMEOUT, CHANNEL, Connection, short};
use super::latency::{Latencies, Percentiles};
use super::process;
use super::report::{self, grouped, rate};
use super::runtime;
use super::target::Target;
use super::topology;
use crate::error::Error;

/// Enough for the login's frames.
const READ_BUFFER: usize = 4096;

/// The frame size that every broker grants: messages are encoded before anything is agreed.
const SMALLEST_FRAME_MAX: usize = 4096;

/// The result of opening and closing.
#[derive(Debug, Serialize)]
struct Churn {
    connections: usize,
    /// How many were open at the same time, at most.
    side_by_side: usize,
    per_second: f64,
    /// Messages that were in the queue at the end: one of each connection, if the broker lost none.
    messages: u64,
    /// How long one took, in microseconds.
    duration_us: Option<Percentiles>,
    /// The broker's CPU time for each, in milliseconds.
    broker_cpu_ms_each: Option<f64>,
    /// The generator's CPU time for each, in milliseconds.
    generator_cpu_ms_each: f64,
}

/// Opens and closes so many times, and reports.
///
/// All of it happens on one thread, so that the generator takes no more than one core from the broker.
pub fn run(arguments: &PerfArgs, connections: usize) -> Result<(), Error> {
    let target = Arc::new(Target::parse(&arguments.uri)?);
    let runtime = runtime()?;
    let mut keeper = runtime.block_on(Connection::open(&target, READ_BUFFER))?;
    runtime.block_on(topology::declare(&mut keeper, arguments))?;
    let side_by_side = arguments.publishers.clamp(1, connections.max(1));
    let before = process::usage(&arguments.broker_pid);
    let own = process::own_usage();
    let started = Instant::now();
    let churning = churn(&target, arguments, connections, side_by_side);
    let durations = runtime.block_on(churning)?;
    let seconds = started.elapsed().as_secs_f64();
    let after = process::usage(&arguments.broker_pid);
    let own = process::own_usage().cpu_seconds - own.cpu_seconds;
    let used = before.zip(after);
    let used = used.map(|(before, after)| after.cpu_seconds - before.cpu_seconds);
    let each = |cpu: f64| cpu * 1000.0 / connections.max(1) as f64;
    let messages = runtime.block_on(count(&mut keeper, arguments))?;
    if !arguments.keep {
        runtime.block_on(topology::delete(&mut keeper, arguments))?;
    }
    runtime.block_on(keeper.close());
    let report = Churn {
        connections,
        side_by_side,
        per_second: connections as f64 / seconds,
        messages,
        duration_us: durations.percentiles(),
        broker_cpu_ms_each: used.map(each),
        generator_cpu_ms_each: each(own),
    };
    report::print(arguments, &report, &report.text())
}

/// Shares the connections out among so many tasks; each takes the next one when it is through with its last.
async fn churn(
    target: &Arc<Target>,
    arguments: &PerfArgs,
    connections: usize,
    side_by_side: usize,
) -> Result<Latencies, Error> {
    let taken = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for index in 0..side_by_side {
        let (target, taken) = (Arc::clone(target), Arc::clone(&taken));
        let mut messages = Messages::new(arguments, index, SMALLEST_FRAME_MAX);
        tasks.spawn(async move {
            let mut durations = Latencies::new()?;
            while taken.fetch_add(1, Relaxed) < connections {
                let started = Instant::now();
                open_publish_close(&target, &mut messages).await?;
                let nanoseconds = started.elapsed().as_nanos();
                durations.record(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
            }
            Ok::<_, Error>(durations)
        });
    }
    let mut all = Latencies::new()?;
    while let Some(joined) = tasks.join_next().await {
        let panicked = |_| Err(Error::PerfRefused("a worker panicked".into()));
        all.add(&joined.unwrap_or_else(panicked)?);
    }
    Ok(all)
}

/// The message and `connection.close` go out together: `close-ok` then says that the message has been handled, too.
async fn open_publish_close(target: &Target, messages: &mut Messages) -> Result<(), Error> {
    let mut connection = Connection::open(target, READ_BUFFER).await?;
    messages.append(&mut connection.output, 1);
    connection.close_within(ANSWER_TIMEOUT).await
}

/// How many messages there are in the queues. A declaration that changes nothing says so.
async fn count(connection: &mut Connection, arguments: &PerfArgs) -> Result<u64, Error> {
    let mut messages = 0;
    for index in 0..arguments.queues {
        let passive = queue::AMQPMethod::Declare(queue::Declare {
            queue: short(&arguments.queue(index))?,
            passive: true,
            ..Default::default()
        });
        let answer = connection.ask(CHANNEL, &AMQPClass::Queue(passive)).await?;
        if let AMQPClass::Queue(queue::AMQPMethod::DeclareOk(found)) = answer {
            messages += u64::from(found.message_count);
        }
    }
    Ok(messages)
}

impl Churn {
    fn text(&self) -> String {
        let mut lines = vec![
            format!(
                "opened and closed  {} connections with a channel, {} at a time, {}/s",
                grouped(self.connections as u64),
                self.side_by_side,
                rate(self.per_second)
            ),
            format!(
                "published          {} messages, one by each connection, are in the queue",
                grouped(self.messages)
            ),
        ];
        let durations = self.duration_us;
        lines.extend(durations.map(|found| format!("each               {found}")));
        let cpu = self.broker_cpu_ms_each;
        lines.extend(cpu.map(|cpu| format!("broker             CPU {cpu:.3} ms each")));
        lines.push(format!(
            "generator          CPU {:.3} ms each",
            self.generator_cpu_ms_each
        ));
        lines.join("\n")
    }
}
