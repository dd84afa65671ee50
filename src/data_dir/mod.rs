//! The directory of everything that survives a restart: who may open it, and in which format it is.
//!
//! Two files in it belong to this module. `leveret.lock` is locked by the running broker and holds its process id.
//! `format` says which version of Leveret's layout the directory has, so that an older program never misreads the
//! data of a newer one, and a newer one brings older data up to date.

mod format;
mod migration;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use self::format::Format;
pub use self::format::NAME as FORMAT;
use self::migration::{CURRENT, migrate};
use crate::error::Error;
use crate::stores::{JOURNAL, SLED};

/// The file that the process locks which has the directory.
pub const LOCK: &str = "leveret.lock";

/// Where a restore puts things before they are whole.
pub const UNFINISHED: &str = "restore.new";

/// The files and directories that are the data: without any of them the directory is new.
pub const DATA: [&str; 3] = [SLED, JOURNAL, FORMAT];

/// What is wrong with the format of a directory, if this program cannot read it; nothing without one.
///
/// # Errors
/// It cannot be read.
pub fn unreadable_format(directory: &Path) -> std::io::Result<Option<String>> {
    Ok(match Format::read(directory)? {
        Some(Ok(found)) if found.number > CURRENT => Some(newer(&found)),
        Some(Err(unknown)) => Some(unknown),
        Some(Ok(_)) | None => None,
    })
}

/// A data directory that belongs to this process until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory (mode 0700) if it does not exist, locks it, and brings it into the current format.
    ///
    /// # Errors
    /// [`Error::DataDirInUse`] when another process has it, [`Error::DataDirFormat`] when a newer Leveret wrote it or
    /// the format is not readable, [`Error::DataDir`] when the system refuses an access.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let opened = Self::make(path)?;
        settle_format(&opened.path)?;
        Ok(opened)
    }

    /// As [`open`](Self::open), whatever is in it.
    ///
    /// # Errors
    /// [`Error::DataDirInUse`] when another process has it, [`Error::DataDir`] when the system refuses an access.
    pub fn make(path: &Path) -> Result<Self, Error> {
        let failed = |error| Error::DataDir {
            path: path.to_owned(),
            error,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        Self::hold(path)
    }

    /// Locks a directory that exists, and changes nothing else.
    ///
    /// # Errors
    /// Those of [`make`](Self::make).
    pub fn hold(path: &Path) -> Result<Self, Error> {
        let failed = |error| Error::DataDir {
            path: path.to_owned(),
            error,
        };
        let path = path.canonicalize().map_err(failed)?;
        let lock = lock(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The directory, as an absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Takes the lock, which the system drops with the process however that ends, and leaves our process id for the
/// message of the one that comes too late.
fn lock(path: &Path) -> Result<File, Error> {
    let failed = |error| Error::DataDir {
        path: path.to_owned(),
        error,
    };
    let mut options = OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut file)),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

/// The holder's id is a courtesy: it may not be written yet.
fn in_use(path: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let holder = file
        .read_to_string(&mut text)
        .ok()
        .and_then(|_| text.trim().parse::<u32>().ok());
    let holder = holder
        .map(|id| format!(" (process {id})"))
        .unwrap_or_default();
    Error::DataDirInUse {
        path: path.to_owned(),
        holder,
    }
}

/// Sees to it that the directory has the layout of this program.
fn settle_format(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::DataDir {
        path: path.to_owned(),
        error,
    };
    let problem = |problem| Error::DataDirFormat {
        path: path.to_owned(),
        problem,
    };
    if path.join(UNFINISHED).exists() {
        return Err(problem(format!(
            "holds half of a backup in {UNFINISHED}: run `leveret restore` again"
        )));
    }
    let current = Format::of(CURRENT);
    match Format::read(path).map_err(failed)? {
        Some(Ok(found)) if found.number > CURRENT => Err(problem(newer(&found))),
        Some(Ok(found)) if found.number == 0 => {
            Err(problem("has format 0, which no Leveret wrote".to_owned()))
        }
        Some(Ok(found)) if found == current => Ok(()),
        Some(Ok(found)) => {
            migrate(path, found.number).map_err(failed)?;
            current.write(path).map_err(failed)
        }
        Some(Err(unknown)) => Err(problem(unknown)),
        None => current.write(path).map_err(failed),
    }
}

fn newer(found: &Format) -> String {
    let (number, this) = (found.number, env!("CARGO_PKG_VERSION"));
    let who = match found.written_by.as_str() {
        "" => "a newer Leveret".to_owned(),
        version => format!("Leveret {version}"),
    };
    format!(
        "has format {number}, written by {who}; Leveret {this} reads formats up to {CURRENT}: start the newer one, or \
         restore a backup that this one took"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn error_with_format(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("format"), text).unwrap();
        DataDir::open(folder.path()).unwrap_err().to_string()
    }

    #[test]
    fn a_new_directory_is_for_its_owner_only_and_has_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let data_dir = DataDir::open(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(
            fs::read_to_string(data_dir.path().join("format")).unwrap(),
            format!(
                "format = 2\nwritten_by = \"{}\"\n",
                env!("CARGO_PKG_VERSION")
            )
        );
    }

    #[test]
    fn a_directory_can_be_opened_again_once_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        let refusal = DataDir::open(folder.path()).unwrap_err().to_string();
        assert!(refusal.ends_with(&format!(
            " is in use by another Leveret (process {})",
            std::process::id()
        )));
        drop(first);
        DataDir::open(folder.path()).unwrap();
    }

    #[test]
    fn a_newer_or_unknown_format_is_refused() {
        let newer = error_with_format("format = 3\nwritten_by = \"9.9.9\"\nmore = [1]\n");
        assert!(
            newer.contains("has format 3, written by Leveret 9.9.9; Leveret"),
            "{newer}"
        );
        for unknown in ["format = x\n", "", "format = -1\n"] {
            assert!(error_with_format(unknown).contains("has an unknown format"));
        }
        assert!(error_with_format("format = 0\n").contains("has format 0"));
    }

    #[test]
    fn an_older_format_is_brought_up_to_date_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("format"), "format = 1\n").unwrap();
        let current = Some(Ok(Format::of(CURRENT)));
        DataDir::open(folder.path()).unwrap();
        assert_eq!(Format::read(folder.path()).unwrap(), current);
        let kept = folder.path().join("before-format-2/format");
        assert_eq!(fs::read_to_string(kept).unwrap(), "format = 1\n");
        DataDir::open(folder.path()).unwrap();
    }

    #[test]
    fn another_version_of_the_same_format_leaves_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("format = {CURRENT}\nwritten_by = \"0.0.1\"\n");
        fs::write(folder.path().join("format"), text).unwrap();
        DataDir::open(folder.path()).unwrap();
        assert_eq!(
            Format::read(folder.path()).unwrap(),
            Some(Ok(Format::of(CURRENT)))
        );
        assert!(!folder.path().join("before-format-2").exists());
    }

    #[test]
    fn a_path_that_is_a_file_is_one_clear_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(file.path()).unwrap_err().to_string();
        assert!(
            error.starts_with("cannot use the data directory "),
            "{error}"
        );
    }
}
