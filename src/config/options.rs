//! The one table of configuration options: key, default, admitted values and meaning.
//!
//! Everything else follows from it: the environment variable's name, the checks, `leveret config show` and the page
//! `docs/configuration.md`. A new option is a row here and a field in [`Config`](super::Config).

pub use super::kind::Kind;

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
        meaning: "Threads that serve connections. 0 starts one for each core that the process, or its control group \
                  (container), may use.",
    },
    ConfigOption {
        key: "default_vhost",
        default: r#""/""#,
        kind: Kind::Text,
        flag: None,
        meaning: "The vhost that is made at the first start, when the data directory is new. Ignored later. The \
                  environment variable LEVERET_DEFAULT_VHOST_FILE names a file to read it from. \
                  RABBITMQ_DEFAULT_VHOST and RABBITMQ_DEFAULT_VHOST_FILE are understood too.",
    },
    ConfigOption {
        key: "default_user",
        default: r#""guest""#,
        kind: Kind::Text,
        flag: None,
        meaning: "The user that is made at the first start: an administrator who may do everything in default_vhost. \
                  Any other than guest needs default_pass. Ignored later. The environment variable \
                  LEVERET_DEFAULT_USER_FILE names a file to read it from. RABBITMQ_DEFAULT_USER and \
                  RABBITMQ_DEFAULT_USER_FILE are understood too.",
    },
    ConfigOption {
        key: "default_pass",
        default: r#""guest""#,
        kind: Kind::Secret,
        flag: None,
        meaning: "The password of default_user. Ignored after the first start. The environment variable \
                  LEVERET_DEFAULT_PASS_FILE names a file to read it from, such as a container's secret. \
                  RABBITMQ_DEFAULT_PASS and RABBITMQ_DEFAULT_PASS_FILE are understood too.",
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
        meaning: "Most open connections of the broker. Opening one more is refused with 530 NOT_ALLOWED. 0 is no \
                  limit.",
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
        key: "http.metrics_access",
        default: r#""anybody""#,
        kind: Kind::Choice(&["anybody", "monitors"]),
        flag: None,
        meaning: "Who may read /metrics. \"anybody\" who reaches the port, as in RabbitMQ; \"monitors\" are users with \
                  the tag monitoring or administrator.",
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
        key: "auth.backends",
        default: r#"["internal"]"#,
        kind: Kind::Choices(&[
            "internal",
            "oauth2",
            "http",
            "internal:http",
            "http:internal",
            "oauth2:internal",
            "oauth2:http",
        ]),
        flag: None,
        meaning: "Who is asked whether somebody may log in, one after the other until one of them says yes: internal \
                  are the broker's own users, oauth2 takes signed tokens in place of passwords ([oauth2]), http asks a \
                  service ([auth_http]). With a colon the first says who it is and the second what they may do: \
                  http:internal.",
    },
    ConfigOption {
        key: "auth.cache_ttl_seconds",
        default: r#"15"#,
        kind: Kind::Integer(0..=86_400),
        flag: None,
        meaning: "Seconds for which answers of the service of [auth_http] count. 0 asks each time.",
    },
    ConfigOption {
        key: "oauth2.resource_server_id",
        default: r#""""#,
        kind: Kind::OptionalText,
        flag: None,
        meaning: "Who this broker is in tokens: what a token's audience has to name, and what stands before its \
                  scopes. Needed with oauth2.",
    },
    ConfigOption {
        key: "oauth2.jwks_url",
        default: r#""""#,
        kind: Kind::OptionalText,
        flag: None,
        meaning: "Address of the set of keys with which tokens are signed (JWKS), http:// or https://. Asked for again \
                  when a token names a key that is not known, and after an hour. Without it and oauth2.jwks_file the \
                  metadata of oauth2.issuer say where the keys are.",
    },
    ConfigOption {
        key: "oauth2.jwks_file",
        default: r#""""#,
        kind: Kind::File,
        flag: None,
        meaning: "The same as a file, in place of oauth2.jwks_url. Read again when it changes.",
    },
    ConfigOption {
        key: "oauth2.issuer",
        default: r#""""#,
        kind: Kind::OptionalText,
        flag: None,
        meaning: "Who has to have issued tokens: their iss. Anybody whose key is known when empty.",
    },
    ConfigOption {
        key: "oauth2.ca_file",
        default: r#""""#,
        kind: Kind::File,
        flag: None,
        meaning: "PEM file of the roots from which the certificates of oauth2.jwks_url and oauth2.issuer have to come. \
                  Those that browsers trust when empty.",
    },
    ConfigOption {
        key: "oauth2.verify_aud",
        default: r#"true"#,
        kind: Kind::Boolean,
        flag: None,
        meaning: "Whether a token's audience has to name oauth2.resource_server_id.",
    },
    ConfigOption {
        key: "oauth2.require_exp",
        default: r#"true"#,
        kind: Kind::Boolean,
        flag: None,
        meaning: "Whether tokens have to say when they end.",
    },
    ConfigOption {
        key: "oauth2.leeway_seconds",
        default: r#"0"#,
        kind: Kind::Integer(0..=3600),
        flag: None,
        meaning: "Seconds by which the issuer's clock may differ from this one: a token is good for so much longer.",
    },
    ConfigOption {
        key: "oauth2.scope_prefix",
        default: r#""{resource_server_id}.""#,
        kind: Kind::OptionalText,
        flag: None,
        meaning: "What scopes begin with that are for this broker; others do not count. {resource_server_id} stands \
                  for that option's value.",
    },
    ConfigOption {
        key: "oauth2.scope_aliases",
        default: r#"[]"#,
        kind: Kind::Texts,
        flag: None,
        meaning: "What scopes of others stand for, each as name=scopes: admin=rabbitmq.tag:administrator \
                  rabbitmq.read:*/*.",
    },
    ConfigOption {
        key: "oauth2.additional_scopes_key",
        default: r#""""#,
        kind: Kind::OptionalText,
        flag: None,
        meaning: "Where tokens have scopes besides scope, separated by spaces; a.b is b inside of a.",
    },
    ConfigOption {
        key: "oauth2.preferred_username_claims",
        default: r#"["sub", "client_id"]"#,
        kind: Kind::Texts,
        flag: None,
        meaning: "Where tokens have the user's name: the first of these that is there counts.",
    },
    ConfigOption {
        key: "oauth2.scope_pattern_syntax",
        default: r#""wildcard""#,
        kind: Kind::Choice(&["wildcard", "regex"]),
        flag: None,
        meaning: "What the parts of scopes are: texts in which * stands for anything, or regular expressions that \
                  match the whole name.",
    },
    ConfigOption {
        key: "oauth2.algorithms",
        default: r#"["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"]"#,
        kind: Kind::Choices(&[
            "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA",
            "HS256", "HS384", "HS512",
        ]),
        flag: None,
        meaning: "How tokens may be signed. With HS256 and the like the key is a secret that the broker shares with \
                  the issuer.",
    },
    ConfigOption {
        key: "oauth2.default_key",
        default: r#""""#,
        kind: Kind::OptionalText,
        flag: None,
        meaning: "Name of the key of tokens that name none.",
    },
    ConfigOption {
        key: "oauth2.timeout_seconds",
        default: r#"10"#,
        kind: Kind::Integer(1..=300),
        flag: None,
        meaning: "Seconds within which keys have to arrive.",
    },
    ConfigOption {
        key: "auth_http.http_method",
        default: r#""post""#,
        kind: Kind::Choice(&["get", "post"]),
        flag: None,
        meaning: "How the service is asked. With get passwords are part of addresses, which logs may show.",
    },
    ConfigOption {
        key: "auth_http.user_path",
        default: r#""http://localhost:8000/auth/user""#,
        kind: Kind::Text,
        flag: None,
        meaning: "Address at which the service is asked for a user and a password. It answers allow, with the user's \
                  tags behind, or deny.",
    },
    ConfigOption {
        key: "auth_http.vhost_path",
        default: r#""http://localhost:8000/auth/vhost""#,
        kind: Kind::Text,
        flag: None,
        meaning: "Address at which the service is asked whether a user may open a vhost: allow or deny.",
    },
    ConfigOption {
        key: "auth_http.resource_path",
        default: r#""http://localhost:8000/auth/resource""#,
        kind: Kind::Text,
        flag: None,
        meaning: "Address at which the service is asked whether a user may use a queue or an exchange: allow or deny.",
    },
    ConfigOption {
        key: "auth_http.topic_path",
        default: r#""http://localhost:8000/auth/topic""#,
        kind: Kind::Text,
        flag: None,
        meaning: "Address at which the service is asked whether a user may use a routing key of a topic exchange: \
                  allow or deny.",
    },
    ConfigOption {
        key: "auth_http.authorization_failure_disclosure",
        default: r#"false"#,
        kind: Kind::Boolean,
        flag: None,
        meaning: "Whether clients are told the reason that the service gives behind deny.",
    },
    ConfigOption {
        key: "auth_http.request_timeout_seconds",
        default: r#"15"#,
        kind: Kind::Integer(1..=300),
        flag: None,
        meaning: "Seconds within which the service has to answer.",
    },
    ConfigOption {
        key: "auth_http.ca_file",
        default: r#""""#,
        kind: Kind::File,
        flag: None,
        meaning: "PEM file of the roots from which the service's certificate has to come, if its addresses are \
                  https://. Those that browsers trust when empty.",
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
