//! Provides and runs the client programs. Python gets a virtual environment below `target/interop`
//! with exactly the versions in `python/requirements.txt`, Node what `node/package-lock.json` says.
//! Both are made once, under a file lock so that tests in parallel do not make them twice, and made
//! anew when those files change.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use self::npm::{install, lock, read};

#[path = "../support/npm.rs"]
pub mod npm;

/// How long one client program may take. Most need a second; a loaded machine needs more.
const PATIENCE: Duration = Duration::from_secs(300);

/// A Python interpreter that has the client libraries.
pub fn python() -> PathBuf {
    let folder = interop_folder("python");
    let wanted = read(&source("python/requirements.txt"));
    let _lock = lock(&folder.with_extension("lock"));
    let installed = folder.join("requirements.txt");
    if fs::read_to_string(&installed).ok().as_deref() != Some(&wanted) {
        install(
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&folder),
            "python3 with its venv module (Debian: apt install python3-venv)",
        );
        let mut pip = Command::new(folder.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"]);
        install(
            pip.arg(source("python/requirements.txt")),
            "a package index for pip, such as pypi.org",
        );
        // Last, so that an interrupted installation starts over.
        fs::write(&installed, wanted).expect("to note what is installed");
    }
    folder.join("bin/python")
}

/// A folder with `node_modules` and our programs beside it, where Node looks for modules.
pub fn node() -> PathBuf {
    npm::folder("node", &source("node"))
}

/// The path of a file of these tests.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/interop")
        .join(name)
}

/// Runs one scenario of a Python program against the broker.
pub fn run_python(program: &str, scenario: &str, amqp_uri: &str) {
    let mut command = Command::new(python());
    command.arg(source("python").join(program)).arg(scenario);
    run(&mut command, amqp_uri);
}

/// Runs one scenario of a Node program against the broker.
pub fn run_node(program: &str, scenario: &str, amqp_uri: &str) {
    let mut command = Command::new("node");
    command.arg(node().join(program)).arg(scenario);
    run(&mut command, amqp_uri);
}

/// Runs a client program to its end, which must be a success; otherwise the test fails with all
/// that the program printed. Returns its standard output.
pub fn run(command: &mut Command, amqp_uri: &str) -> String {
    let running = Program::start(command, amqp_uri);
    running.finish()
}

/// A client program that is running.
pub struct Program {
    name: String,
    process: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    printed: Vec<String>,
}

impl Program {
    /// Starts a program with the broker's URI in `AMQP_URL`.
    pub fn start(command: &mut Command, amqp_uri: &str) -> Self {
        command
            .env("AMQP_URL", amqp_uri)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let name = format!("{command:?}");
        let mut process = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot run {name}: {e}"));
        Self {
            name,
            stdout: lines(process.stdout.take()),
            stderr: lines(process.stderr.take()),
            process,
            printed: Vec::new(),
        }
    }

    /// Waits until the program prints this line.
    pub fn wait_for(&mut self, line: &str) {
        while self.printed.last().is_none_or(|last| last != line) {
            self.next_line(&format!("{line:?}"));
        }
    }

    /// Waits for one more line; `what` says in the failure which one is missing.
    pub fn next_line(&mut self, what: &str) -> String {
        match self.stdout.recv_timeout(PATIENCE) {
            Ok(next) => {
                self.printed.push(next.clone());
                next
            }
            Err(_) => self.fail(&format!("did not print {what}")),
        }
    }

    /// Sends a line to the program's standard input.
    pub fn say(&mut self, line: &str) {
        let stdin = self.process.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{line}").expect("the program reads its input");
    }

    /// Waits for the end, as [`run`] does.
    pub fn finish(mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.process.try_wait().expect("the program's status") {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    self.fail(&format!("did not end within {PATIENCE:?}"))
                }
                None => crate::support::pause(),
            }
        };
        if !status.success() {
            self.fail(&format!("ended with {status}"));
        }
        self.printed.extend(self.stdout.iter());
        self.printed.join("\n")
    }

    fn fail(&mut self, what: &str) -> ! {
        self.process.kill().ok();
        self.process.wait().ok();
        self.printed.extend(self.stdout.iter());
        self.printed.extend(self.stderr.iter());
        panic!(
            "{} {what}; it printed:\n{}",
            self.name,
            self.printed.join("\n")
        );
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Reads a stream in the background, so that the program never waits for us.
fn lines(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let stream = BufReader::new(stream.expect("a pipe"));
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in stream.lines().map_while(Result::ok) {
            sender.send(line).ok();
        }
    });
    receiver
}

fn interop_folder(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("target");
    target.join("interop").join(name)
}

/// The scenarios that a client program has, in its order.
pub fn scenarios_in(program: &str) -> Vec<String> {
    let python = program.ends_with(".py");
    let folder = if python { "python" } else { "node" };
    let text = read(&source(folder).join(program));
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        // Python: the function under `@scenario`. Node: the methods of the object of scenarios.
        let definition = match python {
            true if line == "@scenario" => lines.next().and_then(|def| def.split_once("def ")),
            true => None,
            false => line
                .split_once("  async ")
                .filter(|(before, _)| before.is_empty()),
        };
        let name = definition.and_then(|(_, rest)| rest.split_once('('));
        found.extend(name.map(|(name, _)| name.to_owned()));
    }
    found
}

/// Makes a test of each scenario of a client program, named as the scenario, and one that none is
/// left out.
macro_rules! scenarios {
    ($run:path, $program:literal, [$($scenario:ident),* $(,)?]) => {
        $(
            #[test]
            fn $scenario() {
                let broker = $crate::support::Broker::shared();
                $run($program, stringify!($scenario), &broker.amqp_uri());
            }
        )*

        #[test]
        fn every_scenario_of_the_program_is_a_test() {
            let mut found = $crate::clients::scenarios_in($program);
            // Those have tests written out, as they need more than a broker.
            found.retain(|name| !name.ends_with("a_broker_restart"));
            assert_eq!(found, [$(stringify!($scenario)),*]);
        }
    };
}
pub(crate) use scenarios;
