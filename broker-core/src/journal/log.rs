//! What the journal wants of a log: atomic batches, completions strictly in order, replay, and room given back.
//!
//! Files of this machine implement it now. It is a trait so that a log which other machines replicate can take their
//! place: nothing above it knows of syncs or of the bytes around a batch.

use std::{fmt, path::Path, sync::Arc};

use super::statistics::LogWork;
pub use crate::store::Durability;
use crate::{
    error::Error,
    store::{Completion, FailureHook, SyncWhen, Ticket},
};

/// A place in the log. Positions grow in the order of appending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct LogPosition {
    /// The number of the file, from 1.
    pub file: u64,
    /// Bytes from the start of that file.
    pub offset: u64,
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sync => f.write_str("synced to disk"),
            Self::Interval(every) => {
                write!(f, "written, and synced every {} ms", every.as_millis())
            }
            Self::None => f.write_str("written, and synced when the system likes"),
        }
    }
}

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Bytes that are reserved for each file. Only a single group that is larger makes a file larger.
    pub file_size: u64,
    /// When tickets complete.
    pub durability: Durability,
    /// Files that are kept for the next writes after [`Log::trim`] gave them back; more are removed.
    pub spare: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            file_size: 64 * 1024 * 1024,
            durability: Durability::Sync,
            spare: 4,
        }
    }
}

/// What replaying found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replayed {
    /// The log was closed in order, or there was none: nothing happened after the last batch.
    pub clean: bool,
    /// Groups that were given to the caller.
    pub groups: u64,
    /// Bytes of their items.
    pub bytes: u64,
    /// What was cut off because a crash left it half written.
    pub cut: Option<Cut>,
}

/// The unfinished end of a log. Nothing in it was ever promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Where the first group stood that is not whole.
    pub at: LogPosition,
    /// Bytes that were given up.
    pub bytes: u64,
}

/// A place where a repair found that something was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Damage {
    /// Where the first group stood that is lost.
    pub at: LogPosition,
    /// Bytes of that file that were given up; 0 if that cannot be told.
    pub bytes: u64,
    /// The whole file was missing.
    pub missing: bool,
}

/// What the log occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogFiles {
    /// The oldest file that was not trimmed.
    pub first: u64,
    /// The file that is written to.
    pub active: u64,
    /// Bytes on disk, files that are ready for the next writes included.
    pub bytes: u64,
}

/// Takes the items of one group after another in a replay, and the place of the first of them.
pub type EachGroup<'a> = dyn FnMut(LogPosition, &[u8]) -> Result<(), Error> + 'a;

/// A log. All methods may be called from any thread; [`append`](Self::append) and [`notify`](Self::notify) never wait
/// for the disk. It is opened, replayed once, started, and closed.
pub trait Log: Send + Sync {
    /// Takes all of `items` (the allocation stays with the caller) as one atomic batch: after a crash all of it is
    /// there, or nothing. Nothing gives [`Ticket::NONE`]; a log that is not started, closed or failed [`Ticket::NEVER`].
    fn append(&self, items: &mut Vec<u8>, sync: SyncWhen) -> Ticket;

    /// Calls `completion` once `ticket` is complete, in the order of tickets; at once if it is; never if it cannot
    /// become so.
    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>);

    /// The last completed ticket.
    fn durable(&self) -> Ticket;

    /// Bytes that were appended and not yet written.
    fn pending_bytes(&self) -> usize;

    /// Gives the items of every group from the start of file `from_file` (0 and 1 both mean the first), in order, and
    /// where they stand. Items are those of one or several whole batches, one behind the other. An unfinished end is
    /// cut off. Called once, before [`start`](Self::start).
    ///
    /// # Errors
    /// A file is missing, cannot be read, or is damaged at a place where it was once whole; or `each` failed.
    fn replay(&self, from_file: u64, each: &mut EachGroup<'_>) -> Result<Replayed, Error>;

    /// Begins to take appends, after [`replay`](Self::replay). `follower` moves to the writer thread; `on_failure` is
    /// called there once if writing, syncing or the follower failed.
    ///
    /// # Errors
    /// It was not replayed or is started already, the place to write cannot be prepared, or there is no thread.
    fn start(&self, follower: Box<dyn Follower>, on_failure: FailureHook) -> Result<(), Error>;

    /// Reads bytes of items back, from a position inside a group that was given to the follower or by replay.
    ///
    /// # Errors
    /// The file was trimmed or cannot be read.
    fn read(&self, at: LogPosition, buffer: &mut [u8]) -> Result<(), Error>;

    /// Makes what the follower was told survive a power cut where completed tickets do not promise that. Waits for the
    /// disk.
    ///
    /// # Errors
    /// What the disk holds is unknown then.
    fn sync_written(&self) -> Result<(), Error>;

    /// Files below `to_file` are not needed any more, not even after a crash. Waits for the disk. What a full disk does
    /// not allow is tried again the next time.
    ///
    /// # Errors
    /// They cannot be renamed or removed.
    fn trim(&self, to_file: u64) -> Result<(), Error>;

    /// Copies the log from file `from_file` on, up to `end`, where a group ends, to `directory`. Called where
    /// [`trim`](Self::trim) is. Waits for the disk.
    ///
    /// # Errors
    /// It cannot be read, nothing can be written there, or it is kept where it needs no copy.
    fn copy_to(&self, _from_file: u64, _end: LogPosition, _directory: &Path) -> Result<(), Error> {
        Err(Error::Internal("this log is not copied".to_owned()))
    }

    /// A number that grows with every start, and stands in every batch written since. 0 before
    /// [`start`](Self::start).
    fn epoch(&self) -> u32;

    /// Why nothing can be written at the moment, if so: the disk is full. It goes on by itself once there is room.
    fn blocked(&self) -> Option<String>;

    /// What it occupies.
    fn files(&self) -> LogFiles;

    /// What its writer has done, if that is counted.
    fn work(&self) -> Option<&LogWork> {
        None
    }

    /// Makes everything appended so far survive a power cut, and stops. Gives up after a few seconds if the disk is
    /// full. Later appends are refused.
    fn close(&self);
}

/// Keeps account of where things stand in the log. Called on the writer thread, in the order of the log, with no lock
/// held.
pub trait Follower: Send {
    /// `items`, a whole group, stand in the log from `at`. Called after the write and before the sync.
    ///
    /// # Errors
    /// Ends the log as a failed write does.
    fn written(&mut self, at: LogPosition, items: &[u8]) -> Result<(), Error>;

    /// The log has gone on behind `file`, which is complete and will not change. May block until there is room for
    /// more: that is what bounds the log. Must return soon once the journal is being closed.
    ///
    /// # Errors
    /// Ends the log as a failed write does.
    fn full(&mut self, file: u64) -> Result<(), Error>;
}
