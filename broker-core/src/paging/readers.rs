//! The threads that read messages back from disk, so that no thread that serves connections waits for it.
//!
//! A lane of a queue asks for one load at a time, so the line is as long as there are queues whose consumers run out of
//! messages.
//! A thread that has nothing to do for a while ends.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::{Errand, Pager};
use crate::queue::{Millis, Queue, Work};

/// Most threads: enough that a slow disk has some requests at a time, few beside those that serve connections.
const MOST_THREADS: usize = 4;

/// How long a thread without work stays.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a queue has asked for.
pub(super) struct Request {
    pub(super) queue: Arc<Queue>,
    pub(super) errand: Errand,
    /// When it was asked for.
    pub(super) now: Millis,
}

#[derive(Default)]
struct Line {
    requests: VecDeque<Request>,
    threads: usize,
    idle: usize,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    line: Mutex<Line>,
    work: Condvar,
}

/// The pool, and the line in front of it.
#[derive(Default)]
pub(super) struct Readers {
    shared: Arc<Shared>,
}

impl Readers {
    /// Adds a request, and a thread if all are busy.
    pub(super) fn request(&self, pager: &Arc<Pager>, request: Request) {
        let mut line = self.shared.line.lock();
        if line.closed {
            return;
        }
        line.requests.push_back(request);
        let start = line.requests.len() > line.idle && line.threads < MOST_THREADS;
        line.threads += usize::from(start);
        drop(line);
        self.shared.work.notify_one();
        if start {
            self.start(pager);
        }
    }

    fn start(&self, pager: &Arc<Pager>) {
        let (shared, weak) = (Arc::clone(&self.shared), Arc::downgrade(pager));
        let thread = thread::Builder::new().name("page-in".to_owned());
        if let Err(error) = thread.spawn(move || shared.serve(&weak)) {
            tracing::error!("cannot start a thread that reads messages: {error}");
            self.shared.line.lock().threads -= 1;
            // The caller waits instead, which is slow but right.
            while let Some(request) = self.shared.take() {
                pager.run(&request, &mut Work::default());
            }
        }
    }

    /// Ends all threads. What was asked for is not loaded.
    pub(super) fn close(&self) {
        let mut line = self.shared.line.lock();
        line.closed = true;
        let requests = std::mem::take(&mut line.requests);
        drop(line);
        drop(requests);
        self.shared.work.notify_all();
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn take(&self) -> Option<Request> {
        self.line.lock().requests.pop_front()
    }

    fn serve(&self, pager: &Weak<Pager>) {
        let mut work = Work::default();
        while let Some(request) = self.next() {
            let Some(pager) = pager.upgrade() else { return };
            pager.run(&request, &mut work);
        }
    }

    /// Waits for a request. `None` when the thread is to end.
    fn next(&self) -> Option<Request> {
        let mut line = self.line.lock();
        loop {
            if let Some(request) = line.requests.pop_front() {
                return Some(request);
            }
            line.idle += 1;
            let late = !line.closed && self.work.wait_for(&mut line, PATIENCE).timed_out();
            line.idle -= 1;
            if line.requests.is_empty() && (late || line.closed) {
                line.threads -= 1;
                return None;
            }
        }
    }
}
