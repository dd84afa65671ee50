//! The writer thread's side of a log: puts each group behind the last, and goes on to the next file in time.

use std::{io, sync::Arc, time::Instant};

use super::{
    chain::{Chain, End},
    files::{Files, is_full},
    group::{self, HEADER, Header, Kind},
};
use crate::{
    error::Error,
    journal::{
        file_system::File,
        log::{Durability, Follower, LogPosition},
    },
    store::{Applied, Sink},
};

/// Where groups go.
pub(super) struct Writer {
    files: Arc<Files>,
    follower: Box<dyn Follower>,
    durability: Durability,
    active: Option<Active>,
    log: u64,
    epoch: u32,
    /// Of the next group.
    sequence: u64,
    /// The last group that is synced.
    synced: u64,
    /// A file that was left and of which the follower does not know it yet.
    left: Option<u64>,
    /// The log ends as a close left it.
    closed: bool,
    /// The active file when a next one could not be prepared: not tried again before it must be.
    unprepared: u64,
}

/// The file that is written to.
struct Active {
    number: u64,
    file: Arc<dyn File>,
    /// Where the next group goes.
    offset: u64,
    /// Groups in it.
    index: u32,
    /// Something was written that is not synced.
    dirty: bool,
}

/// Why a group was not written.
enum Trouble {
    /// There is no room; the text says where.
    NoRoom(String),
    Failed(Error),
}

impl Writer {
    /// Goes on where replay found the end.
    ///
    /// # Errors
    /// What was cut off cannot be removed, or the files cannot be opened.
    pub(super) fn new(
        files: Arc<Files>,
        durability: Durability,
        end: &End,
        follower: Box<dyn Follower>,
    ) -> Result<Self, Error> {
        let Chain { log, next, .. } = end.chain;
        files.settle(&end.numbers, end.first, end.at.file, end.cut)?;
        let active = match end.at.file {
            0 => None,
            _ => Some(Active::resume(&files, end)?),
        };
        let closed = end.chain.closing && !end.cut;
        // What replay found may be in memory only. From now on it counts as synced.
        files.sync()?;
        let sequence = next.unwrap_or(1);
        let mut writer = Self {
            files,
            follower,
            durability,
            active,
            log: log.unwrap_or_else(rand::random),
            epoch: end.chain.epoch.saturating_add(1),
            sequence,
            synced: sequence - 1,
            left: None,
            closed,
            unprepared: 0,
        };
        writer.begin()?;
        Ok(writer)
    }

    /// A log that was closed must not look so any more: what is delivered from now on may be delivered again, though
    /// nothing else may be written before the end.
    fn begin(&mut self) -> Result<(), Error> {
        if !self.closed || self.active.is_none() {
            return Ok(());
        }
        match self.write(&[], Kind::Gap) {
            Ok(_) => self.sync_active(),
            Err(Trouble::NoRoom(why)) => {
                tracing::warn!("whether this start ends in order will not be known: {why}");
                Ok(())
            }
            Err(Trouble::Failed(error)) => Err(error),
        }
    }

    /// Puts a group behind the last one; gives the place of its items.
    fn write(&mut self, items: &[u8], kind: Kind) -> Result<LogPosition, Trouble> {
        let size = group::size(items.len());
        let length = u32::try_from(items.len()).map_err(|_| {
            let text = "more than 4 GiB were to be written at once";
            Trouble::Failed(Error::Internal(text.to_owned()))
        })?;
        self.make_room(size)?;
        let Some(active) = &mut self.active else {
            let text = "the log has no file to write to";
            return Err(Trouble::Failed(Error::Internal(text.to_owned())));
        };
        let unsynced = self.sequence - 1 - self.synced;
        let header = Header {
            items_crc: crc32c::crc32c(items),
            length,
            epoch: self.epoch,
            kind,
            index: active.index,
            unsynced: u32::try_from(unsynced).unwrap_or(u32::MAX),
            sequence: self.sequence,
            file: active.number,
            log: self.log,
        };
        let padding = [0; group::ALIGNMENT];
        let gap = size as usize - HEADER - items.len();
        let parts = [
            &header.encode(),
            items,
            padding.get(..gap).unwrap_or_default(),
        ];
        // Set first: a part of it may be in the file though the write fails.
        active.dirty = true;
        let written = active.file.write_at(&parts, active.offset);
        written.map_err(|error| trouble(&self.files, "write", active.number, &error))?;
        let at = LogPosition {
            file: active.number,
            offset: active.offset + HEADER as u64,
        };
        self.files.work.wrote(size);
        active.offset += size;
        active.index = active.index.saturating_add(1);
        self.sequence += 1;
        self.closed = kind == Kind::Closing;
        Ok(at)
    }

    /// Goes on to the next file if the active one has no room for `size` bytes.
    fn make_room(&mut self, size: u64) -> Result<(), Trouble> {
        let limit = self.files.size();
        if let Some(active) = &self.active
            && (active.offset == 0 || active.offset + size <= limit)
        {
            return self.stretch(size);
        }
        if self.durability != Durability::None {
            // Nothing of the next file may be on disk before all of this one is.
            self.sync_active().map_err(Trouble::Failed)?;
        }
        let number = self.active.as_ref().map_or(0, |active| active.number);
        let next = self.files.advance();
        let (next, file) =
            next.map_err(|error| trouble(&self.files, "make", number + 1, &error))?;
        if self.active.is_some() {
            self.left = Some(number);
        }
        self.active = Some(Active {
            number: next,
            file,
            offset: 0,
            index: 0,
            dirty: false,
        });
        self.stretch(size)
    }

    /// Reserves more room for a group that is larger than a file.
    fn stretch(&self, size: u64) -> Result<(), Trouble> {
        match &self.active {
            Some(active) if active.offset == 0 && size > self.files.size() => {
                let reserved = active.file.allocate(size);
                reserved.map_err(|error| trouble(&self.files, "write", active.number, &error))
            }
            _ => Ok(()),
        }
    }

    /// Makes everything written so far survive a power cut.
    fn sync_active(&mut self) -> Result<(), Error> {
        // Where files are left without a sync, one of them may have to be synced though nothing stands in this one yet.
        let left = self.durability == Durability::None && self.synced + 1 < self.sequence;
        if let Some(active) = &mut self.active
            && (active.dirty || left)
        {
            let started = Instant::now();
            let synced = match self.durability {
                // Files were left without a sync, and a group that is not synced must never look as if it were.
                Durability::None => self.files.sync(),
                Durability::Sync | Durability::Interval(_) => {
                    let synced = active.file.sync();
                    synced.map_err(|error| self.files.failed("sync", active.number, &error))
                }
            };
            self.files.work.synced(started.elapsed());
            synced?;
            active.dirty = false;
        }
        self.synced = self.sequence - 1;
        Ok(())
    }

    /// Has the next file ready before it is needed.
    fn prepare(&mut self) -> Result<(), Error> {
        let half = self.files.size() / 2;
        let number = match &self.active {
            Some(active) if active.offset >= half => active.number,
            _ => return Ok(()),
        };
        if self.unprepared == number {
            return Ok(());
        }
        match self.files.prepare() {
            Ok(()) => Ok(()),
            Err(error) if is_full(&error) => {
                self.unprepared = number;
                Ok(())
            }
            Err(error) => Err(self.files.failed("make", number + 1, &error)),
        }
    }
}

impl Active {
    fn resume(files: &Files, end: &End) -> Result<Self, Error> {
        let number = end.at.file;
        let file = files.open(number)?;
        if end.cut {
            // Nothing of it can come back later, not even by chance.
            let cut = file.truncate(end.at.offset);
            cut.map_err(|error| files.failed("cut", number, &error))?;
        }
        match file.allocate(files.size()) {
            Err(error) if !is_full(&error) => return Err(files.failed("write", number, &error)),
            _ => {}
        }
        Ok(Self {
            number,
            file,
            offset: end.at.offset,
            index: end.chain.index,
            dirty: false,
        })
    }
}

impl Sink<u8> for Writer {
    fn apply(&mut self, items: &mut Vec<u8>) -> Result<Applied, Error> {
        match self.write(items, Kind::Items) {
            Ok(at) => {
                self.follower.written(at, items)?;
                Ok(Applied::Done)
            }
            Err(Trouble::NoRoom(why)) => Ok(Applied::NoRoom(why)),
            Err(Trouble::Failed(error)) => Err(error),
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.sync_active()
    }

    fn tidy(&mut self) -> Result<bool, Error> {
        if let Some(left) = self.left {
            if self.durability != Durability::None {
                // Once the file that was left is trimmed, this one alone tells how the log goes on.
                self.sync_active()?;
            }
            self.follower.full(left)?;
            self.left = None;
        }
        self.prepare()?;
        Ok(false)
    }

    fn close(&mut self) -> Result<(), Error> {
        if self.closed || self.active.is_none() {
            return Ok(());
        }
        match self.write(&[], Kind::Closing) {
            Ok(_) => self.sync_active(),
            Err(Trouble::NoRoom(why)) => {
                tracing::error!("the log is not closed in order: {why}");
                Ok(())
            }
            Err(Trouble::Failed(error)) => Err(error),
        }
    }
}

fn trouble(files: &Files, action: &str, number: u64, error: &io::Error) -> Trouble {
    if is_full(error) {
        let directory = files.directory().display();
        return Trouble::NoRoom(format!("no room in {directory}: {error}"));
    }
    Trouble::Failed(files.failed(action, number, error))
}
