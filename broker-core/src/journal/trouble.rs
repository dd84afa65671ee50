//! What stops the journal's background work: a full disk, which passes, or anything else, which does not.

use std::{io, path::Path};

use crate::error::Error;

/// Why something could not be done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The disk is full: it is tried again later.
    Full(String),
    /// Nothing that trying again would mend.
    Failed(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Full(text) => Self::Internal(text),
            Trouble::Failed(error) => error,
        }
    }
}

/// Says what was done to which file when the system refused.
pub(super) trait Doing<T> {
    /// `action` is a verb: `write`, `read`.
    fn doing(self, action: &str, path: &Path) -> Result<T, Trouble>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, action: &str, path: &Path) -> Result<T, Trouble> {
        self.map_err(|error| {
            let text = format!("cannot {action} {}: {error}", path.display());
            match error.kind() {
                io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::FileTooLarge => Trouble::Full(text),
                _ => Trouble::Failed(Error::Internal(text)),
            }
        })
    }
}

/// Bytes on disk that are not what was written there, with what to do about it.
pub(super) fn damaged(path: &Path, offset: u64, what: &str) -> Error {
    Error::Internal(format!(
        "{} is damaged at byte {offset}: {what}; stop the broker and run `leveret journal verify`, then `leveret journal \
         repair`, which keeps what is whole",
        path.display()
    ))
}
