//! `leveret backup` and `leveret restore`: everything that survives a restart, copied and put back.
//!
//! A broker that runs makes the copy itself, in its data directory and as of one moment ([`copies`]); this command then
//! copies that to where it is wanted, so that a backup is written with the rights of whoever asks for it. Of a broker that
//! does not run, the data directory is copied as it is. The list of what a backup holds, with checksums ([`contents`]), is
//! written last: a directory without one is no backup.

mod contents;
pub mod copies;
mod restore;

use std::fs::{self, DirBuilder};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use self::contents::{Contents, Copier};
pub use self::restore::{RestoreArgs, restore};
use crate::config::Config;
use crate::copy;
use crate::data_dir::{DATA, DataDir, FORMAT};
use crate::error::Error;

/// Copies the data of the broker of this configuration to `directory`, and gives what to print.
///
/// # Errors
/// [`Error::Backup`]: the directory is not empty, there is nothing to copy, or something cannot be read or written.
pub fn take(directory: &Path, config: &Config) -> Result<String, Error> {
    let data_dir = &config.data_dir;
    if !data_dir.is_dir() {
        let problem = format!("there is no data directory {}", data_dir.display());
        return Err(Error::Backup(problem));
    }
    let contents = match DataDir::hold(data_dir) {
        Ok(held) => {
            prepare(directory)?;
            copied(directory, held.path(), held.path())?
        }
        Err(Error::DataDirInUse { .. }) => {
            let copy = RunningCopy::ask_for(data_dir)?;
            prepare(directory)?;
            copied(directory, &copy.place, data_dir)?
        }
        Err(error) => return Err(error),
    };
    let (files, bytes) = (contents.files.len(), contents.bytes());
    let place = directory.display();
    Ok(format!("{place}: {files} files, {bytes} bytes\n"))
}

/// The copy that a running broker keeps for us as long as we listen.
struct RunningCopy {
    place: PathBuf,
    _line: BufReader<UnixStream>,
}

impl RunningCopy {
    fn ask_for(data_dir: &Path) -> Result<Self, Error> {
        let socket = data_dir.join(copies::SOCKET);
        let silent = |error: io::Error| {
            Error::Backup(format!(
                "the broker that runs in {} does not answer on {}: {error}",
                data_dir.display(),
                socket.display()
            ))
        };
        let mut stream = UnixStream::connect(&socket).map_err(silent)?;
        stream.write_all(copies::REQUEST).map_err(silent)?;
        let mut line = BufReader::new(stream);
        let mut answer = String::new();
        line.read_line(&mut answer).map_err(silent)?;
        match answer.trim_end().split_once(' ') {
            Some((copies::READY, _)) => Ok(Self {
                place: data_dir.join(copies::STAGING),
                _line: line,
            }),
            Some((_, problem)) => Err(Error::Backup(format!("the broker says: {problem}"))),
            None => Err(silent(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// Makes the directory, or sees that it is empty.
fn prepare(directory: &Path) -> Result<(), Error> {
    let failed = |error| failed("make", directory, &error);
    let mut maker = DirBuilder::new();
    let made = maker.recursive(true).mode(0o700).create(directory);
    made.map_err(failed)?;
    match fs::read_dir(directory).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => Err(Error::Backup(format!(
            "{} is not empty: a backup needs a directory of its own",
            directory.display()
        ))),
    }
}

/// Copies what is data: the format is that of the data directory, all else lies at `from`.
fn copied(to: &Path, from: &Path, data_dir: &Path) -> Result<Contents, Error> {
    let mut copier = Copier::default();
    for name in DATA {
        // A running broker's copy has no format of its own.
        let source = match name {
            FORMAT => data_dir.join(name),
            _ => from.join(name),
        };
        if source.exists() {
            let copied = copier.tree(&source, to, Path::new(name));
            copied.map_err(|error| failed("copy to", to, &error))?;
        }
    }
    let contents = copier.finish();
    if contents.files.is_empty() {
        let problem = format!("there is nothing in {}", data_dir.display());
        return Err(Error::Backup(problem));
    }
    let written = copy::sync_tree(to).and_then(|()| contents.write(to));
    written.map_err(|error| failed("write", to, &error))?;
    Ok(contents)
}

fn failed(action: &str, path: &Path, error: &io::Error) -> Error {
    Error::Backup(format!("cannot {action} {}: {error}", path.display()))
}
