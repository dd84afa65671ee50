//! Runs flows in Chromium. One browser serves all of them, and each has cookies, pages and a broker of its own there, so
//! they may run beside each other.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::{
    clients::{Program, npm},
    support::{Broker, http::Http},
};

/// Debian's browser; `LEVERET_TEST_CHROMIUM` names another one.
const CHROMIUM: &str = "/usr/bin/chromium";

/// A flow that is running.
pub struct Flow(Program);

impl Flow {
    /// Waits until the program prints this line.
    pub fn wait_for(&mut self, line: &str) {
        self.0.wait_for(line);
    }

    /// Sends the program a line.
    pub fn say(&mut self, line: &str) {
        self.0.say(line);
    }

    /// Waits for the end, which must be a success. It may take long, but not long from one line of output to the next.
    pub fn finish(mut self) {
        self.0.wait_for("the flow has ended");
        self.0.finish();
    }
}

/// Starts a flow of a program in `node/` with the broker's addresses.
pub fn start(program: &str, flow: &str, broker: &Broker) -> Flow {
    let (folder, browser) = shared();
    // The port of the API is told a moment after the one of AMQP answers.
    let http = Http::guest(broker).address();
    let mut command = Command::new("node");
    command
        .arg(folder.join(program))
        .arg(flow)
        .env("BROWSER", browser)
        .env("WEB_URL", format!("http://{http}"))
        .env(
            "IMAGES",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images"),
        );
    Flow(Program::start(&mut command, &broker.amqp_uri()))
}

/// The folder of the programs, and where the browser of all flows is, which the first of them starts. Nobody ends it: its
/// standard input is closed when this process is gone.
fn shared() -> (PathBuf, String) {
    static SHARED: Mutex<Option<(PathBuf, String, Program)>> = Mutex::new(None);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let (folder, address, _) = shared.get_or_insert_with(|| {
        let folder = npm::folder("web", &programs());
        let mut browser = launch(&folder);
        let address = browser.next_line("where the browser is");
        (folder, address, browser)
    });
    (folder.clone(), address.clone())
}

fn launch(folder: &Path) -> Program {
    let chromium = std::env::var("LEVERET_TEST_CHROMIUM").unwrap_or(CHROMIUM.to_owned());
    assert!(
        Path::new(&chromium).exists(),
        "{chromium} is missing; the tests of the web page need it: apt-get install chromium"
    );
    let mut command = Command::new("node");
    command
        .arg(folder.join("chromium.mjs"))
        .env("CHROMIUM", chromium);
    Program::start(&mut command, "")
}

fn programs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/node")
}

/// The flows that a program has, in its order.
pub fn flows_in(program: &str) -> Vec<String> {
    let text = npm::read(&programs().join(program));
    let names = text.lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("  async ")?.split_once('(')?;
        Some(name.to_owned())
    });
    names.collect()
}
