//! A log in files of this machine.
//!
//! One thread writes. What gathered while it was busy becomes one group: a header with checksums and all the items,
//! written with one call and synced with another. The pieces: what a group looks like ([`group`]), the files and how they
//! are used again ([`files`]), the thread's work ([`writer`]), reading it all back at start ([`reader`], [`replay`]), how
//! groups follow each other and what it means when they do not ([`chain`], [`ending`]), and repair ([`repair`], [`survey`]).

mod chain;
mod ending;
mod exercise;
mod files;
pub(super) mod group;
mod reader;
mod repair;
mod replay;
mod survey;
mod writer;

use std::{
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use parking_lot::Mutex;

#[doc(hidden)]
pub use self::exercise::exercise;
pub use self::survey::Survey;
use self::{chain::End, files::Files, writer::Writer};
use super::{
    file_system::FileSystem,
    log::{Damage, EachGroup, Follower, Log, LogFiles, LogOptions, LogPosition, Replayed},
};
use crate::{
    error::Error,
    journal::statistics::LogWork,
    store::{Completion, Durability, FailureHook, GroupCommit, SyncWhen, Ticket},
};

/// The name of the writer thread.
const THREAD: &str = "journal-log";

/// A [`Log`] in a directory of its own, which no other process may use at the same time.
pub struct FileLog {
    files: Arc<Files>,
    options: LogOptions,
    phase: Mutex<Phase>,
    epoch: AtomicU32,
    commit: OnceLock<GroupCommit<u8>>,
}

/// How far opening is.
enum Phase {
    Opened,
    Replayed(End),
    Started,
}

impl FileLog {
    /// The log in `directory`, which is made if it is missing. Nothing is read yet.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn open(
        file_system: Arc<dyn FileSystem>,
        directory: &Path,
        options: LogOptions,
    ) -> Result<Self, Error> {
        file_system.create_directory(directory).map_err(|error| {
            Error::Internal(format!("cannot make {}: {error}", directory.display()))
        })?;
        Ok(Self {
            files: Arc::new(Files::new(file_system, directory, &options)),
            options,
            phase: Mutex::new(Phase::Opened),
            epoch: AtomicU32::new(0),
            commit: OnceLock::new(),
        })
    }

    /// Makes a damaged log whole again, without what is lost, and says where that was. To be called before
    /// [`replay`](Log::replay) with the same `from_file`; that will find no damage then.
    ///
    /// # Errors
    /// The log was replayed already, or the files cannot be read and written.
    pub fn repair(&self, from_file: u64) -> Result<Vec<Damage>, Error> {
        match *self.phase.lock() {
            Phase::Opened => repair::repair(&self.files, from_file),
            Phase::Replayed(_) | Phase::Started => Err(misused("the log was replayed before")),
        }
    }

    /// Reads every file that is there and changes nothing: the log from `from_file` on, whose groups go to `each` as in a
    /// [`replay`](Log::replay), those that are whole; and what is not needed any more.
    ///
    /// # Errors
    /// The files cannot be read, or `each` failed.
    pub fn survey(&self, from_file: u64, each: &mut EachGroup<'_>) -> Result<Survey, Error> {
        survey::survey(&self.files, from_file, each)
    }
}

impl Log for FileLog {
    fn append(&self, items: &mut Vec<u8>, sync: SyncWhen) -> Ticket {
        if items.is_empty() {
            return Ticket::NONE;
        }
        let Some(commit) = self.commit.get() else {
            items.clear();
            return Ticket::NEVER;
        };
        let bytes = items.len();
        commit.append(items, bytes, sync)
    }

    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>) {
        match self.commit.get() {
            Some(commit) => commit.notify(ticket, completion),
            None if ticket == Ticket::NONE => completion.durable(ticket),
            None => {}
        }
    }

    fn durable(&self) -> Ticket {
        self.commit.get().map_or(Ticket::NONE, GroupCommit::durable)
    }

    fn pending_bytes(&self) -> usize {
        self.commit.get().map_or(0, GroupCommit::pending_bytes)
    }

    fn replay(&self, from_file: u64, each: &mut EachGroup<'_>) -> Result<Replayed, Error> {
        let mut phase = self.phase.lock();
        if !matches!(*phase, Phase::Opened) {
            return Err(misused("the log was replayed before"));
        }
        let (replayed, end) = replay::replay(&self.files, from_file, each)?;
        *phase = Phase::Replayed(end);
        Ok(replayed)
    }

    fn start(&self, follower: Box<dyn Follower>, on_failure: FailureHook) -> Result<(), Error> {
        let mut phase = self.phase.lock();
        let Phase::Replayed(end) = &*phase else {
            return Err(misused("the log is started once, after its replay"));
        };
        let durability = self.options.durability;
        let writer = Writer::new(Arc::clone(&self.files), durability, end, follower)?;
        let epoch = end.chain.epoch.saturating_add(1);
        self.epoch.store(epoch, Ordering::Relaxed);
        *phase = Phase::Started;
        let commit = GroupCommit::start(THREAD, durability, writer, on_failure)?;
        self.commit
            .set(commit)
            .map_err(|_| misused("the log is started once"))
    }

    fn read(&self, at: LogPosition, buffer: &mut [u8]) -> Result<(), Error> {
        self.files.read(at, buffer)
    }

    fn sync_written(&self) -> Result<(), Error> {
        match self.options.durability {
            Durability::Sync => Ok(()),
            Durability::Interval(_) | Durability::None => self.files.sync(),
        }
    }

    fn trim(&self, to_file: u64) -> Result<(), Error> {
        self.files.trim(to_file)
    }

    fn copy_to(&self, from_file: u64, end: LogPosition, directory: &Path) -> Result<(), Error> {
        for number in from_file.max(1)..=end.file {
            let length = (number == end.file).then_some(end.offset);
            self.files.copy_to(number, length, directory)?;
        }
        Ok(())
    }

    fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    fn blocked(&self) -> Option<String> {
        self.commit.get().and_then(GroupCommit::blocked)
    }

    fn files(&self) -> LogFiles {
        self.files.usage()
    }

    fn work(&self) -> Option<&LogWork> {
        Some(&self.files.work)
    }

    fn close(&self) {
        if let Some(commit) = self.commit.get() {
            commit.close();
        }
    }
}

fn misused(text: &str) -> Error {
    Error::Internal(text.to_owned())
}
