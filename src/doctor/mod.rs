//! `leveret doctor`: looks at everything that a broker with this configuration needs, and says what to do about what it
//! finds.
//!
//! Each check gives findings; nothing is changed but a file that is written for a moment to see how fast the disk is.
//! [`data`] looks at the data directory and its disk, [`system`] at the machine and the ports.

mod data;
mod system;

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::authentication;
use crate::config::Loaded;
use crate::error::Error;
use crate::tls;

/// How to answer.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// As it should be.
    Ok,
    /// It works, and will not always.
    Warning,
    /// A broker cannot work like this.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    check: &'static str,
    /// How bad it is.
    status: Status,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Ok,
            found: found.into(),
            advice: None,
        }
    }

    fn warning(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            check,
            status: Status::Warning,
            found: found.into(),
            advice: Some(advice.into()),
        }
    }

    fn error(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            status: Status::Error,
            ..Self::warning(check, found, advice)
        }
    }
}

/// Looks at everything, as far as the configuration can be read, and gives what to print. Code 1 if a broker could not work.
pub fn run(arguments: &DoctorArgs, loaded: Result<Loaded, Error>) -> (String, ExitCode) {
    let findings = match &loaded {
        Ok(loaded) => examine(loaded),
        Err(error) => vec![Finding::error(
            "configuration",
            error.to_string(),
            "correct it; all else was not looked at",
        )],
    };
    let bad = findings.iter().any(|it| it.status == Status::Error);
    let code = match bad {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    };
    let text = match arguments.json {
        true => serde_json::to_string_pretty(&findings).unwrap_or_default() + "\n",
        false => text(&findings),
    };
    (text, code)
}

fn examine(loaded: &Loaded) -> Vec<Finding> {
    let config = &loaded.config;
    let mut findings = configuration(loaded);
    let holder = data::holder(&config.data_dir);
    findings.extend(data::examine(config, holder));
    findings.push(system::ports(config, holder));
    findings.push(system::descriptors(holder));
    findings.push(system::memory(config));
    findings.push(system::clock(&config.data_dir));
    findings.extend(system::certificate(config));
    findings
}

fn configuration(loaded: &Loaded) -> Vec<Finding> {
    const CHECK: &str = "configuration";
    let config = &loaded.config;
    let unknown = loaded.unknown_variables.iter();
    let mut findings: Vec<_> = unknown
        .map(|it| Finding::warning(CHECK, it.to_string(), "correct its name, or remove it"))
        .collect();
    let usable = tls::configured(config).map(drop);
    let usable = usable.and_then(|()| authentication::configured(config).map(drop));
    match usable {
        Ok(()) => findings.push(Finding::ok(CHECK, "a broker can start with it")),
        Err(error) => findings.push(Finding::error(
            CHECK,
            error.to_string(),
            "correct it: no broker starts with this",
        )),
    }
    if config.amqp.loopback_users.is_empty() && config.default_pass.0 == "guest" {
        findings.push(Finding::warning(
            CHECK,
            "guest may log in from anywhere with a password that everybody knows",
            "set default_user and default_pass before the first start, or change guest's password",
        ));
    }
    findings
}

fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for it in findings {
        let status = match it.status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Error => "ERROR",
        };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{status:<8} {:<17} {}", it.check, it.found);
        if let Some(advice) = &it.advice {
            let _ = writeln!(text, "{:<26} -> {advice}", "");
        }
    }
    text
}
