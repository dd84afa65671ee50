//! Damaged logs are made whole again: what is lost is said, and all else is kept.

use std::{fs, path::Path};

use broker_core::journal::{
    FileLog, Survey, exercise_reader,
    log::{Damage, Log, LogPosition},
};
use proptest::prelude::*;

use crate::flips::{random, with_flips};
use crate::log_damage::{HEADER, Written, path, written};
use crate::log_support::{batches, disk, open, reread, small_files};

fn repair(folder: &Path) -> Vec<Damage> {
    let log = FileLog::open(disk(), folder, small_files()).unwrap();
    log.repair(0).unwrap()
}

/// All batches that are whole, and what is damaged; changes nothing.
fn survey(folder: &Path) -> (Vec<u64>, Survey) {
    let log = FileLog::open(disk(), folder, small_files()).unwrap();
    let mut found = Vec::new();
    let survey = log.survey(0, &mut |_, items| {
        found.extend(batches(items));
        Ok(())
    });
    (found, survey.unwrap())
}

/// Changes a byte in the header or the items of some groups.
fn damage(log: &Written, groups: &[usize], within: u64) {
    for group in groups {
        let (at, _) = log.groups[*group];
        let path = path(log.folder.path(), at.file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[(at.offset + within) as usize] ^= 1;
        fs::write(&path, &bytes).unwrap();
    }
}

/// Repairs, expects exactly these batches to be lost, and goes on with the log.
fn check(log: &Written, lost: &[u64]) -> Vec<Damage> {
    let folder = log.folder.path();
    let (whole, surveyed) = survey(folder);
    let found = repair(folder);
    assert_eq!(surveyed.damage, found);
    assert_eq!(surveyed.garbage, []);
    let kept: Vec<_> = (0..log.groups.len() as u64)
        .filter(|number| !lost.contains(number))
        .collect();
    let opened = open(&disk(), folder, &small_files(), 0).unwrap();
    assert_eq!(opened.found, kept, "without {lost:?}");
    assert_eq!(whole, kept, "without {lost:?}");
    assert!(opened.replayed.clean);
    opened.start().unwrap();
    assert!(opened.commit(100, 10));
    opened.log.close();
    assert_eq!(repair(folder), []);
    assert_eq!(reread(folder).1, [kept.as_slice(), &[100]].concat());
    found
}

#[test]
fn whole_log_is_left_alone() {
    let log = written(9, 400, true);
    assert_eq!(check(&log, &[]), []);
}

#[test]
fn repair_loses_damaged_groups_only() {
    // Four of them fill a file.
    for lost in [
        &[0][..],
        &[1],
        &[3],
        &[4],
        &[5, 6],
        &[3, 4],
        &[0, 1, 2, 3],
        &[0, 2, 4, 6, 8],
    ] {
        for within in [0, 30, HEADER + 7] {
            let log = written(11, 400, true);
            damage(&log, lost, within);
            let numbers: Vec<_> = lost.iter().map(|group| *group as u64).collect();
            let found = check(&log, &numbers);
            let first = log.groups[lost[0]].0;
            assert_eq!(found[0].at, first, "{lost:?}");
            assert!(!found[0].missing);
        }
    }
}

#[test]
fn repair_says_how_much_is_lost() {
    let log = written(11, 400, true);
    damage(&log, &[1, 5], 100);
    let [(first, _), (second, _)] = [log.groups[1], log.groups[5]];
    let size = log.groups[2].0.offset - first.offset;
    let lost = |at: LogPosition| Damage {
        at,
        bytes: size,
        missing: false,
    };
    assert_eq!(check(&log, &[1, 5]), [lost(first), lost(second)]);
}

#[test]
fn repair_bridges_missing_and_empty_files() {
    for files in [&[1][..], &[2], &[2, 3], &[1, 2, 3]] {
        for empty in [false, true] {
            let log = written(16, 400, true);
            assert_eq!(log.groups[15].0.file, 4);
            for file in files {
                let path = path(log.folder.path(), *file);
                match empty {
                    true => fs::write(&path, vec![0; 2_000]).unwrap(),
                    false => fs::remove_file(&path).unwrap(),
                }
            }
            let lost = |(number, (at, _)): (u64, &(LogPosition, u64))| {
                files.contains(&at.file).then_some(number)
            };
            let lost: Vec<_> = (0..).zip(&log.groups).filter_map(lost).collect();
            let found = check(&log, &lost);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].missing, !empty);
        }
    }
}

#[test]
fn log_of_which_nothing_is_left_begins_anew() {
    let log = written(3, 400, true);
    fs::remove_file(path(log.folder.path(), 1)).unwrap();
    let file_log = FileLog::open(disk(), log.folder.path(), small_files()).unwrap();
    let found = file_log.repair(7).unwrap();
    assert!(found.len() == 1 && found[0].missing);
    assert_eq!(found[0].at.file, 7);
    file_log
        .replay(7, &mut |_, _| panic!("there is nothing"))
        .unwrap();
}

/// The reader's corpus for fuzzing, and files that it does not hold.
#[test]
fn corpus_of_the_fuzz_target_replays() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/journal_reader");
    let mut replayed = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        exercise_reader(&fs::read(path).unwrap());
        replayed += 1;
    }
    assert!(replayed > 0, "the corpus is empty");
}

/// The start of a corpus file from a real log: several files of 512 bytes.
fn real_log(groups: &[usize], close: bool) -> Vec<u8> {
    use crate::log_support::small_files;
    let folder = tempfile::tempdir().unwrap();
    let mut options = small_files();
    options.file_size = 512;
    let opened = open(&disk(), folder.path(), &options, 0).unwrap();
    opened.start().unwrap();
    for (number, length) in groups.iter().enumerate() {
        assert!(opened.commit(number as u64, *length));
    }
    if close {
        opened.log.close();
    }
    let files = 1..=opened.log.files().active;
    let mut bytes = vec![1];
    for file in files {
        bytes.extend(fs::read(path(folder.path(), file)).unwrap());
    }
    bytes
}

#[test]
#[ignore = "writes the seeds of the corpus"]
fn write_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/journal_reader");
    fs::create_dir_all(&corpus).unwrap();
    let logs = [
        ("empty", vec![]),
        ("one_group", real_log(&[10], false)),
        ("closed", real_log(&[10, 20, 0], true)),
        ("two_files", real_log(&[100, 100, 100, 100, 100], false)),
        ("two_files_closed", real_log(&[300, 30, 200, 40], true)),
        ("torn", real_log(&[100, 100], false)[..300].to_vec()),
    ];
    for (name, bytes) in logs {
        fs::write(corpus.join(name), bytes).unwrap();
    }
}

#[test]
fn real_logs_with_changes_are_read_repaired_and_written_on() {
    let mut random = random();
    let logs = [
        real_log(&[10, 20, 0, 30], true),
        real_log(&[100, 100, 100, 100, 100], false),
        real_log(&[300, 30, 200, 40, 40, 300], true),
    ];
    for log in logs {
        with_flips(&log, 500, &mut random, exercise_reader);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_without_panic(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
        exercise_reader(&data);
    }
}
