//! Many transient queues: how fast they are declared and deleted, and what each costs at rest.
//!
//! Without `--synchronous` no answer is waited for but the last one, so the broker is the bottleneck; with it each
//! connection waits for each answer, as clients do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use amqp_codec::protocol::queue;
use amqp_codec::{AMQPClass, ShortString, encode};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::arguments::PerfArgs;
use super::connection::{CHANNEL, Connection, short};
use super::process::{self, Usage};
use super::report::{self, grouped, mebibytes, rate};
use super::runtime;
use super::target::Target;
use crate::error::Error;

/// Methods in one write.
const PIPELINED: usize = 500;

/// How long the last answer may take: a broker may be far behind what its socket took.
const PATIENCE: Duration = Duration::from_secs(600);

/// What the queues are bound to with `--bound`.
const EXCHANGE: &str = "amq.direct";

/// The result of declaring and deleting many queues.
#[derive(Debug, Serialize)]
struct Declared {
    queues: usize,
    connections: usize,
    declared: Phase,
    /// `None` when the queues are kept.
    deleted: Option<Phase>,
    /// Queues by the time that both took.
    declared_and_deleted_per_second: Option<f64>,
    /// The broker's memory that came with the queues, divided by their number.
    broker_bytes_per_queue: Option<f64>,
    /// The broker's memory with the queues there.
    broker_rss_bytes: Option<u64>,
}

/// What one thing that was done to all queues took.
#[derive(Debug, Serialize)]
struct Phase {
    seconds: f64,
    per_second: f64,
    /// The broker's CPU time for each queue, in microseconds.
    broker_cpu_us_each: Option<f64>,
}

/// What is done to all queues.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Declare, and bind if that is asked for.
    Declare,
    Delete,
}

/// Declares the queues, deletes them, and reports.
pub fn run(arguments: &PerfArgs, queues: usize) -> Result<(), Error> {
    let target = Target::parse(&arguments.uri)?;
    let runtime = runtime()?;
    let count = arguments.publishers.clamp(1, queues.max(1));
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(runtime.block_on(Connection::open(&target, 8192))?);
    }
    let plan = Arc::new((arguments.clone(), queues));
    let (before, started) = (process::usage(&arguments.broker_pid), Instant::now());
    let connections = on_all(&runtime, &plan, connections, Step::Declare)?;
    let after = process::usage(&arguments.broker_pid);
    let declared = Phase::new(queues, started, before.zip(after));
    let deleted = delete_all(&runtime, &plan, connections)?;
    let grown = before.zip(after);
    let grown = grown.map(|(before, after)| after.rss_bytes.saturating_sub(before.rss_bytes));
    let both = deleted.as_ref().map(|it| declared.seconds + it.seconds);
    let report = Declared {
        queues,
        connections: count,
        declared,
        deleted,
        declared_and_deleted_per_second: both.map(|seconds| queues as f64 / seconds),
        broker_bytes_per_queue: grown.map(|bytes| bytes as f64 / queues.max(1) as f64),
        broker_rss_bytes: after.map(|usage| usage.rss_bytes),
    };
    report::print(arguments, &report, &report.text())
}

/// Deletes the queues, or closes the connections that they belong to, unless they are to be kept.
fn delete_all(
    runtime: &Runtime,
    plan: &Arc<(PerfArgs, usize)>,
    mut connections: Vec<Connection>,
) -> Result<Option<Phase>, Error> {
    let (arguments, queues) = &**plan;
    let (before, started) = (process::usage(&arguments.broker_pid), Instant::now());
    if !arguments.exclusive && !arguments.keep {
        connections = on_all(runtime, plan, connections, Step::Delete)?;
    }
    let deleted = || {
        let after = process::usage(&arguments.broker_pid);
        Phase::new(*queues, started, before.zip(after))
    };
    let one_by_one = (!arguments.exclusive).then(deleted);
    for connection in connections {
        runtime.block_on(connection.close_within(PATIENCE))?;
    }
    let phase = one_by_one.unwrap_or_else(deleted);
    Ok((!arguments.keep).then_some(phase))
}

/// Does a step to all queues, shared out among the connections; gives them back.
fn on_all(
    runtime: &Runtime,
    plan: &Arc<(PerfArgs, usize)>,
    connections: Vec<Connection>,
    step: Step,
) -> Result<Vec<Connection>, Error> {
    let count = connections.len();
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for (index, mut connection) in connections.into_iter().enumerate() {
            let plan = Arc::clone(plan);
            tasks.spawn(async move {
                let (arguments, queues) = &*plan;
                let own = (index..*queues).step_by(count);
                on_own(&mut connection, arguments, own, step).await?;
                Ok::<_, Error>(connection)
            });
        }
        let mut connections = Vec::with_capacity(count);
        while let Some(joined) = tasks.join_next().await {
            let panicked = |_| Err(Error::PerfRefused("a worker panicked".into()));
            connections.push(joined.unwrap_or_else(panicked)?);
        }
        Ok(connections)
    })
}

/// Sends the methods for the queues of one connection. An answer is asked for each, or for the last: that one says that all
/// are done.
async fn on_own(
    connection: &mut Connection,
    arguments: &PerfArgs,
    queues: impl ExactSizeIterator<Item = usize>,
    step: Step,
) -> Result<(), Error> {
    let last = queues.len().saturating_sub(1);
    for (position, index) in queues.enumerate() {
        let queue = short(&arguments.queue(index))?;
        let answered = arguments.synchronous || position == last;
        match step {
            Step::Delete => send(connection, answered, |nowait| delete(queue, nowait)).await?,
            Step::Declare if arguments.bound => {
                let first = arguments.synchronous;
                send(connection, first, |nowait| {
                    declare(queue.clone(), arguments, nowait)
                })
                .await?;
                send(connection, answered, |nowait| bind(queue, nowait)).await?;
            }
            Step::Declare => {
                send(connection, answered, |nowait| {
                    declare(queue, arguments, nowait)
                })
                .await?;
            }
        }
        while position % PIPELINED == 0 && !connection.output.is_empty() {
            connection.step().await?;
        }
    }
    Ok(())
}

/// Sends a method, and waits for its answer or has it sent with `nowait`.
async fn send(
    connection: &mut Connection,
    answered: bool,
    method: impl FnOnce(bool) -> AMQPClass,
) -> Result<(), Error> {
    encode::method(&mut connection.output, CHANNEL, &method(!answered))?;
    if answered {
        connection.answer_within(PATIENCE).await?;
    }
    Ok(())
}

fn declare(queue: ShortString, arguments: &PerfArgs, nowait: bool) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Declare(queue::Declare {
        queue,
        auto_delete: true,
        exclusive: arguments.exclusive,
        nowait,
        ..Default::default()
    }))
}

/// The key is the queue's name.
fn bind(queue: ShortString, nowait: bool) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Bind(queue::Bind {
        queue: queue.clone(),
        exchange: EXCHANGE.into(),
        routing_key: queue,
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

impl Phase {
    fn new(queues: usize, started: Instant, used: Option<(Usage, Usage)>) -> Self {
        let seconds = started.elapsed().as_secs_f64();
        let each = |(before, after): (Usage, Usage)| {
            (after.cpu_seconds - before.cpu_seconds) * 1e6 / queues.max(1) as f64
        };
        Self {
            seconds,
            per_second: queues as f64 / seconds,
            broker_cpu_us_each: used.map(each),
        }
    }

    fn text(&self, what: &str) -> String {
        let cpu = self.broker_cpu_us_each;
        let cpu = cpu.map_or_else(String::new, |cpu| {
            format!(", {cpu:.1} us of the broker's CPU each")
        });
        let per_second = rate(self.per_second);
        format!("{what:<9} in {:.2} s, {per_second}/s{cpu}", self.seconds)
    }
}

impl Declared {
    fn text(&self) -> String {
        let mut lines = vec![
            format!(
                "queues    {} transient ones, connections {}",
                grouped(self.queues as u64),
                self.connections
            ),
            self.declared.text("declared"),
        ];
        lines.extend(self.deleted.as_ref().map(|it| it.text("deleted")));
        let both = self.declared_and_deleted_per_second;
        lines.extend(both.map(|both| format!("both      {}/s", rate(both))));
        if let (Some(each), Some(rss)) = (self.broker_bytes_per_queue, self.broker_rss_bytes) {
            lines.push(format!(
                "broker    {:.2} KiB per queue, memory {}",
                each / 1024.0,
                mebibytes(rss)
            ));
        }
        lines.join("\n")
    }
}
