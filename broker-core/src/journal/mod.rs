//! The journal: what keeps persistent messages on disk, as a log for durability and segments for length.
//!
//! Everything that happens to durable queues is first appended to one log for the whole broker ([`log`]), whose groups
//! are synced before anything is promised. All files are touched through [`file_system`], so that tests can make every
//! single operation on them fail.

mod file_log;
pub mod file_system;
pub mod log;

pub use file_log::FileLog;
#[doc(hidden)]
pub use file_log::exercise as exercise_reader;
