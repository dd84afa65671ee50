//! Every operation of a scripted use of the whole journal (log, segments, manifest, mover) goes wrong once, in every way.
//!
//! One thread appends, so what a start finds must be what the first so many batches lead to: at least those whose
//! tickets completed, at most those that were appended. That says everything at once: nothing promised is lost, nothing
//! settled and synced comes back, batches are whole or absent, nothing is invented. The mover has a thread of its own,
//! which makes the order of operations vary a little between runs; more positions are tried than were counted.
//!
//! Where confirms do not wait for syncs (`interval`, `none`) the same holds after the end of a process. A power cut leaves
//! what some first so many batches lead to: at least those that were complete at the last sync, and at least what the
//! last start found or the last close left.
//!
//! A sample of the positions is tried, the same each time; `STORE_FAULTS=all` tries all of them with more seeds,
//! `STORE_FAULTS=<number>` one.

use std::{
    panic::{RefUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use broker_core::store::Durability;

use crate::{
    faulty_disk::{EIO, ENOSPC, Fault},
    store_script::{Ending, Script},
};

/// By which the sample is chosen, and what is left after a power cut.
const SEED: u64 = 20_778;

/// Threads that try faults: some of their time they wait.
const THREADS: usize = 8;

/// Positions that are tried of each kind of fault, unless all are.
const SAMPLE: usize = 60;

/// The same where nothing waits for syncs.
const UNSYNCED_SAMPLE: usize = 20;

/// Confirmed after the write. The interval is short, so that there are syncs in the midst of the script.
const UNSYNCED: [Durability; 2] = [
    Durability::Interval(Duration::from_millis(2)),
    Durability::None,
];

#[derive(Debug, Clone, Copy)]
enum After {
    Restart,
    PowerCut,
}

impl After {
    fn happens_to(self, script: &mut Script) {
        match self {
            Self::Restart => script.disk.restart(),
            Self::PowerCut => script.power_cut(),
        }
    }
}

/// Runs the script with one fault. Returns the operation that went wrong.
fn run(mode: Durability, operation: usize, fault: Fault, after: After, seed: u64) -> String {
    let mut script = Script::with(mode, seed);
    script.disk.set_fault(operation, fault);
    let ending = script.play();
    let hit = script.disk.operation(operation);
    let hit = hit.unwrap_or_else(|| "nothing".to_owned());
    // The manifest can wait for the next start, which finds all of it in the log.
    let closing = script.closings.iter().any(|c| c.contains(&operation));
    if !(closing && ending == Ending::Done) {
        check_ending(mode, &ending, &hit, fault);
    }
    after.happens_to(&mut script);
    script.check_and_go_on(&hit);
    hit
}

/// What a user of the store must see of the fault.
fn check_ending(mode: Durability, ending: &Ending, hit: &str, fault: Fault) {
    let (Fault::Error(code) | Fault::Short(code)) = fault else {
        return;
    };
    // A start that fails says so itself, and is tried again by whoever looks after the broker.
    if let Ending::NotOpened(error) = ending {
        assert!(hit != "nothing", "{error}");
        return;
    }
    let failed = matches!(ending, Ending::Failed(_) | Ending::FailedAtClose);
    if code == EIO {
        assert!(failed || hit == "nothing", "{ending:?} in spite of: {hit}");
    } else if !(hit.starts_with("sync log-")
        || mode != Durability::Sync && hit.starts_with("sync directory"))
    {
        assert_eq!(*ending, Ending::Done, "a full disk is waited for: {hit}");
    } else {
        // What a failed sync left on disk cannot be known, whatever the reason.
        assert!(failed || *ending == Ending::Done, "{ending:?}");
    }
}

/// A process ends at one operation, and the machine of the next loses power soon after.
fn run_twice(mode: Durability, operation: usize, seed: u64) -> String {
    let mut script = Script::with(mode, seed);
    script.disk.set_fault(operation, Fault::Crash);
    let _ = script.play();
    let hit = script.disk.operation(operation);
    let hit = hit.unwrap_or_else(|| "nothing".to_owned());
    script.disk.restart();
    let soon = script.disk.count() + seed as usize * 7 % 40;
    script.disk.set_fault(soon, Fault::Crash);
    let _ = script.session(20);
    let then = script.disk.operation(soon);
    script.power_cut();
    script.check_and_go_on(&format!("{hit}, then {then:?}"));
    hit
}

/// How many operations the script has at most. Also plays it without a fault.
fn count(mode: Durability) -> usize {
    let counts = (0..3).map(|_| {
        let mut script = Script::with(mode, 0);
        assert_eq!(script.play(), Ending::Done);
        let operations = script.disk.operations();
        for expected in [
            "sync manifest",
            "rename manifest.new",
            "sync segment-",
            "remove segment-",
            "rename log-",
            "sync directory",
        ] {
            let found = operations.iter().any(|name| name.starts_with(expected));
            assert!(found, "the script has no {expected}: {operations:#?}");
        }
        script.check_and_go_on("nothing");
        operations.len()
    });
    counts.max().unwrap()
}

fn positions(mode: Durability, seeds: u64) -> Vec<(usize, u64)> {
    let count = count(mode) + 10;
    let wanted = std::env::var("STORE_FAULTS").unwrap_or_default();
    if let Ok(operation) = wanted.parse() {
        return (0..seeds).map(|seed| (operation, seed)).collect();
    }
    let all = wanted == "all";
    let sample = match mode {
        Durability::Sync => SAMPLE,
        Durability::Interval(_) | Durability::None => UNSYNCED_SAMPLE,
    };
    let step = if all { 1 } else { count.div_ceil(sample) };
    let first = SEED as usize % step;
    println!("operations {first}, {}... of {count}", first + step);
    let positions = (first..count).step_by(step);
    let seeds = if all { seeds } else { 1 };
    positions
        .flat_map(|operation| (0..seeds).map(move |seed| (operation, SEED + seed)))
        .collect()
}

fn every(mode: Durability, seeds: u64, run: impl Fn(usize, u64) -> String + Sync + RefUnwindSafe) {
    let run = &run;
    let positions = positions(mode, seeds);
    let next = &AtomicUsize::new(0);
    let positions = &positions;
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(move || {
                while let Some((operation, seed)) =
                    positions.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let result = catch_unwind(|| run(*operation, *seed));
                    let hit = result
                        .unwrap_or_else(|_| panic!("operation {operation}, seed {seed} failed"));
                    println!("operation {operation}, seed {seed}: {hit}");
                }
            });
        }
    });
}

fn every_operation(fault: Fault, after: After, seeds: u64) {
    every_operation_in(Durability::Sync, fault, after, seeds);
}

fn every_operation_in(mode: Durability, fault: Fault, after: After, seeds: u64) {
    every(mode, seeds, |operation, seed| {
        run(mode, operation, fault, after, seed)
    });
}

#[test]
fn failed_operation_stops_the_store_and_loses_nothing() {
    every_operation(Fault::Error(EIO), After::Restart, 1);
}

#[test]
fn failed_operation_and_a_power_cut_lose_nothing_of_the_store() {
    every_operation(Fault::Short(EIO), After::PowerCut, 3);
}

#[test]
fn store_waits_for_a_full_disk_and_loses_nothing() {
    every_operation(Fault::Error(ENOSPC), After::Restart, 1);
}

#[test]
fn store_waits_for_a_disk_that_is_full_in_the_middle_of_a_write() {
    every_operation(Fault::Short(ENOSPC), After::PowerCut, 1);
}

#[test]
fn killed_process_loses_nothing_of_the_store() {
    every_operation(Fault::Crash, After::Restart, 2);
}

#[test]
fn power_cut_loses_nothing_of_the_store() {
    every_operation(Fault::Crash, After::PowerCut, 6);
}

#[test]
fn power_cut_after_a_kill_loses_nothing_of_the_store() {
    let mode = Durability::Sync;
    every(mode, 6, |operation, seed| run_twice(mode, operation, seed));
}

#[test]
fn failed_operation_and_a_power_cut_lose_only_what_was_not_synced() {
    for mode in UNSYNCED {
        every_operation_in(mode, Fault::Short(EIO), After::PowerCut, 2);
    }
}

#[test]
fn store_that_does_not_wait_for_syncs_waits_for_a_full_disk() {
    for mode in UNSYNCED {
        every_operation_in(mode, Fault::Short(ENOSPC), After::Restart, 1);
    }
}

#[test]
fn killed_process_loses_nothing_though_nothing_was_synced() {
    for mode in UNSYNCED {
        every_operation_in(mode, Fault::Crash, After::Restart, 2);
    }
}

#[test]
fn power_cut_loses_only_what_was_not_synced() {
    for mode in UNSYNCED {
        every_operation_in(mode, Fault::Crash, After::PowerCut, 4);
    }
}

#[test]
fn power_cut_after_a_kill_loses_only_what_was_not_synced() {
    for mode in UNSYNCED {
        every(mode, 4, |operation, seed| run_twice(mode, operation, seed));
    }
}
