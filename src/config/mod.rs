//! The configuration: built-in defaults, then a TOML file, then `LEVERET_*` environment variables, then flags.
//!
//! [`options`] is the table of everything that can be set, [`layers`] reads the four sources, [`show`] prints the
//! result, and [`Config`] is what the broker works with.

pub mod authentication;
mod kind;
pub mod layers;
pub mod options;
#[cfg(test)]
mod page;
pub mod show;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker_core::journal::log::Durability;
use management_api::StoreKind;
use serde::Deserialize;
use toml::{Table, Value};

use crate::error::Error;
pub use authentication::{Auth, AuthHttp, OAuth2};
use layers::{Setting, UnknownVariable};

/// The configuration of a broker. What each option means and admits is in [`options::OPTIONS`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of everything that survives a restart.
    pub data_dir: PathBuf,
    /// Name of this broker.
    pub node_name: String,
    /// Threads that serve connections; 0 is one per core.
    pub worker_threads: usize,
    /// The vhost that is made at the first start.
    pub default_vhost: String,
    /// The user that is made at the first start.
    pub default_user: String,
    /// Its password.
    pub default_pass: Secret,
    /// AMQP connections.
    pub amqp: Amqp,
    /// AMQP connections over TLS.
    pub tls: Tls,
    /// The HTTP API.
    pub http: Http,
    /// What is imported at the start.
    pub definitions: Definitions,
    /// Who may log in.
    pub auth: Auth,
    /// Tokens.
    pub oauth2: OAuth2,
    /// A service that knows users.
    pub auth_http: AuthHttp,
    /// Durable messages.
    pub store: Store,
    /// What may be kept in memory.
    pub memory: Memory,
    /// Limits of memory and disk.
    pub alarms: Alarms,
    /// Log lines.
    pub log: Log,
}

/// A text that no log line shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

/// Options of AMQP connections.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amqp {
    /// Where connections are accepted.
    pub listen: Vec<SocketAddr>,
    /// Heartbeat interval that is proposed, in seconds; 0 is none.
    pub heartbeat_seconds: u16,
    /// Most channels of a connection.
    pub channel_max: u16,
    /// Largest frame in bytes, envelope included.
    pub frame_max: u32,
    /// Largest message body in bytes.
    pub max_message_size: u64,
    /// Milliseconds that a delivery may stay without an answer; 0 for ever.
    pub consumer_timeout_ms: u64,
    /// Most open connections; 0 is no limit.
    pub connection_max: usize,
    /// Most connections of one address; 0 is no limit.
    pub connection_max_per_address: usize,
    /// Whether connections begin with a header of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// Seconds within which a login must finish.
    pub login_timeout_seconds: u64,
    /// Users who may log in from this machine only.
    pub loopback_users: Vec<String>,
}

/// Whether connections begin with a header of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyProtocol {
    /// They do not.
    Off,
    /// They do, all of them.
    Required,
}

/// Options of AMQP connections over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Where they are accepted; nowhere when empty.
    pub listen: Vec<SocketAddr>,
    /// File of the broker's certificate and what leads from it to a root.
    pub certificate: String,
    /// File of its private key.
    pub key: String,
    /// Whether clients show certificates.
    pub client_certificates: ClientCertificates,
    /// File of the roots that these have to come from.
    pub client_ca: String,
    /// Where a client's certificate has the user's name.
    pub login_name: LoginName,
    /// Versions that are spoken.
    pub versions: Vec<String>,
    /// Cipher suites that are admitted; all when empty.
    pub ciphers: Vec<String>,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// They are not asked to.
    None,
    /// They may.
    Optional,
    /// They have to.
    Required,
}

/// The place of a user's name in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginName {
    /// The subject's common name.
    CommonName,
    /// The whole subject.
    DistinguishedName,
    /// The first alternative name that is a host.
    SanDns,
    /// The first alternative name that is a mail address.
    SanEmail,
    /// The first alternative name that is a URI.
    SanUri,
}

/// Options of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where it listens; nowhere when empty.
    pub listen: Vec<SocketAddr>,
    /// Where it listens for TLS; nowhere when empty.
    pub tls_listen: Vec<SocketAddr>,
    /// Who may read the metrics.
    pub metrics_access: MetricsAccess,
}

/// Who may read the metrics for Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricsAccess {
    /// Whoever reaches the port, as in RabbitMQ.
    Anybody,
    /// Users with the tag `monitoring` or `administrator`.
    Monitors,
}

/// Options of definitions that are imported at the start.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definitions {
    /// A file or a directory; empty for none.
    pub import_file: String,
    /// When it is imported.
    pub import_when: ImportWhen,
}

/// When definitions are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportWhen {
    /// At every start.
    Always,
    /// When they are not those that were imported the last time.
    Changed,
}

/// Options of the store of durable messages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// What keeps messages on disk.
    pub engine: Engine,
    /// What a confirm of a persistent message means.
    pub durability: DurabilityMode,
    /// Milliseconds between two syncs, with [`DurabilityMode::Interval`].
    pub sync_interval: u64,
    /// Bytes of one file of the journal's log.
    pub log_file_size: u64,
}

/// What a confirm of a persistent message means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityMode {
    /// On disk, synced.
    Sync,
    /// Written, synced soon.
    Interval,
    /// Written.
    None,
}

impl Store {
    /// What is in force, for the HTTP API. sled knows nothing but syncing.
    pub fn kind(&self) -> StoreKind {
        let interval = Some(self.sync_interval);
        let (durability, sync_interval) = match (self.engine, self.durability) {
            (Engine::Sled, _) | (Engine::Journal, DurabilityMode::Sync) => ("sync", None),
            (Engine::Journal, DurabilityMode::Interval) => ("interval", interval),
            (Engine::Journal, DurabilityMode::None) => ("none", None),
        };
        StoreKind {
            engine: match self.engine {
                Engine::Journal => "journal",
                Engine::Sled => "sled",
            },
            durability,
            sync_interval,
        }
    }

    /// When the journal's promises are kept.
    pub fn durability(&self) -> Durability {
        match self.durability {
            DurabilityMode::Sync => Durability::Sync,
            DurabilityMode::Interval => {
                Durability::Interval(Duration::from_millis(self.sync_interval))
            }
            DurabilityMode::None => Durability::None,
        }
    }
}

/// What keeps durable messages on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The journal: a log and segments.
    Journal,
    /// The embedded database sled.
    Sled,
}

/// Options of memory.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// What messages that wait in queues may take.
    pub message_budget: MemoryLimit,
}

/// Options of the resource alarms.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarms {
    /// Resident memory of the process above which publishers are blocked.
    pub memory_limit: MemoryLimit,
    /// Free bytes of the data directory's file system below which publishers are blocked.
    pub disk_free_limit: u64,
}

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum MemoryLimit {
    /// In bytes.
    Bytes(u64),
    /// A part of the machine's memory, above 0 and at most 1.
    Fraction(f64),
}

impl MemoryLimit {
    /// The amount in bytes, where there are `total`.
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Fraction(fraction) => (total as f64 * fraction) as u64,
        }
    }
}

/// Options of the log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Directives of the filter: `info`, or `info,leveret::net=debug`.
    pub level: String,
    /// Form of a line.
    pub format: LogFormat,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Human,
    /// One JSON object a line.
    Json,
}

/// What was read, with the source of every value.
#[derive(Debug)]
pub struct Loaded {
    /// What the broker works with.
    pub config: Config,
    /// The same values, one for each option in the table's order, with where each comes from.
    pub settings: Vec<Setting>,
    /// `LEVERET_*` variables that set nothing.
    pub unknown_variables: Vec<UnknownVariable>,
}

/// Reads the four layers: `flags` are pairs of an option's key and the values given for it.
///
/// # Errors
/// The first thing wrong in any layer, naming its file and line, variable or flag.
pub fn load(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[(&str, Vec<String>)],
) -> Result<Loaded, Error> {
    let mut settings = layers::defaults()?;
    let (from_environment, unknown_variables) = layers::environment(environment)?;
    let from_file = file.map(layers::file).transpose()?.unwrap_or_default();
    for setting in from_file
        .into_iter()
        .chain(from_environment)
        .chain(layers::flags(flags)?)
    {
        if let Some(known) = settings
            .iter_mut()
            .find(|known| known.option.key == setting.option.key)
        {
            *known = setting;
        }
    }
    let config: Config = Value::Table(to_table(&settings))
        .try_into()
        .map_err(Error::OptionsTable)?;
    check_first_user(&config, &settings)?;
    Ok(Loaded {
        config,
        settings,
        unknown_variables,
    })
}

/// A user who may log in from anywhere must not have the password that everybody knows.
fn check_first_user(config: &Config, settings: &[Setting]) -> Result<(), Error> {
    const GUEST: &str = "guest";
    if config.default_user == GUEST || config.default_pass.0 != GUEST {
        return Ok(());
    }
    let setting = settings.iter().find(|s| s.option.key == "default_user");
    Err(Error::InvalidValue {
        source_name: setting.map(|s| s.source.to_string()).unwrap_or_default(),
        key: "default_user",
        problem: "is not guest, so default_pass must be set, and not to guest".to_owned(),
    })
}

/// The document with these values.
fn to_table(settings: &[Setting]) -> Table {
    let mut document = Table::new();
    for setting in settings {
        let (section, name) = setting.option.section_and_name();
        if section.is_empty() {
            document.insert(name.into(), setting.value.clone());
        } else if let Value::Table(table) = document
            .entry(section)
            .or_insert_with(|| Value::Table(Table::new()))
        {
            table.insert(name.into(), setting.value.clone());
        }
    }
    document
}

#[cfg(test)]
mod tests;
