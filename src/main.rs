//! The `leveret` binary: a message broker that speaks AMQP 0-9-1. What it does is in the library beside it.

use std::process::ExitCode;

use clap::Parser as _;
use leveret::{
    cli::Cli,
    machine::{
        allocator::{Allocator, collect_in_small_steps},
        huge_pages,
    },
};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    huge_pages::do_without();
    collect_in_small_steps();
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("leveret: {error}");
            ExitCode::FAILURE
        }
    }
}
