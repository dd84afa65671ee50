//! Watches what the broker may run short of, memory and disk space, and raises or ends the alarm in the core.
//!
//! RabbitMQ's description: <https://www.rabbitmq.com/docs/memory> and <https://www.rabbitmq.com/docs/disk-alarms>.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use broker_core::{alarms::Resource, broker::Broker};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    config::{Alarms, MemoryLimit},
    machine,
};

/// Time between two checks: a publisher at full speed fills some hundred megabytes in it, and a check costs
/// microseconds.
const INTERVAL: Duration = Duration::from_millis(500);

/// Compares what is used with what may be used.
pub struct Watch {
    broker: Arc<Broker>,
    data_dir: PathBuf,
    /// Missing where the system does not tell.
    memory: Option<Memory>,
    /// In bytes; 0 for none.
    disk_free_limit: u64,
    /// The last check could not read the free space, and said so.
    complained: bool,
}

/// The memory of this process.
struct Memory {
    system: System,
    process: Pid,
    /// In bytes.
    limit: u64,
}

impl Watch {
    /// A watch that has not looked yet.
    pub fn new(broker: Arc<Broker>, data_dir: &Path, limits: &Alarms) -> Self {
        let memory = Memory::new(limits.memory_limit);
        if memory.is_none() {
            tracing::warn!("the use of memory cannot be read, so there is no alarm for it");
        }
        Self {
            broker,
            data_dir: data_dir.to_owned(),
            memory,
            disk_free_limit: limits.disk_free_limit,
            complained: false,
        }
    }

    /// Bytes of memory that the process may use; 0 if that is not watched.
    pub fn memory_limit(&self) -> u64 {
        self.memory.as_ref().map_or(0, |memory| memory.limit)
    }

    /// Looks once, and raises and ends alarms accordingly.
    pub fn check(&mut self) {
        self.check_memory();
        self.check_disk();
    }

    fn check_memory(&mut self) {
        let Some((used, limit)) = self.memory.as_mut().and_then(Memory::read) else {
            return;
        };
        let reading = format_args!("{used} bytes used, limit {limit}");
        self.set(Resource::Memory, used > limit, reading);
    }

    /// A store that finds no room to write is as short of disk space as one can be, whatever else is measured.
    fn check_disk(&mut self) {
        let limit = self.disk_free_limit;
        if let Some(why) = self.broker.store_blocked() {
            self.set(Resource::Disk, true, format_args!("{why}"));
        } else if limit == 0 {
            self.set(Resource::Disk, false, format_args!("there is room again"));
        } else if let Some(free) = self.free_bytes() {
            let reading = format_args!("{free} bytes free, limit {limit}");
            self.set(Resource::Disk, free < limit, reading);
        }
    }

    /// What is free for the data; nothing if that cannot be read, which is said once.
    fn free_bytes(&mut self) -> Option<u64> {
        match free_bytes(&self.data_dir) {
            Ok(free) => {
                self.complained = false;
                Some(free)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    let path = self.data_dir.display();
                    tracing::error!("cannot read the free space of {path}: {error}");
                }
                None
            }
        }
    }

    fn set(&self, resource: Resource, on: bool, reading: fmt::Arguments<'_>) {
        if !self.broker.set_alarm(resource, on) {
            return;
        }
        let name = resource.name();
        if on {
            tracing::warn!(
                "{name} resource limit alarm set: {reading}; publishers are blocked until it clears"
            );
        } else {
            tracing::warn!("{name} resource limit alarm cleared: {reading}");
        }
    }
}

impl Memory {
    fn new(limit: MemoryLimit) -> Option<Self> {
        let mut memory = Self {
            limit: limit.bytes(machine::memory()?),
            system: System::new().ok()?,
            process: Pid::from_u32(std::process::id()),
        };
        memory.read().is_some().then_some(memory)
    }

    /// Bytes resident, and their limit.
    fn read(&mut self) -> Option<(u64, u64)> {
        let what = ProcessRefreshKind::nothing().with_memory().without_tasks();
        let own = [self.process];
        self.system
            .refresh_processes_specifics(ProcessesToUpdate::Some(&own), false, what);
        let process = self.system.process(self.process)?;
        Some((process.memory(), self.limit))
    }
}

/// Looks about twice a second, for ever.
pub async fn run(mut watch: Watch) {
    loop {
        sleep(INTERVAL).await;
        // A file system that does not answer must not hold up a thread that serves connections.
        let checked = spawn_blocking(move || {
            watch.check();
            watch
        });
        watch = match checked.await {
            Ok(watch) => watch,
            Err(error) => {
                tracing::error!("resource alarms are no longer watched: {error}");
                return;
            }
        };
    }
}

/// What an ordinary user's process may still write there.
fn free_bytes(path: &Path) -> io::Result<u64> {
    let file_system = rustix::fs::statvfs(path)?;
    Ok(file_system.f_bavail.saturating_mul(file_system.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_of_the_machines_memory() {
        assert_eq!(MemoryLimit::Fraction(0.5).bytes(1000), 500);
        assert_eq!(MemoryLimit::Bytes(7).bytes(1000), 7);
    }
}
