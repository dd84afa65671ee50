//! Many transient queues: how fast they are declared, and what each costs at rest.

use std::time::{Duration, Instant};

use amqp_codec::protocol::queue;
use amqp_codec::{AMQPClass, ShortString, encode};
use serde::Serialize;

use super::arguments::PerfArgs;
use super::connection::{CHANNEL, Connection, short};
use super::process;
use super::report::{self, grouped, mebibytes, rate};
use super::runtime;
use super::target::Target;
use crate::error::Error;

/// Methods in one write.
const PIPELINED: usize = 500;

/// How long the last answer may take: a broker may be far behind what its socket took.
const PATIENCE: Duration = Duration::from_secs(600);

/// The result of declaring many queues.
#[derive(Debug, Serialize)]
struct Declared {
    queues: usize,
    seconds: f64,
    declared_per_second: f64,
    /// The broker's CPU time for each declaration, in microseconds.
    broker_cpu_us_per_queue: Option<f64>,
    /// The broker's memory that came with the queues, divided by their number.
    broker_bytes_per_queue: Option<f64>,
    /// The broker's memory with the queues there.
    broker_rss_bytes: Option<u64>,
}

/// Declares the queues without waiting for each, reports, and deletes them.
pub fn run(arguments: &PerfArgs, queues: usize) -> Result<(), Error> {
    let target = Target::parse(&arguments.uri)?;
    let runtime = runtime()?;
    let mut connection = runtime.block_on(Connection::open(&target, 8192))?;
    let before = process::usage(&arguments.broker_pid);
    let started = Instant::now();
    runtime.block_on(pipeline(&mut connection, arguments, queues, declare))?;
    let seconds = started.elapsed().as_secs_f64();
    let after = process::usage(&arguments.broker_pid);
    let used = before.zip(after);
    let each = |value: f64| value / queues.max(1) as f64;
    let report = Declared {
        queues,
        seconds,
        declared_per_second: queues as f64 / seconds,
        broker_cpu_us_per_queue: used
            .map(|(before, after)| each((after.cpu_seconds - before.cpu_seconds) * 1e6)),
        broker_bytes_per_queue: used
            .map(|(before, after)| each(after.rss_bytes.saturating_sub(before.rss_bytes) as f64)),
        broker_rss_bytes: after.map(|usage| usage.rss_bytes),
    };
    report::print(arguments, &report, &report.text())?;
    if !arguments.keep {
        runtime.block_on(pipeline(&mut connection, arguments, queues, delete))?;
    }
    runtime.block_on(connection.close());
    Ok(())
}

/// Sends a method for every queue, all but the last without an answer; that one's answer says that all are done.
async fn pipeline(
    connection: &mut Connection,
    arguments: &PerfArgs,
    queues: usize,
    method: fn(ShortString, bool) -> AMQPClass,
) -> Result<(), Error> {
    for index in 0..queues {
        let last = index + 1 == queues;
        let method = method(short(&arguments.queue(index))?, !last);
        encode::method(&mut connection.output, CHANNEL, &method)?;
        while !last && index % PIPELINED == 0 && !connection.output.is_empty() {
            connection.step().await?;
        }
    }
    if queues > 0 {
        connection.answer_within(PATIENCE).await?;
    }
    Ok(())
}

fn declare(queue: ShortString, nowait: bool) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue,
        auto_delete: true,
        nowait,
        ..Default::default()
    }))
}

fn delete(queue: ShortString, nowait: bool) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
        queue,
        nowait,
        ..Default::default()
    }))
}

impl Declared {
    fn text(&self) -> String {
        let mut lines = vec![format!(
            "declared  {} transient queues in {:.2} s, {}/s",
            grouped(self.queues as u64),
            self.seconds,
            rate(self.declared_per_second)
        )];
        let numbers = (
            self.broker_bytes_per_queue,
            self.broker_rss_bytes,
            self.broker_cpu_us_per_queue,
        );
        if let (Some(each), Some(rss), Some(cpu)) = numbers {
            lines.push(format!(
                "broker    {:.2} KiB and {cpu:.0} us of CPU per queue, memory {}",
                each / 1024.0,
                mebibytes(rss)
            ));
        }
        lines.join("\n")
    }
}
