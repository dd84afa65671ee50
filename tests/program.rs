//! What an operator sees of the program: its start, its end, its errors, its configuration commands.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, outside of test functions"
)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use support::{Login, Peer};

/// How long a step may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary without this process's `LEVERET_*` variables.
fn leveret(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LEVERET_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    leveret(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A broker that runs until it is told to stop, or until the test ends.
struct Running {
    process: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(data_dir: &Path, arguments: &[&str]) -> Self {
        let mut process = leveret(&["--data-dir", data_dir.to_str().unwrap()])
            .args([
                "--amqp-listen",
                "127.0.0.1:0",
                "--http-listen",
                "127.0.0.1:0",
            ])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = lines(process.stderr.take().unwrap());
        Self { process, lines }
    }

    /// The next log line that has `part` in it.
    fn line_with(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with {part:?} ({error}) after {seen:#?}"),
            }
        }
    }

    fn address_in_line_with(&self, part: &str) -> SocketAddr {
        self.line_with(part)
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    fn signal(&self, name: &str) {
        let id = self.process.id();
        let status = Command::new("sh")
            .args(["-c", &format!("kill -{name} {id}")])
            .status()
            .unwrap();
        assert!(status.success());
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the broker does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn lines(stream: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
    });
    receiver
}

/// The one line that a start ends with, without time and level, and exit code 1.
fn refusal(data_dir: &Path, arguments: &[&str]) -> String {
    let mut broker = Running::start(data_dir, arguments);
    let line = broker.line_with("ERROR");
    assert_eq!(broker.wait().code(), Some(1));
    assert_eq!(broker.lines.iter().next(), None, "one line, not more");
    line.split_once("leveret::serve: ").unwrap().1.to_owned()
}

#[test]
fn a_start_says_where_the_data_is_and_where_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Running::start(folder.path(), &[]);
    let line = broker.line_with("data directory ");
    assert!(
        line.ends_with(folder.path().canonicalize().unwrap().to_str().unwrap()),
        "{line}"
    );
    let amqp = broker.address_in_line_with("listening for AMQP 0-9-1 on ");
    let http = broker.address_in_line_with("listening for HTTP on ");
    assert!(amqp.port() != 0 && http.port() != 0);
    assert!(broker.line_with("ready").ends_with(concat!(
        "Leveret ",
        env!("CARGO_PKG_VERSION"),
        " ready"
    )));
    TcpStream::connect(http).unwrap();
}

#[test]
fn json_is_one_object_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Running::start(folder.path(), &["--log-format", "json"]);
    let line: serde_json::Value = serde_json::from_str(&broker.line_with("ready")).unwrap();
    assert_eq!(line["level"], "INFO");
    assert_eq!(
        line["message"],
        concat!("Leveret ", env!("CARGO_PKG_VERSION"), " ready")
    );
}

#[test]
fn the_http_port_answers_with_the_page_and_asks_for_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Running::start(folder.path(), &[]);
    let http = broker.address_in_line_with("listening for HTTP on ");
    assert!(get(http, "/", "").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(http, "/api/overview", "").starts_with("HTTP/1.1 401 Unauthorized\r\n"));
}

#[test]
fn the_overview_counts_what_there_is_and_says_where_it_listens() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Running::start(folder.path(), &[]);
    let amqp = broker.address_in_line_with("listening for AMQP 0-9-1 on ");
    let http = broker.address_in_line_with("listening for HTTP on ");
    let mut peer = Peer::tcp_to(amqp).opened(&Login::default());
    peer.open_channel(1);
    peer.open_channel(2);
    let queue = peer.fresh_queue(1, "counted");
    peer.consume(1, &queue, "counter");
    let guest = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";
    let answer = get(http, "/api/overview", guest);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let overview: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        overview["object_totals"],
        serde_json::json!({ "connections": 1, "channels": 2, "exchanges": 7, "queues": 1, "consumers": 1 })
    );
    assert_eq!(overview["listeners"][0]["protocol"], "amqp");
    assert_eq!(overview["listeners"][0]["port"], amqp.port());
    assert_eq!(overview["listeners"][1]["protocol"], "http");
    assert_eq!(overview["listeners"][1]["port"], http.port());
}

fn get(address: SocketAddr, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, protocol) in [("--amqp-listen", "AMQP 0-9-1"), ("--http-listen", "HTTP")] {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            refusal(folder.path(), &[flag, &address]),
            format!(
                "cannot listen for {protocol} on {address}: another process is using this port"
            )
        );
    }
}

#[test]
fn a_data_directory_in_use_is_one_line_and_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let first = Running::start(folder.path(), &[]);
    first.line_with("ready");
    let path = folder.path().canonicalize().unwrap();
    assert_eq!(
        refusal(folder.path(), &[]),
        format!(
            "the data directory {} is in use by another Leveret (process {})",
            path.display(),
            first.process.id()
        )
    );
}

#[test]
fn a_data_directory_is_free_again_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = Running::start(folder.path(), &[]);
    first.line_with("ready");
    first.process.kill().unwrap();
    first.wait();
    Running::start(folder.path(), &[]).line_with("ready");
}

#[test]
fn sigterm_and_sigint_end_it_with_exit_code_0() {
    for name in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut broker = Running::start(folder.path(), &[]);
        let http = broker.address_in_line_with("listening for HTTP on ");
        broker.line_with("ready");
        let _idle = TcpStream::connect(http).unwrap();
        broker.signal(name);
        broker.line_with(&format!("SIG{name}: stopping"));
        assert_eq!(broker.wait().code(), Some(0));
        assert!(broker.line_with("stopped").ends_with("stopped"));
    }
}

#[test]
fn a_stop_closes_connections_with_320() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Running::start(folder.path(), &[]);
    let amqp = broker.address_in_line_with("listening for AMQP 0-9-1 on ");
    let mut peer = Peer::tcp_to(amqp).opened(&Login::default());
    broker.signal("TERM");
    let close = peer.expect_close_with_code(320);
    assert_eq!(
        close.reply_text.as_str(),
        "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"
    );
    assert_eq!((close.class_id, close.method_id), (0, 0));
    peer.expect_end();
    assert_eq!(broker.wait().code(), Some(0));
    broker.line_with("stopped");
}

#[test]
fn a_stop_does_not_wait_for_a_login() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Running::start(folder.path(), &[]);
    let amqp = broker.address_in_line_with("listening for AMQP 0-9-1 on ");
    broker.line_with("ready");
    let _silent = Peer::tcp_to(amqp);
    let mut greeted = Peer::tcp_to(amqp);
    greeted.greet();
    broker.signal("TERM");
    assert_eq!(broker.wait().code(), Some(0));
    broker.line_with("SIGTERM: stopping");
    let next = broker.lines.recv_timeout(PATIENCE).unwrap();
    assert!(next.ends_with("stopped"), "{next}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Running::start(folder.path(), &[]);
    let amqp = broker.address_in_line_with("listening for AMQP 0-9-1 on ");
    // It never answers connection.close, so the broker has to wait for it.
    let _deaf = Peer::tcp_to(amqp).opened(&Login::default());
    broker.signal("TERM");
    broker.line_with("SIGTERM: stopping");
    broker.signal("INT");
    broker.line_with("SIGINT again: exiting at once");
    assert_eq!(broker.wait().code(), Some(130));
}

#[test]
fn what_config_show_prints_is_a_good_configuration_file() {
    let folder = tempfile::tempdir().unwrap();
    let shown = leveret(&[
        "config",
        "show",
        "--amqp-listen",
        "127.0.0.1:1",
        "--amqp-listen",
        "[::1]:2",
    ])
    .env("LEVERET_AMQP_FRAME_MAX", "8192")
    .output()
    .unwrap();
    assert!(shown.status.success());
    let shown = text(&shown.stdout);
    assert!(shown.contains("\nframe_max = 8192\n"), "{shown}");
    assert!(
        shown.contains("# Value from: environment variable LEVERET_AMQP_FRAME_MAX.\n"),
        "{shown}"
    );
    assert!(
        shown.contains("\nlisten = [\"127.0.0.1:1\", \"[::1]:2\"]\n"),
        "{shown}"
    );
    let file = folder.path().join("leveret.toml");
    std::fs::write(&file, shown).unwrap();
    let checked = output(&["config", "check", "--config", file.to_str().unwrap()]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    assert_eq!(text(&checked.stdout), "the configuration is good\n");
}

#[test]
fn a_typo_in_the_file_is_one_line_with_its_place_and_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leveret.toml");
    std::fs::write(&file, "[amqp]\nframe_mx = 8192\n").unwrap();
    let file = file.to_str().unwrap();
    let expected =
        format!("leveret: {file}:2:1: unknown key amqp.frame_mx: did you mean amqp.frame_max?\n");
    for command in [&["config", "check"][..], &["serve"], &[]] {
        let found = output(&[command, &["--config", file]].concat());
        assert_eq!(found.status.code(), Some(1));
        assert_eq!(text(&found.stderr), expected);
    }
    let found = leveret(&["config", "check"])
        .env("LEVERET_CONFIG", file)
        .output()
        .unwrap();
    assert_eq!(text(&found.stderr), expected);
}

#[test]
fn an_unknown_variable_is_a_warning() {
    let found = leveret(&["config", "check"])
        .env("LEVERET_DATADIR", "x")
        .output()
        .unwrap();
    assert!(found.status.success());
    assert_eq!(
        text(&found.stderr),
        "leveret: environment variable LEVERET_DATADIR sets no option and is ignored: did you mean LEVERET_DATA_DIR?\n"
    );
}

#[test]
fn the_version_is_the_packages() {
    assert_eq!(
        text(&output(&["--version"]).stdout),
        concat!("leveret ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn the_first_start_makes_the_configured_user_and_vhost() {
    let broker = support::Broker::start_with_options(&[
        ("LEVERET_DEFAULT_USER", "admin"),
        ("LEVERET_DEFAULT_PASS", "a secret"),
        ("LEVERET_DEFAULT_VHOST", "main"),
    ]);
    let login = Login {
        response: support::handshake::plain("admin", "a secret"),
        vhost: "main",
        ..Login::default()
    };
    let mut peer = Peer::tcp_to(broker.amqp_address()).opened(&login);
    peer.open_channel(1);
    peer.fresh_queue(1, "of-the-admin");
    let mut guest = Peer::tcp_to(broker.amqp_address());
    guest.greet();
    guest.send(0, Login::default().start_ok());
    guest.expect_close_with_code(403);
    assert!(!broker.log().concat().contains("a secret"));
}

#[test]
fn config_check_looks_at_the_certificates() {
    let authority = support::certificates::Authority::new();
    let server = authority.server("server");
    let mut check = leveret(&["config", "check"]);
    check.env("LEVERET_TLS_LISTEN", "127.0.0.1:0");
    let missing = check.output().unwrap();
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(
        text(&missing.stderr),
        "leveret: TLS: tls.certificate: must name a file, for there are addresses to listen for TLS\n"
    );
    check.env("LEVERET_TLS_CERTIFICATE", &server.certificate);
    check.env("LEVERET_TLS_KEY", &server.key);
    let good = check.output().unwrap();
    assert!(good.status.success(), "{}", text(&good.stderr));
}
