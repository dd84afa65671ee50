//! Tells the end of a log that a crash left from damage.
//!
//! A log ends at the first place where no group stands that continues it. Behind that place there may be more: after a
//! power cut, groups that were never synced may be there though one in front of them is not. All of that is given up,
//! for nothing of it was promised. But every group says what was synced when it was written: if one says so of the
//! group that is missing, then that was whole once, and losing it silently would break a promise.

use std::io;

use super::{
    group::{self, ALIGNMENT},
    reader::Reader,
    replay::Walk,
};
use crate::{
    error::Error,
    journal::log::{Cut, LogPosition},
};

/// What was found where a log ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// Where the first group that is not whole stood, or where the next one goes.
    pub lost: LogPosition,
    /// Bytes of what follows there and does not count.
    pub bytes: u64,
    /// It was whole once.
    pub damaged: bool,
    /// The file of the group that tells.
    told_by: u64,
}

impl Walk<'_> {
    /// Looks at what is behind the end of the log at `at`, to which `reader` came.
    pub(super) fn look_behind(
        &self,
        reader: &mut Reader,
        at: LogPosition,
    ) -> Result<Ending, Error> {
        let mut ending = Ending {
            lost: at,
            bytes: 0,
            damaged: false,
            told_by: at.file,
        };
        let begun = self.begun(reader, at)?;
        self.behind(reader, at, begun, &mut ending)?;
        for file in self.numbers.range(at.file + 1..).copied() {
            if ending.damaged {
                break;
            }
            let mut later = self.open(file, reader.take_buffer())?;
            let start = LogPosition { file, offset: 0 };
            let begun = self.begun(&mut later, start)?;
            if begun > 0 {
                if ending.bytes == 0 && self.is_next(&mut later, at, file)? {
                    ending.lost = start;
                }
                self.behind(&mut later, start, begun, &mut ending)?;
            }
            *reader = later;
        }
        Ok(ending)
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

    /// Adds what stands in one file from `from`, where `begun` bytes are not whole.
    fn behind(
        &self,
        reader: &mut Reader,
        from: LogPosition,
        begun: u64,
        ending: &mut Ending,
    ) -> Result<(), Error> {
        let read = |error: io::Error| self.files.failed("read", from.file, &error);
        let (mut offset, mut last) = (from.offset, from.offset + begun);
        while let Some((place, header)) = reader.search(offset).map_err(read)? {
            if self.chain.comes_later(&header, from.file) {
                last = last.max(place + header.size());
                if header.synced() >= self.chain.lost(&header, ending.lost.file) {
                    (ending.damaged, ending.told_by) = (true, from.file);
                    break;
                }
            }
            offset = place + ALIGNMENT as u64;
        }
        ending.bytes += last - from.offset;
        Ok(())
    }

    /// What is cut off, with a line for operators.
    pub(super) fn cut(&self, ending: &Ending) -> Option<Cut> {
        let Ending { lost, bytes, .. } = *ending;
        if bytes == 0 {
            return None;
        }
        tracing::warn!(
            "{}: cut at byte {}: {bytes} bytes were not finished when the broker ended",
            self.files.path(lost.file).display(),
            lost.offset
        );
        Some(Cut { at: lost, bytes })
    }

    /// The error of a log that ends in damage.
    pub(super) fn damage(&self, ending: &Ending) -> Error {
        let next = ending.lost.file + 1;
        if ending.told_by > next && !self.numbers.contains(&next) {
            return self.missing(next);
        }
        let path = self.files.path(ending.lost.file);
        Error::Internal(format!(
            "{} is damaged at byte {}: what stood there was on disk for good, and more was written after it; \
             `leveret journal repair` saves what is whole",
            path.display(),
            ending.lost.offset
        ))
    }

    /// The error of a log without one of its files.
    pub(super) fn missing(&self, number: u64) -> Error {
        let path = self.files.path(number);
        Error::Internal(format!(
            "{} is missing, and what it held cannot be known; `leveret journal repair` saves what else there is",
            path.display()
        ))
    }
}
