//! Copies of files and directories that survive a power cut once they are synced.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Copies a file, or a directory with all that is in it, to a name that is free. Links are followed.
///
/// # Errors
/// Whatever the system says; a part may have been copied then.
pub fn tree(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        tree(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

/// Makes a file, or a directory with all that is in it, survive a power cut. The name itself is up to the caller.
///
/// # Errors
/// Whatever the system says.
pub fn sync_tree(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            sync_tree(&entry?.path())?;
        }
    }
    File::open(path)?.sync_all()
}
