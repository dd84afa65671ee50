//! The directory of everything that survives a restart: who may open it, and in which format it is.
//!
//! Two files in it belong to this module. `leveret.lock` is locked by the running broker and holds its process id.
//! `format` says which version of Leveret's layout the directory has, so that an older program never misreads the
//! data of a newer one.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The layout that this program reads and writes.
const FORMAT: u32 = 1;

/// A data directory that belongs to this process until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory (mode 0700) if it does not exist, locks it and checks its format.
    ///
    /// # Errors
    /// [`Error::DataDirInUse`] when another process has it, [`Error::DataDirFormat`] when a newer Leveret wrote it or
    /// the format is not readable, [`Error::DataDir`] when the system refuses an access.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |error| Error::DataDir {
            path: path.to_owned(),
            error,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let lock = lock(&path)?;
        check_format(&path)?;
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
        .open(path.join("leveret.lock"))
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

fn check_format(path: &Path) -> Result<(), Error> {
    match fs::read_to_string(path.join("format")) {
        Ok(text) => {
            let found = text
                .trim()
                .strip_prefix("format = ")
                .and_then(|number| number.parse::<u32>().ok());
            match found {
                Some(FORMAT) => Ok(()),
                Some(newer) if newer > FORMAT => Err(Error::DataDirFormat {
                    path: path.to_owned(),
                    problem: format!(
                        "has format {newer}, written by a newer Leveret; this one reads format {FORMAT}"
                    ),
                }),
                _ => Err(Error::DataDirFormat {
                    path: path.to_owned(),
                    problem: format!(
                        "has an unknown format: its file \"format\" says {:?}",
                        text.trim()
                    ),
                }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_format(path).map_err(|error| Error::DataDir {
                path: path.to_owned(),
                error,
            })
        }
        Err(error) => Err(Error::DataDir {
            path: path.to_owned(),
            error,
        }),
    }
}

/// Written beside and renamed, so that a crash leaves the whole file or none.
fn write_format(path: &Path) -> io::Result<()> {
    let draft = path.join("format.new");
    let mut file = File::create(&draft)?;
    writeln!(file, "format = {FORMAT}")?;
    file.sync_all()?;
    fs::rename(&draft, path.join("format"))?;
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
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
            "format = 1\n"
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
        assert!(
            error_with_format("format = 2\n").contains("has format 2, written by a newer Leveret")
        );
        assert!(error_with_format("format = x\n").contains("has an unknown format"));
        assert!(error_with_format("").contains("has an unknown format"));
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
