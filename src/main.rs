//! The `leveret` binary: a message broker that speaks AMQP 0-9-1. What it does is in the library beside it.

use std::process::ExitCode;

use clap::Parser as _;
use leveret::cli::Cli;

/// Small allocations dominate a broker's work; mimalloc does them at less cost than the system's allocator, and gives
/// memory freed by another thread back to its owner without a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("leveret: {error}");
            ExitCode::FAILURE
        }
    }
}
