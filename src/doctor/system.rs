//! The machine around a broker: ports, descriptors, memory, clock, certificates.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::config::Config;
use crate::data_dir::FORMAT;
use crate::inspect;
use crate::machine;
use crate::ports::Ports;
use crate::tls::Tls;

/// Descriptors with which a broker gets far: one for each connection, and some dozens.
const DESCRIPTORS: u64 = 65_536;

/// Less memory than this is not enough for a queue of any length.
const LITTLE: u64 = 128 << 20;

/// A certificate that ends sooner should have been renewed.
const SOON: u64 = 30 * 86_400;

/// The first of January 2026, before which this program was not written.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// How far clocks of machines that share a disk may be apart.
const APART: Duration = Duration::from_secs(60);

/// Whether the ports are free, or the broker that has them answers.
pub(super) fn ports(config: &Config, holder: Option<u32>) -> Finding {
    const CHECK: &str = "ports";
    if holder.is_some() {
        return match inspect::healthcheck(config) {
            Ok((_, code)) if code == ExitCode::SUCCESS => {
                Finding::ok(CHECK, "the broker that runs serves clients")
            }
            Ok((text, _)) => Finding::error(CHECK, text.trim(), "look into the broker's log"),
            Err(error) => Finding::warning(
                CHECK,
                format!("the broker that runs was not asked: {error}"),
                "give this command the broker's configuration",
            ),
        };
    }
    match Ports::bind(config) {
        Ok(_) => Finding::ok(CHECK, "all are free"),
        Err(error) => Finding::error(
            CHECK,
            error.to_string(),
            "end what uses it (ss -ltnp shows it), or listen elsewhere: amqp.listen, http.listen, tls.listen",
        ),
    }
}

/// The limit of the broker that runs, or else of this process.
pub(super) fn descriptors(holder: Option<u32>) -> Finding {
    const CHECK: &str = "file descriptors";
    let running = holder.and_then(limit_of);
    let own = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let (limit, whose) = match running {
        Some(limit) => (limit, "the broker"),
        None => (own, "a broker that is started from here"),
    };
    let found = format!("{whose} may open {limit}");
    if limit >= DESCRIPTORS {
        return Finding::ok(CHECK, found);
    }
    let advice = "each connection takes one: raise it with ulimit -n, LimitNOFILE= in systemd, or --ulimit nofile= in Docker";
    Finding::warning(CHECK, found, advice)
}

/// `Max open files            1024                 524288               files` (`proc_pid_limits(5)`).
fn limit_of(process: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// What there is, and what is made of it.
pub(super) fn memory(config: &Config) -> Finding {
    const CHECK: &str = "memory";
    let Some(total) = machine::memory() else {
        let found = "the system does not tell how much there is";
        let advice = "set alarms.memory_limit and memory.message_budget to numbers of bytes";
        return Finding::warning(CHECK, found, advice);
    };
    let limit = config.alarms.memory_limit.bytes(total);
    let processors = machine::processors();
    let found = format!(
        "{} MiB for {processors} processors; publishers are blocked above {} MiB",
        total >> 20,
        limit >> 20
    );
    if limit > total {
        let advice = "lower alarms.memory_limit: the system ends the broker before the alarm";
        return Finding::error(CHECK, found, advice);
    }
    if total < LITTLE {
        let advice = "give it more: a broker at rest has about 50 MiB";
        return Finding::warning(CHECK, found, advice);
    }
    Finding::ok(CHECK, found)
}

/// Times to live, certificates and tokens follow it.
pub(super) fn clock(data_dir: &Path) -> Finding {
    const CHECK: &str = "clock";
    let advice =
        "set it, and have it kept by NTP: times to live, certificates and tokens follow it";
    let now = SystemTime::now();
    if now
        .duration_since(UNIX_EPOCH)
        .is_ok_and(|now| now < EARLIEST)
    {
        return Finding::error(CHECK, "it is before 2026", advice);
    }
    let written = fs::metadata(data_dir.join(FORMAT)).and_then(|it| it.modified());
    match written.map(|written| written.duration_since(now)) {
        Ok(Ok(ahead)) if ahead > APART => {
            let found = format!("data were written {} s from now", ahead.as_secs());
            Finding::error(CHECK, found, advice)
        }
        _ => Finding::ok(CHECK, "it is behind nothing that was written"),
    }
}

/// How long the certificate is valid. Nothing without TLS; one that cannot be used was said by the configuration.
pub(super) fn certificate(config: &Config) -> Option<Finding> {
    let used = !config.tls.listen.is_empty() || !config.http.tls_listen.is_empty();
    let (file, expires_at) = used
        .then(|| Tls::open(&config.tls).ok()?.expiry())
        .flatten()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(validity(
        &file.display().to_string(),
        expires_at.saturating_sub(now),
    ))
}

fn validity(file: &str, seconds: u64) -> Finding {
    const CHECK: &str = "certificate";
    let found = format!("{file} is valid for {} more days", seconds / 86_400);
    match seconds > SOON {
        true => Finding::ok(CHECK, found),
        false => Finding::warning(
            CHECK,
            found,
            "renew it: a running broker reads the new file by itself",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn a_certificate_that_ends_soon_is_found() {
        assert_eq!(validity("file", SOON + 1).status, Status::Ok);
        assert_eq!(validity("file", 86_400).status, Status::Warning);
    }

    #[test]
    fn the_limit_of_a_process_is_read() {
        let limit = limit_of(std::process::id());
        assert_eq!(
            limit,
            getrlimit(Resource::Nofile).current.or(Some(u64::MAX))
        );
    }
}
