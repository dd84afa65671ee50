//! The HTTP API of the broker.
