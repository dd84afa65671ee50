//! Counting what a journal consists of.

use std::path::Path;

use super::{
    super::{FileLog, file_system::FileSystem, log::LogFiles, run::Place, trouble::Doing},
    Report, follow, load,
};
use crate::{error::Error, store::QueueId};

/// What a journal consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Files of the log.
    pub log: LogFiles,
    /// Segments.
    pub segments: usize,
    /// Bytes of them.
    pub segment_bytes: u64,
    /// Bytes in them that are alive; an estimate.
    pub segment_live: u64,
    /// For each queue: messages, and bytes of their blocks. The largest first.
    pub queues: Vec<(QueueId, u64, u64)>,
}

/// Counts what a whole journal consists of.
///
/// # Errors
/// The journal is damaged, or the system refuses to read.
pub fn statistics(
    files: &dyn FileSystem,
    directory: &Path,
    log: &FileLog,
) -> Result<Statistics, Error> {
    let mut report = Report::default();
    let mut known = load(files, directory, &mut report)?;
    if let Some(finding) = report.findings.first() {
        return Err(Error::Internal(finding.to_string()));
    }
    follow(log, &mut known)?;
    let index = &known.index;
    let mut queues: Vec<_> = index
        .queues
        .iter()
        .map(|(queue, state)| {
            let count = state.runs.iter().map(|run| u64::from(run.count)).sum();
            let bytes = state.runs.iter().map(|run| run.bytes).sum();
            (*queue, count, bytes)
        })
        .filter(|(_, count, _): &(_, u64, u64)| *count > 0)
        .collect();
    queues.sort_by_key(|(queue, _, bytes)| (std::cmp::Reverse(*bytes), *queue));
    let segments = index.files.keys();
    Ok(Statistics {
        log: occupied(files, directory, known.log_start)?,
        segments: segments.filter(|p| matches!(p, Place::Segment(_))).count(),
        segment_bytes: index.segment_bytes,
        segment_live: index.segment_live,
        queues,
    })
}

fn occupied(files: &dyn FileSystem, directory: &Path, log_start: u64) -> Result<LogFiles, Error> {
    let mut found = LogFiles {
        first: log_start,
        ..LogFiles::default()
    };
    for (number, path) in super::log_files(files, directory)? {
        let length = files.open(&path, false).and_then(|file| file.length());
        found.bytes += length.doing("read", &path)?;
        found.active = found.active.max(number);
    }
    Ok(found)
}
