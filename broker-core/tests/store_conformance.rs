//! The rules that every message store and every store of definitions keeps, run against each implementation.

#[path = "store/crash.rs"]
mod crash;
#[path = "store/definitions.rs"]
mod definitions;
#[path = "store/messages.rs"]
mod messages;
#[path = "store/model.rs"]
mod model;
#[path = "store/support.rs"]
mod support;
