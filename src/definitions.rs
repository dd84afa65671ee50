//! Importing definitions files when the broker starts, before anybody can connect
//! (<https://www.rabbitmq.com/docs/definitions#import-on-boot>).

use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use broker_core::{broker::Broker, definitions_file::DefinitionsFile, users::BROKER};
use sha2::{Digest as _, Sha256};

use crate::{
    config::{Definitions, ImportWhen},
    error::Error,
};

/// The global parameter that holds the hash of what was imported last. Names that start with `internal` are not
/// exported.
const IMPORTED: &str = "internal_imported_definitions_hash";

/// Imports what the configuration names: a file, or the `.json` files of a directory in the order of their names. A file
/// with a fault changes nothing and stops the start.
///
/// # Errors
/// [`Error::Definitions`] with the file and the fault.
pub fn import(broker: &Broker, options: &Definitions) -> Result<(), Error> {
    if options.import_file.is_empty() {
        return Ok(());
    }
    let mut files = Vec::new();
    for path in files_of(Path::new(&options.import_file))? {
        let bytes = fs::read(&path).map_err(|error| fault(&path, error))?;
        files.push((path, bytes));
    }
    let hash = hash(&files);
    let last = broker.global_parameter(IMPORTED);
    if options.import_when == ImportWhen::Changed && last == Some(hash.as_str().into()) {
        tracing::info!("definitions are those that were imported before");
        return Ok(());
    }
    for (path, bytes) in &files {
        let file = DefinitionsFile::parse(bytes).map_err(|error| fault(path, error))?;
        let imported = broker.import_definitions(&file, None, BROKER);
        let changed = imported.map_err(|error| fault(path, error))?.changed;
        tracing::info!(changed, "definitions imported from {}", path.display());
    }
    if last != Some(hash.as_str().into()) {
        broker.set_global_parameter(IMPORTED, hash.into(), BROKER)?;
    }
    Ok(())
}

fn fault(path: &Path, problem: impl ToString) -> Error {
    Error::Definitions {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|error| fault(path, error))?;
    let files = entries.into_iter().map(|entry| entry.path());
    let mut files: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|it| it == "json"))
        .collect();
    files.sort();
    Ok(files)
}

fn hash(files: &[(PathBuf, Vec<u8>)]) -> String {
    let mut hash = Sha256::new();
    for (_, bytes) in files {
        hash.update(bytes.len().to_be_bytes());
        hash.update(bytes);
    }
    hash.finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
