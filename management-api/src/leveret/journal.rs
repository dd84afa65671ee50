//! `GET /api/leveret/journal`: how the store is, which is what every confirm of a persistent message waits for. The same
//! figures stand in `/metrics` as `leveret_journal_...`.

use axum::{Json, extract::State};
use broker_core::journal::statistics::{JournalStatistics, SYNC_SECONDS};
use serde_json::{Map, Value, json};

use crate::{
    Shared,
    caller::{Authorized, Monitor},
    openapi::{Routes, get, schemas::node::Journal},
};

pub(super) fn routes() -> Routes {
    let journal = get(journal).says("How the store of persistent messages is");
    Routes::about("The broker").route("/leveret/journal", journal.gives::<Journal>())
}

async fn journal(_: Authorized<Monitor>, State(node): State<Shared>) -> Json<Value> {
    let (store, pager) = (node.core.store(), node.core.pager());
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("engine", node.store.engine.into());
    put("durability", node.store.durability.into());
    put("pending_bytes", store.pending_bytes().into());
    put("message_memory", pager.resident().into());
    put("message_memory_budget", pager.budget().into());
    if let Some(statistics) = store.statistics() {
        put("syncs", syncs_json(&statistics));
        put("sync_seconds", statistics.sync_seconds.into());
        put("log_files", statistics.log_files.into());
        put("segments", statistics.segments.into());
        put("bytes", statistics.bytes.into());
        put("live_bytes", statistics.live_bytes.into());
        put("written_bytes", statistics.written_bytes.into());
        put("compactions", statistics.compactions.into());
        put("compacted_bytes", statistics.compacted_bytes.into());
    }
    Json(object.into())
}

/// Syncs since the start, by the time that they took: up to `up_to_ms` milliseconds, and null for all longer ones.
fn syncs_json(statistics: &JournalStatistics) -> Value {
    let ends = SYNC_SECONDS.iter().map(|seconds| Some(seconds * 1000.0));
    let ends = ends.chain([None]);
    let syncs = ends
        .zip(statistics.syncs)
        .map(|(end, count)| json!({ "up_to_ms": end, "count": count }));
    syncs.collect()
}
