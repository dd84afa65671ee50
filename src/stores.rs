//! Opens what the broker keeps on disk, and starts the core over it.

use std::{path::Path, sync::Arc};

use broker_core::{
    broker::Broker,
    definitions::SledDefinitions,
    store::{FailureHook, SledDatabase, SledStore},
    users::FirstStart,
};

use crate::{config::Engine, error::Error};

/// The directory of the sled database within the data directory.
const SLED: &str = "sled";

/// Brings the broker back as it was, or makes what `first` says.
///
/// # Errors
/// The data cannot be read, or was written by something else.
pub fn open(data_dir: &Path, engine: Engine, first: &FirstStart) -> Result<Arc<Broker>, Error> {
    let database = SledDatabase::open(&data_dir.join(SLED))?;
    let definitions = Arc::new(SledDefinitions::open(&database, hook("definitions"))?);
    let store = match engine {
        Engine::Sled => Arc::new(SledStore::open(&database, hook("messages"))?),
    };
    Ok(Broker::start_with(store, definitions, first)?)
}

/// A write or a sync that failed is never tried again: what the system then says of the disk cannot be trusted. Nothing
/// more is confirmed, and the process ends.
fn hook(what: &'static str) -> FailureHook {
    Box::new(move |error| {
        tracing::error!("cannot write {what} to disk, stopping: {error}");
        std::process::exit(1);
    })
}
