//! Opens what the broker keeps on disk, and starts the core over it.

use std::{path::Path, sync::Arc};

use broker_core::{
    broker::Broker,
    definitions::SledDefinitions,
    journal::{
        FileLog, JournalStore,
        file_system::{Disk, FileSystem},
        log::{Log, LogOptions},
    },
    paging::Pager,
    spill::Spill,
    store::{FailureHook, MessageStore, SledDatabase, SledStore},
    users::FirstStart,
};

use crate::{
    config::{Engine, Memory, Store},
    error::Error,
    machine,
};

/// The directory of the sled database within the data directory.
pub const SLED: &str = "sled";
/// The directory of the journal.
pub const JOURNAL: &str = "journal";

/// The directory of messages that found no room in memory.
const SPILL: &str = "spill";

/// Reckoned with where the system does not tell how much memory it has.
const MEMORY_UNKNOWN: u64 = 1024 * 1024 * 1024;

/// Brings the broker back as it was, or makes what `first` says.
///
/// # Errors
/// The data cannot be read, or was written by something else.
pub fn open(
    data_dir: &Path,
    options: &Store,
    memory: &Memory,
    first: &FirstStart,
) -> Result<Arc<Broker>, Error> {
    let database = SledDatabase::open(&data_dir.join(SLED))?;
    let definitions = Arc::new(SledDefinitions::open(&database, hook("definitions"))?);
    let store: Arc<dyn MessageStore> = match options.engine {
        Engine::Sled => {
            check_journal_is_empty(data_dir, options)?;
            tracing::info!("messages are kept by sled; a confirm means synced to disk");
            Arc::new(SledStore::open(&database, hook("messages"))?)
        }
        Engine::Journal => {
            check_sled_is_empty(data_dir, &database)?;
            let durability = options.durability();
            tracing::info!("messages are kept by the journal; a confirm means {durability}");
            Arc::new(open_journal(data_dir, options)?)
        }
    };
    let budget = memory
        .message_budget
        .bytes(machine::memory().unwrap_or(MEMORY_UNKNOWN));
    let spill = Spill::open(Arc::new(Disk), &data_dir.join(SPILL))?;
    let pager = Pager::new(usize::try_from(budget).unwrap_or(usize::MAX), Some(spill));
    Ok(Broker::start_with(store, definitions, pager, first)?)
}

fn open_journal(data_dir: &Path, options: &Store) -> Result<JournalStore, Error> {
    let files: Arc<dyn FileSystem> = Arc::new(Disk);
    let directory = data_dir.join(JOURNAL);
    let log_options = LogOptions {
        file_size: options.log_file_size,
        durability: options.durability(),
        ..LogOptions::default()
    };
    let log = FileLog::open(Arc::clone(&files), &directory, log_options)?;
    let log: Arc<dyn Log> = Arc::new(log);
    let size = options.log_file_size;
    Ok(JournalStore::open(
        files,
        &directory,
        log,
        size,
        hook("messages"),
    )?)
}

/// Messages that the other engine holds would seem to be lost.
fn check_sled_is_empty(data_dir: &Path, database: &SledDatabase) -> Result<(), Error> {
    match SledStore::holds_messages(database)? {
        false => Ok(()),
        true => Err(other_engine(data_dir, "sled")),
    }
}

fn check_journal_is_empty(data_dir: &Path, options: &Store) -> Result<(), Error> {
    if !data_dir.join(JOURNAL).exists() {
        return Ok(());
    }
    let journal = open_journal(data_dir, options)?;
    let empty = journal.queues()?.is_empty();
    journal.close();
    match empty {
        true => Ok(()),
        false => Err(other_engine(data_dir, "journal")),
    }
}

fn other_engine(data_dir: &Path, engine: &str) -> Error {
    Error::DataDirFormat {
        path: data_dir.to_owned(),
        problem: format!(
            "holds messages that were stored with store.engine = \"{engine}\"; start with that engine and let consumers \
             drain the queues, then change it"
        ),
    }
}

/// A write or a sync that failed is never tried again: what the system then says of the disk cannot be trusted. Nothing
/// more is confirmed, and the process ends.
fn hook(what: &'static str) -> FailureHook {
    Box::new(move |error| {
        tracing::error!("cannot write {what} to disk, stopping: {error}");
        std::process::exit(1);
    })
}
