//! The `leveret` binary as a library: a message broker that speaks AMQP 0-9-1.
//!
//! [`cli`] decides what to do and `config` how; `serve` runs the broker from start to stop; `perf` measures one. All of
//! it is here rather than in the binary, so that tests and fuzz targets reach [`protocol`], the state machine of a
//! connection. It is no interface for other programs: nothing here is kept stable.

mod alarms;
pub mod authentication;
mod backup;
pub mod cli;
pub mod clock;
pub mod config;
mod copy;
mod data_dir;
mod definitions;
mod doctor;
pub mod error;
mod inspect;
mod journal;
mod logging;
pub mod machine;
mod management;
pub mod net;
mod perf;
mod ports;
pub mod protocol;
mod recorder;
mod sampler;
mod serve;
mod signals;
mod stores;
pub mod tls;
