//! Looking through a journal that no broker has open: verifying all of it, repairing what is damaged, and counting.
//!
//! `leveret journal verify`, `repair` and `stats` are these functions. A repair never changes messages: it leaves out
//! what cannot be read, says what that was, and writes a new manifest. What nobody needs any more is verified too, and told
//! apart: settled messages of which the segment is still there, files of the log that were not given back yet.

mod blocks;
mod counting;
mod readable;
mod rebuilding;
mod segments;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::counting::{Statistics, statistics};
use self::readable::Readable;
use super::{
    FileLog, block,
    file_system::FileSystem,
    index::Index,
    items::{Item, items},
    log::{Damage, Log, LogOptions, LogPosition, Replayed},
    manifest::{self, Edit, Manifest},
    trouble::Doing,
};
use crate::error::Error;

/// Damage in a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file and where in it, in bytes, unless the text says so itself.
    pub place: Option<(PathBuf, u64)>,
    /// What is wrong there, and what it costs.
    pub what: String,
}

impl Finding {
    fn at(file: PathBuf, offset: u64, what: impl Into<String>) -> Self {
        Self {
            place: Some((file, offset)),
            what: what.into(),
        }
    }

    fn of(error: &Error) -> Self {
        Self {
            place: None,
            what: error.to_string(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((file, offset)) = &self.place {
            write!(f, "{} at byte {offset}: ", file.display())?;
        }
        f.write_str(&self.what)
    }
}

/// What a look through a journal found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is damaged; empty if the journal is whole.
    pub findings: Vec<Finding>,
    /// Damage in what nobody needs any more. It costs nothing, and goes when its file does. [`verify`] looks for it.
    pub garbage: Vec<Finding>,
    /// What replaying the log gave, if it could be replayed.
    pub log: Option<Replayed>,
    /// Segments that were read.
    pub segments: usize,
    /// Bytes of them.
    pub segment_bytes: u64,
    /// Messages that are alive.
    pub messages: u64,
}

/// What the manifest says, and from where on the log is replayed.
struct Known {
    index: Index,
    log_start: u64,
}

/// Reads everything and reports all that is damaged, or that the system refuses to read. Changes nothing.
///
/// # Errors
/// The system does not say which files there are.
pub fn verify(files: &Arc<dyn FileSystem>, directory: &Path) -> Result<Report, Error> {
    let files = Readable::new(Arc::clone(files));
    let log = FileLog::open(Arc::new(files.clone()), directory, LogOptions::default())?;
    let mut report = Report::default();
    let mut known = load(&files, directory, &mut report)?;
    let named = report.findings.is_empty() && files.findings().is_empty();
    if !named {
        // What it says of segments and the log cannot be relied on: anything may be needed.
        (known.index, known.log_start) = (Index::default(), first_file(&files, directory)?);
    }
    segments::check_all(&files, directory, &mut known.index, &mut report, false)?;
    segments::check_unnamed(&files, directory, &known.index, named, &mut report)?;
    check_log(directory, &log, &mut known, &mut report);
    report.messages = messages(&known.index);
    report.findings.extend(files.findings());
    Ok(report)
}

/// Reads all files of the log.
fn check_log(directory: &Path, log: &FileLog, known: &mut Known, report: &mut Report) {
    let mut unreadable = Vec::new();
    let survey = log.survey(known.log_start, &mut |at, group| {
        let found = check_group(at, group).or_else(|| {
            let applied = known.index.apply(at.file, at.offset, group);
            applied.err().map(|what| (at, what))
        });
        unreadable.extend(found);
        Ok(())
    });
    let survey = match survey {
        Ok(survey) => survey,
        Err(error) => return report.findings.push(Finding::of(&error)),
    };
    let place = |at: LogPosition| directory.join(format!("log-{:016}.log", at.file));
    let lost = survey.damage.iter().map(|damage| {
        let what = match damage.missing {
            true => "the file is missing, and what stood in it is lost".to_owned(),
            false if damage.bytes > 0 => {
                format!("the log is damaged: {} bytes of it are lost", damage.bytes)
            }
            false => "the log is damaged: what stood here and after it is lost".to_owned(),
        };
        Finding::at(place(damage.at), damage.at.offset, what)
    });
    report.findings.extend(lost);
    let unreadable = unreadable
        .into_iter()
        .map(|(at, what)| Finding::at(place(at), at.offset, what));
    report.findings.extend(unreadable);
    let garbage = survey.garbage.iter().map(|damage: &Damage| {
        let what = "a group of the log that nobody reads any more is damaged, or was begun to be written over";
        Finding::at(place(damage.at), damage.at.offset, what)
    });
    report.garbage.extend(garbage);
    report.log = Some(survey.replayed);
}

/// The first block of a whole group that is not whole itself: it was damaged before it was written.
fn check_group(at: LogPosition, group: &[u8]) -> Option<(LogPosition, &'static str)> {
    items(group).find_map(|item| {
        let (offset, Item::Block(_, bytes)) = item.ok()? else {
            return None;
        };
        let what = block::inspect(bytes).err()?;
        let offset = at.offset + offset as u64;
        Some((LogPosition { offset, ..at }, what))
    })
}

/// Makes a journal usable again without what is damaged, and reports what that was.
///
/// # Errors
/// The system refuses to read or write.
pub fn repair(files: &dyn FileSystem, directory: &Path, log: &FileLog) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut known = load(files, directory, &mut report)?;
    if !report.findings.is_empty() {
        known = rebuilding::rebuild(files, directory, &mut report)?;
    }
    segments::check_all(files, directory, &mut known.index, &mut report, true)?;
    // What is not needed stays as it is, and goes when its file does.
    report.garbage.clear();
    if !report.findings.is_empty() {
        let edits = known.index.snapshot(known.log_start);
        Manifest::replace(files, directory, &edits)?;
    }
    for damage in log.repair(known.log_start)? {
        let lost = match damage.missing {
            true => "the file was missing: what stood in it is lost".to_owned(),
            false => format!("{} bytes of the log are lost", damage.bytes),
        };
        report.findings.push(Finding::at(
            directory.join(format!("log-{:016}.log", damage.at.file)),
            damage.at.offset,
            lost,
        ));
    }
    report.log = Some(follow(log, &mut known)?);
    report.messages = messages(&known.index);
    Ok(report)
}

/// The number of the first file of the log that is there, 0 without any.
fn first_file(files: &dyn FileSystem, directory: &Path) -> Result<u64, Error> {
    let numbers = log_files(files, directory)?;
    Ok(numbers
        .into_iter()
        .map(|(number, _)| number)
        .min()
        .unwrap_or(0))
}

/// The files of the log that are there, with their numbers.
fn log_files(files: &dyn FileSystem, directory: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let names = files.list(directory).doing("list", directory)?;
    let numbered = names.into_iter().filter_map(|name| {
        let digits = name.strip_prefix("log-")?.strip_suffix(".log")?;
        Some((digits.parse().ok()?, directory.join(&name)))
    });
    Ok(numbered.collect())
}

fn messages(index: &Index) -> u64 {
    let runs = index.queues.values().flat_map(|state| &state.runs);
    runs.map(|run| u64::from(run.count)).sum()
}

/// Reads the manifest; damage goes to the report.
fn load(files: &dyn FileSystem, directory: &Path, report: &mut Report) -> Result<Known, Error> {
    let mut known = Known {
        index: Index::default(),
        log_start: 0,
    };
    let damage = Manifest::load(files, directory, &mut |edit| {
        if let Edit::LogStart(file) = edit {
            known.log_start = file;
        }
        known.index.edit(edit);
    });
    match damage {
        Ok(damage) => {
            let path = directory.join(manifest::NAME);
            let found = |(offset, what)| Finding::at(path.clone(), offset, what);
            report.findings.extend(damage.into_iter().map(found));
        }
        Err(trouble) => report.findings.push(Finding::of(&Error::from(trouble))),
    }
    known.index.count_references();
    Ok(known)
}

fn follow(log: &FileLog, known: &mut Known) -> Result<Replayed, Error> {
    log.replay(known.log_start, &mut |at, items| {
        let applied = known.index.apply(at.file, at.offset, items);
        applied.map_err(|what| {
            Error::Internal(format!(
                "file {} of the log, group at byte {}: {what}",
                at.file, at.offset
            ))
        })
    })
}
