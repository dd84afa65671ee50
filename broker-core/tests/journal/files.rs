//! Arbitrary and changed bytes as the contents of a journal's files: see the fuzz target `journal_files`.

use std::{collections::BTreeMap, fs, path::Path};

use broker_core::journal::{exercise_files, exercise_seed};
use proptest::prelude::*;

use crate::{
    allocations::largest,
    flips::{random, with_flips},
    store_script::{Ending, Script},
};

/// What any journal costs, and what each byte of its files may cost: a bit of one becomes a word at most.
const FREE: usize = 256 * 1024;
const FOR_A_BYTE: usize = 64;

fn exercise(data: &[u8]) {
    let size = largest(|| exercise_files(data));
    let limit = FREE + FOR_A_BYTE * data.len();
    assert!(size <= limit, "{size} bytes at once for {}", data.len());
}

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/journal_files")
}

/// Journals after a few batches.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let mut script = Script::new(3);
    for batches in [3, 4, 8, 10, 20, 30] {
        assert_eq!(script.session(batches), Ending::Done);
        let entries = fs::read_dir(script.directory()).unwrap().flatten();
        let files: BTreeMap<_, _> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .map(|name| {
                (
                    name.clone(),
                    fs::read(script.directory().join(name)).unwrap(),
                )
            })
            .collect();
        let logs = files.keys().find_map(|name| name.strip_prefix("log-"));
        let first = logs.and_then(|name| name.strip_suffix(".log"));
        seeds.push(exercise_seed(&files, first.unwrap().parse().unwrap()));
    }
    seeds
}

#[test]
fn corpus_of_the_target_replays() {
    let mut replayed = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        exercise(&fs::read(path).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "the corpus is empty");
}

#[test]
#[ignore = "writes the seeds of the corpus"]
fn write_seeds() {
    fs::create_dir_all(corpus()).unwrap();
    for (number, seed) in (1..).zip(seeds()) {
        if seed.len() < 20_000 {
            fs::write(corpus().join(format!("journal_{number}")), seed).unwrap();
        }
    }
}

#[test]
fn real_journals_with_changes_are_verified_read_and_repaired() {
    let mut random = random();
    // Those of the corpus: a journal that is written anew differs from run to run.
    let entries = fs::read_dir(corpus()).unwrap().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        with_flips(&fs::read(path).unwrap(), 40, &mut random, exercise);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_journal(data in proptest::collection::vec(any::<u8>(), 0..600)) {
        exercise(&data);
    }
}
