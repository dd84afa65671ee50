//! The file `format` of a data directory: which layout it has, and who wrote it last.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::Deserialize;

/// The name of the file.
pub const NAME: &str = "format";

/// What the file says. A later format may say more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Format {
    /// The layout.
    #[serde(rename = "format")]
    pub(super) number: u32,
    /// The version of Leveret that wrote it; since format 2.
    #[serde(default)]
    pub(super) written_by: String,
}

impl Format {
    /// Layout `number`, written by this program.
    pub(super) fn of(number: u32) -> Self {
        let written_by = match number {
            0..=1 => String::new(),
            _ => env!("CARGO_PKG_VERSION").to_owned(),
        };
        Self { number, written_by }
    }

    /// Reads it. None if there is none: the directory is new.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence that begins with the directory.
    pub(super) fn read(directory: &Path) -> io::Result<Option<Result<Self, String>>> {
        let text = match fs::read_to_string(directory.join(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let unknown = |_| {
            let text = text.trim();
            format!("has an unknown format: its file \"{NAME}\" says {text:?}")
        };
        Ok(Some(toml::from_str(&text).map_err(unknown)))
    }

    /// Writes it beside and renames, so that a crash leaves the whole file or none.
    pub(super) fn write(&self, directory: &Path) -> io::Result<()> {
        let draft = directory.join("format.new");
        let mut file = File::create(&draft)?;
        writeln!(file, "format = {}", self.number)?;
        if !self.written_by.is_empty() {
            writeln!(file, "written_by = \"{}\"", self.written_by)?;
        }
        file.sync_all()?;
        fs::rename(&draft, directory.join(NAME))?;
        File::open(directory)?.sync_all()
    }
}
