//! The files of a log: `log-<16 digits>.log`, numbered without a gap.
//!
//! Those up to the active one hold the log; a few more may lie ready for what comes next. Files that are not needed any
//! more are renamed to the next free numbers: their room is reserved already, and writing where something was written
//! before costs a sync less than writing where nothing was. What still stands in them names another file and so
//! counts for nothing.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};

use crate::{
    error::Error,
    journal::{
        file_system::{File, FileSystem},
        log::{LogFiles, LogOptions, LogPosition},
        statistics::LogWork,
    },
};

/// Bytes that are read and written at once when a file is copied.
const COPIED_AT_ONCE: u64 = 1024 * 1024;

/// The files of one log in their directory.
pub(super) struct Files {
    file_system: Arc<dyn FileSystem>,
    directory: PathBuf,
    /// Bytes that are reserved for each.
    size: u64,
    /// How many may lie ready.
    spare: usize,
    /// Those that hold the log. Reading holds this lock, so that none is used again under a reader.
    open: RwLock<BTreeMap<u64, Arc<dyn File>>>,
    ready: Mutex<Ready>,
    /// What the writer has done.
    pub(super) work: LogWork,
}

/// What comes behind the active file.
#[derive(Default)]
struct Ready {
    /// The number of the file that is written to.
    active: u64,
    /// Those with the numbers behind it.
    files: VecDeque<Arc<dyn File>>,
    /// Not needed any more, and not yet used again.
    old: BTreeSet<u64>,
}

impl Ready {
    /// The next number that no file has.
    fn free(&self) -> u64 {
        self.active + self.files.len() as u64 + 1
    }
}

impl Files {
    pub(super) fn new(
        file_system: Arc<dyn FileSystem>,
        directory: &Path,
        options: &LogOptions,
    ) -> Self {
        Self {
            file_system,
            directory: directory.to_owned(),
            size: options.file_size,
            spare: options.spare,
            open: RwLock::default(),
            ready: Mutex::default(),
            work: LogWork::default(),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the file of this number is.
    pub(super) fn path(&self, number: u64) -> PathBuf {
        self.directory.join(name(number))
    }

    /// The error of a file with which `action` did not work.
    pub(super) fn failed(&self, action: &str, number: u64, error: &io::Error) -> Error {
        let path = self.path(number);
        Error::Internal(format!("cannot {action} {}: {error}", path.display()))
    }

    /// The numbers of all files that are there.
    pub(super) fn numbers(&self) -> Result<BTreeSet<u64>, Error> {
        let directory = &self.directory;
        let names = self.file_system.list(directory).map_err(|error| {
            Error::Internal(format!("cannot read {}: {error}", directory.display()))
        })?;
        Ok(names.iter().filter_map(|name| number(name)).collect())
    }

    /// Opens a file of the log, for as long as it belongs to it.
    pub(super) fn open(&self, number: u64) -> Result<Arc<dyn File>, Error> {
        let file = self.file_system.open(&self.path(number), false);
        let file: Arc<dyn File> = file
            .map_err(|error| self.failed("open", number, &error))?
            .into();
        self.open.write().insert(number, Arc::clone(&file));
        Ok(file)
    }

    /// Reads from a file of the log.
    pub(super) fn read(&self, at: LogPosition, buffer: &mut [u8]) -> Result<(), Error> {
        let open = self.open.read();
        let file = open.get(&at.file).ok_or_else(|| {
            let path = self.path(at.file);
            Error::Internal(format!("{} holds no log any more", path.display()))
        })?;
        file.read_at(buffer, at.offset)
            .map_err(|error| self.failed("read", at.file, &error))
    }

    /// Copies a file of the log, or the first `length` bytes of it, to `directory`.
    pub(super) fn copy_to(
        &self,
        number: u64,
        length: Option<u64>,
        directory: &Path,
    ) -> Result<(), Error> {
        let path = directory.join(name(number));
        let failed =
            |error: io::Error| Error::Internal(format!("cannot write {}: {error}", path.display()));
        let mut copy = std::fs::File::create_new(&path).map_err(failed)?;
        let length = match length {
            Some(length) => length,
            None => self.length(number)?,
        };
        let mut buffer = vec![0; COPIED_AT_ONCE.min(length) as usize];
        let mut offset = 0;
        while offset < length {
            buffer.truncate((length - offset).min(COPIED_AT_ONCE) as usize);
            let at = LogPosition {
                file: number,
                offset,
            };
            self.read(at, &mut buffer)?;
            copy.write_all(&buffer).map_err(failed)?;
            offset += buffer.len() as u64;
        }
        Ok(())
    }

    fn length(&self, number: u64) -> Result<u64, Error> {
        let open = self.open.read();
        let length = open.get(&number).map_or(Ok(0), |file| file.length());
        length.map_err(|error| self.failed("read", number, &error))
    }

    /// Syncs all files of the log, and the names of all files: the last process may have ended before it could.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.sync_directory().map_err(|error| {
            let directory = self.directory.display();
            Error::Internal(format!("cannot sync {directory}: {error}"))
        })?;
        for (number, file) in &*self.open.read() {
            let synced = file.sync();
            synced.map_err(|error| self.failed("sync", *number, &error))?;
        }
        Ok(())
    }

    /// Settles after a replay which file is written to and what becomes of the others: those in front of `first` are
    /// not needed, those behind `active` lie ready, unless they are `doubtful`.
    pub(super) fn settle(
        &self,
        numbers: &BTreeSet<u64>,
        first: u64,
        active: u64,
        doubtful: bool,
    ) -> Result<(), Error> {
        let mut ready = self.ready.lock();
        ready.active = active;
        ready.old = numbers.range(..first).copied().collect();
        self.open.write().retain(|number, _| *number <= active);
        for number in numbers.range(active + 1..).copied() {
            let wanted = !doubtful && number == ready.free() && ready.files.len() < self.spare;
            if wanted {
                let file = self.reopen(number);
                ready
                    .files
                    .push_back(file.map_err(|error| self.failed("open", number, &error))?);
            } else {
                self.remove(number)?;
            }
        }
        Ok(())
    }

    /// The file behind the active one, which it becomes.
    pub(super) fn advance(&self) -> io::Result<(u64, Arc<dyn File>)> {
        let mut ready = self.ready.lock();
        let number = ready.active + 1;
        let file = match ready.files.pop_front() {
            Some(file) => file,
            None => self.create(number)?,
        };
        ready.active = number;
        self.open.write().insert(number, Arc::clone(&file));
        Ok((number, file))
    }

    /// Makes the file behind the active one if it is not there yet.
    pub(super) fn prepare(&self) -> io::Result<()> {
        let mut ready = self.ready.lock();
        if ready.files.is_empty() {
            let file = self.create(ready.active + 1)?;
            ready.files.push_back(file);
        }
        Ok(())
    }

    /// Takes the files below `to` out of the log, and uses them again or removes them. What a full disk does not allow
    /// is left for the next time.
    pub(super) fn trim(&self, to: u64) -> Result<(), Error> {
        let mut ready = self.ready.lock();
        let to = to.min(ready.active);
        let mut open = self.open.write();
        let kept = open.split_off(&to);
        ready.old.extend(open.keys());
        *open = kept;
        drop(open);
        let mut renamed = Vec::new();
        while let Some(number) = ready.old.first().copied() {
            let free = ready.free() + renamed.len() as u64;
            let given_back = if ready.files.len() + renamed.len() < self.spare {
                self.recycle(number, free).map(|file| renamed.push(file))
            } else {
                self.file_system.remove(&self.path(number))
            };
            match given_back {
                Ok(()) => _ = ready.old.remove(&number),
                Err(error) if is_full(&error) => break,
                Err(error) => return Err(self.failed("give back", number, &error)),
            }
        }
        if renamed.is_empty() {
            return Ok(());
        }
        match self.sync_directory() {
            Ok(()) => ready.files.extend(renamed),
            // They may not be written to under names that a power cut takes back: they are made ready when their number
            // comes.
            Err(error) if is_full(&error) => {}
            Err(error) => return Err(self.failed("rename", ready.free(), &error)),
        }
        Ok(())
    }

    /// What is there, for people.
    pub(super) fn usage(&self) -> LogFiles {
        let ready = self.ready.lock();
        let open = self.open.read();
        let all = open.values().chain(&ready.files);
        LogFiles {
            first: open.keys().next().copied().unwrap_or(ready.active),
            active: ready.active,
            bytes: all.map(|file| file.length().unwrap_or_default()).sum(),
        }
    }

    /// The size that files have.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    fn reopen(&self, number: u64) -> io::Result<Arc<dyn File>> {
        let file = self.file_system.open(&self.path(number), false)?;
        self.fit(file.as_ref())?;
        Ok(file.into())
    }

    /// Gives the file the size that files have.
    fn fit(&self, file: &dyn File) -> io::Result<()> {
        let cut = match file.length()? > self.size {
            true => file.truncate(self.size),
            false => Ok(()),
        };
        match cut.and_then(|()| file.allocate(self.size)) {
            Err(error) if !is_full(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The file of this number, made if it is missing.
    pub(super) fn open_or_create(&self, number: u64) -> io::Result<Arc<dyn File>> {
        match self.file_system.open(&self.path(number), false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.create(number),
            opened => Ok(opened?.into()),
        }
    }

    fn create(&self, number: u64) -> io::Result<Arc<dyn File>> {
        let path = self.path(number);
        let made = self.file_system.open(&path, true).and_then(|file| {
            file.allocate(self.size)?;
            file.sync()?;
            self.sync_directory()?;
            Ok(file)
        });
        match made {
            Ok(file) => Ok(file.into()),
            Err(error) => {
                // What was reserved of it is of more use to others; should it stay, it is used the next time.
                _ = self.file_system.remove(&path);
                Err(error)
            }
        }
    }

    fn recycle(&self, number: u64, free: u64) -> io::Result<Arc<dyn File>> {
        let (from, to) = (self.path(number), self.path(free));
        self.file_system.rename(&from, &to)?;
        self.reopen(free)
    }

    fn remove(&self, number: u64) -> Result<(), Error> {
        self.file_system
            .remove(&self.path(number))
            .map_err(|error| self.failed("remove", number, &error))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.file_system.sync_directory(&self.directory)
    }
}

/// Whether the error says that there is no room, which may pass, and not that something is broken.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// What a file of the log is called.
fn name(number: u64) -> String {
    format!("log-{number:016}.log")
}

/// The number in a file's name.
fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".log")?;
    let plain = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain
        .then(|| digits.parse().ok())?
        .filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_the_log_gives_are_files_of_the_log() {
        assert_eq!(number("log-0000000000000012.log"), Some(12));
        for other in [
            "log-12.log",
            "log-0000000000000000.log",
            "log-+000000000000012.log",
            "log-0000000000000012.log.old",
            "segment-0000000000000012.seg",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
