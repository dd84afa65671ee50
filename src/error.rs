//! Everything that can stop the program, each as one line for the operator.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// An error of the program. `Display` is the line that is shown before exiting with code 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    UnreadableConfig {
        /// The file, as it was named.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// The configuration file is not TOML.
    #[error("{source_name}: {problem}")]
    InvalidToml {
        /// File, line and column.
        source_name: String,
        /// What the parser says.
        problem: String,
    },
    /// The configuration file has a key that does not exist.
    #[error("{source_name}: unknown key {key}: {advice}")]
    UnknownKey {
        /// File, line and column.
        source_name: String,
        /// The key, with its section.
        key: String,
        /// What may have been meant.
        advice: String,
    },
    /// A value is not admitted.
    #[error("{source_name}: {key} {problem}")]
    InvalidValue {
        /// File with line and column, environment variable or flag.
        source_name: String,
        /// The option.
        key: &'static str,
        /// What the value must be.
        problem: String,
    },
    /// The table of options contradicts itself: a defect of the program that its tests exclude.
    #[error("the table of configuration options is inconsistent: {0}")]
    OptionsTable(toml::de::Error),
    /// The data directory belongs to another running broker.
    #[error("the data directory {} is in use by another Leveret{holder}", path.display())]
    DataDirInUse {
        /// The directory.
        path: PathBuf,
        /// The process that has it, in parentheses, when known.
        holder: String,
    },
    /// The data directory is not in the format that this program reads.
    #[error("the data directory {} {problem}", path.display())]
    DataDirFormat {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system refuses access to the data directory.
    #[error("cannot use the data directory {}: {error}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the operating system says.
        error: io::Error,
    },
    /// Logins cannot be checked as it is configured.
    #[error("authentication: {0}")]
    Authentication(#[from] auth_backends::Error),
    /// TLS cannot work as it is configured.
    #[error("TLS: {what}: {problem}")]
    Tls {
        /// The file or the option at fault.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen for {what} on {address}: {problem}")]
    Listen {
        /// The protocol.
        what: &'static str,
        /// The address that the configuration names.
        address: SocketAddr,
        /// What is wrong with it.
        problem: String,
    },
    /// What the broker kept on disk cannot be brought back.
    #[error("cannot start from the data directory: {0}")]
    Data(#[from] broker_core::Error),
    /// A definitions file cannot be imported.
    #[error("cannot import definitions from {}: {problem}", path.display())]
    Definitions {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The broker that runs cannot be asked how it is.
    #[error("{0}")]
    Inspect(String),
    /// A backup cannot be taken or put back.
    #[error("{0}")]
    Backup(String),
    /// The system refuses something without which nothing runs: threads, signals.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// `leveret perf` was asked for something that makes no sense.
    #[error("perf: {0}")]
    PerfArguments(String),
    /// `leveret perf` cannot reach the broker any more.
    #[error("perf: {during}: {error}")]
    PerfIo {
        /// What was being done.
        during: String,
        /// What the operating system says.
        error: io::Error,
    },
    /// The broker refused something, or closed a connection.
    #[error("perf: the broker refused: {0}")]
    PerfRefused(String),
    /// The broker sent malformed bytes.
    #[error("perf: malformed bytes from the broker: {0}")]
    PerfMalformed(#[from] amqp_codec::Error),
}

impl Error {
    /// An I/O error of the load generator.
    pub fn perf_io(during: impl Into<String>, error: io::Error) -> Self {
        let during = during.into();
        Self::PerfIo { during, error }
    }
}
