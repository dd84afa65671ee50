//! The sled database that definitions and messages share, and what it takes to sync it honestly.
//!
//! `sled::Db::flush` is not enough for a promise: on Linux it ends in `sync_file_range`, which neither writes the
//! file's new length nor empties the disk's own cache, and it does not sync the files that sled keeps values above
//! 128 KiB in. A confirm has to survive a power cut, so [`SledDatabase::sync`] flushes and then syncs the files itself.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::error::Error;

/// Bytes of pages that sled keeps in memory.
const CACHE: u64 = 64 * 1024 * 1024;

/// How long a lock is waited for: a broker that is really running holds it longer.
const RELEASE: Duration = Duration::from_secs(2);

/// An open database in a directory of its own. Cheap to clone; the directory is unlocked when the last clone and all
/// that stands on them are dropped.
#[derive(Clone)]
pub struct SledDatabase {
    inner: Arc<Inner>,
}

struct Inner {
    db: sled::Db,
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
        let config = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE)
            .mode(sled::Mode::HighThroughput);
        let db = config.open().map_err(|error| failed("open", &error))?;
        let inner = Self::files(directory, db).map_err(|error| failed("open", &error))?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    fn files(directory: &Path, db: sled::Db) -> io::Result<Inner> {
        File::open(directory)?.sync_all()?;
        if let Some(parent) = directory.parent().filter(|parent| parent.is_dir()) {
            File::open(parent)?.sync_all()?;
        }
        let file = File::open(directory.join("db"))?;
        let blobs = directory.join("blobs");
        Ok(Inner {
            db,
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
