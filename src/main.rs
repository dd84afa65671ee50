//! The `leveret` binary: a message broker that speaks AMQP 0-9-1. What it does is in the library beside it.

use std::{
    ffi::{c_int, c_long},
    process::ExitCode,
};

use clap::Parser as _;
use leveret::{cli::Cli, machine::huge_pages};
use libmimalloc_sys::{mi_option_get, mi_option_set};

/// Small allocations dominate a broker's work; mimalloc does them at less cost than the system's allocator, and gives
/// memory freed by another thread back to its owner without a lock.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of mimalloc's option `generic_collect` (`mi_option_e` in its header): after so many allocations that found
/// no block at hand, a thread walks through everything it has allocated for what other threads have freed.
const GENERIC_COLLECT: c_int = 34;

/// What mimalloc sets it to.
const RARELY: c_long = 10_000;

/// The least that mimalloc heeds.
const OFTEN: c_long = 1_000;

/// Ten times as often, a walk is that much shorter. With a million messages that one thread published and another one
/// dropped, those walks were the longest pauses of the queue: up to 20 ms (`docs/performance.md`).
fn collect_in_small_steps() {
    // SAFETY: no other thread runs yet. An option is a number in a table, and one of another name is not touched: it has
    // another value, as has this one when the environment sets it (`MIMALLOC_GENERIC_COLLECT`).
    unsafe {
        if mi_option_get(GENERIC_COLLECT) == RARELY {
            mi_option_set(GENERIC_COLLECT, OFTEN);
        }
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_of_that_number_has_the_value_of_generic_collect() {
        // SAFETY: reads a number out of a table.
        assert_eq!(unsafe { mi_option_get(GENERIC_COLLECT) }, RARELY);
    }
}
