use parking_lot::MutexGuard;

use super::*;

/// Writes down what happens; fails or panics when it is told a certain item.
#[derive(Clone, Default)]
struct Recorder {
    events: Arc<Mutex<Vec<String>>>,
    changed: Arc<Condvar>,
    /// How often the disk is full before it takes the next group.
    full: Arc<Mutex<u32>>,
}

const FAIL: u32 = 1_000;
const PANIC: u32 = 1_001;

impl Recorder {
    fn record(&self, event: String) {
        self.events.lock().push(event);
        self.changed.notify_all();
    }

    fn wait_for(&self, event: &str) -> Vec<String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut events = self.events.lock();
        while !events.iter().any(|found| found == event) {
            let late = self.changed.wait_until(&mut events, deadline).timed_out();
            assert!(!late, "no {event:?} in {events:?}");
        }
        events.clone()
    }

    fn commit(&self) -> GroupCommit<u32> {
        self.commit_with(Durability::Sync)
    }

    fn commit_with(&self, durability: Durability) -> GroupCommit<u32> {
        let own = self.clone();
        let hook = move |error| own.record(format!("failed: {error}"));
        GroupCommit::start("test", durability, self.clone(), Box::new(hook)).unwrap()
    }
}

impl Sink<u32> for Recorder {
    fn apply(&mut self, group: &mut Vec<u32>) -> Result<Applied, Error> {
        assert!(!group.contains(&PANIC));
        let mut full = self.full.lock();
        if *full > 0 {
            *full -= 1;
            self.record(format!("no room for {group:?}"));
            return Ok(Applied::NoRoom("the disk is full".to_owned()));
        }
        if group.contains(&FAIL) {
            return Err(Error::Internal("no space".to_owned()));
        }
        self.record(format!("apply {group:?}"));
        Ok(Applied::Done)
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.record("sync".to_owned());
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        self.record("close".to_owned());
        Ok(())
    }
}

impl Completion for Recorder {
    fn durable(&self, ticket: Ticket) {
        self.record(format!("durable {}", ticket.0));
    }
}

#[test]
fn group_that_nobody_waits_for_is_written_and_not_synced() {
    let recorder = Recorder::default();
    let commit = recorder.commit();
    let ticket = commit.append(&mut vec![1], 10, Sync::WhenAwaited);
    assert_eq!(recorder.wait_for("apply [1]"), ["apply [1]"]);
    assert_eq!(commit.durable(), Ticket::NONE);
    commit.notify(ticket, Arc::new(recorder.clone()));
    let events = recorder.wait_for("durable 1");
    assert_eq!(events, ["apply [1]", "sync", "durable 1"]);
}

#[test]
fn close_syncs_what_nobody_waited_for() {
    let recorder = Recorder::default();
    let commit = recorder.commit();
    commit.append(&mut vec![1], 10, Sync::WhenAwaited);
    commit.close();
    assert_eq!(*recorder.events.lock(), ["apply [1]", "sync", "close"]);
    assert_eq!(commit.durable(), Ticket(1));
    assert_eq!(commit.append(&mut vec![2], 10, Sync::Soon), Ticket::NEVER);
}

#[test]
fn pending_bytes_count_until_written() {
    let recorder = Recorder::default();
    let commit = recorder.commit();
    let hold = recorder.events.lock();
    commit.append(&mut vec![1], 10, Sync::Soon);
    commit.append(&mut vec![2], 10, Sync::Soon);
    assert_eq!(commit.pending_bytes(), 20);
    drop(hold);
    commit.close();
    assert_eq!(commit.pending_bytes(), 0);
}

fn check_failure(item: u32, text: &str) {
    let recorder = Recorder::default();
    let commit = recorder.commit();
    let ticket = commit.append(&mut vec![item], 10, Sync::WhenAwaited);
    commit.notify(ticket, Arc::new(recorder.clone()));
    let events = recorder.wait_for(text);
    assert_eq!(events, [text]);
    assert_eq!(commit.append(&mut vec![2], 10, Sync::Soon), Ticket::NEVER);
    commit.notify(ticket, Arc::new(recorder.clone()));
    commit.close();
    assert_eq!(*recorder.events.lock(), [text]);
    assert_eq!(commit.durable(), Ticket::NONE);
}

#[test]
fn failed_write_is_told_once_and_nothing_completes_any_more() {
    check_failure(FAIL, "failed: no space");
}

#[test]
fn panicking_writer_counts_as_failed() {
    check_failure(PANIC, "failed: the writer of the store panicked");
}

#[test]
fn completion_that_holds_the_last_owner_can_end_it() {
    struct Owner(Mutex<Option<GroupCommit<u32>>>, Recorder);
    impl Completion for Owner {
        fn durable(&self, _: Ticket) {
            drop(self.0.lock().take());
            self.1.record("dropped".to_owned());
        }
    }
    let recorder = Recorder::default();
    let owner = Arc::new(Owner(Mutex::new(Some(recorder.commit())), recorder.clone()));
    let mut slot = owner.0.lock();
    if let Some(commit) = slot.as_ref() {
        // Not `Soon`: were it durable before `notify`, the completion would run here, under `slot`.
        let ticket = commit.append(&mut vec![1], 10, Sync::WhenAwaited);
        commit.notify(ticket, owner.clone());
    }
    MutexGuard::unlocked(&mut slot, || recorder.wait_for("dropped"));
}

#[test]
fn interval_completes_after_the_write_and_syncs_by_the_clock() {
    let recorder = Recorder::default();
    let commit = recorder.commit_with(Durability::Interval(Duration::from_millis(20)));
    let ticket = commit.append(&mut vec![1], 10, Sync::WhenAwaited);
    commit.notify(ticket, Arc::new(recorder.clone()));
    let events = recorder.wait_for("sync");
    assert_eq!(events, ["apply [1]", "durable 1", "sync"]);
    commit.close();
    let events = recorder.events.lock().clone();
    assert_eq!(events, ["apply [1]", "durable 1", "sync", "close"]);
}

#[test]
fn without_durability_nothing_is_synced_before_the_close() {
    let recorder = Recorder::default();
    let commit = recorder.commit_with(Durability::None);
    let ticket = commit.append(&mut vec![1], 10, Sync::Soon);
    commit.notify(ticket, Arc::new(recorder.clone()));
    recorder.wait_for("durable 1");
    commit.append(&mut vec![2], 10, Sync::Soon);
    recorder.wait_for("apply [2]");
    commit.close();
    let expected = ["apply [1]", "durable 1", "apply [2]", "sync", "close"];
    assert_eq!(*recorder.events.lock(), expected);
}

#[test]
fn group_without_room_is_kept_and_comes_first_when_there_is_room() {
    let recorder = Recorder::default();
    *recorder.full.lock() = 2;
    let commit = recorder.commit();
    let ticket = commit.append(&mut vec![1], 10, Sync::Soon);
    recorder.wait_for("no room for [1]");
    let deadline = Instant::now() + Duration::from_secs(60);
    while commit.blocked().is_none() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
    assert_eq!(commit.blocked().as_deref(), Some("the disk is full"));
    let second = commit.append(&mut vec![2], 10, Sync::Soon);
    commit.notify(ticket, Arc::new(recorder.clone()));
    commit.notify(second, Arc::new(recorder.clone()));
    let events = recorder.wait_for("durable 2");
    let no_room = "no room for [1]";
    let applied = ["apply [1]", "sync", "durable 1"];
    assert_eq!(events[..5], [[no_room; 2].as_slice(), &applied].concat());
    assert_eq!(events[5..], ["apply [2]", "sync", "durable 2"]);
    assert_eq!(commit.blocked(), None);
    assert_eq!(commit.pending_bytes(), 0);
}

#[test]
fn close_gives_up_waiting_for_room() {
    let recorder = Recorder::default();
    *recorder.full.lock() = u32::MAX;
    let commit = recorder.commit();
    let ticket = commit.append(&mut vec![1], 10, Sync::Soon);
    commit.notify(ticket, Arc::new(recorder.clone()));
    let begun = Instant::now();
    commit.close();
    assert!(begun.elapsed() >= PATIENCE);
    let events = recorder.events.lock();
    assert!(events.iter().all(|event| event == "no room for [1]"));
    assert_eq!(commit.blocked(), None);
}

#[test]
fn small_appends_that_nobody_waits_for_gather() {
    let mut state = State::<u8>::new();
    let now = Instant::now();
    let turn = |state: &State<u8>| state.turn(Durability::Sync, now).is_some();
    assert!(state.add(&mut vec![1], 1), "the first starts the clock");
    assert!(!state.add(&mut vec![2], LAZY_BYTES - 2));
    assert!(!turn(&state));
    assert!(state.add(&mut vec![3], 1), "many bytes are written at once");
    assert!(turn(&state));
    assert_eq!(state.pending, [1, 2, 3]);
    state.pending_bytes = 1;
    state.awaited = state.sequence.append();
    assert!(turn(&state), "somebody waits");
}
