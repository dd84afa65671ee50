//! Looking through a journal that no broker has open: verifying all of it, repairing what is damaged, and counting.
//!
//! `leveret journal verify`, `repair` and `stats` are these functions. A repair never changes messages: it leaves out
//! what cannot be read, says what that was, and writes a new manifest.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{
    FileLog,
    block::{self, BlockHeader},
    file_system::{File, FileSystem},
    index::Index,
    items::BODIES,
    log::{Log, LogFiles, Replayed},
    manifest::{Edit, Manifest},
    run::{BlockPlace, Place, Run},
    segment::{self, Segment},
    trouble::Doing,
};
use crate::{
    error::Error,
    store::{Position, QueueId},
};

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
    /// What replaying the log gave, if it could be replayed.
    pub log: Option<Replayed>,
    /// Segments that were read.
    pub segments: usize,
    /// Bytes of them.
    pub segment_bytes: u64,
    /// Messages that are alive.
    pub messages: u64,
}

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

/// What the manifest says, and from where on the log is replayed.
struct Known {
    index: Index,
    log_start: u64,
}

/// Reads everything and reports what is damaged. Changes nothing.
///
/// # Errors
/// The system refuses to read.
pub fn verify(files: &dyn FileSystem, directory: &Path, log: &FileLog) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut known = load(files, directory, &mut report)?;
    check_all_segments(files, directory, &mut known.index, &mut report, false)?;
    match follow(log, &mut known) {
        Ok(replayed) => report.log = Some(replayed),
        Err(error) => report.findings.push(Finding::of(&error)),
    }
    report.messages = messages(&known.index);
    Ok(report)
}

/// Makes a journal usable again without what is damaged, and reports what that was.
///
/// # Errors
/// The system refuses to read or write.
pub fn repair(files: &dyn FileSystem, directory: &Path, log: &FileLog) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut known = load(files, directory, &mut report)?;
    if !report.findings.is_empty() {
        known = rebuild(files, directory, &mut report)?;
    }
    check_all_segments(files, directory, &mut known.index, &mut report, true)?;
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
        return Err(Error::Internal(finding.what.clone()));
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
        log: log_files(files, directory, known.log_start)?,
        segments: segments.filter(|p| matches!(p, Place::Segment(_))).count(),
        segment_bytes: index.segment_bytes,
        segment_live: index.segment_live,
        queues,
    })
}

fn log_files(files: &dyn FileSystem, directory: &Path, log_start: u64) -> Result<LogFiles, Error> {
    let mut found = LogFiles {
        first: log_start,
        ..LogFiles::default()
    };
    for name in files.list(directory).doing("list", directory)? {
        let digits = name
            .strip_prefix("log-")
            .and_then(|n| n.strip_suffix(".log"));
        let Some(number) = digits.and_then(|digits| digits.parse().ok()) else {
            continue;
        };
        let path = directory.join(&name);
        let length = files.open(&path, false).and_then(|file| file.length());
        found.bytes += length.doing("read", &path)?;
        found.active = found.active.max(number);
    }
    Ok(found)
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
    let loaded = Manifest::load(files, directory, &mut |edit| {
        if let Edit::LogStart(file) = edit {
            known.log_start = file;
        }
        known.index.edit(edit);
    });
    if let Err(trouble) = loaded {
        report.findings.push(Finding::of(&Error::from(trouble)));
    }
    known.index.count_references();
    Ok(known)
}

/// Makes up what a damaged manifest said from the segments that are there. Messages in them that were settled since they
/// were written come back, where the log does not tell.
fn rebuild(files: &dyn FileSystem, directory: &Path, report: &mut Report) -> Result<Known, Error> {
    let mut index = Index::default();
    for number in super::store::segments(files, directory)? {
        let path = segment::path(directory, number);
        let mut segment = Segment {
            number,
            length: 0,
            runs: Vec::new(),
            bodies: Vec::new(),
        };
        walk(files, &path, report, &mut |header, offset, bytes| {
            add_block(&mut segment, header, offset, bytes);
        })?;
        let length = files.open(&path, false).and_then(|file| file.length());
        segment.length = length.doing("read", &path)?;
        index.edit(Edit::Add(segment));
    }
    index.count_references();
    let mut first = 0;
    for name in files.list(directory).doing("list", directory)? {
        let digits = name
            .strip_prefix("log-")
            .and_then(|n| n.strip_suffix(".log"));
        if let Some(number) = digits.and_then(|digits| digits.parse::<u64>().ok()) {
            first = if first == 0 {
                number
            } else {
                first.min(number)
            };
        }
    }
    report.findings.push(Finding::at(
        directory.join("manifest"),
        0,
        "made anew from the segments: messages that were settled long ago may come back".to_owned(),
    ));
    Ok(Known {
        index,
        log_start: first,
    })
}

fn add_block(segment: &mut Segment, header: &BlockHeader, offset: u64, bytes: &[u8]) {
    if header.queue == BODIES {
        segment.bodies.push(BlockPlace::new(header, offset));
        return;
    }
    let place = Place::Segment(segment.number);
    let number = segment.runs.len() as u32;
    let fits = segment
        .runs
        .last()
        .is_some_and(|(queue, run)| *queue == header.queue && run.takes(place, header));
    if !fits {
        let run = Run::new(place, number, header.first);
        segment.runs.push((header.queue, run));
    }
    let Some((_, run)) = segment.runs.last_mut() else {
        return;
    };
    let records = || block::records(bytes).filter_map(Result::ok);
    run.add(header, offset, records().map(|record| record.position));
    for record in records() {
        if let block::Content::Shared(id) = record.content {
            run.refer(record.position, id);
        }
    }
}

/// Gives every whole block of a segment. Where one is damaged the rest of the file is searched for the next.
fn walk(
    files: &dyn FileSystem,
    path: &Path,
    report: &mut Report,
    each: &mut dyn FnMut(&BlockHeader, u64, &[u8]),
) -> Result<(), Error> {
    let file = files.open(path, false).doing("open", path)?;
    let length = file.length().doing("read", path)?;
    report.segments += 1;
    report.segment_bytes += length;
    let mut offset = segment::HEADER as u64;
    let mut damage = None;
    while offset < length {
        match read_block(&*file, path, offset, length)? {
            Ok((header, bytes)) => {
                each(&header, offset, &bytes);
                offset += u64::from(header.length);
                damage = None;
            }
            Err(what) => {
                if damage.is_none() {
                    damage = Some(what);
                    report
                        .findings
                        .push(Finding::at(path.to_owned(), offset, what.to_owned()));
                }
                offset += 1;
            }
        }
    }
    Ok(())
}

type Block = Result<(BlockHeader, Vec<u8>), &'static str>;

fn read_block(file: &dyn File, path: &Path, offset: u64, length: u64) -> Result<Block, Error> {
    let mut start = [0; block::HEADER];
    if offset + start.len() as u64 > length {
        return Ok(Err("a block that ends early"));
    }
    file.read_at(&mut start, offset).doing("read", path)?;
    let header = match BlockHeader::parse(&start) {
        Ok(header) if offset + u64::from(header.length) <= length => header,
        Ok(_) => return Ok(Err("a block that ends early")),
        Err(what) => return Ok(Err(what)),
    };
    let mut bytes = vec![0; header.length as usize];
    file.read_at(&mut bytes, offset).doing("read", path)?;
    Ok(block::check(&bytes).map(|header| (header, bytes)))
}

/// Reads every block that the manifest knows. What cannot be read is reported, and its messages are taken out of the
/// index.
fn check_all_segments(
    files: &dyn FileSystem,
    directory: &Path,
    index: &mut Index,
    report: &mut Report,
    mend: bool,
) -> Result<(), Error> {
    let places: Vec<Place> = index.files.keys().copied().collect();
    let present = super::store::segments(files, directory)?;
    for place in places {
        let Place::Segment(number) = place else {
            continue;
        };
        let path = segment::path(directory, number);
        if !present.contains(&number) {
            report.findings.push(Finding::at(
                path,
                0,
                "the file is missing: its messages are lost".to_owned(),
            ));
            index.drop_segment(place);
            continue;
        }
        check_segment(files, &path, place, index, report, mend)?;
    }
    index.drop_bodiless();
    Ok(())
}

fn check_segment(
    files: &dyn FileSystem,
    path: &Path,
    place: Place,
    index: &mut Index,
    report: &mut Report,
    mend: bool,
) -> Result<(), Error> {
    let file = files.open(path, false).doing("open", path)?;
    let length = file.length().doing("read", path)?;
    report.segments += 1;
    report.segment_bytes += length;
    check_header(&*file, path, report, mend)?;
    for (queue, block) in index.blocks_in(place) {
        let what = match read_block(&*file, path, block.offset, length)? {
            Ok((header, _)) if header.queue == queue && header.first == block.first => continue,
            Ok(_) => "another block than the manifest says",
            Err(what) => what,
        };
        let lost = index.lose(queue, &block);
        report.findings.push(Finding::at(
            path.to_owned(),
            block.offset,
            format!("{what}: {lost} messages are lost"),
        ));
    }
    Ok(())
}

/// The header is the same in all segments but for the number, so it is mended by writing it.
fn check_header(
    file: &dyn File,
    path: &Path,
    report: &mut Report,
    mend: bool,
) -> Result<(), Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    let expected = segment::header(name.and_then(segment::number).unwrap_or(0));
    let mut header = [0; segment::HEADER];
    let read = file.read_at(&mut header, 0);
    if read.is_ok() && header == expected {
        return Ok(());
    }
    let finding = Finding::at(
        path.to_owned(),
        0,
        "the header is damaged; nothing is lost by that",
    );
    report.findings.push(finding);
    if mend {
        file.write_at(&[&expected], 0).doing("write", path)?;
        file.sync().doing("sync", path)?;
    }
    Ok(())
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

impl Index {
    /// Every block in a file that holds live messages, and whose it is.
    fn blocks_in(&self, place: Place) -> Vec<(QueueId, BlockPlace)> {
        let runs = self.queues.iter().flat_map(|(queue, state)| {
            let runs = state.runs.iter().filter(|run| run.place == place);
            runs.flat_map(|run| {
                let blocks = run.blocks.iter().filter(|block| run.is_alive(block));
                blocks.map(|block| (*queue, *block))
            })
        });
        let bodies = self.bodies.values().filter(|body| body.place == place);
        let bodies = bodies.map(|body| (BODIES, body.block));
        let mut blocks: Vec<_> = runs.chain(bodies).collect();
        blocks.sort_by_key(|(_, block)| block.offset);
        blocks
    }

    /// Takes the messages of a block out that cannot be read, and says how many were alive.
    fn lose(&mut self, queue: QueueId, block: &BlockPlace) -> u64 {
        if queue == BODIES {
            let body = self.bodies.remove(&block.first);
            return body.map_or(0, |body| u64::from(body.references));
        }
        let before = messages(self);
        self.settle(queue, block.first, block.last(), None);
        before - messages(self)
    }

    /// Takes the messages out whose shared bodies are gone.
    fn drop_bodiless(&mut self) {
        let mut dead: Vec<(QueueId, Position)> = Vec::new();
        for (queue, state) in &self.queues {
            let references = state.runs.iter().flat_map(|run| &run.references);
            let gone = references.filter(|(_, id)| !self.bodies.contains_key(id));
            dead.extend(gone.map(|(position, _)| (*queue, *position)));
        }
        for (queue, position) in dead {
            self.settle(queue, position, position, None);
        }
    }
}

impl Run {
    /// Whether some message of the block is alive.
    fn is_alive(&self, block: &BlockPlace) -> bool {
        (block.first..=block.last()).any(|position| self.contains(position))
    }
}
