//! Messages through queues: warm up, measure for a time or for a number of messages, report.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use super::arguments::PerfArgs;
use super::connection::Connection;
use super::counters::{Counters, Reading};
use super::latency::Latencies;
use super::process::{self, Usage};
use super::report::{self, Measured, Report, grouped, rate};
use super::target::Target;
use super::{consumer, idle, publisher, rpc, topology};
use crate::error::Error;

/// How often the main thread looks at the workers.
const TICK: Duration = Duration::from_millis(10);

type Worker<'scope> = thread::ScopedJoinHandle<'scope, Result<Latencies, Error>>;

/// Runs the scenario and prints its report.
pub fn run(arguments: &PerfArgs) -> Result<(), Error> {
    let target = Target::parse(&arguments.uri)?;
    let runtime = super::runtime()?;
    let mut connection = runtime.block_on(Connection::open(&target, 8192))?;
    runtime.block_on(topology::declare(&mut connection, arguments))?;
    let idle = arguments.idle_connections.unwrap_or_default();
    let held = runtime.block_on(idle::open_all(&target, idle))?;
    let counters = Counters::new();
    // A number of messages is measured from the first one on, which may be through before this thread goes on.
    let counted = arguments.messages.is_some();
    counters.measuring.store(counted, Relaxed);
    let first = counted.then(|| Sample::take(arguments, &counters));
    let measured = thread::scope(|scope| {
        let start = |index: usize| {
            let (counters, target) = (&counters, &target);
            scope.spawn(move || {
                let runtime = super::runtime()?;
                runtime.block_on(work(arguments, target, counters, index))
            })
        };
        let workers: Vec<Worker<'_>> = (0..arguments.consumers + arguments.publishers)
            .map(start)
            .collect();
        let measured = measure(arguments, &counters, &workers, first);
        counters.stop.store(true, Relaxed);
        collect(arguments, workers, measured)
    });
    if !arguments.keep {
        // a worker's error is more telling than a failed clean-up
        let deleted = runtime.block_on(topology::delete(&mut connection, arguments));
        measured.as_ref().map_or(Ok(()), |_| deleted)?;
    }
    let (measured, delivery, confirm) = measured?;
    runtime.block_on(connection.close());
    runtime.block_on(idle::close_all(held));
    let report = Report::new(
        arguments,
        &measured,
        delivery.percentiles(),
        confirm.percentiles(),
    );
    report::print(arguments, &report, &report.text())
}

/// What worker `index` does: consumers come first.
async fn work(
    arguments: &PerfArgs,
    target: &Target,
    counters: &Counters,
    index: usize,
) -> Result<Latencies, Error> {
    let Some(publisher) = index.checked_sub(arguments.consumers) else {
        return match arguments.rpc {
            Some(_) => rpc::answer(arguments, target, counters, index).await,
            None => consumer::run(arguments, target, counters, index).await,
        };
    };
    match arguments.rpc {
        Some(window) => rpc::ask(arguments, target, counters, publisher, window).await,
        None => publisher::run(arguments, target, counters, publisher).await,
    }
}

/// Joins the workers: the first error counts, or the sum of their latencies.
fn collect(
    arguments: &PerfArgs,
    workers: Vec<Worker<'_>>,
    measured: Measured,
) -> Result<(Measured, Latencies, Latencies), Error> {
    let (mut delivery, mut confirm) = (Latencies::new()?, Latencies::new()?);
    for (index, worker) in workers.into_iter().enumerate() {
        let panicked = || Err(Error::PerfRefused("a worker panicked".into()));
        let latencies = worker.join().unwrap_or_else(|_| panicked())?;
        // Of requests and replies, who asks knows the time.
        if index < arguments.consumers || arguments.rpc.is_some() {
            &mut delivery
        } else {
            &mut confirm
        }
        .add(&latencies);
    }
    Ok((measured, delivery, confirm))
}

/// Waits through warm-up and window, with a line of progress every second. `first` is what was read before the first of a
/// number of messages.
fn measure(
    arguments: &PerfArgs,
    counters: &Counters,
    workers: &[Worker<'_>],
    first: Option<Sample>,
) -> Measured {
    let mut progress = Progress::new(counters);
    let failed = || workers.iter().any(Worker::is_finished);
    let wait = |until: &dyn Fn() -> bool, progress: &mut Progress<'_>| {
        while !until() && !failed() {
            thread::sleep(TICK);
            progress.tick(arguments);
        }
    };
    if arguments.messages.is_none() {
        let warm = Instant::now() + Duration::from_secs_f64(arguments.warm_up);
        wait(&|| Instant::now() >= warm, &mut progress);
    }
    counters.measuring.store(true, Relaxed);
    let start = first.unwrap_or_else(|| Sample::take(arguments, counters));
    let end = Instant::now() + Duration::from_secs_f64(arguments.duration);
    match arguments.messages {
        Some(messages) => wait(
            &|| enough(arguments, &counters.read(), messages),
            &mut progress,
        ),
        None => wait(&|| Instant::now() >= end, &mut progress),
    }
    counters.measuring.store(false, Relaxed);
    Sample::take(arguments, counters).since(start)
}

/// Whether a given number of messages is through: consumed, or confirmed, or at least sent.
fn enough(arguments: &PerfArgs, counted: &Reading, messages: u64) -> bool {
    if arguments.consumers > 0 {
        counted.delivered >= messages.saturating_mul(arguments.copies())
    } else if arguments.confirm_window > 0 {
        counted.confirmed + counted.refused >= messages
    } else {
        counted.published >= messages
    }
}

/// Everything that is read at the edges of the window.
#[derive(Clone, Copy)]
struct Sample {
    counted: Reading,
    broker: Option<Usage>,
    generator: Usage,
}

impl Sample {
    fn take(arguments: &PerfArgs, counters: &Counters) -> Self {
        Self {
            counted: counters.read(),
            broker: process::usage(&arguments.broker_pid),
            generator: process::own_usage(),
        }
    }

    fn since(self, earlier: Self) -> Measured {
        let used = |now: Usage, then: Usage| Usage {
            cpu_seconds: now.cpu_seconds - then.cpu_seconds,
            rss_bytes: now.rss_bytes,
        };
        Measured {
            counted: self.counted.since(earlier.counted),
            broker: self
                .broker
                .zip(earlier.broker)
                .map(|(now, then)| used(now, then)),
            generator: used(self.generator, earlier.generator),
        }
    }
}

/// The line that says every second how it goes, on standard error.
struct Progress<'a> {
    counters: &'a Counters,
    last: Reading,
}

impl<'a> Progress<'a> {
    fn new(counters: &'a Counters) -> Self {
        Self {
            last: counters.read(),
            counters,
        }
    }

    fn tick(&mut self, arguments: &PerfArgs) {
        let now = self.counters.read();
        let passed = now.since(self.last);
        if passed.seconds() < 1.0 {
            return;
        }
        self.last = now;
        let per_second = |count: u64| rate(count as f64 / passed.seconds());
        let phase = if self.counters.measuring() {
            ""
        } else {
            " (warm-up)"
        };
        eprintln!(
            "{:>4.0} s  published {}/s  confirmed {}/s  delivered {}/s  in flight {}{phase}",
            now.seconds(),
            per_second(passed.published),
            per_second(passed.confirmed),
            per_second(passed.delivered),
            grouped(self.counters.in_flight(arguments.copies())),
        );
    }
}
