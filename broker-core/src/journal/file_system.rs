//! The few operations on files that the journal needs, behind traits, and the real disk.
//!
//! Tests put something else below the journal that fails, tears a write or cuts the power at a chosen operation. Paths
//! are passed through as they are; errors are the system's own, so that the caller can tell a full disk from a broken
//! one and name the file.

use std::{
    fs,
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    path::Path,
};

use rustix::{
    fs::FallocateFlags,
    io::{Errno, retry_on_intr},
};
use smallvec::SmallVec;

/// Most parts of one write: Linux's `IOV_MAX`.
const MOST_PARTS: usize = 1024;

/// Where files are. May be used from any thread.
pub trait FileSystem: Send + Sync {
    /// Opens `path` to read and write. With `create` it is made if it is missing; the new name survives a power cut
    /// only after [`sync_directory`](Self::sync_directory).
    ///
    /// # Errors
    /// Whatever the system says: `NotFound` for a missing file without `create`.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>>;

    /// Gives a file another name, which replaces whatever has that name.
    ///
    /// # Errors
    /// Whatever the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Who has it open keeps its contents.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names of what is in `directory`, in no order. Names that are no UTF-8 are left out: the journal made none.
    ///
    /// # Errors
    /// Whatever the system says.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Makes `path` and what is missing above it, so that it survives a power cut; fine if it is there.
    ///
    /// # Errors
    /// Whatever the system says.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes new, changed and removed names in `path` survive a power cut.
    ///
    /// # Errors
    /// Whatever the system says.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// An open file. May be used from any thread; offsets and lengths are in bytes.
pub trait File: Send + Sync {
    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before, or whatever the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `parts`, one behind the other, from `offset`.
    ///
    /// # Errors
    /// Whatever the system says. A part of it may be written then.
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;

    /// Makes what was written, and the length, survive a power cut.
    ///
    /// # Errors
    /// What the disk holds is unknown then: it must not be tried again.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, or fills it up with zeros, to `length`.
    ///
    /// # Errors
    /// Whatever the system says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Reserves room up to `length`, so that writes up to there meet no full disk; new bytes are zeros. A longer file
    /// stays as it is. Where the file system cannot reserve, it only grows.
    ///
    /// # Errors
    /// Whatever the system says, a full disk for example; a part may be reserved then.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// The length.
    ///
    /// # Errors
    /// Whatever the system says.
    fn length(&self) -> io::Result<u64>;
}

/// The real disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl FileSystem for Disk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(create);
        Ok(Box::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent();
        let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
            self.create_directory(parent)?;
        }
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            // Also if it was there: who made it may have ended before this.
            _ => self.sync_directory(parent.unwrap_or(Path::new("."))),
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }
}

impl File for fs::File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_at(&self, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
        let mut slices: SmallVec<[IoSlice<'_>; 8]> =
            parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = slices.as_mut_slice();
        // Skips parts that are empty: a write of nothing would look like a full disk.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let now = left.get(..MOST_PARTS).unwrap_or(left);
            let written = retry_on_intr(|| rustix::io::pwritev(self, now, offset))?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut left, written);
            offset += written as u64;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let reserve = || rustix::fs::fallocate(self, FallocateFlags::empty(), 0, length);
        match retry_on_intr(reserve) {
            // The system takes it for a mistake to reserve nothing.
            _ if length == 0 => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.metadata()?.len() < length => {
                self.set_len(length)
            }
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_written_one_behind_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = Disk.open(&folder.path().join("a"), true).unwrap();
        let many = vec![b"xy".as_slice(); MOST_PARTS];
        file.write_at(&[b"", b"abc", b"", b"d"], 2).unwrap();
        file.write_at(&many, 6).unwrap();
        file.write_at(&many, 6 + 2 * MOST_PARTS as u64).unwrap();
        file.write_at(&[], 0).unwrap();
        file.write_at(&[b""], 0).unwrap();
        assert_eq!(file.length().unwrap(), 6 + 4 * MOST_PARTS as u64);
        let mut found = vec![0; 6 + 4 * MOST_PARTS];
        file.read_at(&mut found, 0).unwrap();
        assert_eq!(found[..6], *b"\0\0abcd");
        assert_eq!(found[6..], b"xy".repeat(2 * MOST_PARTS));
        let past = file.read_at(&mut [0; 2], file.length().unwrap() - 1);
        assert_eq!(past.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn allocating_grows_and_never_shrinks() {
        let folder = tempfile::tempdir().unwrap();
        let file = Disk.open(&folder.path().join("a"), true).unwrap();
        file.allocate(10_000).unwrap();
        file.allocate(100).unwrap();
        assert_eq!(file.length().unwrap(), 10_000);
        file.truncate(10).unwrap();
        assert_eq!(file.length().unwrap(), 10);
    }

    #[test]
    fn directories_are_made_with_what_is_above_them() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        Disk.create_directory(&deep).unwrap();
        Disk.create_directory(&deep).unwrap();
        Disk.open(&deep.join("file"), true).unwrap();
        Disk.sync_directory(&deep).unwrap();
        assert_eq!(Disk.list(&deep).unwrap(), ["file"]);
        let missing = Disk.open(&deep.join("other"), false).err().unwrap();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
