use std::io::Write as _;

use super::options::OPTIONS;
use super::*;
use crate::config::layers::Source;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn environment(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

/// The error of a file with this text, without the file's name.
fn error_of(text: &str) -> String {
    let file = file(text);
    let error = load(Some(file.path()), [], &[]).unwrap_err().to_string();
    error
        .strip_prefix(file.path().to_str().unwrap())
        .unwrap_or(&error)
        .to_owned()
}

fn source_of(loaded: &Loaded, key: &str) -> Source {
    loaded
        .settings
        .iter()
        .find(|setting| setting.option.key == key)
        .unwrap()
        .source
        .clone()
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = load(None, [], &[]).unwrap().config;
    assert_eq!(config.data_dir, Path::new("./leveret-data"));
    assert_eq!(config.amqp.listen, ["[::]:5672".parse().unwrap()]);
    assert_eq!(config.http.listen, ["[::]:15672".parse().unwrap()]);
    assert_eq!(config.amqp.heartbeat_seconds, 60);
    assert_eq!(config.amqp.channel_max, 2047);
    assert_eq!(config.amqp.frame_max, 131_072);
    assert_eq!(config.amqp.max_message_size, 16 * 1024 * 1024);
    assert_eq!(config.amqp.consumer_timeout_ms, 30 * 60 * 1000);
    assert_eq!(config.amqp.login_timeout_seconds, 10);
    assert_eq!(config.amqp.loopback_users, ["guest"]);
    assert_eq!(config.alarms.memory_limit, MemoryLimit::Fraction(0.6));
    assert_eq!(config.alarms.disk_free_limit, 50_000_000);
    assert_eq!(config.log.format, LogFormat::Human);
}

#[test]
fn memory_is_limited_in_bytes_or_as_a_fraction() {
    for (text, limit) in [
        ("1000000", MemoryLimit::Bytes(1_000_000)),
        ("0.25", MemoryLimit::Fraction(0.25)),
        ("1.0", MemoryLimit::Fraction(1.0)),
    ] {
        let variables = environment(&[("LEVERET_ALARMS_MEMORY_LIMIT", text)]);
        let config = load(None, variables, &[]).unwrap().config;
        assert_eq!(config.alarms.memory_limit, limit);
        let file = file(&format!("[alarms]\nmemory_limit = {text}\n"));
        let config = load(Some(file.path()), [], &[]).unwrap().config;
        assert_eq!(config.alarms.memory_limit, limit);
    }
    for text in ["1", "0", "0.0", "1.5", "-3", "60%"] {
        let variables = environment(&[("LEVERET_ALARMS_MEMORY_LIMIT", text)]);
        let error = load(None, variables, &[]).unwrap_err().to_string();
        assert!(error.contains("a fraction such as 0.6"), "{error}");
    }
}

#[test]
fn the_later_layer_counts() {
    let file = file(
        "data_dir = 'file'\n[amqp]\nframe_max = 5000\nchannel_max = 5\nheartbeat_seconds = 5\n",
    );
    let variables = environment(&[
        ("LEVERET_AMQP_FRAME_MAX", "6000"),
        ("LEVERET_DATA_DIR", "environment"),
    ]);
    let loaded = load(
        Some(file.path()),
        variables,
        &[("data_dir", vec!["flag".into()])],
    )
    .unwrap();
    assert_eq!(loaded.config.data_dir, Path::new("flag"));
    assert_eq!(loaded.config.amqp.frame_max, 6000);
    assert_eq!(loaded.config.amqp.channel_max, 5);
    assert_eq!(loaded.config.amqp.login_timeout_seconds, 10);
    assert_eq!(source_of(&loaded, "data_dir"), Source::Flag("--data-dir"));
    assert_eq!(
        source_of(&loaded, "amqp.frame_max"),
        Source::Environment("LEVERET_AMQP_FRAME_MAX".into())
    );
    let path = file.path().to_owned();
    assert_eq!(
        source_of(&loaded, "amqp.channel_max"),
        Source::File {
            path,
            line: 4,
            column: 1
        }
    );
    assert_eq!(source_of(&loaded, "log.level"), Source::Default);
}

#[test]
fn lists_come_from_commas_and_repeated_flags() {
    let variables = environment(&[
        ("LEVERET_AMQP_LISTEN", "127.0.0.1:1, [::1]:2"),
        ("LEVERET_HTTP_LISTEN", ""),
    ]);
    let flags = [(
        "amqp.listen",
        vec!["127.0.0.1:0".to_owned(), "[::1]:0".to_owned()],
    )];
    let config = load(None, variables.clone(), &[]).unwrap().config;
    assert_eq!(
        config.amqp.listen,
        ["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()]
    );
    assert!(config.http.listen.is_empty());
    let config = load(None, variables, &flags).unwrap().config;
    assert_eq!(
        config.amqp.listen,
        ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()]
    );
}

#[test]
fn an_unknown_key_is_an_error_with_line_column_and_nearest_key() {
    assert_eq!(
        error_of("# comment\n[amqp]\n  frame_mx = 5000\n"),
        ":3:3: unknown key amqp.frame_mx: did you mean amqp.frame_max?"
    );
    assert_eq!(
        error_of("frame_max = 5000\n"),
        ":1:1: unknown key frame_max: did you mean amqp.frame_max?"
    );
    assert_eq!(
        error_of("\n[ampq]\nlisten = []\n"),
        ":2:2: unknown key ampq: \"leveret config show\" lists every key"
    );
    assert_eq!(
        error_of("\n\namqp.lissten = []\n"),
        ":3:6: unknown key amqp.lissten: did you mean amqp.listen?"
    );
    assert_eq!(
        error_of("zebra = 1\n"),
        ":1:1: unknown key zebra: \"leveret config show\" lists every key"
    );
    assert_eq!(
        error_of("amqp = 1\n"),
        ":1:1: unknown key amqp: amqp is a section: write [amqp], then its options below"
    );
}

#[test]
fn a_value_that_is_not_admitted_is_an_error_with_line_and_range() {
    assert_eq!(
        error_of("[amqp]\nframe_max = 100\n"),
        ":2:1: amqp.frame_max must be a whole number from 4096 to 16777216, not 100"
    );
    assert_eq!(
        error_of("[amqp]\nframe_max = \"much\"\n"),
        ":2:1: amqp.frame_max must be a whole number from 4096 to 16777216, not \"much\""
    );
    assert_eq!(
        error_of("[store]\nengine = 'memory'\n"),
        ":2:1: store.engine must be one of journal, sled, not \"memory\""
    );
    assert_eq!(
        error_of("data_dir = ''"),
        ":1:1: data_dir must be a text that is not empty, not \"\""
    );
    assert!(
        error_of("[amqp]\nlisten = ['localhost']\n")
            .contains("must be a list of address:port such as")
    );
    assert!(error_of("log.level = 'inof'").contains("log.level must be one of off, error, warn"));
    assert!(
        error_of("log.level = 'info,leveret=loud'")
            .contains("log.level must be one of off, error, warn")
    );
}

#[test]
fn broken_toml_is_an_error_with_line_and_column() {
    let error = error_of("data_dir = 'x'\n[amqp\n");
    assert!(error.starts_with(":2:"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error_of("data_dir = 'a'\ndata_dir = 'b'\n").starts_with(":2:1: duplicate key"));
}

#[test]
fn a_file_that_does_not_exist_is_an_error_with_its_name() {
    let error = load(Some(Path::new("no/such.toml")), [], &[])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot read the configuration file no/such.toml: "),
        "{error}"
    );
}

#[test]
fn an_error_in_the_environment_or_a_flag_names_it() {
    let variables = environment(&[("LEVERET_AMQP_FRAME_MAX", "12k")]);
    assert_eq!(
        load(None, variables, &[]).unwrap_err().to_string(),
        "environment variable LEVERET_AMQP_FRAME_MAX: amqp.frame_max must be a whole number from 4096 to 16777216, \
         not \"12k\""
    );
    let flags = [("log.format", vec!["xml".to_owned()])];
    assert_eq!(
        load(None, [], &flags).unwrap_err().to_string(),
        "flag --log-format: log.format must be one of human, json, not \"xml\""
    );
}

#[test]
fn unknown_variables_are_reported_and_ignored() {
    let variables = environment(&[
        ("LEVERET_AMQP_LISTN", "127.0.0.1:1"),
        ("LEVERET_PORT_5672_TCP_ADDR", "10.0.0.1"),
        ("LEVERET_CONFIG", "x"),
        ("OTHER", "x"),
    ]);
    let unknown = load(None, variables, &[]).unwrap().unknown_variables;
    let lines: Vec<_> = unknown.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "environment variable LEVERET_AMQP_LISTN sets no option and is ignored: did you mean LEVERET_AMQP_LISTEN?",
            "environment variable LEVERET_PORT_5672_TCP_ADDR sets no option and is ignored",
        ]
    );
}

#[test]
fn environment_variables_are_distinct() {
    let mut names: Vec<_> = OPTIONS
        .iter()
        .map(|option| option.environment_variable())
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), OPTIONS.len());
}

#[test]
fn what_is_shown_is_a_file_with_the_same_meaning() {
    let variables = environment(&[
        ("LEVERET_AMQP_LOOPBACK_USERS", ""),
        ("LEVERET_NODE_NAME", "a \"b\" \\ c"),
    ]);
    let loaded = load(None, variables, &[]).unwrap();
    let shown = show::as_toml(&loaded.settings);
    assert!(
        shown.contains("# Value from: environment variable LEVERET_NODE_NAME.\n"),
        "{shown}"
    );
    let file = file(&shown);
    assert_eq!(
        load(Some(file.path()), [], &[]).unwrap().config,
        loaded.config
    );
}

#[test]
fn configuration_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let expected = page::as_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        std::fs::write(path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap();
    assert!(
        found == expected,
        "run: UPDATE_DOCS=1 cargo test --lib configuration_page"
    );
}

#[test]
fn the_first_user_comes_from_the_environment_or_from_files() {
    let file = file("from a file\n");
    let path = file.path().to_str().unwrap();
    let variables = environment(&[
        ("LEVERET_DEFAULT_USER", "admin"),
        ("LEVERET_DEFAULT_PASS_FILE", path),
        ("LEVERET_DEFAULT_VHOST", "main"),
    ]);
    let loaded = load(None, variables, &[]).unwrap();
    let config = &loaded.config;
    assert_eq!(config.default_user, "admin");
    assert_eq!(config.default_vhost, "main");
    assert_eq!(config.default_pass.0, "from a file");
    assert!(loaded.unknown_variables.is_empty());
    let shown = show::as_toml(&loaded.settings);
    assert!(!shown.contains("from a file"), "{shown}");
    assert!(!format!("{config:?}").contains("from a file"));
}

#[test]
fn a_first_user_other_than_guest_needs_a_password_of_its_own() {
    for variables in [
        &[("LEVERET_DEFAULT_USER", "admin")][..],
        &[
            ("LEVERET_DEFAULT_USER", "admin"),
            ("LEVERET_DEFAULT_PASS", "guest"),
        ],
    ] {
        let error = load(None, environment(variables), &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "environment variable LEVERET_DEFAULT_USER: default_user is not guest, so default_pass must be set, and \
             not to guest"
        );
    }
}

#[test]
fn the_variables_of_rabbitmqs_image_stand_for_leverets() {
    let file = file("from a file\n");
    let path = file.path().to_str().unwrap();
    let variables = environment(&[
        ("RABBITMQ_DEFAULT_USER", "admin"),
        ("RABBITMQ_DEFAULT_PASS_FILE", path),
        ("RABBITMQ_DEFAULT_VHOST", "main"),
        ("RABBITMQ_ERLANG_COOKIE", "means nothing here"),
    ]);
    let loaded = load(None, variables, &[]).unwrap();
    assert_eq!(loaded.config.default_user, "admin");
    assert_eq!(loaded.config.default_pass.0, "from a file");
    assert_eq!(loaded.config.default_vhost, "main");
    assert!(loaded.unknown_variables.is_empty());
    let shown = show::as_toml(&loaded.settings);
    let source = "# Value from: environment variable RABBITMQ_DEFAULT_USER.\n";
    assert!(shown.contains(source), "{shown}");
}

#[test]
fn leverets_own_variables_count_before_those_of_rabbitmqs_image() {
    let variables = environment(&[
        ("LEVERET_DEFAULT_VHOST", "ours"),
        ("RABBITMQ_DEFAULT_VHOST", "theirs"),
    ]);
    let loaded = load(None, variables, &[]).unwrap();
    assert_eq!(loaded.config.default_vhost, "ours");
}

#[test]
fn a_file_of_a_value_that_cannot_be_read_is_one_clear_line() {
    let variables = environment(&[("LEVERET_DEFAULT_PASS_FILE", "/nowhere/at/all")]);
    let error = load(None, variables, &[]).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "environment variable LEVERET_DEFAULT_PASS_FILE: default_pass cannot be read from /nowhere/at/all: "
        ),
        "{error}"
    );
}
