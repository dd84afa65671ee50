//! Huge pages: memory in pieces of 2 MiB, which the allocator asks the system for.
//!
//! They make large queues cheaper to walk through. A broker at rest touches a little of many pieces and has four times the
//! memory with them (`docs/performance.md`). So it goes without until it is large anyway.

/// Bytes of resident memory from which on huge pages are used.
#[cfg(target_os = "linux")]
const LARGE: u64 = 64 * 1024 * 1024;

/// Goes without huge pages. To be called first of all: what has one keeps it.
#[cfg(target_os = "linux")]
pub fn do_without() {
    // A system that does not know how has none either.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Goes without huge pages: elsewhere nobody asks for them.
#[cfg(not(target_os = "linux"))]
pub fn do_without() {}

/// Uses huge pages for what is touched from now on, if so many bytes are resident. They stay in use.
#[cfg(target_os = "linux")]
pub fn use_if_large(resident: u64) {
    if resident > LARGE {
        let _ = rustix::thread::disable_transparent_huge_pages(false);
    }
}

/// Uses huge pages for what is touched from now on: elsewhere nobody asks for them.
#[cfg(not(target_os = "linux"))]
pub fn use_if_large(_: u64) {}
