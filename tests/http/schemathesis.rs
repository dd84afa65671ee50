//! Schemathesis makes requests out of the OpenAPI document, sensible ones and others: none may be answered with 5xx, and
//! every answer has to be one that the document describes.
//!
//! It gets a virtual environment below `target/http` with exactly the versions in `schemathesis/requirements.txt`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use crate::{openapi::furnished, requests::http};

/// Generated requests for each operation, the same each time. All of them together take about half a minute.
const EXAMPLES: &str = "6";

/// What is left out: wrong passwords make the broker refuse the right ones of the same address for some time, and a check
/// whether something listens is answered with 503 when nothing does.
const LEFT_OUT: &str = "/api/(login|leveret/session)$|/health/checks/(port|protocol)-listener/";

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/http/schemathesis")
        .join(name)
}

/// The program, installed if it is not there.
fn schemathesis() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let folder = target.join("http/schemathesis");
    fs::create_dir_all(target.join("http")).unwrap();
    let lock = File::create(target.join("http/schemathesis.lock")).unwrap();
    lock.lock().unwrap();
    let wanted = fs::read_to_string(source("requirements.txt")).unwrap();
    let installed = folder.join("requirements.txt");
    if fs::read_to_string(&installed).ok().as_ref() != Some(&wanted) {
        let mut venv = Command::new("python3");
        run(
            venv.args(["-m", "venv", "--clear"]).arg(&folder),
            "apt-get install python3-venv",
        );
        let mut pip = Command::new(folder.join("bin/python"));
        let pip = pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "-r"]);
        run(
            pip.arg(source("requirements.txt")),
            "a package index for pip, such as pypi.org",
        );
        // Last, so that an interrupted installation starts over.
        fs::write(installed, wanted).unwrap();
    }
    folder.join("bin/schemathesis")
}

fn run(command: &mut Command, needed: &str) -> String {
    let name = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output();
    let output: Output =
        output.unwrap_or_else(|error| panic!("{name}: {error}. It needs {needed}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{name}\nIt needs {needed}\n{text}");
    text
}

/// How requests are made and what is looked at. Nothing is shrunk, so that a failure comes soon.
const OPTIONS: &str = "--auth guest:guest --phases fuzzing --generation-deterministic --no-shrink --continue-on-failure \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --suppress-health-check all --warnings off --no-color";

#[test]
fn no_request_is_answered_with_5xx_or_otherwise_than_described() {
    let program = schemathesis();
    let (broker, _client) = furnished();
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .env("SCHEMATHESIS_HOOKS", source("hooks.py"))
        .env("PYTHONPATH", source(""))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder.path())
        .arg("run")
        .arg(format!("http://{}/api/openapi.json", http(&broker)))
        .args(OPTIONS.split_whitespace())
        .args(["--max-examples", EXAMPLES])
        .args(["--exclude-path-regex", LEFT_OUT])
        .args(["--exclude-tag", "Not available"]);
    run(&mut command, "answers that are as the document says");
}
