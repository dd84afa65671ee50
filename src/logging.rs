//! Log lines on standard error: text for people, or JSON objects for machines.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts the log of this process, as the configuration says. What is logged before it is lost.
///
/// The configuration has checked the filter; a filter that is nevertheless not understood admits errors only.
pub fn start(log: &Log) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_default();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match log.format {
        LogFormat::Human => lines.with_ansi(wants_colour()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

/// Colours are for terminals, and for people who have not declined them (<https://no-color.org>).
fn wants_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
