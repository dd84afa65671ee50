//! `leveret restore`: a backup becomes the data of a broker that is not running.
//!
//! All of it is checked and copied beside what is there before anything changes place, and the file `format` comes last.
//! A restore that was interrupted leaves a mark, with which no broker starts; it is simply done again.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::contents::{Contents, copy_file};
use super::failed;
use crate::config::Config;
use crate::copy;
use crate::data_dir::{DATA, DataDir, UNFINISHED, unreadable_format};
use crate::error::Error;

/// What to put back.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The directory that `leveret backup` has written
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Take the place of data that are there; they are kept in before-restore-TIME in the data directory
    #[arg(long)]
    replace: bool,
}

/// Puts a backup back, and gives what to print.
///
/// # Errors
/// [`Error::Backup`]: it is none, or damaged, or there are data already; [`Error::DataDirInUse`] when a broker runs.
pub fn restore(arguments: &RestoreArgs, config: &Config) -> Result<String, Error> {
    let from = &arguments.directory;
    let contents = readable(from)?;
    let data_dir = DataDir::make(&config.data_dir)?;
    let to = data_dir.path();
    let draft = to.join(UNFINISHED);
    let unfinished = draft.exists();
    let present: Vec<_> = DATA.into_iter().filter(|it| to.join(it).exists()).collect();
    if !present.is_empty() && !arguments.replace && !unfinished {
        return Err(Error::Backup(format!(
            "{} holds data already; with --replace they are kept in a directory beside",
            to.display()
        )));
    }
    let write = |error| failed("write", to, &error);
    if unfinished {
        fs::remove_dir_all(&draft).map_err(write)?;
    }
    copy_checked(&contents, from, &draft)?;
    if !present.is_empty() {
        put_aside(to, &present).map_err(write)?;
    }
    put_in_place(&draft, to).map_err(write)?;
    let (files, bytes) = (contents.files.len(), contents.bytes());
    let place = to.display();
    Ok(format!("{place}: {files} files, {bytes} bytes\n"))
}

/// The list of a backup that this program can read.
fn readable(directory: &Path) -> Result<Contents, Error> {
    let read = |error| failed("read", directory, &error);
    let Some(contents) = Contents::read(directory).map_err(read)? else {
        let place = directory.display();
        let problem = format!("{place} is no backup, or one that was not finished");
        return Err(Error::Backup(problem));
    };
    match unreadable_format(directory).map_err(read)? {
        None => Ok(contents),
        Some(problem) => Err(Error::Backup(format!("{} {problem}", directory.display()))),
    }
}

/// Copies all files, which must be as they were written.
fn copy_checked(contents: &Contents, from: &Path, to: &Path) -> Result<(), Error> {
    let write = |error| failed("write", to, &error);
    let directories = |path: &Path| {
        let mut maker = DirBuilder::new();
        maker.recursive(true).mode(0o700).create(path)
    };
    directories(to).map_err(write)?;
    for file in &contents.files {
        let source = from.join(&file.path);
        let inside = file
            .path
            .components()
            .all(|it| matches!(it, Component::Normal(_)));
        if !inside {
            let problem = "names a place outside of the backup".to_owned();
            return Err(Error::Backup(format!("{} {problem}", source.display())));
        }
        let target = to.join(&file.path);
        directories(target.parent().unwrap_or(to)).map_err(write)?;
        let copied = copy_file(&source, Some(&target));
        let found = copied.map_err(|error| failed("copy", &source, &error))?;
        if found != (file.bytes, file.crc32c) {
            return Err(Error::Backup(format!(
                "{} is not as it was written: the backup is damaged, nothing was changed",
                source.display()
            )));
        }
    }
    copy::sync_tree(to).map_err(write)
}

/// Keeps what is there.
fn put_aside(data_dir: &Path, present: &[&str]) -> io::Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    let kept = data_dir.join(format!("before-restore-{seconds}"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&kept)?;
    for name in present {
        fs::rename(data_dir.join(name), kept.join(name))?;
    }
    File::open(&kept)?.sync_all()
}

/// Gives what was copied its names. The format is the last of [`DATA`].
fn put_in_place(draft: &Path, data_dir: &Path) -> io::Result<()> {
    for name in DATA {
        if draft.join(name).exists() {
            fs::rename(draft.join(name), data_dir.join(name))?;
        }
    }
    fs::remove_dir(draft)?;
    File::open(data_dir)?.sync_all()
}
