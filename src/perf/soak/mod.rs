//! `leveret perf soak`: a broker under mixed load for a minute or a day, restarted now and then.
//!
//! It starts a broker of its own ([`broker`]), with the options of the environment, so that it can end it in good order and
//! by SIGKILL and see what its process holds. The load ([`load`]) is what wears brokers out: connections and queues that
//! come and go, slow consumers, large messages, a stream of persistent ones whose numbers are checked. Memory, descriptors
//! and disk are looked at all the time ([`samples`]) and must not grow from the first half to the second.

mod broker;
mod client;
mod load;
mod report;
mod samples;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use self::broker::{Broker, Ending};
use self::load::Load;
use self::report::Report;
use self::samples::Samples;
use crate::error::Error;

/// How long the broker may take to start and to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// Keep a broker under mixed load, restart it now and then, and see that memory, descriptors and disk stay flat. Code 1 if
/// something grew, or a confirmed message was lost
#[derive(Debug, Clone, Args)]
pub struct SoakArgs {
    /// Seconds of load; a day has 86400
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    duration: f64,
    /// Seconds between two ends of the broker, in good order and by SIGKILL in turn; 0 leaves it alone. Default: a sixth of
    /// the duration, and ten minutes at most
    #[arg(long, value_name = "SECONDS")]
    restart_every: Option<f64>,
    /// Keep the broker's data and log in this directory, which stays. Default: one that is removed
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl SoakArgs {
    fn duration(&self) -> Result<Duration, Error> {
        let seconds = self.duration;
        match seconds.is_finite() && (1.0..1e9).contains(&seconds) {
            true => Ok(Duration::from_secs_f64(seconds)),
            false => Err(Error::PerfArguments("--duration is at least 1".to_owned())),
        }
    }

    /// None: never.
    fn restart_every(&self) -> Option<Duration> {
        let seconds = self
            .restart_every
            .unwrap_or((self.duration / 6.0).min(600.0));
        (seconds.is_finite() && seconds > 0.0).then(|| Duration::from_secs_f64(seconds))
    }
}

/// Runs the soak, prints its report, and says by its code how it went.
///
/// # Errors
/// The broker does not start, or cannot be looked at.
pub fn run(arguments: &SoakArgs) -> Result<ExitCode, Error> {
    let duration = arguments.duration()?;
    let mut broker = Broker::start(arguments.folder.as_deref())?;
    let load = Load::new(broker.target());
    let quiet_before = broker.descriptors();
    let mut samples = Samples::new(duration);
    let mut restarts = [0, 0];
    let result = thread::scope(|scope| {
        load.spawn_all(scope);
        let watched = watch(
            arguments,
            duration,
            &mut broker,
            &mut samples,
            &mut restarts,
        );
        load.stop();
        watched
    });
    result?;
    let quiet_after = broker.quiet(quiet_before)?;
    let report = Report {
        seconds: samples.elapsed().as_secs_f64(),
        restarts,
        counts: load.counts(),
        failures: load.failures(),
        samples: samples.halves(),
        quiet: [quiet_before, quiet_after],
    };
    let text = match arguments.json {
        true => report.json()?,
        false => report.text(),
    };
    print(&text);
    Ok(match report.is_good() {
        true => ExitCode::SUCCESS,
        false => {
            broker.show_log();
            ExitCode::FAILURE
        }
    })
}

fn print(text: &str) {
    use std::io::Write as _;
    // Standard output may be a closed pipe: nobody is left to tell.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Looks at the broker and ends it from time to time, until the time is over.
fn watch(
    arguments: &SoakArgs,
    duration: Duration,
    broker: &mut Broker,
    samples: &mut Samples,
    restarts: &mut [u64; 2],
) -> Result<(), Error> {
    let every = arguments.restart_every();
    let mut next = every.map(|every| Instant::now() + every);
    let end = Instant::now() + duration;
    while Instant::now() < end {
        samples.look(broker)?;
        if next.is_some_and(|next| Instant::now() >= next) {
            let [orderly, killed] = restarts;
            match *orderly > *killed {
                true => {
                    broker.restart(Ending::Kill)?;
                    *killed += 1;
                }
                false => {
                    broker.restart(Ending::Orderly)?;
                    *orderly += 1;
                }
            }
            next = every.map(|every| Instant::now() + every);
        }
        thread::sleep(samples.pause());
    }
    Ok(())
}
