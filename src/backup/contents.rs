//! What a backup holds: the list `backup.json`, and copying by it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The list's name.
const NAME: &str = "backup.json";

/// Read and written at once.
const CHUNK: usize = 1024 * 1024;

/// The list.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Contents {
    /// The version of Leveret that took the backup.
    pub(super) leveret: String,
    /// When, in seconds since 1970.
    pub(super) taken_at: u64,
    /// All files.
    pub(super) files: Vec<Copied>,
}

/// A file of a backup.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copied {
    /// Where it is, from the backup's directory.
    pub(super) path: PathBuf,
    /// Its length.
    pub(super) bytes: u64,
    /// The CRC-32C of what is in it.
    pub(super) crc32c: u32,
}

impl Contents {
    /// Reads the list of the backup in `directory`. None if there is none.
    pub(super) fn read(directory: &Path) -> io::Result<Option<Self>> {
        match fs::read(directory.join(NAME)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the list; after that it is a backup.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let mut file = File::create_new(directory.join(NAME))?;
        file.write_all(serde_json::to_string_pretty(self)?.as_bytes())?;
        file.sync_all()?;
        File::open(directory)?.sync_all()
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// Copies files and notes what was copied.
#[derive(Debug, Default)]
pub(super) struct Copier {
    files: Vec<Copied>,
}

impl Copier {
    /// Copies a file, or a directory with all that is in it, to `path` in `to`.
    pub(super) fn tree(&mut self, from: &Path, to: &Path, path: &Path) -> io::Result<()> {
        if !from.is_dir() {
            let (bytes, crc32c) = copy_file(from, Some(&to.join(path)))?;
            let path = path.to_owned();
            self.files.push(Copied {
                path,
                bytes,
                crc32c,
            });
            return Ok(());
        }
        fs::create_dir(to.join(path))?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            self.tree(&from.join(&name), to, &path.join(&name))?;
        }
        Ok(())
    }

    /// The list of what was copied.
    pub(super) fn finish(self) -> Contents {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Contents {
            leveret: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at: since.map_or(0, |since| since.as_secs()),
            files: self.files,
        }
    }
}

/// Reads a file, and writes what it read to a new one if there is a place for it. Gives length and checksum.
pub(super) fn copy_file(from: &Path, to: Option<&Path>) -> io::Result<(u64, u32)> {
    let mut source = File::open(from)?;
    let mut copy = to.map(File::create_new).transpose()?;
    let mut buffer = vec![0; CHUNK];
    let (mut bytes, mut checksum) = (0, 0);
    loop {
        let count = source.read(&mut buffer)?;
        let read = buffer.get(..count).unwrap_or_default();
        if read.is_empty() {
            return Ok((bytes, checksum));
        }
        if let Some(copy) = &mut copy {
            copy.write_all(read)?;
        }
        bytes += count as u64;
        checksum = crc32c::crc32c_append(checksum, read);
    }
}
