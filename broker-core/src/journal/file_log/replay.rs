//! Walks a log from its first group to its last, and tells an end that a crash left from damage.
//!
//! A log ends at the first place where no group stands that continues it. Behind that place there may be more: after a
//! power cut, groups that were never synced may be there though one in front of them is not. All of that is given up,
//! for nothing of it was promised. But every group says what was synced when it was written: if one says so of the
//! group that is missing, then that was whole once, and losing it silently would break a promise.

use std::{
    collections::BTreeSet,
    io,
    time::{Duration, Instant},
};

use super::{
    files::Files,
    group::{self, HEADER, Header},
    reader::Reader,
};
use crate::{
    error::Error,
    journal::log::{Cut, EachGroup, LogPosition, Replayed},
};

/// Time between two lines about the progress.
const PROGRESS: Duration = Duration::from_secs(1);

/// Where a log goes on.
#[derive(Debug, Default)]
pub(super) struct End {
    /// All files that are there.
    pub numbers: BTreeSet<u64>,
    /// The first file that is needed.
    pub first: u64,
    /// Behind the last group.
    pub at: LogPosition,
    /// What the groups in front of it lead to.
    pub chain: Chain,
    /// Whether something behind it was given up.
    pub cut: bool,
}

/// What a group must say to continue those in front of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chain {
    /// The number of the log; unknown before the first group.
    pub log: Option<u64>,
    /// The sequence of the next group; unknown before the first.
    pub next: Option<u64>,
    /// The epoch of the last group: later ones have no lower one.
    pub epoch: u32,
    /// Groups so far in the file.
    pub index: u32,
    /// The last group was written by a close.
    pub closing: bool,
}

impl Chain {
    fn continues(&self, header: &Header, file: u64) -> bool {
        let sequence = self.next.is_none_or(|next| header.sequence == next);
        sequence && self.belongs(header, file)
    }

    /// Whether it comes later in the same log.
    fn comes_later(&self, header: &Header, file: u64) -> bool {
        let sequence = self.next.is_none_or(|next| header.sequence > next);
        sequence && self.belongs(header, file)
    }

    fn belongs(&self, header: &Header, file: u64) -> bool {
        let log = self.log.is_none_or(|log| header.log == log);
        log && header.file == file && header.epoch >= self.epoch
    }

    fn follow(&mut self, header: &Header) {
        self.log = Some(header.log);
        self.next = Some(header.sequence.saturating_add(1));
        self.epoch = header.epoch;
        self.index = header.index.saturating_add(1);
        self.closing = header.closing;
    }

    /// Whether a group of this log was begun where `header` is what is left of it.
    fn was_begun(&self, header: &Header, magic: bool, file: u64) -> bool {
        let signs = [
            magic,
            header.file == file,
            self.log == Some(header.log),
            self.next == Some(header.sequence),
        ];
        signs.into_iter().filter(|sign| *sign).count() >= 2
    }
}

/// Gives the groups from `from` to `each`. Changes nothing on disk.
pub(super) fn replay(
    files: &Files,
    from: u64,
    each: &mut EachGroup<'_>,
) -> Result<(Replayed, End), Error> {
    let numbers = files.numbers()?;
    let first = from.max(1);
    let mut end = End {
        first,
        ..End::default()
    };
    if numbers.is_empty() && first == 1 {
        let clean = true;
        return Ok((
            Replayed {
                clean,
                ..Replayed::default()
            },
            end,
        ));
    }
    let mut walk = Walk {
        files,
        numbers: &numbers,
        chain: Chain::default(),
        replayed: Replayed::default(),
        progress: Progress::new(),
    };
    let (mut reader, at) = walk.walk(first, each)?;
    walk.finish(&mut reader, at)?;
    let (chain, replayed) = (walk.chain, walk.replayed);
    (end.at, end.chain, end.cut) = (at, chain, replayed.cut.is_some());
    end.numbers = numbers;
    Ok((replayed, end))
}

struct Walk<'a> {
    files: &'a Files,
    numbers: &'a BTreeSet<u64>,
    chain: Chain,
    replayed: Replayed,
    progress: Progress,
}

impl Walk<'_> {
    /// Goes on from file to file as long as they continue each other; gives the last and where its groups end.
    fn walk(
        &mut self,
        first: u64,
        each: &mut EachGroup<'_>,
    ) -> Result<(Reader, LogPosition), Error> {
        let mut file = first;
        let mut reader = self.open(file, Vec::new())?;
        loop {
            let offset = self.file(&mut reader, file, each)?;
            let at = LogPosition { file, offset };
            // Without a group in the first file nobody knows which group the next one should begin with.
            if self.chain.next.is_none() || !self.numbers.contains(&(file + 1)) {
                return Ok((reader, at));
            }
            let mut next = self.open(file + 1, reader.take_buffer())?;
            if !self.begins(&mut next, file + 1)? {
                return Ok((reader, at));
            }
            (reader, file) = (next, file + 1);
            self.chain.index = 0;
        }
    }

    fn open(&self, number: u64, buffer: Vec<u8>) -> Result<Reader, Error> {
        if !self.numbers.contains(&number) {
            return Err(self.missing(number));
        }
        Reader::new(self.files.open(number)?, buffer)
            .map_err(|error| self.files.failed("read", number, &error))
    }

    /// Gives the groups of one file to `each`, and the offset behind them.
    fn file(
        &mut self,
        reader: &mut Reader,
        file: u64,
        each: &mut EachGroup<'_>,
    ) -> Result<u64, Error> {
        let read = |error: io::Error| self.files.failed("read", file, &error);
        let mut offset = 0;
        loop {
            let header = reader.header(offset).map_err(read)?;
            let Some(header) = header.filter(|header| self.chain.continues(header, file)) else {
                return Ok(offset);
            };
            let Some(items) = reader.items(offset, &header).map_err(read)? else {
                return Ok(offset);
            };
            self.chain.follow(&header);
            if !items.is_empty() {
                let at = LogPosition {
                    file,
                    offset: offset + HEADER as u64,
                };
                each(at, items)?;
                self.replayed.groups += 1;
                self.replayed.bytes += items.len() as u64;
                self.progress.tell(&self.replayed, file);
            }
            offset += header.size();
        }
    }

    fn begins(&self, reader: &mut Reader, file: u64) -> Result<bool, Error> {
        let read = |error: io::Error| self.files.failed("read", file, &error);
        let header = reader.header(0).map_err(read)?;
        let Some(header) = header.filter(|header| self.chain.continues(header, file)) else {
            return Ok(false);
        };
        Ok(reader.items(0, &header).map_err(read)?.is_some())
    }

    /// Looks behind the end at `at`: damage is an error, what a crash left is noted as cut.
    fn finish(&mut self, reader: &mut Reader, at: LogPosition) -> Result<(), Error> {
        let mut lost = at;
        let mut bytes = self.begun(reader, at)?.max(self.behind(reader, at, at)?);
        for file in self.numbers.range(at.file + 1..).copied() {
            let mut later = self.open(file, reader.take_buffer())?;
            let start = LogPosition { file, offset: 0 };
            let begun = self.begun(&mut later, start)?;
            if begun > 0 {
                if bytes == 0 && self.is_next(&mut later, at, file)? {
                    lost = start;
                }
                bytes += begun.max(self.behind(&mut later, start, lost)?);
            }
            *reader = later;
        }
        if bytes > 0 {
            tracing::warn!(
                "{}: cut at byte {}: {bytes} bytes were not finished when the broker ended",
                self.files.path(lost.file).display(),
                lost.offset
            );
            self.replayed.cut = Some(Cut { at: lost, bytes });
        }
        self.replayed.clean = self.chain.closing && bytes == 0;
        Ok(())
    }

    /// Whether what was begun in `file` should have followed the end at `at`.
    fn is_next(&self, reader: &mut Reader, at: LogPosition, file: u64) -> Result<bool, Error> {
        let read = |error: io::Error| self.files.failed("read", file, &error);
        let header = reader.header(0).map_err(read)?;
        let later = header.is_some_and(|header| self.chain.comes_later(&header, file));
        Ok(file == at.file + 1 && self.chain.next.is_some() && !later)
    }

    /// Bytes of what was begun at `at` and is not whole.
    fn begun(&self, reader: &mut Reader, at: LogPosition) -> Result<u64, Error> {
        let read = |error: io::Error| self.files.failed("read", at.file, &error);
        let left = reader.length().saturating_sub(at.offset);
        if let Some(header) = reader.header(at.offset).map_err(read)? {
            // A whole header that names another file is what an earlier use of this one left.
            let begun = self.chain.belongs(&header, at.file);
            return Ok(if begun { header.size().min(left) } else { 0 });
        }
        let guess = reader.guess(at.offset).map_err(read)?;
        let begun =
            guess.is_some_and(|(header, magic)| self.chain.was_begun(&header, magic, at.file));
        Ok(if begun { group::size(0) } else { 0 })
    }

    /// Bytes from `from` to the end of the last later group in that file, where the log ends at `end`.
    fn behind(
        &self,
        reader: &mut Reader,
        from: LogPosition,
        end: LogPosition,
    ) -> Result<u64, Error> {
        let read = |error: io::Error| self.files.failed("read", from.file, &error);
        let (mut offset, mut last) = (from.offset, from.offset);
        while let Some((place, header)) = reader.search(offset).map_err(read)? {
            if self.chain.comes_later(&header, from.file) {
                if header.synced() >= self.lost(&header, end.file) {
                    return Err(self.damaged(end, header.file));
                }
                last = place + header.size();
            }
            offset = place + group::ALIGNMENT as u64;
        }
        Ok(last - from.offset)
    }

    /// The sequence of the group that is missing at the end of the log, in file `end`, when `later` is there.
    fn lost(&self, later: &Header, end: u64) -> u64 {
        let first = later.sequence.saturating_sub(later.index.into());
        let before = u64::from(later.file != end);
        self.chain.next.unwrap_or(first.saturating_sub(before))
    }

    fn damaged(&self, end: LogPosition, later: u64) -> Error {
        let next = end.file + 1;
        if later > next && !self.numbers.contains(&next) {
            return self.missing(next);
        }
        let path = self.files.path(end.file);
        Error::Internal(format!(
            "{} is damaged at byte {}: what stood there was on disk for good, and more was written after it; \
             `leveret journal repair` saves what is whole",
            path.display(),
            end.offset
        ))
    }

    fn missing(&self, number: u64) -> Error {
        let path = self.files.path(number);
        Error::Internal(format!(
            "{} is missing, and what it held cannot be known; `leveret journal repair` saves what else there is",
            path.display()
        ))
    }
}

/// Says from time to time how far a long replay is.
struct Progress {
    next: Instant,
}

impl Progress {
    fn new() -> Self {
        Self {
            next: Instant::now() + PROGRESS,
        }
    }

    fn tell(&mut self, replayed: &Replayed, file: u64) {
        if Instant::now() >= self.next {
            self.next = Instant::now() + PROGRESS;
            let megabytes = replayed.bytes / 1_000_000;
            tracing::info!("reading the journal's log: {megabytes} MB so far, in file {file}");
        }
    }
}
