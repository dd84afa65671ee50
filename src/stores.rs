//! Opens what the broker keeps on disk, and starts the core over it.

use std::{path::Path, sync::Arc};

use broker_core::{
    broker::Broker,
    definitions::SledDefinitions,
    journal::file_system::Disk,
    paging::Pager,
    spill::Spill,
    store::{FailureHook, SledDatabase, SledStore},
    users::FirstStart,
};
use sysinfo::{MemoryRefreshKind, System};

use crate::{
    config::{Engine, Memory},
    error::Error,
};

/// The directory of the sled database within the data directory.
const SLED: &str = "sled";

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
    engine: Engine,
    memory: &Memory,
    first: &FirstStart,
) -> Result<Arc<Broker>, Error> {
    let database = SledDatabase::open(&data_dir.join(SLED))?;
    let definitions = Arc::new(SledDefinitions::open(&database, hook("definitions"))?);
    let store = match engine {
        Engine::Sled => Arc::new(SledStore::open(&database, hook("messages"))?),
    };
    let budget = memory.message_budget.bytes(memory_total());
    let spill = Spill::open(Arc::new(Disk), &data_dir.join(SPILL))?;
    let pager = Pager::new(usize::try_from(budget).unwrap_or(usize::MAX), Some(spill));
    Ok(Broker::start_with(store, definitions, pager, first)?)
}

/// The machine's memory in bytes, or what a control group (a container) leaves of it.
fn memory_total() -> u64 {
    let Ok(mut system) = System::new() else {
        return MEMORY_UNKNOWN;
    };
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let group = system.cgroup_limits().map(|limits| limits.total_memory);
    match group.filter(|&total| total > 0) {
        Some(total) => total.min(system.total_memory()),
        None if system.total_memory() > 0 => system.total_memory(),
        None => MEMORY_UNKNOWN,
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
