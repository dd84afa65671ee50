//! What the process may use of the machine, memory and processors, less what a container is denied; and how it uses memory.

pub mod allocator;
mod control_group;
pub mod huge_pages;

use std::{num::NonZero, thread};

use sysinfo::{MemoryRefreshKind, System};

/// Memory in bytes that the process may use: the machine's, or what a control group leaves of it. None where the system
/// does not tell.
pub fn memory() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let machine = Some(system.total_memory()).filter(|bytes| *bytes > 0)?;
    let group = control_group::limits().memory;
    Some(group.map_or(machine, |group| group.min(machine)))
}

/// Processors that the process may keep busy, 1 at least. A part of one does not count: a thread for it would be stopped
/// in the middle of its work for the rest of each period.
pub fn processors() -> usize {
    let allowed = thread::available_parallelism().map_or(1, NonZero::get);
    let group = control_group::limits().processors;
    group.map_or(allowed, |group| allowed.min((group as usize).max(1)))
}
