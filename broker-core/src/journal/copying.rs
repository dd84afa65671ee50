//! A copy of the journal while it works: what a crash would leave at one moment, put elsewhere.
//!
//! The mover makes it, so that no segment goes and no file of the log is used again meanwhile. The moment is the end of a
//! group that was written after the copy was asked for: everything that was confirmed before is in front of it. Of the log
//! the files are copied up to there, and the manifest as it stands; segments never change, so that they get a
//! second name where the file system can do that. Publishers go on all the time.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, channel},
};

use super::{mover::Mover, segment, shared::Shared, trouble::Trouble};
use crate::error::Error;

/// Somebody who waits for a copy.
pub(super) struct Request {
    directory: PathBuf,
    done: Sender<Result<(), Error>>,
}

impl Request {
    /// A request, and where the answer comes. The directory must not exist yet.
    pub(super) fn new(directory: &Path) -> (Self, Receiver<Result<(), Error>>) {
        let (done, answer) = channel();
        let directory = directory.to_owned();
        (Self { directory, done }, answer)
    }
}

/// Has the mover make a copy, and waits for it.
pub(super) fn copy_to(shared: &Shared, directory: &Path) -> Result<(), Error> {
    let (request, answer) = Request::new(directory);
    shared.ask_for_copy(request);
    let closed = |_| Error::Internal("the journal was closed before it was copied".to_owned());
    answer.recv().map_err(closed)?
}

impl Mover {
    /// Carries out what was asked for.
    ///
    /// # Errors
    /// What stops the mover. That a copy cannot be written is told to whoever asked for it.
    pub(super) fn copy(&mut self, requests: Vec<Request>) -> Result<(), Trouble> {
        for request in requests {
            // What a full disk interrupted: segments that the manifest names are there then.
            self.commit()?;
            self.shared.wait_for_log()?;
            self.shared.set_waiting(true);
            let copied = self.copy_files(&request.directory);
            self.shared.set_waiting(false);
            // Who asked may have gone.
            let _ = request.done.send(copied);
        }
        Ok(())
    }

    fn copy_files(&self, to: &Path) -> Result<(), Error> {
        let end = self.shared.index.lock().end;
        let cannot = |error| Error::Internal(format!("cannot copy to {}: {error}", to.display()));
        fs::create_dir(to).map_err(cannot)?;
        self.manifest.copy_to(to)?;
        let from = &self.shared.directory;
        let names = self.shared.files.list(from).map_err(cannot)?;
        let segments = names.iter().filter(|name| segment::number(name).is_some());
        for name in segments {
            second_name(&from.join(name), &to.join(name)).map_err(cannot)?;
        }
        self.shared.log.copy_to(self.log_start, end, to)
    }
}

/// Gives a file that never changes a second name, or copies it.
fn second_name(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Err(_) => fs::copy(from, to).map(drop),
        linked => linked,
    }
}
