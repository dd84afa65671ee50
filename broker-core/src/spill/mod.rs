//! Where messages go that do not fit into memory and need not survive a restart: transient ones above all.
//!
//! Blocks of messages are written, one behind the other, to files that all queues share. Nothing is synced, and at the
//! next start all of it is dropped. A [`Block`] that is let go frees its place, and a file goes with its last block;
//! so there is nothing to write down when messages are read back or thrown away.

mod record;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    error::Error,
    journal::file_system::{File, FileSystem},
    queue::Entry,
    store::Position,
};

/// A file that has grown beyond this gets no more blocks.
const FILE_SIZE: u64 = 64 * 1024 * 1024;

/// How the files' names end.
const SUFFIX: &str = ".spill";

/// The directory of spilled messages.
pub struct Spill {
    files: Arc<dyn FileSystem>,
    directory: PathBuf,
    active: Mutex<Active>,
}

/// The file that gets the next block, and how many files there were.
#[derive(Default)]
struct Active {
    file: Option<Arc<SpillFile>>,
    length: u64,
    opened: u64,
}

/// A file that goes with its last owner.
struct SpillFile {
    files: Arc<dyn FileSystem>,
    path: PathBuf,
    file: Box<dyn File>,
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        if let Err(error) = self.files.remove(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The place of messages that were written together.
pub struct Block {
    file: Arc<SpillFile>,
    offset: u64,
    length: usize,
    checksum: u32,
    /// Where the messages are that may have to be read alone, because they expire by their own word. By rising position.
    expiring: Box<[Record]>,
}

/// The place of one message within its block.
struct Record {
    position: Position,
    offset: u32,
    length: u32,
    checksum: u32,
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.file.path.display();
        write!(f, "{} bytes at {} of {path}", self.length, self.offset)
    }
}

impl Spill {
    /// Makes the directory, or drops what the last process left in it.
    ///
    /// # Errors
    /// The directory cannot be made or emptied.
    pub fn open(files: Arc<dyn FileSystem>, directory: &Path) -> Result<Self, Error> {
        empty(&*files, directory).map_err(|error| {
            Error::Internal(format!("cannot empty {}: {error}", directory.display()))
        })?;
        Ok(Self {
            files,
            directory: directory.to_owned(),
            active: Mutex::default(),
        })
    }

    /// Writes messages. Takes its time, so never under a queue's lock.
    ///
    /// # Errors
    /// The file cannot be made or written, on a full disk for example.
    pub fn write(&self, entries: &[Entry]) -> Result<Block, Error> {
        let (mut bytes, mut expiring) = (Vec::new(), Vec::new());
        for entry in entries {
            let offset = bytes.len();
            record::encode(entry, &mut bytes);
            if entry.may_expire {
                let record = bytes.get(offset..).unwrap_or_default();
                expiring.push(Record {
                    position: entry.position,
                    offset: offset as u32,
                    length: record.len() as u32,
                    checksum: crc32c::crc32c(record),
                });
            }
        }
        let (file, offset) = self.reserve(bytes.len() as u64)?;
        let block = Block {
            offset,
            length: bytes.len(),
            checksum: crc32c::crc32c(&bytes),
            expiring: expiring.into(),
            file,
        };
        let written = block.file.file.write_at(&[&bytes], offset);
        written.map_err(|error| block.failed("write", &error))?;
        Ok(block)
    }

    /// A place for so many bytes. Files are few, so opening one may hold up the others who write.
    fn reserve(&self, length: u64) -> Result<(Arc<SpillFile>, u64), Error> {
        let mut active = self.active.lock();
        if active.length > FILE_SIZE {
            active.file = None;
        }
        let file = match &active.file {
            Some(file) => Arc::clone(file),
            None => {
                active.opened += 1;
                active.length = 0;
                let file = self.create(active.opened)?;
                active.file = Some(Arc::clone(&file));
                file
            }
        };
        let offset = active.length;
        active.length += length;
        Ok((file, offset))
    }

    fn create(&self, number: u64) -> Result<Arc<SpillFile>, Error> {
        let path = self.directory.join(format!("{number:016}{SUFFIX}"));
        let file = self.files.open(&path, true).map_err(|error| {
            Error::Internal(format!("cannot create {}: {error}", path.display()))
        })?;
        Ok(Arc::new(SpillFile {
            files: Arc::clone(&self.files),
            path,
            file,
        }))
    }
}

fn empty(files: &dyn FileSystem, directory: &Path) -> io::Result<()> {
    files.create_directory(directory)?;
    for name in files.list(directory)? {
        if name.ends_with(SUFFIX) {
            files.remove(&directory.join(name))?;
        }
    }
    Ok(())
}

impl Block {
    /// Reads the messages back, in their order.
    ///
    /// # Errors
    /// The file cannot be read or is damaged: the text names the file and the place.
    pub fn read(&self, entries: &mut Vec<Entry>) -> Result<(), Error> {
        let mut bytes = vec![0; self.length];
        let read = self.file.file.read_at(&mut bytes, self.offset);
        read.map_err(|error| self.failed("read", &error))?;
        if crc32c::crc32c(&bytes) != self.checksum {
            return Err(self.failed("read", &"the checksum does not fit"));
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (entry, further) =
                record::decode(rest).map_err(|what| self.failed("read", &what))?;
            entries.push(entry);
            rest = further;
        }
        Ok(())
    }

    /// Reads one message that expires by its own word; `None` if it is not in the block.
    ///
    /// # Errors
    /// As for [`Self::read`].
    pub fn read_expiring(&self, position: Position) -> Result<Option<Entry>, Error> {
        let found = self
            .expiring
            .binary_search_by_key(&position, |record| record.position);
        let Some(record) = found.ok().and_then(|index| self.expiring.get(index)) else {
            return Ok(None);
        };
        let mut bytes = vec![0; record.length as usize];
        let at = self.offset + u64::from(record.offset);
        let read = self.file.file.read_at(&mut bytes, at);
        read.map_err(|error| self.failed("read", &error))?;
        if crc32c::crc32c(&bytes) != record.checksum {
            return Err(self.failed("read", &"the checksum of a message does not fit"));
        }
        let (entry, _) = record::decode(&bytes).map_err(|what| self.failed("read", &what))?;
        Ok(Some(entry))
    }

    fn failed(&self, action: &str, error: &dyn std::fmt::Display) -> Error {
        let (path, offset) = (self.file.path.display(), self.offset);
        Error::Internal(format!(
            "cannot {action} {path} at offset {offset}: {error}"
        ))
    }
}

#[cfg(test)]
mod tests;
