//! The command line: what can be asked of the binary, and the flags that are the configuration's last layer.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::authentication;
use crate::backup;
use crate::config::{self, Loaded, layers, show};
use crate::doctor::{self, DoctorArgs};
use crate::error::Error;
use crate::inspect::{self, StatusArgs};
use crate::journal::{self, JournalCommand};
use crate::perf;
use crate::serve;
use crate::tls;

/// A message broker that speaks AMQP 0-9-1 and works like RabbitMQ.
#[derive(Debug, Parser)]
#[command(name = "leveret", version)]
pub struct Cli {
    #[command(flatten)]
    options: ConfigFlags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker. This is what happens when no command is given
    Serve,
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask the broker that runs with this configuration whether it serves clients: code 0 when it does
    Healthcheck,
    /// Show what the broker that runs with this configuration is doing
    Status(StatusArgs),
    /// Verify, repair or count the journal of a broker that is not running
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Look at everything that a broker with this configuration needs, and say what to do about it: code 1 if it could not
    /// work
    Doctor(DoctorArgs),
    /// Copy everything that survives a restart to a new directory. A broker that runs goes on meanwhile; what was
    /// confirmed before is in the copy
    Backup {
        /// The directory, which is made; it may be there if it is empty
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
    /// Put a backup back as the data of a broker that is not running
    Restore(backup::RestoreArgs),
    /// Measure a broker by URI: throughput, latency, and what its process pays for them
    Perf(Box<perf::PerfArgs>),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the configuration and exit: code 0 when a broker could start with it, 1 with one line when not
    Check,
    /// Print every option with its meaning, default, value and source, as a valid configuration file
    Show,
}

/// Flags that set options; they come after the file and the environment.
#[derive(Debug, Args)]
struct ConfigFlags {
    /// Read this TOML file. All options: leveret config show
    #[arg(long, value_name = "FILE", env = layers::CONFIG_VARIABLE, global = true)]
    config: Option<PathBuf>,
    /// Keep definitions and durable messages in this directory
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
    /// Accept AMQP connections here; repeatable, port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    amqp_listen: Vec<String>,
    /// Serve the HTTP API here; repeatable, port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", global = true)]
    http_listen: Vec<String>,
    /// Write log lines as text (human) or as JSON objects (json)
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<String>,
    /// Write log lines of this level and above
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
}

impl ConfigFlags {
    fn load(self) -> Result<Loaded, Error> {
        let flags = [
            ("data_dir", Vec::from_iter(self.data_dir)),
            ("amqp.listen", self.amqp_listen),
            ("http.listen", self.http_listen),
            ("log.format", Vec::from_iter(self.log_format)),
            ("log.level", Vec::from_iter(self.log_level)),
        ];
        config::load(
            self.config.as_deref(),
            std::env::vars_os().filter_map(as_text),
            &flags,
        )
    }
}

/// Variables that are not Unicode belong to others.
fn as_text((name, value): (std::ffi::OsString, std::ffi::OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// Whatever is wrong before there is a log, to be shown as one line before exiting with code 1.
    pub fn run(self) -> Result<ExitCode, Error> {
        match self.command.unwrap_or(Command::Serve) {
            Command::Serve => Ok(serve::run(&self.options.load()?)),
            Command::Config(ConfigCommand::Check) => {
                let loaded = self.options.load()?;
                warn_of_unknown_variables(&loaded);
                tls::configured(&loaded.config)?;
                authentication::configured(&loaded.config)?;
                print("the configuration is good\n");
                Ok(ExitCode::SUCCESS)
            }
            Command::Config(ConfigCommand::Show) => {
                print(&show::as_toml(&self.options.load()?.settings));
                Ok(ExitCode::SUCCESS)
            }
            Command::Journal(command) => {
                let (text, code) = journal::run(command, &self.options.load()?.config)?;
                print(&text);
                Ok(code)
            }
            Command::Healthcheck => {
                let (text, code) = inspect::healthcheck(&self.options.load()?.config)?;
                print(&text);
                Ok(code)
            }
            Command::Status(arguments) => {
                let (text, code) = inspect::status(arguments, &self.options.load()?.config)?;
                print(&text);
                Ok(code)
            }
            Command::Doctor(arguments) => {
                let (text, code) = doctor::run(&arguments, self.options.load());
                print(&text);
                Ok(code)
            }
            Command::Backup { directory } => {
                print(&backup::take(&directory, &self.options.load()?.config)?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Restore(arguments) => {
                print(&backup::restore(&arguments, &self.options.load()?.config)?);
                Ok(ExitCode::SUCCESS)
            }
            // another broker is measured, whatever this one's configuration says
            Command::Perf(arguments) => perf::run(&arguments),
        }
    }
}

fn warn_of_unknown_variables(loaded: &Loaded) {
    for variable in &loaded.unknown_variables {
        eprintln!("leveret: {variable}");
    }
}

/// Standard output may be a closed pipe (`leveret config show | head`): nobody is left to tell.
fn print(text: &str) {
    use std::io::Write as _;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_flag_is_one_of_the_table() {
        let command = Cli::command();
        let flags = command
            .get_arguments()
            .filter_map(|argument| argument.get_long());
        let mut flags: Vec<_> = flags
            .filter(|flag| *flag != "config")
            .map(|flag| format!("--{flag}"))
            .collect();
        let mut known: Vec<_> = config::options::OPTIONS
            .iter()
            .filter_map(|option| option.flag)
            .collect();
        flags.sort();
        known.sort();
        assert_eq!(flags, known);
    }
}
