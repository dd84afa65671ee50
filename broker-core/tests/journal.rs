//! The journal on real files in temporary folders, and on a disk that fails, tears writes and loses power on purpose.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs
)]

#[path = "journal/allocations.rs"]
mod allocations;
#[path = "journal/faulty_disk.rs"]
mod faulty_disk;
#[path = "journal/files.rs"]
mod files;
#[path = "journal/flips.rs"]
mod flips;
#[path = "journal/log.rs"]
mod log;
#[path = "journal/log_damage.rs"]
mod log_damage;
#[path = "journal/log_faults.rs"]
mod log_faults;
#[path = "journal/log_repair.rs"]
mod log_repair;
#[path = "journal/log_support.rs"]
mod log_support;
#[path = "journal/store_damage.rs"]
mod store_damage;
#[path = "journal/store_faults.rs"]
mod store_faults;
#[path = "journal/store_script.rs"]
mod store_script;
#[path = "journal/store_told.rs"]
mod store_told;
