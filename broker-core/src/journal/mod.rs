//! The journal: what keeps persistent messages on disk, as a log for durability and segments for length.
//!
//! Everything that happens to durable queues is first appended to one log for the whole broker ([`log`]), whose groups
//! are synced before anything is promised. An index in memory follows the log and knows which messages are alive and
//! where. When a file of the log is full, what is still alive in it moves to segments; the manifest says which segments
//! there are and where the log starts. So the log stays short, a start replays only that, and the length of a queue costs
//! disk and next to no memory. All files are touched through [`file_system`], so that tests can make every single
//! operation on them fail.

mod block;
pub mod check;
mod copying;
mod exercise;
mod file_log;
pub mod file_system;
mod index;
mod install;
mod items;
mod live;
pub mod log;
mod manifest;
mod memory_disk;
mod mover;
mod reader;
mod run;
mod segment;
mod shared;
pub mod statistics;
mod store;
mod trouble;

use self::shared::Shared;
#[doc(hidden)]
pub use self::{
    exercise::{exercise as exercise_files, seed as exercise_seed},
    file_log::exercise as exercise_reader,
};
pub use self::{
    file_log::{FileLog, Survey},
    store::JournalStore,
};

#[cfg(test)]
mod tests;
