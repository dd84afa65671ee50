//! Programs for Node.js and the packages that they need: installed once below `target/interop`, exactly as a
//! `package-lock.json` says, under a file lock so that tests in parallel do not install them twice.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A folder `name` with `node_modules` and the programs of `source` beside it, where Node looks for modules.
pub fn folder(name: &str, source: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let folder = target.expect("target").join("interop").join(name);
    fs::create_dir_all(&folder).expect("a folder below target");
    let _lock = lock(&folder.with_extension("lock"));
    for entry in fs::read_dir(source).expect("the programs") {
        let program = entry.expect("a directory entry").path();
        let file = program.file_name().expect("a file name");
        replace(&folder.join(file), &read(&program));
    }
    let wanted = read(&source.join("package-lock.json"));
    let installed = folder.join("installed.json");
    if fs::read_to_string(&installed).ok().as_deref() != Some(&wanted) {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&folder);
        let needed = "Node.js 20 or newer with npm (Debian: apt install nodejs npm)";
        install(&mut npm, needed);
        // Last, so that an interrupted installation starts over.
        fs::write(&installed, wanted).expect("to note what is installed");
    }
    folder
}

/// Held until dropped, also against other processes.
pub fn lock(path: &Path) -> File {
    fs::create_dir_all(path.parent().expect("a parent")).expect("a folder below target");
    let file = File::create(path).expect("a lock file");
    file.lock().expect("the lock");
    file
}

/// The text of a file.
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Writes only what differs: another test may be running the program right now.
fn replace(path: &Path, content: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(content) {
        fs::write(path, content).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// Runs a command that installs something; a failure says what the tests need.
pub fn install(command: &mut Command, needed: &str) {
    let name = format!("{command:?}");
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{name}: {e}. The tests need {needed}."));
    assert!(
        status.success(),
        "{name} failed. The tests need {needed}.\n{}\n{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
}
