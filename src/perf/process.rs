//! What a process has used, out of Linux' `/proc`: CPU time and resident memory.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// Clock ticks per second in `/proc/PID/stat`: the kernel's ABI fixes it at 100 on every common architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// What processes have used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// User and system time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
}

/// Sums up the processes; `None` when there is none, or one of them cannot be read.
pub fn usage(pids: &[u32]) -> Option<Usage> {
    let mut sum = Usage::default();
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        sum.cpu_seconds += cpu_seconds(&stat)?;
        sum.rss_bytes += rss_bytes(&status)?;
    }
    (!pids.is_empty()).then_some(sum)
}

/// The generator's own.
pub fn own_usage() -> Usage {
    usage(&[std::process::id()]).unwrap_or_default()
}

/// User and system time of the calling thread, to the nanosecond.
pub fn own_thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// utime and stime. The command's name may hold blanks and parentheses, so fields count from the last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn rss_bytes(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_command_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 150 50 3 4 20 0 1 0 99 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
    }

    #[test]
    fn own_process_has_memory_and_a_missing_one_has_no_usage() {
        assert!(own_usage().rss_bytes > 0);
        assert_eq!(usage(&[u32::MAX]), None);
        assert_eq!(usage(&[]), None);
    }
}
