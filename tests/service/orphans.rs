//! The first process of a container inherits processes whose parents have gone, and has to let them go when they end.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Instant,
};

use crate::support::{PATIENCE, pause};

/// What is killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The numbers of the process's children, the ended ones that it has not let go included.
fn children(process: u32) -> Vec<u32> {
    let of = |entry: fs::DirEntry| {
        let child: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
        (parent == process.to_string()).then_some(child)
    };
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(of)
        .collect()
}

/// The children, once there are so many.
#[track_caller]
fn await_children(process: u32, number: usize) -> Vec<u32> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = children(process);
        if found.len() == number {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        pause();
    }
}

#[test]
fn processes_that_the_broker_inherits_are_let_go_when_they_end() {
    let folder = tempfile::tempdir().unwrap();
    let early = "sleep 600 & true & exec \"$@\"";
    let broker = Command::new("sh")
        .args([
            "-c",
            early,
            "sh",
            env!("CARGO_BIN_EXE_leveret"),
            "--data-dir",
        ])
        .arg(folder.path())
        .args([
            "--amqp-listen",
            "127.0.0.1:0",
            "--http-listen",
            "127.0.0.1:0",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut broker = Running(broker.expect("sh runs"));
    let process = broker.0.id();
    // What ended before the broker was there is let go, and what goes on is not disturbed.
    let [sleeping] = await_children(process, 1)[..] else {
        panic!("one child");
    };
    let sleeping = rustix::process::Pid::from_raw(sleeping as i32).unwrap();
    rustix::process::kill_process(sleeping, rustix::process::Signal::TERM).unwrap();
    await_children(process, 0);
    assert!(
        broker.0.try_wait().unwrap().is_none(),
        "the broker has ended"
    );
}
