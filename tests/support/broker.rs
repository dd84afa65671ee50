//! Starts, restarts and kills the real `leveret` binary. A broker started here listens on ports
//! that the kernel chose, keeps them over a restart, and shows its log only when the test fails.
//!
//! With `LEVERET_TEST_AMQP=host:port` in the environment nothing is started and the tests speak to
//! that broker instead, which is how Leveret is compared with RabbitMQ. Such a broker cannot be
//! restarted: tests ask [`Broker::is_external`] and leave that part out.

use std::{
    io::{BufRead, BufReader, Read},
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// How long a start or a stop may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether the tests run against a broker that they did not start: with `LEVERET_TEST_AMQP` set.
pub fn foreign_broker() -> bool {
    std::env::var_os("LEVERET_TEST_AMQP").is_some()
}

/// Everything the broker printed so far, both streams.
type Log = Arc<Mutex<Vec<String>>>;

/// A running broker, ended when the value is dropped.
pub struct Broker {
    process: Option<Child>,
    log: Log,
    /// What reads the streams of the process into the log.
    collectors: Vec<JoinHandle<()>>,
    amqp: SocketAddr,
    http: Option<SocketAddr>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Blocks of 512 bytes that a file of the process may have from the start on.
    file_blocks: Option<u64>,
    data_dir: tempfile::TempDir,
}

impl Broker {
    /// A broker with default settings and an empty data folder.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The broker that all tests of a binary share. It lives as long as any test holds it: a static would never be
    /// dropped, and the process left behind.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Broker>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let broker = Arc::new(Self::start());
            *shared = Arc::downgrade(&broker);
            broker
        })
    }

    /// As [`Broker::start`], with options from the environment: `("LEVERET_AMQP_FRAME_MAX", "8192")`.
    pub fn start_with_options(environment: &[(&str, &str)]) -> Self {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        Self::start_as(&[], environment.iter().map(owned).collect())
    }

    /// As [`Broker::start_with_options`], with the data in a new folder inside of `folder`.
    pub fn start_inside(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        let data_dir = tempfile::tempdir_in(folder).expect("a temporary folder");
        Self::start_on(data_dir, &[], environment.iter().map(owned).collect())
    }

    /// As [`Broker::start`], with further command-line arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_as(arguments, Vec::new())
    }

    /// A broker on data that are there already, or, if it does not start, the data and what it printed.
    pub fn try_start(
        data_dir: tempfile::TempDir,
        environment: &[(&str, &str)],
    ) -> Result<Self, (tempfile::TempDir, String)> {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        let mut broker = Self::unstarted(data_dir, &[], environment.iter().map(owned).collect());
        match broker.try_launch() {
            Ok(()) => Ok(broker),
            Err(log) => Err((broker.into_data_dir(), log)),
        }
    }

    /// Ends the broker and gives its data.
    pub fn into_data_dir(mut self) -> tempfile::TempDir {
        self.kill();
        let empty = tempfile::tempdir().expect("a temporary folder");
        std::mem::replace(&mut self.data_dir, empty)
    }

    fn start_as(arguments: &[&str], environment: Vec<(String, String)>) -> Self {
        let data_dir = tempfile::tempdir().expect("a temporary folder");
        Self::start_on(data_dir, arguments, environment)
    }

    fn start_on(
        data_dir: tempfile::TempDir,
        arguments: &[&str],
        environment: Vec<(String, String)>,
    ) -> Self {
        let external = std::env::var("LEVERET_TEST_AMQP").ok();
        let mut broker = Self::unstarted(data_dir, arguments, environment);
        match external {
            Some(address) => broker.amqp = resolve(&address),
            None => broker.launch(),
        }
        broker
    }

    fn unstarted(
        data_dir: tempfile::TempDir,
        arguments: &[&str],
        environment: Vec<(String, String)>,
    ) -> Self {
        Self {
            process: None,
            log: Log::default(),
            collectors: Vec::new(),
            amqp: SocketAddr::from(([127, 0, 0, 1], 0)),
            http: None,
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            environment,
            file_blocks: None,
            data_dir,
        }
    }

    /// Lets the next starts make no file longer than so many bytes, as on a full disk.
    pub fn limit_files_at_start(&mut self, bytes: Option<u64>) {
        self.file_blocks = bytes.map(|bytes| bytes / 512);
    }

    /// The program, under the limit on its files if there is one; a limit that can be raised again.
    fn program(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_leveret");
        let Some(blocks) = self.file_blocks else {
            return Command::new(program);
        };
        let mut command = Command::new("sh");
        let script = format!("ulimit -S -f {blocks}; exec \"$0\" \"$@\"");
        command.args(["-c", &script, program]);
        command
    }

    /// The port that AMQP clients connect to.
    pub fn amqp_port(&self) -> u16 {
        self.amqp.port()
    }

    /// Where AMQP clients connect to.
    pub fn amqp_address(&self) -> SocketAddr {
        self.amqp
    }

    /// The HTTP listener's address, once the broker has printed one.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.or_else(|| self.announced("http", 0))
    }

    /// The URI of vhost `/` for `guest`.
    pub fn amqp_uri(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.amqp)
    }

    /// Whether the tests run against a broker that they did not start and cannot restart.
    pub fn is_external(&self) -> bool {
        foreign_broker()
    }

    /// The folder that the broker keeps its data in.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// The process id, while the broker runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// The first line of the log that `matches`. What a broker has written comes a moment later.
    #[track_caller]
    pub fn await_line(&self, what: &str, matches: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            if let Some(line) = log.iter().find(|line| matches(line)) {
                return line.clone();
            }
            assert!(
                Instant::now() < deadline,
                "no line in the log: {what}\n{}",
                log.join("\n")
            );
            pause();
        }
    }

    /// Every line the broker has printed since the first start.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("the log").clone()
    }

    /// Ends the broker as an operator does (SIGTERM) and starts it on the same data and ports.
    pub fn restart(&mut self) {
        let status = self.stop();
        assert!(status.success(), "a graceful stop ended with {status}");
        self.launch();
    }

    /// Ends the broker with SIGKILL: nothing it had not written is on disk.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().expect("SIGKILL");
            process.wait().expect("the killed broker's status");
        }
        self.finish_log();
    }

    /// Reads what the ended process has printed last.
    fn finish_log(&mut self) {
        for collector in self.collectors.drain(..) {
            collector.join().expect("a whole log");
        }
    }

    /// Starts a stopped or killed broker again, on the same data and ports.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the broker still runs");
        self.launch();
    }

    /// Sends SIGTERM without waiting.
    pub fn terminate(&self) {
        terminate(self.process.as_ref().expect("a running broker of our own"));
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait()
    }

    /// Waits until the broker ends by itself, as it does some time after [`Broker::terminate`].
    pub fn wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("a running broker of our own");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = process.try_wait().expect("the broker's status") {
                self.finish_log();
                return status;
            }
            if Instant::now() > deadline {
                process.kill().ok();
                process.wait().ok();
                panic!("the broker did not end within {PATIENCE:?} after SIGTERM");
            }
            pause();
        }
    }

    /// A port that was free for a moment may have been given to somebody else meanwhile, who gives it back soon.
    fn launch(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(log) = self.try_launch() {
            let taken = log.contains("another process is using this port");
            if !taken || Instant::now() > deadline {
                panic!("the broker does not listen; it printed:\n{log}");
            }
            pause();
        }
    }

    /// Starts the process; what it printed if it does not listen.
    fn try_launch(&mut self) -> Result<(), String> {
        // A restart keeps the port, which the first start may have told only after it was waited for.
        self.http = self.http_address();
        let mut process = self
            .program()
            .arg("--data-dir")
            .arg(self.data_dir.path())
            .args(["--amqp-listen", &self.amqp.to_string()])
            .args([
                "--http-listen",
                &self.http.unwrap_or(any_port()).to_string(),
            ])
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("leveret starts");
        let from = self.log.lock().expect("the log").len();
        self.collectors = vec![
            collect(process.stdout.take().expect("a pipe"), &self.log),
            collect(process.stderr.take().expect("a pipe"), &self.log),
        ];
        self.process = Some(process);
        self.wait_until_listening(from)?;
        self.http = self.http.or_else(|| self.announced("http", 0));
        Ok(())
    }

    /// Polls until this start has said that it listens, and the AMQP port answers; `from` is where its lines begin in the
    /// log. The answer alone could be somebody else's.
    fn wait_until_listening(&mut self, from: usize) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.announced("amqp", from);
            self.amqp = said.unwrap_or(self.amqp);
            if said.is_some() && TcpStream::connect(self.amqp).is_ok() {
                return Ok(());
            }
            let ended = self.process.as_mut().and_then(|p| p.try_wait().ok()?);
            if ended.is_some() || Instant::now() > deadline {
                self.kill();
                let log = self.log().split_off(from).join("\n");
                return Err(format!("{log}\n(ended: {ended:?})"));
            }
            pause();
        }
    }

    /// The address in the first line from `from` on that speaks of listening with this protocol.
    fn announced(&self, protocol: &str, from: usize) -> Option<SocketAddr> {
        let lines = self.log().split_off(from);
        lines.iter().find_map(|line| listen_address(line, protocol))
    }
}

impl Drop for Broker {
    /// Ends the broker. One that panicked fails the test even if no client noticed: a task's panic ends a connection,
    /// which a test of bad input takes for the right answer.
    fn drop(&mut self) {
        self.kill();
        let log = self.log();
        if thread::panicking() {
            eprintln!("--- the broker's log ---\n{}", log.join("\n"));
        } else if let Some(line) = log.iter().find(|line| line.contains("panicked at")) {
            panic!("the broker panicked: {line}\n{}", log.join("\n"));
        }
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn resolve(address: &str) -> SocketAddr {
    let mut found = address.to_socket_addrs().expect("LEVERET_TEST_AMQP");
    found.next().expect("LEVERET_TEST_AMQP names a host")
}

/// Finds `127.0.0.1:PORT` in a line that has the protocol's name and "listen" in it, in whatever
/// way the line is laid out (text or JSON), and only if the port is the one really chosen.
fn listen_address(line: &str, protocol: &str) -> Option<SocketAddr> {
    let lower = line.to_lowercase();
    if !lower.contains(protocol) || !lower.contains("listen") {
        return None;
    }
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let port: u16 = digits.parse().ok().filter(|port| *port != 0)?;
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Reads a stream to its end into the log, in the background.
fn collect(stream: impl Read + Send + 'static, log: &Log) -> JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            log.lock().expect("the log").push(line);
        }
    })
}

/// The standard library only knows SIGKILL; the shell knows them all.
fn terminate(process: &Child) {
    let status = Command::new("sh")
        .args(["-c", &format!("kill -TERM {}", process.id())])
        .status()
        .expect("sh runs");
    assert!(status.success(), "SIGTERM could not be sent");
}

/// Between two looks at what a test waits for: the broker, and the tests beside this one, are to have the processor.
pub fn pause() {
    thread::sleep(Duration::from_millis(5));
}
