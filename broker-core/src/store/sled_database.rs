//! The sled database that definitions and messages share, and what it takes to sync it honestly.
//!
//! `sled::Db::flush` is not enough for a promise: on Linux it ends in `sync_file_range`, which neither writes the
//! file's new length nor empties the disk's own cache, and it does not sync the files that sled keeps values above
//! 128 KiB in. A confirm has to survive a power cut, so [`SledDatabase::sync`] flushes and then syncs the files itself.
//!
//! Nor does sled outlive a full disk: an error of one write stays for good. So room is reserved behind the end of its file
//! before anything is given to it ([`SledDatabase::make_room`]), and who finds none waits. What is reserved belongs to the
//! file across restarts; a start on a full disk gives it up first, because sled then writes a file more.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rustix::{
    fs::FallocateFlags,
    io::{Errno, retry_on_intr},
    process::{Resource, getrlimit},
};

use crate::error::Error;

/// Bytes of pages that sled keeps in memory.
const CACHE: u64 = 64 * 1024 * 1024;

/// Room that is kept behind the end of the file as long as the disk has it.
const RESERVE: u64 = 4 * 1024 * 1024;

/// Less than this is not enough for a batch: sled writes pieces of 512 KiB, and some of them before it uses again what
/// became free.
pub(super) const LEAST: u64 = 2 * 1024 * 1024;

/// What a new byte may cost: sled writes it, writes it again when the leaf it is in has changed often, and again when
/// that is split. 2.6 was measured for one message of many bytes.
const WRITTEN_FOR_A_BYTE: u64 = 3;

/// Values that a leaf holds, with the one that makes it split.
pub(super) const LEAF: u64 = 17;

/// How long a lock is waited for: a broker that is really running holds it longer.
const RELEASE: Duration = Duration::from_secs(2);

/// An open database in a directory of its own. Cheap to clone; the directory is unlocked when the last clone and all
/// that stands on them are dropped.
#[derive(Clone)]
pub struct SledDatabase {
    inner: Arc<Inner>,
}

/// What a batch may make sled write, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Writes {
    /// New keys and values.
    pub(crate) new: u64,
    /// Leaves that are there and may have to be written as a whole.
    pub(crate) rewritten: u64,
}

impl Writes {
    /// Rows of `bytes` among others that are about as large.
    pub(crate) fn among_others(bytes: usize) -> Self {
        Self {
            new: bytes as u64,
            rewritten: LEAF * bytes as u64,
        }
    }

    /// How much longer a file of `length` may become by it, but for the [`LEAST`]. All leaves together are not longer than
    /// the file.
    pub(super) fn bytes(self, length: u64) -> u64 {
        self.new * WRITTEN_FOR_A_BYTE + self.rewritten.min(length)
    }
}

struct Inner {
    db: sled::Db,
    path: PathBuf,
    /// Opened once and kept: a failed write-back is reported to every descriptor that was open then.
    file: File,
    blobs: PathBuf,
    synced_blobs: Mutex<HashSet<OsString>>,
}

impl SledDatabase {
    /// Opens the database in `directory`, which is made if it is missing.
    ///
    /// # Errors
    /// The directory cannot be made or read, another process holds it, or it is damaged.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        wait_for_last_owner(directory);
        give_up_reserve(directory);
        let config = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE)
            .mode(sled::Mode::HighThroughput);
        let db = config.open().map_err(|error| failed("open", &error))?;
        let inner = Self::files(directory, db).map_err(|error| failed("open", &error))?;
        let database = Self {
            inner: Arc::new(inner),
        };
        // Before others take it. If there is none, whoever wants to write will wait for it.
        if let Some(why) = database.make_room(Writes::default())? {
            tracing::warn!("definitions cannot be changed until there is room: {why}");
        }
        Ok(database)
    }

    /// Sees to it that a batch finds room. Gives the reason if there is none: nothing may be written then.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn make_room(&self, writes: Writes) -> Result<Option<String>, Error> {
        match self.reserve_for(writes) {
            Ok(()) => Ok(None),
            Err(error) if is_full(&error) => {
                let path = self.inner.path.display();
                Ok(Some(format!("no room in {path}: {error}")))
            }
            Err(error) => Err(failed("reserve room for", &error)),
        }
    }

    fn reserve_for(&self, writes: Writes) -> io::Result<()> {
        let file = &self.inner.file;
        let length = file.metadata()?.len();
        let batch = writes.bytes(length);
        match reserve(file, length, RESERVE + batch) {
            // What was reserved before lasts for a while.
            Err(error) if is_full(&error) => reserve(file, length, LEAST + batch),
            room => room,
        }
    }

    fn files(directory: &Path, db: sled::Db) -> io::Result<Inner> {
        File::open(directory)?.sync_all()?;
        if let Some(parent) = directory.parent().filter(|parent| parent.is_dir()) {
            File::open(parent)?.sync_all()?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(directory.join("db"))?;
        let blobs = directory.join("blobs");
        Ok(Inner {
            db,
            path: directory.to_owned(),
            file,
            blobs,
            synced_blobs: Mutex::default(),
        })
    }

    /// Opens the tree of this name, for whoever keeps something of their own beside definitions and messages.
    ///
    /// # Errors
    /// sled cannot read or make it.
    pub fn tree(&self, name: &str) -> Result<sled::Tree, Error> {
        self.inner
            .db
            .open_tree(name)
            .map_err(|error| failed("open", &error))
    }

    /// Makes every write so far survive a power cut. Waits for the disk.
    ///
    /// # Errors
    /// The disk refused. What it holds is unknown then, so this must not be tried again.
    pub fn sync(&self) -> Result<(), Error> {
        self.inner
            .db
            .flush()
            .map_err(|error| failed("flush", &error))?;
        self.inner
            .sync_blobs()
            .map_err(|error| failed("sync", &error))?;
        self.inner
            .file
            .sync_data()
            .map_err(|error| failed("sync", &error))
    }
}

impl Inner {
    /// Syncs the blob files that appeared since the last time: written once, never changed. There are none as long as
    /// values are small, and then this is one look into an empty directory.
    fn sync_blobs(&self) -> io::Result<()> {
        let mut synced = self.synced_blobs.lock();
        let mut present = HashSet::new();
        let mut new = false;
        for entry in std::fs::read_dir(&self.blobs)? {
            let name = entry?.file_name();
            if !synced.contains(&name) {
                new |= sync_if_present(&self.blobs.join(&name))?;
            }
            present.insert(name);
        }
        *synced = present;
        if new {
            File::open(&self.blobs)?.sync_all()
        } else {
            Ok(())
        }
    }
}

/// Reserves `bytes` behind the end of the file, which is at `length`, without making it longer.
fn reserve(file: &File, length: u64, bytes: u64) -> io::Result<()> {
    let limit = getrlimit(Resource::Fsize).current;
    if limit.is_some_and(|limit| length + bytes > limit) {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let keep = FallocateFlags::KEEP_SIZE;
    match retry_on_intr(|| rustix::fs::fallocate(file, keep, length, bytes)) {
        Ok(()) => Ok(()),
        // A file system that reserves nothing: what is free now has to do.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let free = rustix::fs::fstatvfs(file)?;
            match free.f_bavail.saturating_mul(free.f_frsize) < bytes {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives up what is reserved behind the end of the file if the disk has nothing else to give to a start.
fn give_up_reserve(directory: &Path) {
    let path = directory.join("db");
    let given_up = || -> io::Result<()> {
        let free = rustix::fs::statvfs(directory)?;
        if free.f_bavail.saturating_mul(free.f_frsize) < RESERVE {
            let file = OpenOptions::new().write(true).open(&path)?;
            file.set_len(file.metadata()?.len())?;
        }
        Ok(())
    };
    // Where there is no file yet, nothing is reserved.
    _ = given_up();
}

/// Whether the error says that there is no room, which may pass.
fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// A database that was closed a moment ago can still be locked: sled frees what it dropped late while other databases
/// of the same process are busy (tests open many). Gives it that time; a lock that stays is left to sled to refuse.
fn wait_for_last_owner(directory: &Path) {
    let Ok(file) = File::open(directory.join("db")) else {
        return;
    };
    let deadline = Instant::now() + RELEASE;
    while matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
}

/// sled may remove a blob at any time; what is gone needs no sync.
fn sync_if_present(path: &Path) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => file.sync_all().map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The error of a database that could not `action`.
pub(crate) fn failed(action: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Internal(format!("cannot {action} the database: {error}"))
}
