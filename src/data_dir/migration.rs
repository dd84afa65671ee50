//! Brings the data directory of an older Leveret into the layout of this one, step by step.
//!
//! Each step leads from one format to the next, and says which files and directories it changes. Those are copied to
//! `before-format-N` first, and stay there until the operator removes them: whoever wants to go back to the older version
//! puts them in place again. Only when a step is done does the file `format` say so; a step that was interrupted is taken
//! again, so each must be able to meet its own half-done work.

use std::fs;
use std::io;
use std::path::Path;

use super::format::{self, Format};
use crate::copy;

/// The layout that this program reads and writes.
pub(super) const CURRENT: u32 = 2;

/// From one format to the next.
struct Step {
    /// The format that it leads to.
    to: u32,
    /// What it changes, by the name in the data directory. What is missing is passed over.
    changes: &'static [&'static str],
    /// Changes it.
    carry_out: fn(&Path) -> io::Result<()>,
}

const STEPS: [Step; 1] = [
    // The file `format` names the version that wrote the directory. Nothing else changes.
    Step {
        to: 2,
        changes: &[format::NAME],
        carry_out: |_| Ok(()),
    },
];

/// Takes all steps from format `from` on.
///
/// # Errors
/// Something cannot be copied or changed; the next start goes on from there.
pub(super) fn migrate(directory: &Path, from: u32) -> io::Result<()> {
    for step in STEPS.iter().filter(|step| step.to > from) {
        let kept = format!("before-format-{}", step.to);
        keep(directory, &kept, step.changes)?;
        (step.carry_out)(directory)?;
        Format::of(step.to).write(directory)?;
        tracing::warn!(
            "the data directory has format {} now; what was changed is kept as it was in {}",
            step.to,
            directory.join(kept).display()
        );
    }
    Ok(())
}

/// Copies what is going to be changed. A copy that is there was made before the change that was interrupted.
fn keep(directory: &Path, name: &str, changes: &[&str]) -> io::Result<()> {
    let (kept, draft) = (directory.join(name), directory.join(format!("{name}.new")));
    if kept.exists() {
        return Ok(());
    }
    if draft.exists() {
        fs::remove_dir_all(&draft)?;
    }
    fs::create_dir(&draft)?;
    for change in changes {
        let from = directory.join(change);
        if from.exists() {
            copy::tree(&from, &draft.join(change))?;
        }
    }
    copy::sync_tree(&draft)?;
    fs::rename(&draft, &kept)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_lead_to_the_current_format_one_by_one() {
        let numbers: Vec<u32> = STEPS.iter().map(|step| step.to).collect();
        assert_eq!(numbers, (2..=CURRENT).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_changed_is_kept_once_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("data/deep")).unwrap();
        fs::write(folder.path().join("data/deep/file"), "old").unwrap();
        // A copy that a crash left half done.
        fs::create_dir(folder.path().join("kept.new")).unwrap();
        fs::write(folder.path().join("kept.new/half"), "x").unwrap();
        keep(folder.path(), "kept", &["data", "missing"]).unwrap();
        fs::write(folder.path().join("data/deep/file"), "half changed").unwrap();
        keep(folder.path(), "kept", &["data", "missing"]).unwrap();
        let kept = fs::read_to_string(folder.path().join("kept/data/deep/file")).unwrap();
        assert_eq!(kept, "old");
        assert!(!folder.path().join("kept/half").exists());
        assert!(!folder.path().join("kept.new").exists());
    }
}
