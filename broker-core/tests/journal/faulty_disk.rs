//! A disk below the journal that goes wrong at a chosen operation.
//!
//! It works on real files in a temporary folder and counts every operation that changes something. Operation number N
//! can fail once, tear a write and fail, or be the last one that was begun: everything after it fails, as if the
//! process had been killed. [`FaultyDisk::power_cut`] then takes back a random part of what was not synced, sector by
//! sector and name by name. Nothing is really synced, so that tests are fast.

use std::{
    collections::HashMap,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard, PoisonError},
};

use broker_core::{
    journal::file_system::{Disk, File, FileSystem},
    store::Ticket,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

/// A disk writes this many bytes whole or not at all.
const SECTOR: u64 = 512;

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operation does nothing and gives this error; the next ones work.
    Error(i32),
    /// A write writes a part of its bytes and gives this error; other operations do nothing.
    Short(i32),
    /// A write writes a part of its bytes, other operations do nothing, and everything fails from then on.
    Crash,
}

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct FaultyDisk {
    state: Arc<std::sync::Mutex<State>>,
}

struct State {
    random: StdRng,
    /// Every operation so far, for people.
    operations: Vec<String>,
    fault: Option<(usize, Fault)>,
    crashed: bool,
    /// By inode, because names change.
    files: HashMap<u64, Unsynced>,
    names: Vec<Change>,
    hidden: u64,
    /// What to ask whenever the log is synced.
    watched: Option<Watched>,
    /// The file of the log that was written to last.
    log: String,
    /// What the answer was at the last sync of that file.
    synced: Ticket,
}

/// Says what is complete.
type Watched = Arc<dyn Fn() -> Ticket + Send + Sync>;

/// What a file had when it was last synced, where it was changed since.
struct Unsynced {
    file: fs::File,
    length: u64,
    sectors: HashMap<u64, Vec<u8>>,
}

/// A change of names that was not synced.
enum Change {
    Created(PathBuf),
    /// From, to, and the name that the file has now which stood there.
    Renamed(PathBuf, PathBuf, Option<PathBuf>),
    /// With the name that the file has now.
    Removed(PathBuf, PathBuf),
}

impl Change {
    fn directory(&self) -> Option<&Path> {
        match self {
            Self::Created(path) | Self::Renamed(path, ..) | Self::Removed(path, _) => path.parent(),
        }
    }
}

impl FaultyDisk {
    /// Works until it is told otherwise. What is random is drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: StdRng::seed_from_u64(seed),
            operations: Vec::new(),
            fault: None,
            crashed: false,
            files: HashMap::new(),
            names: Vec::new(),
            hidden: 0,
            watched: None,
            log: String::new(),
            synced: Ticket::NONE,
        };
        Self {
            state: Arc::new(std::sync::Mutex::new(state)),
        }
    }

    /// Lets operation number `operation`, counted from 0 and from the beginning, go wrong.
    pub fn set_fault(&self, operation: usize, fault: Fault) {
        self.lock().fault = Some((operation, fault));
    }

    /// Notes what `complete` says whenever the file of the log is synced that was written to last.
    pub fn watch_log(&self, complete: Watched) {
        let mut state = self.lock();
        state.watched = Some(complete);
        state.synced = Ticket::NONE;
    }

    /// What was complete when the log was last synced.
    pub fn synced(&self) -> Ticket {
        self.lock().synced
    }

    /// How many operations there were.
    pub fn count(&self) -> usize {
        self.lock().operations.len()
    }

    /// What they were.
    pub fn operations(&self) -> Vec<String> {
        self.lock().operations.clone()
    }

    /// The operation of this number, if it came to that.
    pub fn operation(&self, number: usize) -> Option<String> {
        self.lock().operations.get(number).cloned()
    }

    /// Whether everything fails now.
    pub fn has_crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Nothing goes wrong any more; what was written is there, as after the end of a process.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.crashed = false;
        state.fault = None;
    }

    /// Takes back a random part of what was not synced, and then works again.
    pub fn power_cut(&self) {
        let mut state = self.lock();
        state.lose_names();
        state.lose_bytes();
        drop(state);
        self.restart();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts an operation; the error that it has to give, if it has to, and whether a write tears.
    fn begin(&mut self, operation: String) -> Option<(io::Error, bool)> {
        if self.crashed {
            return Some((io::Error::from_raw_os_error(EIO), false));
        }
        let number = self.operations.len();
        self.operations.push(operation);
        let (_, fault) = self.fault.take_if(|(at, _)| *at == number)?;
        self.crashed = fault == Fault::Crash;
        Some(match fault {
            Fault::Error(code) => (io::Error::from_raw_os_error(code), false),
            Fault::Short(code) => (io::Error::from_raw_os_error(code), true),
            Fault::Crash => (io::Error::from_raw_os_error(EIO), true),
        })
    }

    fn check(&mut self, operation: String) -> io::Result<()> {
        match self.begin(operation) {
            Some((error, _)) => Err(error),
            None => Ok(()),
        }
    }

    /// Remembers what stands in a part of the file that will be changed.
    fn touch(&mut self, file: &fs::File, from: u64, to: u64) -> io::Result<()> {
        let metadata = file.metadata()?;
        let unsynced = match self.files.entry(metadata.ino()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(Unsynced {
                file: file.try_clone()?,
                length: metadata.len(),
                sectors: HashMap::new(),
            }),
        };
        for sector in from / SECTOR..to.div_ceil(SECTOR) {
            if sector * SECTOR >= metadata.len() || unsynced.sectors.contains_key(&sector) {
                continue;
            }
            let end = metadata.len().min((sector + 1) * SECTOR);
            let mut old = vec![0; (end - sector * SECTOR) as usize];
            file.read_exact_at(&mut old, sector * SECTOR)?;
            unsynced.sectors.insert(sector, old);
        }
        Ok(())
    }

    fn lose_names(&mut self) {
        let kept = self.random.random_range(0..=self.names.len());
        for change in self.names.split_off(kept).into_iter().rev() {
            match change {
                Change::Created(path) => fs::remove_file(path).unwrap(),
                Change::Renamed(from, to, replaced) => {
                    fs::rename(&to, from).unwrap();
                    if let Some(hidden) = replaced {
                        fs::rename(hidden, to).unwrap();
                    }
                }
                Change::Removed(path, hidden) => fs::rename(hidden, path).unwrap(),
            }
        }
        for change in self.names.drain(..) {
            change.settle().unwrap();
        }
    }

    fn lose_bytes(&mut self) {
        for (_, unsynced) in self.files.drain() {
            let mut sectors: Vec<_> = unsynced.sectors.into_iter().collect();
            sectors.sort_unstable();
            for (sector, old) in sectors {
                if self.random.random() {
                    unsynced.file.write_all_at(&old, sector * SECTOR).unwrap();
                }
            }
            if self.random.random() {
                unsynced.file.set_len(unsynced.length).unwrap();
            }
        }
    }
}

impl Change {
    /// It cannot be undone any more.
    fn settle(self) -> io::Result<()> {
        match self {
            Self::Removed(_, hidden) | Self::Renamed(.., Some(hidden)) => fs::remove_file(hidden),
            Self::Created(_) | Self::Renamed(..) => Ok(()),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

impl FaultyDisk {
    /// Takes a file away, so that it can come back.
    fn hide(state: &mut State, path: &Path) -> io::Result<PathBuf> {
        state.hidden += 1;
        let hidden = path.with_file_name(format!(".removed-{}", state.hidden));
        fs::rename(path, &hidden)?;
        Ok(hidden)
    }
}

impl FileSystem for FaultyDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let mut state = self.lock();
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true);
        let file = match options.open(path) {
            Err(error) if create && error.kind() == ErrorKind::NotFound => {
                state.check(format!("create {}", name(path)))?;
                state.names.push(Change::Created(path.to_owned()));
                options.create(true).open(path)?
            }
            _ if state.crashed => return Err(io::Error::from_raw_os_error(EIO)),
            opened => opened?,
        };
        Ok(Box::new(FaultyFile {
            disk: self.clone(),
            name: name(path),
            file,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.check(format!("rename {} to {}", name(from), name(to)))?;
        let replaced = match to.exists() {
            true => Some(Self::hide(&mut state, to)?),
            false => None,
        };
        fs::rename(from, to)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        state.names.push(Change::Renamed(from, to, replaced));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.check(format!("remove {}", name(path)))?;
        let hidden = Self::hide(&mut state, path)?;
        state.names.push(Change::Removed(path.to_owned(), hidden));
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Disk.list(directory)?;
        names.retain(|name| !name.starts_with(".removed-"));
        Ok(names)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        self.lock()
            .check(format!("create directory {}", name(path)))?;
        fs::create_dir_all(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.check(format!("sync directory {}", name(path)))?;
        let (synced, others) = std::mem::take(&mut state.names)
            .into_iter()
            .partition(|change| change.directory() == Some(path));
        state.names = others;
        let synced: Vec<Change> = synced;
        synced.into_iter().try_for_each(Change::settle)
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    name: String,
    file: fs::File,
}

impl File for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut bytes = parts.concat();
        let mut state = self.disk.lock();
        let what = format!("write {} bytes at {offset} of {}", bytes.len(), self.name);
        let fails = state.begin(what);
        if let Some((error, tears)) = fails {
            if tears {
                let length = state.random.random_range(0..=bytes.len());
                bytes.truncate(length);
                state.touch(&self.file, offset, offset + bytes.len() as u64)?;
                self.file.write_all_at(&bytes, offset)?;
            }
            return Err(error);
        }
        state.touch(&self.file, offset, offset + bytes.len() as u64)?;
        if self.name.starts_with("log-") {
            state.log.clone_from(&self.name);
        }
        self.file.write_all_at(&bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.check(format!("sync {}", self.name))?;
        state.files.remove(&self.file.metadata()?.ino());
        if state.log == self.name
            && let Some(complete) = &state.watched
        {
            state.synced = complete();
        }
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.check(format!("truncate {} to {length}", self.name))?;
        state.touch(&self.file, length, self.file.metadata()?.len())?;
        self.file.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.check(format!("allocate {length} bytes for {}", self.name))?;
        let old = self.file.metadata()?.len();
        if old < length {
            state.touch(&self.file, old, old)?;
            self.file.set_len(length)?;
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}

#[test]
fn power_cut_takes_back_only_what_was_not_synced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..100 {
        let disk = FaultyDisk::new(seed);
        let file = disk.open(&path, true).unwrap();
        file.truncate(4 * SECTOR).unwrap();
        file.write_at(&[&[1; 1024]], 0).unwrap();
        file.sync().unwrap();
        disk.sync_directory(folder.path()).unwrap();
        file.write_at(&[&[2; 1024]], 512).unwrap();
        disk.power_cut();
        let mut found = [0; 4 * SECTOR as usize];
        file.read_at(&mut found, 0).unwrap();
        assert_eq!(found[..512], [1; 512]);
        assert_eq!(found[1536..], [0; 512]);
        for (sector, old) in [(1, 1), (2, 0)] {
            let found = &found[sector * 512..(sector + 1) * 512];
            assert!(found == [old; 512] || found == [2; 512]);
            *(if found == [2; 512] {
                &mut kept
            } else {
                &mut lost
            }) += 1;
        }
        disk.remove(&path).unwrap();
        disk.sync_directory(folder.path()).unwrap();
    }
    assert!(kept > 50 && lost > 50, "{kept} kept, {lost} lost");
}

#[test]
fn power_cut_takes_back_names_that_were_not_synced() {
    let mut found = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let disk = FaultyDisk::new(seed);
        disk.open(&path("a"), true).unwrap();
        disk.sync_directory(folder.path()).unwrap();
        disk.open(&path("b"), true).unwrap();
        disk.rename(&path("a"), &path("c")).unwrap();
        disk.remove(&path("b")).unwrap();
        disk.power_cut();
        let mut names = disk.list(folder.path()).unwrap();
        names.sort_unstable();
        found.insert(names.join(" "));
    }
    let all = ["a", "a b", "b c", "c"].map(str::to_owned);
    assert_eq!(found, all.into());
}
