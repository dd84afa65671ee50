//! What the parts of an open journal share: the index, the log, and the list of what the background has to do.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::{
    copying::Request,
    file_system::FileSystem,
    index::Index,
    log::{Follower, Log, LogPosition},
    statistics::MoverWork,
};
use crate::error::Error;

/// How often something is looked at again that nobody reports: room on a full disk, a log that has ended.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Full files of the log that wait to be moved before the writer waits for the mover.
const MOST_FULL_FILES: usize = 2;

/// Shared by the store, the writer of the log and the mover.
pub(super) struct Shared {
    /// Where files are.
    pub(super) files: Arc<dyn FileSystem>,
    /// The journal's directory.
    pub(super) directory: PathBuf,
    /// The log.
    pub(super) log: Arc<dyn Log>,
    /// Where messages are.
    pub(super) index: Mutex<Index>,
    /// Bytes of a full segment: so much is moved at once, and so much garbage is borne beyond the live bytes.
    pub(super) segment_size: u64,
    /// Bytes of the manifest.
    pub(super) manifest_bytes: AtomicU64,
    /// What the mover has done.
    pub(super) work: MoverWork,
    chores: Mutex<Chores>,
    changed: Condvar,
}

#[derive(Default)]
struct Chores {
    /// Full files of the log, oldest first.
    full: VecDeque<u64>,
    /// Segments can be removed or written anew.
    untidy: bool,
    /// The mover waits for the log, so the log must not wait for the mover.
    waiting: bool,
    closing: bool,
    /// Who waits for a copy.
    copies: Vec<Request>,
    /// Why the mover cannot go on.
    blocked: Option<String>,
}

/// What the mover is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chore {
    /// Bring the manifest up to date, and move what is alive in these full files of the log, the oldest ones.
    Checkpoint(Vec<u64>),
    /// Copy the journal for whoever asked for it ([`Shared::take_requests`]).
    Copy,
    /// The journal is being closed.
    Close,
}

impl Shared {
    pub(super) fn new(
        files: Arc<dyn FileSystem>,
        directory: PathBuf,
        log: Arc<dyn Log>,
        index: Index,
        segment_size: u64,
    ) -> Self {
        Self {
            files,
            directory,
            log,
            index: Mutex::new(index),
            segment_size,
            manifest_bytes: AtomicU64::new(0),
            work: MoverWork::default(),
            chores: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Waits for something to do.
    pub(super) fn next_chore(&self) -> Chore {
        let mut chores = self.chores.lock();
        loop {
            if chores.closing {
                return Chore::Close;
            }
            if !chores.copies.is_empty() {
                return Chore::Copy;
            }
            let untidy = std::mem::take(&mut chores.untidy);
            // One full file is left alone: most of its messages will be settled when the next one is full.
            let more = chores.full.len().saturating_sub(1);
            if untidy || more > 0 {
                return Chore::Checkpoint(chores.full.iter().copied().take(more).collect());
            }
            self.changed.wait(&mut chores);
        }
    }

    /// Has the mover copy the journal. If it ends first, the request is dropped.
    pub(super) fn ask_for_copy(&self, request: Request) {
        let mut chores = self.chores.lock();
        if !chores.closing {
            chores.copies.push(request);
        }
        drop(chores);
        self.changed.notify_all();
    }

    /// What copies are asked for.
    pub(super) fn take_requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.chores.lock().copies)
    }

    /// A full file of the log is to be moved.
    pub(super) fn add_full(&self, file: u64) {
        self.chores.lock().full.push_back(file);
        self.changed.notify_all();
    }

    /// The oldest full files have been moved.
    pub(super) fn moved(&self, files: usize) {
        let mut chores = self.chores.lock();
        let files = files.min(chores.full.len());
        chores.full.drain(..files);
        drop(chores);
        self.changed.notify_all();
    }

    /// Lets the log go on however many files are full, as long as the mover waits for the log.
    pub(super) fn set_waiting(&self, waiting: bool) {
        self.chores.lock().waiting = waiting;
        self.changed.notify_all();
    }

    /// Why the mover cannot go on, if so.
    pub(super) fn blocked(&self) -> Option<String> {
        self.chores.lock().blocked.clone()
    }

    /// Notes that the mover cannot go on, or can again. Returns whether that is new.
    pub(super) fn set_blocked(&self, reason: Option<String>) -> bool {
        let mut chores = self.chores.lock();
        let new = chores.blocked.is_some() != reason.is_some();
        chores.blocked = reason;
        drop(chores);
        self.changed.notify_all();
        new
    }

    /// Waits a moment, less when the journal is closed, before what could not be done is tried again.
    pub(super) fn pause(&self) {
        let mut chores = self.chores.lock();
        chores.untidy = true;
        if !chores.closing {
            self.changed.wait_for(&mut chores, LOOK_AGAIN);
        }
    }

    /// Ends the mover.
    pub(super) fn begin_close(&self) {
        let mut chores = self.chores.lock();
        chores.closing = true;
        chores.copies.clear();
        drop(chores);
        self.changed.notify_all();
    }

    /// Whether the journal is being closed.
    pub(super) fn is_closing(&self) -> bool {
        self.chores.lock().closing
    }

    /// Waits until there is room for another file of the log.
    fn wait_for_room(&self) {
        let mut chores = self.chores.lock();
        // While the mover has no room on the disk the log goes on as far as it has some itself: what it says may be that
        // messages were settled.
        while chores.full.len() > MOST_FULL_FILES
            && !chores.waiting
            && !chores.closing
            && chores.blocked.is_none()
        {
            self.changed.wait(&mut chores);
        }
    }
}

/// Lets the index follow the log.
pub(super) struct IndexFollower(pub(super) Arc<Shared>);

impl Follower for IndexFollower {
    fn written(&mut self, at: LogPosition, items: &[u8]) -> Result<(), Error> {
        let mut index = self.0.index.lock();
        let applied = index.apply(at.file, at.offset, items);
        let untidy = index.died || index.is_sparse(self.0.segment_size);
        drop(index);
        if untidy {
            self.0.chores.lock().untidy = true;
            self.0.changed.notify_all();
        }
        applied.map_err(|what| Error::Internal(format!("the journal wrote {what}")))
    }

    fn full(&mut self, file: u64) -> Result<(), Error> {
        self.0.add_full(file);
        self.0.wait_for_room();
        Ok(())
    }
}
