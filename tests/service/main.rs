//! What keeps a broker going as a service, month after month: what it tells systemd, its log, upgrades, backups. The real
//! binary is run, and its commands beside it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed step is a failed test, and its panic is the report"
)]

use std::{
    path::Path,
    process::{Command, Stdio},
};

#[path = "../support/mod.rs"]
mod support;

mod backup;
mod deployment;
mod doctor;
#[cfg(target_os = "linux")]
mod huge_pages;
mod journal;
mod log_level;
mod log_lines;
mod orphans;
mod soak;
mod systemd;
mod upgrade;

/// What a command came to.
struct Done {
    /// The exit code.
    code: i32,
    /// What it printed on both streams.
    text: String,
}

/// Runs a command of the binary for the broker with this data directory.
fn leveret(data_dir: &Path, arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LEVERET_") {
            command.env_remove(name);
        }
    }
    let output = command
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::null())
        .output()
        .expect("leveret runs");
    let text = [output.stdout, output.stderr].concat();
    Done {
        code: output.status.code().expect("an exit code"),
        text: String::from_utf8(text).expect("a text"),
    }
}

/// The same, when it has to succeed.
fn succeeded(data_dir: &Path, arguments: &[&str]) -> String {
    let done = leveret(data_dir, arguments);
    assert_eq!(done.code, 0, "{arguments:?}: {}", done.text);
    done.text
}

/// The same, when it has to fail with a line that has `part` in it.
fn refused(data_dir: &Path, arguments: &[&str], part: &str) {
    let done = leveret(data_dir, arguments);
    assert_eq!(done.code, 1, "{arguments:?}: {}", done.text);
    assert!(done.text.contains(part), "{}", done.text);
    assert_eq!(done.text.lines().count(), 1, "{}", done.text);
}
