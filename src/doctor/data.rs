//! The data directory: whose it is, what is in it, and how fast its disk is.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FsWord;

use super::Finding;
use crate::config::Config;
use crate::data_dir::{LOCK, unreadable_format};

const CHECK: &str = "data directory";
const DISK: &str = "disk";

/// Syncs that are measured.
const SYNCS: usize = 50;
/// Bytes of each: a small group of messages.
const BLOCK: usize = 4096;
/// A median above this makes every confirm slow.
const SLOW: Duration = Duration::from_millis(10);
/// However slow the disk is, the answer comes soon.
const LONGEST: Duration = Duration::from_secs(10);

/// `f_type` of file systems that are not what data should lie on (`statfs(2)`).
const TMPFS: FsWord = 0x0102_1994;
const OVERLAY: FsWord = 0x794c_7630;
const NFS: FsWord = 0x6969;

/// The process of the broker that has the directory, if one runs there; 0 if it does not tell.
pub(super) fn holder(directory: &Path) -> Option<u32> {
    let path = directory.join(LOCK);
    let file = File::open(&path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let text = fs::read_to_string(&path).unwrap_or_default();
            Some(text.trim().parse().unwrap_or(0))
        }
        _ => None,
    }
}

/// All findings about the directory.
pub(super) fn examine(config: &Config, holder: Option<u32>) -> Vec<Finding> {
    let directory = &config.data_dir;
    let shown = directory.display();
    let metadata = match fs::metadata(directory) {
        Ok(metadata) if metadata.is_dir() => metadata,
        Ok(_) => {
            let advice = "set data_dir to a directory";
            return vec![Finding::error(CHECK, format!("{shown} is a file"), advice)];
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return missing(directory),
        Err(error) => return vec![unusable(directory, &error)],
    };
    let mut findings = vec![state(directory, holder)];
    if metadata.permissions().mode() & 0o007 != 0 {
        findings.push(Finding::warning(
            CHECK,
            format!("every user of the machine can look into {shown}"),
            format!("chmod 700 {shown}"),
        ));
    }
    let own = rustix::process::geteuid().as_raw();
    if metadata.uid() != own && own != 0 {
        findings.push(Finding::warning(
            CHECK,
            format!(
                "{shown} belongs to user {}, and this is user {own}",
                metadata.uid()
            ),
            "run this as the broker's user, or give the directory to it with chown",
        ));
    }
    findings.extend(disk(directory, config.alarms.disk_free_limit));
    findings
}

/// What a first start would make.
fn missing(directory: &Path) -> Vec<Finding> {
    let found = format!("{} is made at the first start", directory.display());
    let above: PathBuf = match directory.ancestors().skip(1).find(|it| it.is_dir()) {
        Some(above) => above.to_owned(),
        None => PathBuf::from("."),
    };
    match measure(&above) {
        Ok(_) => vec![Finding::ok(CHECK, found)],
        Err(error) => vec![unusable(directory, &error)],
    }
}

fn unusable(directory: &Path, error: &io::Error) -> Finding {
    let found = format!("cannot use {}: {error}", directory.display());
    let advice = "make it, give it to the broker's user with chown, and see that its file system is mounted for writing";
    Finding::error(CHECK, found, advice)
}

fn state(directory: &Path, holder: Option<u32>) -> Finding {
    let shown = directory.display();
    match unreadable_format(directory) {
        Ok(Some(problem)) => Finding::error(
            CHECK,
            format!("{shown} {problem}"),
            "start the version of Leveret that wrote it, or restore a backup",
        ),
        Err(error) => unusable(directory, &error),
        Ok(None) => Finding::ok(
            CHECK,
            match holder {
                Some(0) => format!("{shown}, in use by a broker"),
                Some(process) => format!("{shown}, in use by the broker that is process {process}"),
                None => format!("{shown}, not in use"),
            },
        ),
    }
}

/// Room and speed.
fn disk(directory: &Path, limit: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    match rustix::fs::statvfs(directory) {
        Ok(it) => findings.push(room(it.f_bavail.saturating_mul(it.f_frsize), limit)),
        Err(error) => findings.push(unusable(directory, &error.into())),
    }
    if let Ok(it) = rustix::fs::statfs(directory) {
        findings.extend(kind(it.f_type));
    }
    findings.push(match measure(directory) {
        Ok(syncs) => speed(&syncs),
        Err(error) => unusable(directory, &error),
    });
    findings
}

fn room(free: u64, limit: u64) -> Finding {
    let found = format!("{} MiB free", free >> 20);
    if free < limit {
        let advice = "make room: publishers are blocked below alarms.disk_free_limit";
        return Finding::error(DISK, found, advice);
    }
    if free < limit.saturating_mul(4).max(1 << 30) {
        let advice = "make room: the journal alone takes up to nine times store.log_file_size";
        return Finding::warning(DISK, found, advice);
    }
    Finding::ok(DISK, found)
}

fn kind(kind: FsWord) -> Option<Finding> {
    let (found, advice) = match kind {
        TMPFS => (
            "the data lie in memory (tmpfs)",
            "put data_dir on a disk: nothing survives a restart of the machine",
        ),
        OVERLAY => (
            "the data lie in the container's own layer (overlayfs)",
            "mount a volume there: they go with the container",
        ),
        NFS => (
            "the data lie on a network file system (NFS)",
            "put data_dir on a local disk or a block device: locks and syncs over NFS cannot be relied on",
        ),
        _ => return None,
    };
    Some(Finding::warning(DISK, found, advice))
}

/// Writes and syncs as the journal does, to a file that goes again. Gives how long each sync took, the shortest first.
fn measure(directory: &Path) -> io::Result<Vec<Duration>> {
    let path = directory.join(format!("doctor-{}.tmp", std::process::id()));
    let measured = File::create_new(&path).and_then(|mut file| {
        let began = Instant::now();
        let mut syncs = Vec::new();
        while syncs.len() < SYNCS && began.elapsed() < LONGEST {
            file.write_all(&[0; BLOCK])?;
            let started = Instant::now();
            file.sync_data()?;
            syncs.push(started.elapsed());
        }
        syncs.sort();
        Ok(syncs)
    });
    let removed = fs::remove_file(&path);
    measured.and_then(|syncs| removed.map(|()| syncs))
}

fn speed(syncs: &[Duration]) -> Finding {
    let milliseconds = |at: usize| {
        let sync = syncs.get(at).copied().unwrap_or_default();
        (sync, sync.as_secs_f64() * 1000.0)
    };
    let (median, typical) = milliseconds(syncs.len() / 2);
    let (_, slowest) = milliseconds(syncs.len().saturating_sub(1));
    let found = format!(
        "a sync takes {typical:.2} ms, the slowest of {} {slowest:.2} ms",
        syncs.len()
    );
    if median <= SLOW {
        return Finding::ok(DISK, found);
    }
    let advice = "every confirm of a persistent message waits for one: use a faster disk, or store.durability = \"interval\" \
                  where a power cut may cost the last moments";
    Finding::warning(DISK, found, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn slow_disks_and_little_room_are_found() {
        let fast = vec![Duration::from_millis(1); 9];
        assert_eq!(speed(&fast).status, Status::Ok);
        let slow = vec![Duration::from_millis(20); 9];
        assert_eq!(speed(&slow).status, Status::Warning);
        assert_eq!(room(10, 100).status, Status::Error);
        assert_eq!(room(200, 100).status, Status::Warning);
        assert_eq!(room(1 << 40, 50_000_000).status, Status::Ok);
        assert!(kind(TMPFS).is_some() && kind(0xEF53).is_none());
    }
}
