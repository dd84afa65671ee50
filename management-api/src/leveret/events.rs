//! `GET /api/leveret/events`: what happened lately.

use axum::{Json, extract::State};

use crate::{
    Error, Shared,
    caller::{Authorized, Monitor},
    events::{EventFilter, EventKind, Events, Severity},
    openapi::{Routes, get},
    request::Query,
};

/// How many events an answer has, unless it is asked for another number.
const USUAL_LIMIT: usize = 200;

/// The most events of an answer.
const HIGHEST_LIMIT: usize = 1_000;

pub(super) fn routes() -> Routes {
    let list = get(list)
        .says("What happened lately")
        .gives::<Events>()
        .asks(
            "kind",
            "kinds of events, with commas; may be given several times",
        )
        .asks("severity", "`info`, `warning` or `error`: no lesser ones")
        .counts("since", 0, "what comes after the event with this number")
        .counts(
            "limit",
            1,
            "how many, 200 if nothing is said and 1000 at most",
        );
    Routes::about("Leveret: events").route("/leveret/events", list)
}

async fn list(
    _: Authorized<Monitor>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Json<Events>, Error> {
    let filter = EventFilter {
        kinds: kinds(&query)?,
        severity: severity(&query)?,
        since: number(&query, "since")?,
        limit: limit(&query)?,
    };
    Ok(Json(node.events.find(&filter)))
}

/// `kind=login,policy`, or the key several times.
fn kinds(query: &Query) -> Result<Vec<EventKind>, Error> {
    let words = query.all("kind").flat_map(|words| words.split(','));
    let words = words.filter(|word| !word.is_empty());
    let kinds = words.map(|word| {
        EventKind::parse(word).ok_or_else(|| {
            let known = EventKind::ALL.map(EventKind::as_str).join(", ");
            Error::BadRequest(format!("unknown kind '{word}'; there are {known}"))
        })
    });
    kinds.collect()
}

fn severity(query: &Query) -> Result<Severity, Error> {
    let Some(word) = query.get("severity").filter(|word| !word.is_empty()) else {
        return Ok(Severity::Info);
    };
    Severity::parse(word).ok_or_else(|| {
        Error::BadRequest(format!(
            "unknown severity '{word}'; there are info, warning, error"
        ))
    })
}

fn limit(query: &Query) -> Result<usize, Error> {
    let limit = number(query, "limit")?.map(usize::try_from);
    let limit = limit.map(|limit| limit.unwrap_or(HIGHEST_LIMIT));
    Ok(limit.unwrap_or(USUAL_LIMIT).clamp(1, HIGHEST_LIMIT))
}

fn number(query: &Query, key: &str) -> Result<Option<u64>, Error> {
    let Some(text) = query.get(key).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let number = text.parse().map(Some);
    number.map_err(|_| Error::BadRequest(format!("{key} has to be a whole number")))
}
