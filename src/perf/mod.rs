//! `leveret perf`: a load generator for any AMQP 0-9-1 broker.
//!
//! It has one client of its own ([`connection`]), built so that the broker is the bottleneck: each publisher and each
//! consumer is a thread with a single-threaded runtime, a publish is encoded once and copied, deliveries are parsed in
//! place out of large reads, and settlements go out with one write per read. What a run does is a *scenario*: messages
//! through queues ([`throughput`]), the cost of things at rest ([`idle`], [`declare`],
//! [`churn`]), a long time under mixed load ([`soak`]), or what copying takes without a broker
//! ([`relay`]). Numbers about the broker's process come from `/proc` ([`process`]).

mod arguments;
mod batch;
mod churn;
mod confirm_window;
mod connection;
mod consumer;
mod counters;
mod declare;
mod idle;
mod input;
mod latency;
mod pacing;
mod process;
mod publisher;
mod relay;
mod report;
mod rpc;
mod soak;
mod target;
mod throughput;
mod topology;

use std::process::ExitCode;

pub use arguments::{PerfArgs, Scenario};

use crate::error::Error;

/// Runs the scenario that the arguments ask for, and prints its report.
///
/// # Errors
/// When the broker cannot be reached, refuses something, or closes a connection.
pub fn run(arguments: &PerfArgs) -> Result<ExitCode, Error> {
    match &arguments.scenario {
        Some(Scenario::Soak(soak)) => return soak::run(soak),
        Some(Scenario::Relay(relay)) => return relay::run(relay),
        None => {}
    }
    arguments.check()?;
    let idle = arguments.idle_connections;
    if let Some(connections) = idle.filter(|_| !arguments.has_load()) {
        idle::run(arguments, connections)
    } else if let Some(queues) = arguments.declare_queues {
        declare::run(arguments, queues)
    } else if let Some(times) = arguments.churn {
        churn::run(arguments, times)
    } else {
        throughput::run(arguments)
    }
    .map(|()| ExitCode::SUCCESS)
}

/// A runtime for one thread: a worker shares nothing but counters, so none needs a scheduler of several threads.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::perf_io("cannot start a worker", error))
}
