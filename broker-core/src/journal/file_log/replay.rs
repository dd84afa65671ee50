//! Walks a log from its first group to its last.

use std::{
    collections::BTreeSet,
    io,
    time::{Duration, Instant},
};

use super::{
    chain::{Chain, End},
    files::Files,
    group::{HEADER, Header, Kind},
    reader::Reader,
};
use crate::{
    error::Error,
    journal::log::{EachGroup, LogPosition, Replayed},
};

/// Time between two lines about the progress.
const PROGRESS: Duration = Duration::from_secs(1);

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
    let mut walk = Walk::new(files, &numbers);
    let start = LogPosition {
        file: first,
        offset: 0,
    };
    let (mut reader, at) = walk.walk(start, each)?;
    let ending = walk.look_behind(&mut reader, at)?;
    if ending.damaged {
        return Err(walk.damage(&ending));
    }
    let cut = walk.cut(&ending);
    let mut replayed = walk.replayed;
    replayed.clean = walk.chain.closing && cut.is_none();
    replayed.cut = cut;
    (end.at, end.chain, end.cut) = (at, walk.chain, cut.is_some());
    end.numbers = numbers;
    Ok((replayed, end))
}

/// A walk over the files of a log.
pub(super) struct Walk<'a> {
    pub files: &'a Files,
    /// The files that are there.
    pub numbers: &'a BTreeSet<u64>,
    /// What the groups so far lead to.
    pub chain: Chain,
    /// How many groups there were.
    pub replayed: Replayed,
    progress: Progress,
}

impl<'a> Walk<'a> {
    pub(super) fn new(files: &'a Files, numbers: &'a BTreeSet<u64>) -> Self {
        Self {
            files,
            numbers,
            chain: Chain::default(),
            replayed: Replayed::default(),
            progress: Progress::new(Instant::now),
        }
    }

    /// Goes on from file to file as long as they continue each other; gives the last and where its groups end.
    pub(super) fn walk(
        &mut self,
        from: LogPosition,
        each: &mut EachGroup<'_>,
    ) -> Result<(Reader, LogPosition), Error> {
        let LogPosition {
            mut file,
            mut offset,
        } = from;
        let mut reader = self.open(file, Vec::new())?;
        loop {
            offset = self.file(&mut reader, file, offset, each)?;
            let at = LogPosition { file, offset };
            // Without a group in the first file nobody knows which group the next one should begin with.
            if self.chain.next.is_none() || !self.numbers.contains(&(file + 1)) {
                return Ok((reader, at));
            }
            let mut next = self.open(file + 1, reader.take_buffer())?;
            if !self.begins(&mut next, file + 1)? {
                return Ok((reader, at));
            }
            (reader, file, offset) = (next, file + 1, 0);
            self.chain.index = 0;
        }
    }

    /// Reads a file through `buffer`.
    pub(super) fn open(&self, number: u64, buffer: Vec<u8>) -> Result<Reader, Error> {
        if !self.numbers.contains(&number) {
            return Err(self.missing(number));
        }
        Reader::new(self.files.open(number)?, buffer)
            .map_err(|error| self.files.failed("read", number, &error))
    }

    /// Gives the groups of one file from `offset` to `each`, and the offset behind them.
    fn file(
        &mut self,
        reader: &mut Reader,
        file: u64,
        mut offset: u64,
        each: &mut EachGroup<'_>,
    ) -> Result<u64, Error> {
        let read = |error: io::Error| self.files.failed("read", file, &error);
        loop {
            let header = reader.header(offset).map_err(read)?;
            let Some(header) = header.filter(|header| self.chain.continues(header, file)) else {
                return Ok(offset);
            };
            let Some(items) = reader.items(offset, &header).map_err(read)? else {
                return Ok(offset);
            };
            self.chain.follow(&header);
            if header.kind == Kind::Items {
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

    /// The first group behind what is missing at `lost`, and where it is.
    pub(super) fn next_behind(
        &self,
        lost: LogPosition,
    ) -> Result<Option<(LogPosition, Header)>, Error> {
        for file in self.numbers.range(lost.file..).copied() {
            let mut reader = self.open(file, Vec::new())?;
            let read = |error| self.files.failed("read", file, &error);
            // In front of it there must be room for the header of a gap.
            let mut offset = match file == lost.file {
                true => lost.offset + HEADER as u64,
                false => 0,
            };
            while let Some((place, header)) = reader.search(offset).map_err(read)? {
                if self.chain.comes_later(&header, file) {
                    let offset = place;
                    return Ok(Some((LogPosition { file, offset }, header)));
                }
                offset = place + 1;
            }
        }
        Ok(None)
    }

    fn begins(&self, reader: &mut Reader, file: u64) -> Result<bool, Error> {
        let read = |error: io::Error| self.files.failed("read", file, &error);
        let header = reader.header(0).map_err(read)?;
        let Some(header) = header.filter(|header| self.chain.continues(header, file)) else {
            return Ok(false);
        };
        Ok(reader.items(0, &header).map_err(read)?.is_some())
    }
}

/// Says from time to time how far a long replay is.
struct Progress {
    next: Instant,
    now: fn() -> Instant,
}

impl Progress {
    fn new(now: fn() -> Instant) -> Self {
        Self {
            next: now() + PROGRESS,
            now,
        }
    }

    fn tell(&mut self, replayed: &Replayed, file: u64) {
        let now = (self.now)();
        if now >= self.next {
            self.next = now + PROGRESS;
            let megabytes = replayed.bytes / 1_000_000;
            tracing::info!("reading the journal's log: {megabytes} MB so far, in file {file}");
        }
    }
}

#[cfg(test)]
mod tests;
