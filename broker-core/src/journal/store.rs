//! The journal as a [`MessageStore`].

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use parking_lot::Mutex;

use super::{
    Shared,
    block::{Content, Record},
    copying,
    file_system::FileSystem,
    index::{Index, QueueIndex},
    items::Encoder,
    log::{Log, Replayed},
    manifest::{Edit, Manifest},
    mover::Mover,
    reader::{Range, Reader},
    run::Place,
    segment,
    shared::{Chore, IndexFollower},
    statistics::JournalStatistics,
    trouble::{Doing, Trouble},
};
use crate::{
    error::Error,
    store::{
        Backlog, Completion, FailureHook, MessageStore, Operation, Position, QueueId,
        StoredMessage, SyncWhen, Ticket,
    },
};

/// An encoding buffer larger than this is given back after use.
const KEPT_BUFFER: usize = 1024 * 1024;

thread_local! {
    static ENCODER: RefCell<Encoder> = RefCell::default();
    static READER: RefCell<Reader> = RefCell::default();
}

/// A [`MessageStore`] on a log and segments: everything that was confirmed survives, at the disk's speed, with memory
/// bounded.
pub struct JournalStore {
    shared: Arc<Shared>,
    mover: Mutex<Option<JoinHandle<()>>>,
    /// The upper half of the numbers of shared bodies that this process writes; no earlier one has used it.
    epoch: u32,
    next_body: AtomicU32,
    /// How the last stop was.
    replayed: Replayed,
}

impl JournalStore {
    /// Opens the journal in `directory`, which is made if it is missing, over a log that is open and not yet replayed.
    /// `segment_size` is about what a file of the log has: so much is moved at once, and so many bytes of garbage are
    /// borne beyond the live ones. `on_failure` is called once should the disk fail.
    ///
    /// # Errors
    /// Something cannot be read or is damaged: the text names the file, the offset, and what to do.
    pub fn open(
        files: Arc<dyn FileSystem>,
        directory: &Path,
        log: Arc<dyn Log>,
        segment_size: u64,
        on_failure: FailureHook,
    ) -> Result<Self, Error> {
        files
            .create_directory(directory)
            .doing("create", directory)?;
        let mut index = Index::default();
        let mut log_start = 0;
        let mut manifest = Manifest::open(&*files, directory, &mut |edit| {
            if let Edit::LogStart(file) = edit {
                log_start = file;
            }
            index.edit(edit);
        })?;
        index.count_references();
        let replayed = check_segments(&*files, directory, &index)
            .and_then(|()| replay(&*log, log_start, &mut index));
        let replayed = match (replayed, manifest.doubt()) {
            // Something is missing for which it may have had a word, or no crash explains it.
            (Err(_) | Ok(Replayed { clean: true, .. }), Some(damage)) => return Err(damage),
            (replayed, _) => replayed?,
        };
        manifest.cut_off()?;
        let next_segment = remove_leftovers(&*files, directory, &index)?;
        let known_epoch = index.next_epoch();
        index.forget_old_counts();
        if !replayed.clean {
            index.flag_all();
        }
        let shared = Arc::new(Shared::new(
            files,
            directory.to_owned(),
            log,
            index,
            segment_size,
        ));
        let mover = Mover::new(Arc::clone(&shared), manifest, log_start, next_segment);
        let mut store = Self {
            epoch: known_epoch,
            shared,
            mover: Mutex::new(None),
            next_body: AtomicU32::new(0),
            replayed,
        };
        store.start(mover, on_failure)?;
        // The log knows it only now. A repaired log may have forgotten epochs of which segments still hold bodies.
        store.epoch = store.shared.log.epoch().max(known_epoch);
        Ok(store)
    }

    /// Starts the writer and the mover.
    fn start(&self, mover: Mover, on_failure: FailureHook) -> Result<(), Error> {
        let on_failure: Arc<FailureHook> = Arc::new(on_failure);
        let hook = Arc::clone(&on_failure);
        let shared = &self.shared;
        let follower = IndexFollower(Arc::clone(shared));
        shared
            .log
            .start(Box::new(follower), Box::new(move |error| hook(error)))?;
        let active = shared.log.files().active;
        let old: Vec<u64> = {
            let index = shared.index.lock();
            let files = index.files.keys().filter_map(|place| match place {
                Place::Log(file) if *file < active => Some(*file),
                _ => None,
            });
            files.collect()
        };
        old.into_iter().for_each(|file| shared.add_full(file));
        let own = Arc::clone(shared);
        let thread = thread::Builder::new()
            .name("journal-mover".to_owned())
            .spawn(move || keep_tidy(&own, mover, &on_failure))
            .map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))?;
        *self.mover.lock() = Some(thread);
        Ok(())
    }

    /// What replaying the log found at start.
    pub fn replayed(&self) -> Replayed {
        self.replayed
    }

    fn next_body(&self) -> u64 {
        let number = self.next_body.fetch_add(1, Ordering::Relaxed);
        u64::from(self.epoch) << 32 | u64::from(number)
    }
}

impl MessageStore for JournalStore {
    fn append(&self, batch: &mut Vec<Operation>) -> Ticket {
        if batch.is_empty() {
            return Ticket::NONE;
        }
        let enqueues = |operation: &Operation| matches!(operation, Operation::Enqueue { .. });
        let sync = match batch.iter().any(enqueues) {
            true => SyncWhen::Soon,
            false => SyncWhen::WhenAwaited,
        };
        ENCODER.with_borrow_mut(|encoder| {
            encoder.encode(batch, || self.next_body());
            batch.clear();
            let ticket = self.shared.log.append(&mut encoder.out, sync);
            encoder.out.clear();
            encoder.out.shrink_to(KEPT_BUFFER);
            ticket
        })
    }

    fn durable(&self) -> Ticket {
        self.shared.log.durable()
    }

    fn notify(&self, ticket: Ticket, completion: Arc<dyn Completion>) {
        self.shared.log.notify(ticket, completion);
    }

    fn backlog(&self, queue: QueueId) -> Result<Option<Backlog>, Error> {
        Ok(self.shared.index.lock().backlog(queue))
    }

    fn last_position(&self, queue: QueueId) -> Position {
        let index = self.shared.index.lock();
        let state = index.queues.get(&queue);
        state.map_or(0, QueueIndex::last_position)
    }

    fn read(
        &self,
        queue: QueueId,
        from: Position,
        to: Position,
        max_bytes: usize,
        each: &mut dyn FnMut(StoredMessage),
    ) -> Result<(), Error> {
        // A thread reads one backlog after another, and keeps its buffer.
        let mut reader = READER.take();
        let result = read(
            &self.shared,
            &mut reader,
            queue,
            (from, to),
            max_bytes,
            each,
        );
        reader.rest();
        READER.set(reader);
        Ok(result?)
    }

    fn readable(&self, queue: QueueId) -> Position {
        let index = self.shared.index.lock();
        index.queues.get(&queue).map_or(0, |state| state.written)
    }

    fn queues(&self) -> Result<Vec<QueueId>, Error> {
        let index = self.shared.index.lock();
        let alive = index
            .queues
            .iter()
            .filter(|(_, state)| state.runs.iter().any(|run| run.count > 0));
        let mut queues: Vec<_> = alive.map(|(queue, _)| *queue).collect();
        queues.sort_unstable();
        Ok(queues)
    }

    fn pending_bytes(&self) -> usize {
        self.shared.log.pending_bytes()
    }

    fn blocked(&self) -> Option<String> {
        self.shared.log.blocked().or_else(|| self.shared.blocked())
    }

    fn statistics(&self) -> Option<JournalStatistics> {
        Some(JournalStatistics::of(&self.shared))
    }

    fn copy_to(&self, directory: &Path) -> Result<(), Error> {
        copying::copy_to(&self.shared, directory)
    }

    fn close(&self) {
        self.shared.begin_close();
        if let Some(mover) = self.mover.lock().take()
            && mover.thread().id() != thread::current().id()
            && mover.join().is_err()
        {
            tracing::error!("the journal's mover ended with a panic");
        }
        self.shared.log.close();
    }
}

impl Drop for JournalStore {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads for [`MessageStore::read`].
pub(super) fn read(
    shared: &Shared,
    reader: &mut Reader,
    queue: QueueId,
    (mut from, to): (Position, Position),
    max_bytes: usize,
    each: &mut dyn FnMut(StoredMessage),
) -> Result<(), Trouble> {
    let mut bytes = 0;
    let mut bodies = Reader::default();
    let mut missed = None;
    while from <= to && bytes < max_bytes {
        let range = Range {
            queue,
            within: &|_| true,
            from,
            to,
            max_bytes: max_bytes - bytes,
        };
        let next = reader.read(shared, &range, &mut |found| {
            let record = &found.record;
            let Some(message) = bodies.message(shared, record.content)? else {
                let again = lost_its_body(shared, queue, record);
                let position = again.then_some(record.position);
                if again && std::mem::replace(&mut missed, position) == position {
                    return Err(Error::Internal(format!(
                        "the shared body of message {} of queue {} is missing",
                        record.position, queue.0
                    ))
                    .into());
                }
                return Ok(!again);
            };
            missed = None;
            bytes += message.size().max(1);
            each(StoredMessage {
                position: found.record.position,
                message,
                enqueued_at: found.record.entered,
                delivery_count: found.delivery_count,
                redelivered: found.redelivered,
            });
            Ok(bytes < max_bytes)
        })?;
        let Some(next) = missed.or(next) else { break };
        from = next;
    }
    Ok(())
}

/// Whether a live message's shared body is gone: the message was moved while it was read, and has a copy now.
fn lost_its_body(shared: &Shared, queue: QueueId, record: &Record<'_>) -> bool {
    let Content::Shared(id) = record.content else {
        return false;
    };
    let index = shared.index.lock();
    let queue = index.queues.get(&queue);
    !index.bodies.contains_key(&id) && queue.is_some_and(|queue| queue.contains(record.position))
}

/// The mover's thread.
fn keep_tidy(shared: &Shared, mut mover: Mover, on_failure: &FailureHook) {
    loop {
        let chore = shared.next_chore();
        let done = match &chore {
            Chore::Checkpoint(full) => mover.checkpoint(full),
            Chore::Copy => mover.copy(shared.take_requests()),
            Chore::Close => mover.checkpoint(&[]),
        };
        match done {
            Ok(()) if shared.set_blocked(None) => {
                tracing::info!("there is room on the disk again, the journal goes on");
            }
            Ok(()) => {}
            Err(Trouble::Full(reason)) => {
                if shared.set_blocked(Some(reason.clone())) {
                    tracing::error!("the disk is full, publishers are blocked: {reason}");
                }
                shared.pause();
            }
            Err(Trouble::Failed(error)) => {
                if chore == Chore::Close {
                    tracing::warn!("the journal was closed without a last checkpoint: {error}");
                } else {
                    on_failure(error);
                }
                return;
            }
        }
        if chore == Chore::Close {
            return;
        }
    }
}

/// Follows the log from `log_start` on, and tells how it goes if that takes long.
fn replay(log: &dyn Log, log_start: u64, index: &mut Index) -> Result<Replayed, Error> {
    let started = Instant::now();
    let replayed = log.replay(log_start, &mut |at, items| {
        let applied = index.apply(at.file, at.offset, items);
        applied.map_err(|what| {
            Error::Internal(format!(
                "file {} of the log, group at byte {}: {what}; run `leveret journal verify`",
                at.file, at.offset
            ))
        })
    })?;
    let queues = index.queues.len();
    tracing::info!(
        groups = replayed.groups,
        bytes = replayed.bytes,
        queues,
        clean = replayed.clean,
        milliseconds = started.elapsed().as_millis() as u64,
        "replayed the journal's log"
    );
    Ok(replayed)
}

pub(super) fn check_segments(
    files: &dyn FileSystem,
    directory: &Path,
    index: &Index,
) -> Result<(), Error> {
    let names: BTreeSet<u64> = segments(files, directory)?.into_iter().collect();
    for place in index.files.keys() {
        if let Place::Segment(number) = place
            && !names.contains(number)
        {
            return Err(Error::Internal(format!(
                "{} is missing, which the manifest names; bring it back from a backup, or run `leveret journal repair`, \
                 which goes on without its messages",
                segment::path(directory, *number).display()
            )));
        }
    }
    Ok(())
}

/// Removes segments that were not finished or not needed any more when the last process ended. Returns the number for
/// the next segment.
pub(super) fn remove_leftovers(
    files: &dyn FileSystem,
    directory: &Path,
    index: &Index,
) -> Result<u64, Error> {
    let mut next = 1;
    for number in segments(files, directory)? {
        next = next.max(number + 1);
        if !index.files.contains_key(&Place::Segment(number)) {
            let path = segment::path(directory, number);
            files.remove(&path).doing("remove", &path)?;
        }
    }
    let known = index.files.keys().filter_map(|place| match place {
        Place::Segment(number) => Some(number + 1),
        Place::Log(_) => None,
    });
    Ok(known.fold(next, u64::max))
}

pub(super) fn segments(files: &dyn FileSystem, directory: &Path) -> Result<Vec<u64>, Error> {
    let names = files.list(directory).doing("list", directory)?;
    Ok(names
        .iter()
        .filter_map(|name| segment::number(name))
        .collect())
}
