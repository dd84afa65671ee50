//! Files as far as they can be read: for those who want to see all of what a bad disk still gives.
//!
//! Where the system refuses to read, there are zeros instead, which every checksum above this notices; and the place is
//! noted. Nothing can be changed through this.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    super::file_system::{File, FileSystem},
    Finding,
};

/// A disk refuses pages of so many bytes, not single ones.
const PAGE: u64 = 4096;

/// What was refused, by its place: bytes, and what the system said.
type Refused = BTreeMap<(PathBuf, u64), (u64, String)>;

/// A file system as far as it can be read. Clones note to the same list.
#[derive(Clone)]
pub(super) struct Readable {
    files: Arc<dyn FileSystem>,
    refused: Arc<Mutex<Refused>>,
}

struct ReadableFile {
    /// None that could be opened.
    file: Option<Box<dyn File>>,
    path: PathBuf,
    refused: Arc<Mutex<Refused>>,
}

impl Readable {
    pub(super) fn new(files: Arc<dyn FileSystem>) -> Self {
        Self {
            files,
            refused: Arc::default(),
        }
    }

    /// Every place that could not be read so far.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut ranges: Vec<(PathBuf, u64, u64, String)> = Vec::new();
        for ((path, offset), (bytes, error)) in &*self.refused.lock() {
            match ranges.last_mut() {
                Some((last, from, length, what))
                    if last == path && *from + *length == *offset && what == error =>
                {
                    *length += bytes;
                }
                _ => ranges.push((path.clone(), *offset, *bytes, error.clone())),
            }
        }
        let finding = |(path, offset, bytes, error)| {
            let what = match bytes {
                0 => format!("the file cannot be read: {error}"),
                _ => format!("{bytes} bytes cannot be read: {error}"),
            };
            Finding::at(path, offset, what)
        };
        ranges.into_iter().map(finding).collect()
    }
}

fn note(refused: &Mutex<Refused>, path: &Path, offset: u64, bytes: u64, error: &io::Error) {
    let what = (bytes, error.to_string());
    refused.lock().insert((path.to_owned(), offset), what);
}

impl FileSystem for Readable {
    fn open(&self, path: &Path, _: bool) -> io::Result<Box<dyn File>> {
        let file = match self.files.open(path, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
            Err(error) => {
                note(&self.refused, path, 0, 0, &error);
                None
            }
            Ok(file) => Some(file),
        };
        Ok(Box::new(ReadableFile {
            file,
            path: path.to_owned(),
            refused: Arc::clone(&self.refused),
        }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        match self.files.list(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed,
        }
    }

    /// One that is missing has no files.
    fn create_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl File for ReadableFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let Some(file) = &self.file else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {}
            read => return read,
        }
        let length = file.length().unwrap_or(u64::MAX);
        let (mut rest, mut offset) = (buffer, offset);
        while !rest.is_empty() {
            let page = offset - offset % PAGE;
            let within = (page + PAGE - offset) as usize;
            let (piece, tail) = rest.split_at_mut(within.min(rest.len()));
            match file.read_at(piece, offset) {
                Ok(()) => {}
                // The file is too short, which is no refusal.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(error),
                Err(error) => {
                    piece.fill(0);
                    let bytes = PAGE.min(length.saturating_sub(page));
                    note(&self.refused, &self.path, page, bytes, &error);
                }
            }
            offset += piece.len() as u64;
            rest = tail;
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let length = self.file.as_ref().map_or(Ok(0), |file| file.length());
        Ok(length.unwrap_or_else(|error| {
            note(&self.refused, &self.path, 0, 0, &error);
            0
        }))
    }

    fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many bytes, and the first page cannot be read.
    struct BadStart(u64);

    impl File for BadStart {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
            if offset < PAGE {
                return Err(io::Error::from_raw_os_error(5));
            }
            match offset + buffer.len() as u64 <= self.0 {
                true => {
                    buffer.fill(1);
                    Ok(())
                }
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }

        fn length(&self) -> io::Result<u64> {
            Ok(self.0)
        }

        fn write_at(&self, _: &[&[u8]], _: u64) -> io::Result<()> {
            unreachable!("nothing is changed")
        }

        fn sync(&self) -> io::Result<()> {
            unreachable!("nothing is changed")
        }

        fn truncate(&self, _: u64) -> io::Result<()> {
            unreachable!("nothing is changed")
        }

        fn allocate(&self, _: u64) -> io::Result<()> {
            unreachable!("nothing is changed")
        }
    }

    #[test]
    fn end_of_the_file_behind_a_refused_page_is_no_refusal() {
        let refused = Arc::<Mutex<Refused>>::default();
        let file = ReadableFile {
            file: Some(Box::new(BadStart(3 * PAGE))),
            path: "log".into(),
            refused: Arc::clone(&refused),
        };
        let mut buffer = vec![7; 3 * PAGE as usize];
        file.read_at(&mut buffer, 0).unwrap();
        let (zeros, ones) = buffer.split_at(PAGE as usize);
        assert!(zeros.iter().all(|it| *it == 0) && ones.iter().all(|it| *it == 1));
        let mut buffer = vec![7; 5 * PAGE as usize];
        let error = file.read_at(&mut buffer, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let places: Vec<_> = refused.lock().keys().map(|(_, offset)| *offset).collect();
        assert_eq!(places, [0]);
    }
}
