//! The `leveret` binary: a message broker that speaks AMQP 0-9-1.
//!
//! [`cli`] decides what to do and [`config`] how; [`serve`] runs the broker from start to stop; [`perf`] measures one.

mod cli;
mod clock;
mod config;
mod data_dir;
mod error;
mod logging;
mod management;
mod net;
mod perf;
mod protocol;
mod serve;
mod signals;
mod stores;

use std::process::ExitCode;

use clap::Parser as _;

/// Small allocations dominate a broker's work; mimalloc does them at less cost than the system's allocator, and gives
/// memory freed by another thread back to its owner without a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("leveret: {error}");
            ExitCode::FAILURE
        }
    }
}
