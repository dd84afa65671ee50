//! The one table of configuration options: key, default, admitted values and meaning.
//!
//! Everything else follows from it: the environment variable's name, the checks, `leveret config show` and the page
//! `docs/configuration.md`. A new option is a row here and a field in [`Config`](super::Config).

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use toml::Value;

/// What values an option admits.
#[derive(Debug)]
pub enum Kind {
    /// Any text but an empty one.
    Text,
    /// The same, never shown.
    Secret,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number in this range.
    Integer(RangeInclusive<i64>),
    /// A whole number of bytes above 1, or a part of something: above 0, at most 1, written with a decimal point.
    BytesOrFraction,
    /// The path of a file, possibly empty.
    File,
    /// A list of these words, at least one.
    Choices(&'static [&'static str]),
    /// A list of texts, possibly empty.
    Texts,
    /// A list of `address:port`.
    Addresses,
    /// Directives of a log filter: a level, or `target=level`, separated by commas.
    LogFilter,
}

/// One option of the configuration.
#[derive(Debug)]
pub struct ConfigOption {
    /// Its place in the file: `section.key`, or `key` at the top.
    pub key: &'static str,
    /// The built-in default, as TOML.
    pub default: &'static str,
    /// What values it admits.
    pub kind: Kind,
    /// The command-line flag that sets it, if there is one.
    pub flag: Option<&'static str>,
    /// What it is for, with the unit of a number.
    pub meaning: &'static str,
}

/// Every option, sections together, in the order in which they are shown.
pub const OPTIONS: &[ConfigOption] = &[
    ConfigOption {
        key: "data_dir",
        default: r#""./leveret-data""#,
        kind: Kind::Text,
        flag: Some("--data-dir"),
        meaning: "Directory of everything that survives a restart: definitions and durable messages. Created, readable \
                  by its owner only, when it does not exist. One running broker has it to itself.",
    },
    ConfigOption {
        key: "node_name",
        default: r#""leveret@localhost""#,
        kind: Kind::Text,
        flag: None,
        meaning: "Name of this broker, shown to clients as the server property cluster_name and in the HTTP API as \
                  node and cluster_name.",
    },
    ConfigOption {
        key: "worker_threads",
        default: "0",
        kind: Kind::Integer(0..=1024),
        flag: None,
        meaning: "Threads that serve connections. 0 starts one for each core that the process may use.",
    },
    ConfigOption {
        key: "default_vhost",
        default: r#""/""#,
        kind: Kind::Text,
        flag: None,
        meaning: "The vhost that is made at the first start, when the data directory is new. Ignored later. The \
                  environment variable LEVERET_DEFAULT_VHOST_FILE names a file to read it from.",
    },
    ConfigOption {
        key: "default_user",
        default: r#""guest""#,
        kind: Kind::Text,
        flag: None,
        meaning: "The user that is made at the first start: an administrator who may do everything in default_vhost. \
                  Any other than guest needs default_pass. Ignored later. The environment variable \
                  LEVERET_DEFAULT_USER_FILE names a file to read it from.",
    },
    ConfigOption {
        key: "default_pass",
        default: r#""guest""#,
        kind: Kind::Secret,
        flag: None,
        meaning: "The password of default_user. Ignored after the first start. The environment variable \
                  LEVERET_DEFAULT_PASS_FILE names a file to read it from, such as a container's secret.",
    },
    ConfigOption {
        key: "amqp.listen",
        default: r#"["[::]:5672"]"#,
        kind: Kind::Addresses,
        flag: Some("--amqp-listen"),
        meaning: "Addresses and ports that accept AMQP 0-9-1 connections. [::] accepts IPv4 too, and falls back to \
                  0.0.0.0 on a machine without IPv6. Port 0 takes a free port and logs which one.",
    },
    ConfigOption {
        key: "amqp.heartbeat_seconds",
        default: "60",
        kind: Kind::Integer(0..=65_535),
        flag: None,
        meaning: "Heartbeat interval, in seconds, that is proposed to clients; the client decides. A connection that \
                  is silent for two intervals is closed. 0 proposes no heartbeats.",
    },
    ConfigOption {
        key: "amqp.channel_max",
        default: "2047",
        kind: Kind::Integer(1..=65_535),
        flag: None,
        meaning: "Most channels that one connection may have open. A client may negotiate fewer.",
    },
    ConfigOption {
        key: "amqp.frame_max",
        default: "131072",
        kind: Kind::Integer(4_096..=16_777_216),
        flag: None,
        meaning: "Largest frame in bytes, its 8 bytes of envelope included. A client may negotiate less, but not less \
                  than 4096.",
    },
    ConfigOption {
        key: "amqp.max_message_size",
        default: "16777216",
        kind: Kind::Integer(1..=536_870_912),
        flag: None,
        meaning: "Largest message body in bytes. Publishing a larger one closes the channel with 406 \
                  PRECONDITION_FAILED.",
    },
    ConfigOption {
        key: "amqp.consumer_timeout_ms",
        default: "1800000",
        kind: Kind::Integer(0..=315_360_000_000),
        flag: None,
        meaning: "Milliseconds that a client may take to answer a delivery (consumer_timeout in RabbitMQ). After that the \
                  channel is closed with 406 PRECONDITION_FAILED and what it held goes back to its queues. A queue's \
                  argument x-consumer-timeout or policy consumer-timeout and a consumer's argument x-consumer-timeout \
                  take its place. 0 is no limit.",
    },
    ConfigOption {
        key: "amqp.connection_max",
        default: "0",
        kind: Kind::Integer(0..=10_000_000),
        flag: None,
        meaning: "Most open connections of the broker. Opening one more is refused with 530 NOT_ALLOWED. 0 is no limit.",
    },
    ConfigOption {
        key: "amqp.connection_max_per_address",
        default: "0",
        kind: Kind::Integer(0..=10_000_000),
        flag: None,
        meaning: "Most connections of one client address, those that have not logged in yet included. One more is \
                  closed at once. Addresses of IPv6 count by /64. 0 is no limit.",
    },
    ConfigOption {
        key: "amqp.proxy_protocol",
        default: r#""off""#,
        kind: Kind::Choice(&["off", "required"]),
        flag: None,
        meaning: "Whether all AMQP connections, with and without TLS, come through a load balancer that says in the \
                  PROXY protocol, version 1 or 2, where they come from. Only with required is the header read; a \
                  connection without one is then closed. Nobody else should reach the ports: a header can say anything.",
    },
    ConfigOption {
        key: "amqp.login_timeout_seconds",
        default: "10",
        kind: Kind::Integer(1..=600),
        flag: None,
        meaning: "Seconds from accepting a connection until its login must be finished; a slower one is dropped.",
    },
    ConfigOption {
        key: "amqp.loopback_users",
        default: r#"["guest"]"#,
        kind: Kind::Texts,
        flag: None,
        meaning: "Users who may log in, by AMQP or HTTP, only from this machine (a loopback address).",
    },
    ConfigOption {
        key: "tls.listen",
        default: "[]",
        kind: Kind::Addresses,
        flag: None,
        meaning: "Addresses and ports that accept AMQP 0-9-1 connections over TLS, written as those of amqp.listen; \
                  [::]:5671 is usual. Needs tls.certificate and tls.key.",
    },
    ConfigOption {
        key: "tls.certificate",
        default: r#""""#,
        kind: Kind::File,
        flag: None,
        meaning: "PEM file of the broker's certificate, followed by those that lead from it to a root. Read again when \
                  it changes; open connections go on.",
    },
    ConfigOption {
        key: "tls.key",
        default: r#""""#,
        kind: Kind::File,
        flag: None,
        meaning: "PEM file of the private key of tls.certificate. Read again when it changes.",
    },
    ConfigOption {
        key: "tls.client_certificates",
        default: r#""none""#,
        kind: Kind::Choice(&["none", "optional", "required"]),
        flag: None,
        meaning: "Whether clients show a certificate. One that is shown must come from tls.client_ca, and lets its \
                  owner log in without password by the mechanism EXTERNAL.",
    },
    ConfigOption {
        key: "tls.client_ca",
        default: r#""""#,
        kind: Kind::File,
        flag: None,
        meaning: "PEM file of the root certificates that the certificates of clients have to come from. Read again \
                  when it changes.",
    },
    ConfigOption {
        key: "tls.login_name",
        default: r#""common_name""#,
        kind: Kind::Choice(&[
            "common_name",
            "distinguished_name",
            "san_dns",
            "san_email",
            "san_uri",
        ]),
        flag: None,
        meaning: "Where a client's certificate has the name of the user who logs in by EXTERNAL: the subject's common \
                  name, the whole subject as RFC 4514 writes it (CN=me,O=us), or the first alternative name that is a \
                  host, a mail address or a URI.",
    },
    ConfigOption {
        key: "tls.versions",
        default: r#"["1.3", "1.2"]"#,
        kind: Kind::Choices(&["1.3", "1.2"]),
        flag: None,
        meaning: "Versions of TLS that are spoken.",
    },
    ConfigOption {
        key: "tls.ciphers",
        default: "[]",
        kind: Kind::Texts,
        flag: None,
        meaning: "Cipher suites that are admitted, by their IANA names, such as TLS_AES_256_GCM_SHA384. An empty list \
                  admits all that are safe.",
    },
    ConfigOption {
        key: "http.listen",
        default: r#"["[::]:15672"]"#,
        kind: Kind::Addresses,
        flag: Some("--http-listen"),
        meaning: "Addresses and ports of the HTTP API, written as those of amqp.listen. An empty list turns the HTTP \
                  API off.",
    },
    ConfigOption {
        key: "http.tls_listen",
        default: "[]",
        kind: Kind::Addresses,
        flag: None,
        meaning: "Addresses and ports of the HTTP API over TLS, written as those of amqp.listen; [::]:15671 is usual. \
                  Certificates are those of [tls].",
    },
    ConfigOption {
        key: "definitions.import_file",
        default: r#""""#,
        kind: Kind::File,
        flag: None,
        meaning: "A definitions file to import at the start, before clients can connect, or a directory whose .json files \
                  are imported in the order of their names. What it defines is added or changed, nothing is deleted. A \
                  file with a fault changes nothing, and the broker does not start. With it no vhost and no user are \
                  made at the first start.",
    },
    ConfigOption {
        key: "definitions.import_when",
        default: r#""always""#,
        kind: Kind::Choice(&["always", "changed"]),
        flag: None,
        meaning: "When definitions.import_file is imported: always, at every start; or changed, only when it is not what \
                  was imported the last time, so that what was changed since then stays.",
    },
    ConfigOption {
        key: "store.engine",
        default: r#""journal""#,
        kind: Kind::Choice(&["journal", "sled"]),
        flag: None,
        meaning: "What keeps durable messages on disk: journal, for any load and any length of queue; or sled, an \
                  embedded database that is simple and slower, for small brokers. Messages do not move from one to \
                  the other: a data directory that holds messages of the other one is refused.",
    },
    ConfigOption {
        key: "store.durability",
        default: r#""sync""#,
        kind: Kind::Choice(&["sync", "interval", "none"]),
        flag: None,
        meaning: "What a confirm of a persistent message means, with the journal. sync: it is on disk and survives a \
                  power cut. interval: it survives the end of the process, and a power cut costs at most what was \
                  confirmed in the last store.sync_interval. none: it survives the end of the process, and the \
                  operating system writes when it likes. sled always syncs.",
    },
    ConfigOption {
        key: "store.sync_interval",
        default: "200",
        kind: Kind::Integer(1..=3_600_000),
        flag: None,
        meaning: "Milliseconds between two syncs of the journal when store.durability is interval.",
    },
    ConfigOption {
        key: "store.log_file_size",
        default: "67108864",
        kind: Kind::Integer(65_536..=4_294_967_296),
        flag: None,
        meaning: "Bytes of one file of the journal's log. The log has up to five of them: larger ones mean that fewer \
                  messages are written twice, smaller ones that a start after a crash reads less.",
    },
    ConfigOption {
        key: "memory.message_budget",
        default: "0.25",
        kind: Kind::BytesOrFraction,
        flag: None,
        meaning: "Memory that messages may take while they wait in queues: a number of bytes, or a part of the memory \
                  of the machine or container. What is more lies on disk only and is read back when consumers want it.",
    },
    ConfigOption {
        key: "alarms.memory_limit",
        default: "0.6",
        kind: Kind::BytesOrFraction,
        flag: None,
        meaning: "Resident memory of the broker above which publishers are blocked until it is below again: a number \
                  of bytes, or a part of the machine's memory, or of its control group's where that is less.",
    },
    ConfigOption {
        key: "alarms.disk_free_limit",
        default: "50000000",
        kind: Kind::Integer(0..=i64::MAX),
        flag: None,
        meaning: "Free bytes of the file system of data_dir below which publishers are blocked until there are more \
                  again. 0 turns this limit off. Publishers are also blocked while the journal \
                  finds no room to write.",
    },
    ConfigOption {
        key: "log.level",
        default: r#""info""#,
        kind: Kind::LogFilter,
        flag: Some("--log-level"),
        meaning: "Least severe log lines that are written: error, warn, info, debug, trace or off; per module after \
                  commas, as in \"info,leveret::net=debug\".",
    },
    ConfigOption {
        key: "log.format",
        default: r#""human""#,
        kind: Kind::Choice(&["human", "json"]),
        flag: Some("--log-format"),
        meaning: "Form of the log lines on standard error: human is text, coloured on a terminal; json is one object \
                  a line.",
    },
];

/// Options whose environment variable has a sibling that ends in `_FILE` and names a file with the value, as containers
/// are given secrets.
const FROM_FILES: [&str; 3] = ["default_vhost", "default_user", "default_pass"];

impl ConfigOption {
    /// The environment variable that names a file with the value, if the option has one.
    pub fn file_variable(&self) -> Option<String> {
        let has = FROM_FILES.contains(&self.key);
        has.then(|| format!("{}_FILE", self.environment_variable()))
    }

    /// The option with this key.
    pub fn find(key: &str) -> Option<&'static Self> {
        OPTIONS.iter().find(|option| option.key == key)
    }

    /// The environment variable that sets it: `amqp.frame_max` is `LEVERET_AMQP_FRAME_MAX`.
    pub fn environment_variable(&self) -> String {
        format!("LEVERET_{}", self.key.replace('.', "_").to_uppercase())
    }

    /// The section (empty at the top of the file) and the key inside it.
    pub fn section_and_name(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }

    /// The value that `text`, from an environment variable or a flag, stands for. What cannot be of the option's
    /// kind stays text, so that [`check`](Self::check) complains about it.
    pub fn parse_text(&self, text: &str) -> Value {
        match self.kind {
            Kind::Integer(_) => text
                .trim()
                .parse()
                .map(Value::Integer)
                .unwrap_or_else(|_| text.into()),
            Kind::BytesOrFraction => {
                let number = text.trim();
                let whole = number.parse().map(Value::Integer);
                whole
                    .or_else(|_| number.parse().map(Value::Float))
                    .unwrap_or_else(|_| text.into())
            }
            Kind::Texts | Kind::Choices(_) | Kind::Addresses => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Value::Array(items.map(Value::from).collect())
            }
            Kind::Text | Kind::Secret | Kind::File | Kind::Choice(_) | Kind::LogFilter => {
                text.into()
            }
        }
    }

    /// What is admitted, for documentation: `4096 to 16777216`.
    pub fn admitted(&self) -> String {
        match &self.kind {
            Kind::Text | Kind::Secret => "text".into(),
            Kind::Choice(words) => words.join(", "),
            Kind::File => "path of a file".into(),
            Kind::Choices(words) => format!("list of {}", words.join(", ")),
            Kind::Integer(range) => format!("{} to {}", range.start(), range.end()),
            Kind::BytesOrFraction => "whole number of bytes, or fraction from 0.0 to 1.0".into(),
            Kind::Texts => "list of texts".into(),
            Kind::Addresses => "list of address:port".into(),
            Kind::LogFilter => "log level, or list of target=level".into(),
        }
    }

    /// Checks kind and range.
    ///
    /// # Errors
    /// What the value should have been, as the end of a sentence that begins with the key.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        match (&self.kind, value) {
            (Kind::Text, Value::String(text)) if !text.is_empty() => Ok(()),
            (Kind::Text, _) => Err(format!("must be a text that is not empty, not {value}")),
            (Kind::Secret, Value::String(text)) if !text.is_empty() => Ok(()),
            (Kind::Secret, _) => Err("must be a text that is not empty".to_owned()),
            (Kind::Choice(words), Value::String(word)) if words.contains(&word.as_str()) => Ok(()),
            (Kind::Choice(words), _) => {
                Err(format!("must be one of {}, not {value}", words.join(", ")))
            }
            (Kind::Integer(range), Value::Integer(number)) if range.contains(number) => Ok(()),
            (Kind::Integer(range), _) => Err(format!(
                "must be a whole number from {} to {}, not {value}",
                range.start(),
                range.end()
            )),
            (Kind::BytesOrFraction, Value::Integer(2..)) => Ok(()),
            (Kind::BytesOrFraction, Value::Float(part)) if *part > 0.0 && *part <= 1.0 => Ok(()),
            (Kind::BytesOrFraction, _) => Err(format!(
                "must be a whole number of bytes above 1 or a fraction such as 0.6, not {value}"
            )),
            (Kind::File, Value::String(_)) => Ok(()),
            (Kind::File, _) => Err(format!("must be the path of a file, not {value}")),
            (Kind::Choices(words), Value::Array(items))
                if !items.is_empty()
                    && items
                        .iter()
                        .all(|item| item.as_str().is_some_and(|item| words.contains(&item))) =>
            {
                Ok(())
            }
            (Kind::Choices(words), _) => Err(format!(
                "must be a list of {}, not {value}",
                words.join(", ")
            )),
            (Kind::Texts, Value::Array(items)) if items.iter().all(Value::is_str) => Ok(()),
            (Kind::Texts, _) => Err(format!("must be a list of texts, not {value}")),
            (Kind::Addresses, Value::Array(items)) => items.iter().try_for_each(check_address),
            (Kind::Addresses, _) => Err(format!("must be a list of address:port, not {value}")),
            (Kind::LogFilter, Value::String(text)) => check_log_filter(text),
            (Kind::LogFilter, _) => Err(format!("must be a text, not {value}")),
        }
    }
}

fn check_address(item: &Value) -> Result<(), String> {
    match item.as_str().map(str::parse::<SocketAddr>) {
        Some(Ok(_)) => Ok(()),
        _ => Err(format!(
            "must be a list of address:port such as \"127.0.0.1:5672\" or \"[::]:5672\", not {item}"
        )),
    }
}

/// Stricter than the filter's own parser, which takes a misspelt level for the name of a module.
fn check_log_filter(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    let directive_is_good = |directive: &str| match directive.rsplit_once('=') {
        Some((target, level)) => !target.is_empty() && is_level(level),
        None => is_level(directive),
    };
    if text.split(',').all(directive_is_good)
        && tracing_subscriber::EnvFilter::try_new(text).is_ok()
    {
        return Ok(());
    }
    Err(format!(
        "must be one of {} or a list as \"info,leveret::net=debug\", not \"{text}\"",
        LEVELS.join(", ")
    ))
}
