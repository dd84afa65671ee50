//! Asking the broker that runs with a configuration how it is: `leveret healthcheck` and `leveret status`.
//!
//! Both are clients of its HTTP API on this machine.

mod request;
mod status;

use std::process::ExitCode;

use clap::Args;

use self::request::Api;
use crate::{config::Config, error::Error};

/// Whose eyes to look with.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Ask as this user, who needs the tag management at least [default: default_user]
    #[arg(long, value_name = "NAME", env = "LEVERET_STATUS_USER")]
    user: Option<String>,
    /// The user's password [default: default_pass]
    #[arg(
        long,
        value_name = "PASSWORD",
        env = "LEVERET_STATUS_PASSWORD",
        hide_env_values = true
    )]
    password: Option<String>,
}

/// Asks whether the broker serves clients. Needs no user.
///
/// # Errors
/// [`Error::Inspect`] when it cannot be asked.
pub fn healthcheck(config: &Config) -> Result<(String, ExitCode), Error> {
    let answer = Api::of(config)?.get("/api/health/checks/ready-to-serve-clients", None)?;
    Ok(match answer.status {
        200 => ("the broker serves clients\n".to_owned(), ExitCode::SUCCESS),
        _ => {
            let reason = answer.body.get("reason").and_then(|it| it.as_str());
            let reason = reason.unwrap_or("it gives no reason");
            let text = format!("the broker does not serve clients: {reason}\n");
            (text, ExitCode::FAILURE)
        }
    })
}

/// Says what the broker is doing. Code 1 while an alarm is in effect.
///
/// # Errors
/// [`Error::Inspect`] when it cannot be asked, or does not let the user in.
pub fn status(arguments: StatusArgs, config: &Config) -> Result<(String, ExitCode), Error> {
    let user = arguments
        .user
        .unwrap_or_else(|| config.default_user.clone());
    let own = || config.default_pass.0.clone();
    let password = arguments.password.unwrap_or_else(own);
    status::of(&Api::of(config)?, &user, &password)
}
