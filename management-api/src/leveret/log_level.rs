//! `/api/leveret/log-level`: which lines the broker logs, changed while it runs. A restart goes back to the configuration.

use axum::{Json, extract::State, http::StatusCode};
use serde_json::{Value, json};

use super::check_keys;
use crate::{
    Error, Shared,
    body::JsonBody,
    caller::{Administrator, Authorized},
    openapi::{Routes, get, schemas::node::LogLevel},
};

pub(super) fn routes() -> Routes {
    let level = get(level)
        .says("Which lines the broker logs")
        .gives::<LogLevel>()
        .put(change)
        .says("Change that until the next start")
        .takes::<LogLevel>()
        .answers(StatusCode::NO_CONTENT);
    Routes::about("The broker").route("/leveret/log-level", level)
}

async fn level(_: Authorized<Administrator>, State(node): State<Shared>) -> Json<Value> {
    Json(json!({ "level": node.log_level.current() }))
}

async fn change(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    check_keys(&body, &["level"])?;
    let level = body.text("level")?;
    let before = node.log_level.current();
    let refused = |problem| Error::BadRequest(format!("level {problem}"));
    node.log_level.change(level).map_err(refused)?;
    let by = &*auth.caller.user;
    tracing::warn!(target: "audit", by, before, level, "log level changed");
    Ok(StatusCode::NO_CONTENT)
}
