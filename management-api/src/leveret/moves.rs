//! Moving messages: `POST .../queues/{vhost}/{queue}/move` and `.../requeue` start a move, `/api/leveret/moves` shows
//! and cancels them.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header::LOCATION},
    response::{IntoResponse, Response},
};
use broker_core::moving::{Move, Order, Target};
use serde_json::{Value, json};

use super::{
    check_keys,
    filter::{filter_json, filter_of},
    number, optional_text,
};
use crate::{
    Error, Node, Shared,
    body::JsonBody,
    caller::{Authorized, Caller, Management, VhostMember},
    openapi::{Methods, Routes, get, post, schemas::moving as schemas},
    request::Names,
};

/// How long an answer waits for the end of a move, in milliseconds, unless the client says otherwise.
const USUAL_WAIT: u64 = 1000;

/// The longest such wait.
const LONGEST_WAIT: u64 = 30_000;

pub(super) fn routes() -> Routes {
    let begins = |methods: Methods| {
        let methods = methods.gives::<schemas::Move>();
        methods.answers_with::<schemas::Move>(StatusCode::ACCEPTED)
    };
    let start_move = post(start_move).says("Move messages to a queue or an exchange");
    let requeue = post(requeue).says("Send dead letters back to where they came from");
    let one = get(one)
        .says("A move")
        .gives::<schemas::Move>()
        .delete(cancel)
        .says("Stop a move; what was moved stays moved");
    Routes::about("Leveret: messages")
        .route(
            "/leveret/queues/{vhost}/{queue}/move",
            begins(start_move.takes::<schemas::NewMove>()),
        )
        .route(
            "/leveret/queues/{vhost}/{queue}/requeue",
            begins(requeue.takes::<schemas::Requeue>()),
        )
        .route(
            "/leveret/moves",
            get(list)
                .says("Moves, under way and done")
                .gives::<Vec<schemas::Move>>(),
        )
        .route("/leveret/moves/{id}", one)
}

async fn start_move(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<Response, Error> {
    check_keys(
        &body,
        &["to", "filter", "rate", "limit", "dry_run", "wait_ms"],
    )?;
    let to = match body.find("to") {
        Some(Value::Object(to)) => JsonBody(to.clone()),
        _ => {
            let text =
                "to has to be an object with a queue, or an exchange and perhaps a routing_key";
            return Err(Error::BadRequest(text.to_owned()));
        }
    };
    let target = target_of(&to)?;
    begin(auth, node, names.get("queue"), target, &body).await
}

fn target_of(to: &JsonBody) -> Result<Target, Error> {
    check_keys(to, &["queue", "exchange", "routing_key"])?;
    let routing_key = optional_text(to, "routing_key")?;
    match (optional_text(to, "queue")?, optional_text(to, "exchange")?) {
        (Some(queue), None) if routing_key.is_none() => Ok(Target::Queue(queue)),
        (None, Some(exchange)) => Ok(Target::Exchange {
            exchange,
            routing_key,
        }),
        _ => Err(Error::BadRequest(
            "to has either a queue, or an exchange and perhaps a routing_key".to_owned(),
        )),
    }
}

async fn requeue(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<Response, Error> {
    check_keys(
        &body,
        &["by", "filter", "rate", "limit", "dry_run", "wait_ms"],
    )?;
    let target = match optional_text(&body, "by")?.as_deref() {
        None | Some("queue") => Target::OriginalQueue,
        Some("exchange") => Target::OriginalExchange,
        Some(other) => {
            let text = format!("by has to be queue or exchange, not '{other}'");
            return Err(Error::BadRequest(text));
        }
    };
    begin(auth, node, names.get("queue"), target, &body).await
}

async fn begin(
    auth: Authorized<VhostMember>,
    node: Shared,
    queue: &str,
    target: Target,
    body: &JsonBody,
) -> Result<Response, Error> {
    let vhost = auth.scope.existing()?;
    vhost.queue(queue).ok_or(Error::NoSuchPath)?;
    let rate = number(body, "rate")?;
    if rate == Some(0) {
        let text = "rate has to be at least 1 message per second; leave it out for no limit";
        return Err(Error::BadRequest(text.to_owned()));
    }
    let order = Order {
        vhost: Arc::clone(&vhost.name),
        queue: queue.to_owned(),
        filter: filter_of(body)?,
        target,
        rate,
        limit: number(body, "limit")?,
        dry_run: body.flag("dry_run")?,
        user: Arc::clone(&auth.caller.user),
    };
    let wait = number(body, "wait_ms")?.unwrap_or(USUAL_WAIT);
    let access = auth.caller.access(&node, vhost);
    let clock = Arc::clone(&node.clock);
    let started = node.elsewhere(move |node| {
        let started = node.core.start_move(order, access, clock)?;
        started.wait(Duration::from_millis(wait.min(LONGEST_WAIT)));
        Ok::<_, Error>(started)
    });
    let started = started.await??;
    let status = match started.progress().phase.is_over() {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    let location = [(LOCATION, format!("/api/leveret/moves/{}", started.id))];
    Ok((status, location, Json(move_json(&started))).into_response())
}

async fn list(auth: Authorized<Management>, State(node): State<Shared>) -> Json<Value> {
    let moves = node.core.moves();
    let visible = moves
        .iter()
        .filter(|it| may_see(&auth.caller, &node, it))
        .map(|it| move_json(it));
    Json(visible.collect())
}

async fn one(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
) -> Result<Json<Value>, Error> {
    let found = find(&auth.caller, &node, &names)?;
    Ok(Json(move_json(&found)))
}

/// What was moved stays moved.
async fn cancel(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let found = find(&auth.caller, &node, &names)?;
    if found.order.user != auth.caller.user && !auth.caller.is_administrator() {
        let text = "only an administrator cancels somebody else's move";
        return Err(Error::NotAuthorised(text.to_owned()));
    }
    let (by, id) = (&*auth.caller.user, found.id);
    tracing::info!(target: "audit", by, id, "move cancelled");
    found.cancel();
    Ok(StatusCode::NO_CONTENT)
}

fn find(caller: &Caller, node: &Node, names: &Names) -> Result<Arc<Move>, Error> {
    let id = names.get("id").parse().ok();
    let found = id.and_then(|id| node.core.find_move(id));
    found
        .filter(|it| may_see(caller, node, it))
        .ok_or(Error::NoSuchPath)
}

fn may_see(caller: &Caller, node: &Node, it: &Move) -> bool {
    caller.is_monitor() || caller.may_open(node, &it.order.vhost)
}

fn move_json(it: &Move) -> Value {
    let (order, progress) = (&it.order, it.progress());
    json!({
        "id": it.id,
        "vhost": order.vhost,
        "queue": order.queue,
        "to": target_json(&order.target),
        "filter": filter_json(&order.filter),
        "rate": order.rate,
        "limit": order.limit,
        "dry_run": order.dry_run,
        "user": order.user,
        "state": progress.phase.as_str(),
        "reason": progress.reason,
        "started_at": it.started,
        "finished_at": progress.finished,
        "ready_at_start": progress.ready,
        "examined": progress.examined,
        "matched": progress.matched,
        "moved": progress.moved,
        "unroutable": progress.unroutable,
        "not_dead_lettered": progress.not_dead,
        "refused": progress.refused,
    })
}

fn target_json(target: &Target) -> Value {
    match target {
        Target::Queue(queue) => json!({ "queue": queue }),
        Target::Exchange {
            exchange,
            routing_key,
        } => json!({ "exchange": exchange, "routing_key": routing_key }),
        Target::OriginalQueue => json!("original queue"),
        Target::OriginalExchange => json!("original exchange"),
    }
}
