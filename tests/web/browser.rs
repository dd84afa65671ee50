//! Runs a flow in Chromium. Two flows never run at once: a browser takes both cores of a small machine, and what is
//! checked here are rules, not how they bear a crowd.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    clients::{Program, npm},
    support::{Broker, http::Http},
};

/// Debian's browser; `LEVERET_TEST_CHROMIUM` names another one.
const CHROMIUM: &str = "/usr/bin/chromium";

/// A flow that is running.
pub struct Flow {
    program: Program,
    _alone: MutexGuard<'static, ()>,
}

impl Flow {
    /// Waits until the program prints this line.
    pub fn wait_for(&mut self, line: &str) {
        self.program.wait_for(line);
    }

    /// Sends the program a line.
    pub fn say(&mut self, line: &str) {
        self.program.say(line);
    }

    /// Waits for the end, which must be a success. It may take long, but not long from one line of output to the next.
    pub fn finish(mut self) {
        self.program.wait_for("the flow has ended");
        self.program.finish();
    }
}

/// Starts a flow of a program in `node/` with the broker's addresses.
pub fn start(program: &str, flow: &str, broker: &Broker) -> Flow {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let chromium = std::env::var("LEVERET_TEST_CHROMIUM").unwrap_or(CHROMIUM.to_owned());
    assert!(
        Path::new(&chromium).exists(),
        "{chromium} is missing; the tests of the web page need it: apt-get install chromium"
    );
    let folder = npm::folder("web", &programs());
    // The port of the API is told a moment after the one of AMQP answers.
    let http = Http::guest(broker).address();
    let mut command = Command::new("node");
    command
        .arg(folder.join(program))
        .arg(flow)
        .env("CHROMIUM", chromium)
        .env("WEB_URL", format!("http://{http}"))
        .env(
            "IMAGES",
            Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images"),
        );
    Flow {
        program: Program::start(&mut command, &broker.amqp_uri()),
        _alone: alone,
    }
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
