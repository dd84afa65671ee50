//! Files in memory, for what fuzz targets run: they need many small disks a second.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use parking_lot::Mutex;

use super::file_system::{File, FileSystem};

/// The files. Clones are the same disk.
#[derive(Clone, Default)]
pub(super) struct MemoryDisk(Arc<Mutex<BTreeMap<String, Arc<MemoryFile>>>>);

struct MemoryFile(Mutex<Vec<u8>>);

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

impl MemoryDisk {
    /// Adds a file, or replaces it.
    pub(super) fn put(&self, name: String, bytes: Vec<u8>) {
        let file = Arc::new(MemoryFile(Mutex::new(bytes)));
        self.0.lock().insert(name, file);
    }

    /// The names of all files, and their bytes.
    pub(super) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.0.lock();
        let bytes = |file: &Arc<MemoryFile>| file.0.lock().clone();
        files
            .iter()
            .map(|(name, file)| (name.clone(), bytes(file)))
            .collect()
    }

    /// Another disk with the same files.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::default();
        for (name, bytes) in self.contents() {
            copy.put(name, bytes);
        }
        copy
    }
}

impl FileSystem for MemoryDisk {
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn File>> {
        let mut files = self.0.lock();
        let missing = || Arc::new(MemoryFile(Mutex::default()));
        let file = match create {
            true => Some(files.entry(name(path)).or_insert_with(missing)),
            false => files.get_mut(&name(path)),
        };
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Arc::clone(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.lock();
        let file = files.remove(&name(from)).ok_or(io::ErrorKind::NotFound)?;
        files.insert(name(to), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.0.lock().remove(&name(path));
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(self.0.lock().keys().cloned().collect())
    }

    fn create_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl File for Arc<MemoryFile> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.0.lock();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = bytes.get(from..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut bytes = self.0.lock();
        let parts = parts.concat();
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let length = bytes.len().max(from + parts.len());
        bytes.resize(length, 0);
        if let Some(place) = bytes.get_mut(from..from + parts.len()) {
            place.copy_from_slice(&parts);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.lock().resize(length as usize, 0);
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut bytes = self.0.lock();
        let length = bytes.len().max(length as usize);
        bytes.resize(length, 0);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }
}
