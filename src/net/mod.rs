//! Sockets: where the broker listens, how connections are accepted and served.

pub mod accept;
pub mod bounded;
pub mod connection;
pub mod expiries;
pub mod http;
pub mod listen;
pub mod proxy;
pub mod secure;
pub mod secure_http;
pub mod sources;
pub mod stream;
