//! Log lines on standard error: text for people, or JSON objects for machines. Which lines are written can be changed while
//! the program runs.

use std::{
    io::{self, IsTerminal as _},
    sync::Arc,
};

use management_api::EventLog;
use parking_lot::Mutex;
use toml::Value;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _, Registry,
    filter::{FilterExt as _, FilterFn, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use crate::{
    config::{Log, LogFormat, options::ConfigOption},
    recorder,
};

/// The option that says which lines are written at the start.
const OPTION: &str = "log.level";

/// What there is to see and change of the log.
pub struct Logs {
    /// Which lines are written.
    pub level: Arc<LogLevel>,
    /// The last events.
    pub events: Arc<EventLog>,
}

/// Which log lines are written.
pub struct LogLevel {
    /// As it was last set: the text of a filter says more than the filter tells.
    current: Mutex<String>,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Starts the log of this process, as the configuration says. What is logged before it is lost.
///
/// The configuration has checked the filter; a filter that is nevertheless not understood admits errors only.
pub fn start(log: &Log) -> Logs {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_default();
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match log.format {
        LogFormat::Human => lines.with_ansi(wants_colour()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let events = recorder::event_log();
    tracing_subscriber::registry()
        .with(lines.with_filter(filter.or(says_whom())))
        .with(recorder::layer(Arc::clone(&events)))
        .with(filter_fn(is_public))
        .init();
    let level = Arc::new(LogLevel {
        current: Mutex::new(log.level.clone()),
        filter: handle,
    });
    Logs { level, events }
}

impl management_api::LogLevel for LogLevel {
    fn current(&self) -> String {
        self.current.lock().clone()
    }

    fn change(&self, level: &str) -> Result<(), String> {
        if let Some(option) = ConfigOption::find(OPTION) {
            option.check(&Value::String(level.to_owned()))?;
        }
        let filter = EnvFilter::try_new(level).map_err(|error| error.to_string())?;
        let mut current = self.current.lock();
        let replaced = self.filter.reload(filter);
        replaced.map_err(|error| error.to_string())?;
        *current = level.to_owned();
        Ok(())
    }
}

/// Lets the spans through that say which connection, channel or request a line is about, whichever lines are written.
fn says_whom() -> FilterFn {
    let says: fn(&Metadata<'_>) -> bool = |it| it.is_span() && *it.level() == Level::ERROR;
    filter_fn(says).with_max_level_hint(Level::ERROR)
}

/// Whether lines of this kind hold no secrets, whatever the filter says. The client of the service that checks logins
/// traces every byte that it sends, passwords included.
fn is_public(line: &Metadata<'_>) -> bool {
    *line.level() < Level::TRACE || !line.target().starts_with("ureq")
}

/// Colours are for terminals, and for people who have not declined them (<https://no-color.org>).
fn wants_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
