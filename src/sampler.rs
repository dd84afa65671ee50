//! The task that has the core keep its statistics, once a second, and what the system says of the process.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use broker_core::{
    broker::Broker,
    queue::Millis,
    statistics::{RESOURCES, Resource},
};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::{
    task::spawn_blocking,
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::{clock::Clock, machine::huge_pages};

/// Seconds between two counts of the open files: with very many of them one takes some milliseconds.
const FILES_EVERY: u32 = 5;

/// Looks at the broker and at its process.
pub struct Sampler {
    broker: Arc<Broker>,
    data_dir: PathBuf,
    system: Option<System>,
    process: Pid,
    used: [u64; RESOURCES],
    round: u32,
}

impl Sampler {
    /// A sampler that has not looked yet.
    pub fn new(broker: Arc<Broker>, data_dir: &Path) -> Self {
        Self {
            broker,
            data_dir: data_dir.to_owned(),
            system: System::new().ok(),
            process: Pid::from_u32(std::process::id()),
            used: [0; RESOURCES],
            round: 0,
        }
    }

    /// Looks once.
    pub fn sample(&mut self, now: Millis) {
        self.broker.sample_statistics(now);
        let memory = self.memory();
        memory.into_iter().for_each(huge_pages::use_if_large);
        self.set(Resource::MemUsed, memory);
        let free = rustix::fs::statvfs(&self.data_dir).ok();
        let free = free.map(|it| it.f_bavail.saturating_mul(it.f_frsize));
        self.set(Resource::DiskFree, free);
        let sockets = self.broker.connection_count() as u64;
        self.set(Resource::SocketsUsed, Some(sockets));
        if self.round.is_multiple_of(FILES_EVERY) {
            self.set(Resource::FdUsed, entries("/proc/self/fd").ok());
            self.set(Resource::ProcUsed, entries("/proc/self/task").ok());
        }
        self.round = self.round.wrapping_add(1);
        self.broker.statistics().sample_resources(self.used, now);
    }

    /// What cannot be read is as it was.
    fn set(&mut self, resource: Resource, value: Option<u64>) {
        if let (Some(used), Some(value)) = (self.used.get_mut(resource as usize), value) {
            *used = value;
        }
    }

    /// Bytes that are resident.
    fn memory(&mut self) -> Option<u64> {
        let system = self.system.as_mut()?;
        let what = ProcessRefreshKind::nothing().with_memory().without_tasks();
        let own = [self.process];
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&own), false, what);
        Some(system.process(self.process)?.memory())
    }
}

/// How many entries a directory has.
fn entries(directory: &str) -> io::Result<u64> {
    Ok(fs::read_dir(directory)?.count() as u64)
}

/// Looks once a second, the first time in a second, for ever.
pub async fn run(mut sampler: Sampler, clock: Clock) {
    let second = Duration::from_secs(1);
    let mut seconds = interval_at(Instant::now() + second, second);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let now = clock.now();
        // With very many busy queues this takes a while, which no connection is to wait for.
        let sampled = spawn_blocking(move || {
            sampler.sample(now);
            sampler
        });
        sampler = match sampled.await {
            Ok(sampler) => sampler,
            Err(error) => {
                tracing::error!("statistics are no longer kept: {error}");
                return;
            }
        };
    }
}
