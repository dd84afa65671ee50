//! The broker of a soak: a process of this program that is started again when it was ended.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;
use crate::error::Error;
use crate::perf::process;
use crate::perf::target::Target;

/// Time between two looks at what is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Attempts to start it: somebody else may have been given its port meanwhile.
const ATTEMPTS: usize = 4;

/// Descriptors that a broker without clients may have more than at its start: files of the journal.
const FEW: u64 = 16;

/// Lines of the log that are shown when something went wrong.
const SHOWN: usize = 30;

/// How the broker is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// By SIGTERM.
    Orderly,
    /// By SIGKILL.
    Kill,
}

/// The process, its data and its log.
pub(super) struct Broker {
    process: Child,
    folder: PathBuf,
    /// The folder goes with the value.
    ours: bool,
    address: SocketAddr,
}

impl Broker {
    pub(super) fn start(folder: Option<&Path>) -> Result<Self, Error> {
        let failed = |error| Error::perf_io("cannot start a broker", error);
        let own = || std::env::temp_dir().join(format!("leveret-soak-{}", std::process::id()));
        let ours = folder.is_none();
        let folder = folder.map_or_else(own, Path::to_owned);
        fs::create_dir_all(&folder).map_err(failed)?;
        // A port that is free now: the broker keeps it over its restarts.
        let free = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        let address = free.local_addr().map_err(failed)?;
        drop(free);
        let process = spawn(&folder, address).map_err(failed)?;
        let mut broker = Self {
            process,
            folder,
            ours,
            address,
        };
        broker.wait_until_it_listens()?;
        Ok(broker)
    }

    /// Where clients connect.
    pub(super) fn target(&self) -> Target {
        Target {
            address: self.address,
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            vhost: "/".to_owned(),
        }
    }

    /// Ends the process and starts another on the same data.
    pub(super) fn restart(&mut self, ending: Ending) -> Result<(), Error> {
        let failed = |error| Error::perf_io("cannot end the broker", error);
        match ending {
            Ending::Kill => self.process.kill().map_err(failed)?,
            Ending::Orderly => {
                let pid = i32::try_from(self.process.id())
                    .ok()
                    .and_then(Pid::from_raw);
                let sent = pid.map(|pid| kill_process(pid, Signal::TERM));
                sent.transpose().map_err(|error| failed(error.into()))?;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while self.process.try_wait().map_err(failed)?.is_none() {
            if Instant::now() > deadline {
                let text = "the broker does not end".to_owned();
                return Err(Error::PerfRefused(text));
            }
            thread::sleep(LOOK_AGAIN);
        }
        self.process = spawn(&self.folder, self.address).map_err(failed)?;
        self.wait_until_it_listens()
    }

    fn wait_until_it_listens(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut attempts = 1;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.process.try_wait().ok().flatten();
            if ended.is_some() && attempts < ATTEMPTS {
                let failed = |error| Error::perf_io("cannot start a broker", error);
                self.process = spawn(&self.folder, self.address).map_err(failed)?;
                attempts += 1;
            } else if ended.is_some() || Instant::now() > deadline {
                self.show_log();
                let text = "the broker does not start".to_owned();
                return Err(Error::PerfRefused(text));
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// Resident bytes.
    pub(super) fn memory(&self) -> Result<u64, Error> {
        let usage = process::usage(&[self.process.id()]);
        let ended = || Error::PerfRefused("the broker has ended by itself".to_owned());
        usage.map(|usage| usage.rss_bytes).ok_or_else(ended)
    }

    /// Open descriptors.
    pub(super) fn descriptors(&self) -> u64 {
        let open = fs::read_dir(format!("/proc/{}/fd", self.process.id()));
        open.map_or(0, |open| open.count() as u64)
    }

    /// Bytes on disk.
    pub(super) fn disk(&self) -> u64 {
        occupied(&data(&self.folder))
    }

    /// Waits for a while until there are no more descriptors than without clients, and gives their number.
    pub(super) fn quiet(&self, before: u64) -> Result<u64, Error> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.memory()?;
            let now = self.descriptors();
            if now <= before + FEW || Instant::now() > deadline {
                return Ok(now);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }

    /// Shows the end of the log on standard error.
    pub(super) fn show_log(&self) {
        let text = fs::read_to_string(log(&self.folder)).unwrap_or_default();
        let lines: Vec<_> = text.lines().rev().take(SHOWN).collect();
        for line in lines.iter().rev() {
            eprintln!("{line}");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What fails here has ended already, or is somebody else's to look at.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if self.ours {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Whether so many descriptors are more than a quiet broker has.
pub(super) fn are_too_many(before: u64, after: u64) -> bool {
    after > before + FEW
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn log(folder: &Path) -> PathBuf {
    folder.join("broker.log")
}

fn spawn(folder: &Path, address: SocketAddr) -> std::io::Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(log(folder))?;
    Command::new(std::env::current_exe()?)
        .arg("--data-dir")
        .arg(data(folder))
        .args(["--amqp-listen", &address.to_string(), "serve"])
        .env("LEVERET_HTTP_LISTEN", "")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
}

/// Files come and go while this looks.
fn occupied(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => occupied(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
