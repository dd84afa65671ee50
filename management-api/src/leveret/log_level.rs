//! `/api/leveret/log-level`: which lines the broker logs, changed while it runs. A restart goes back to the configuration.

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};

use super::check_keys;
use crate::{
    Error, Shared,
    body::JsonBody,
    caller::{Administrator, Authorized},
};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/leveret/log-level", get(level).put(change))
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
