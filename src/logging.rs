//! Log lines on standard error: text for people, or JSON objects for machines.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};

use management_api::EventLog;
use tracing_subscriber::{
    EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::{
    config::{Log, LogFormat},
    recorder,
};

/// Starts the log of this process, as the configuration says, and keeps its last events in `events`. What is logged
/// before is lost.
///
/// The configuration has checked the filter; a filter that is nevertheless not understood admits errors only.
pub fn start(log: &Log, events: Arc<EventLog>) {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_default();
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match log.format {
        LogFormat::Human => lines.with_ansi(wants_colour()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .with(recorder::layer(events))
        .init();
}

/// Colours are for terminals, and for people who have not declined them (<https://no-color.org>).
fn wants_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
