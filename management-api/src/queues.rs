//! Queues (RabbitMQ: `rabbit_mgmt_wm_queues`, `rabbit_mgmt_wm_queue`, `rabbit_mgmt_wm_queue_purge`,
//! `rabbit_mgmt_wm_queue_actions`); what is in them is got in `queues/get.rs`.

mod get;
mod object;

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use broker_core::{
    permissions::{Operation, Resource},
    queue::{ConnectionId, Queue, Work},
    vhost::{QueueDeclaration, Vhost},
};

use self::object::{Detail, Item, LARGEST_NAME};
pub(crate) use self::object::{consumer_capacity, head_timestamp};
use crate::{
    Error, Shared,
    bindings::arguments,
    body::JsonBody,
    caller::{Administrator, Authorized, VhostMember},
    listing,
    openapi::{
        Methods, Routes, delete, get, post,
        schemas::{
            messages::{Get, Got},
            queues as schemas,
        },
    },
    request::{Names, Query, put_status},
    statistics::Ranges,
};

/// What the API is for queues: no connection that could have an exclusive one.
const NO_CONNECTION: ConnectionId = ConnectionId(0);

pub(crate) fn routes() -> Routes {
    let lists = |methods: Methods| {
        let methods = methods.pages::<schemas::Queue>().with_statistics();
        methods.flag("enable_queue_totals", "lengths, also with `disable_stats`")
    };
    let one = get(one)
        .says("A queue")
        .gives::<schemas::Queue>()
        .with_statistics()
        .flag("enable_queue_totals", "lengths, also with `disable_stats`")
        .put(declare)
        .says("Declare a queue")
        .takes::<schemas::NewQueue>()
        .delete(remove)
        .says("Delete a queue")
        .flag("if-unused", "only if it has no consumers")
        .flag("if-empty", "only if it holds no messages");
    let take = post(get::get)
        .says("Take messages out of a queue, and perhaps put them back")
        .takes::<Get>()
        .gives::<Vec<Got>>();
    let act = post(act).says("Do what clients of mirrored queues ask for: nothing");
    Routes::about("Queues")
        .route("/queues", lists(get(list).says("All queues")))
        .route(
            "/queues/detailed",
            lists(get(list_detailed).says("All queues, with everything that lists can show")),
        )
        .route(
            "/queues/{vhost}",
            lists(get(list).says("The queues of a virtual host")),
        )
        .route("/queues/{vhost}/{queue}", one)
        .route(
            "/queues/{vhost}/{queue}/contents",
            delete(purge).says("Delete the messages that are ready"),
        )
        .route("/queues/{vhost}/{queue}/get", take)
        .route(
            "/queues/{vhost}/{queue}/actions",
            act.takes::<schemas::Action>(),
        )
}

/// The queue that a request is about.
///
/// # Errors
/// 404 as for any object that does not exist.
fn existing<'a>(
    auth: &'a Authorized<VhostMember>,
    names: &Names,
) -> Result<(&'a Arc<Vhost>, Arc<Queue>), Error> {
    let vhost = auth.scope.existing()?;
    let queue = vhost.queue(names.get("queue"));
    Ok((vhost, queue.ok_or(Error::NoSuchPath)?))
}

async fn list(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    answer(&auth, &node, &query, Detail::Basic)
}

async fn list_detailed(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    answer(&auth, &node, &query, Detail::Listed)
}

fn answer(
    auth: &Authorized<VhostMember>,
    node: &Shared,
    query: &Query,
    usual: Detail,
) -> Result<Response, Error> {
    let ranges = Ranges::of(query)?;
    let detail = match (
        query.is_true("disable_stats"),
        query.is_true("enable_queue_totals"),
    ) {
        (true, true) => Detail::Totals,
        (true, false) => Detail::Declared,
        // Columns may name what the short form does not have.
        (false, _) if query.get("columns").is_some() => Detail::Listed,
        (false, _) => usual,
    };
    let mut vhosts = auth.scope.listed(&auth.caller, node)?;
    vhosts.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    if let Some(page) = usual_page(&vhosts, node, query, (ranges, detail))? {
        return Ok(page);
    }
    let mut items = Vec::new();
    for vhost in vhosts {
        let queues = vhost.queues().into_iter();
        items.extend(queues.map(|queue| Item::new(node, queue, ranges, detail)));
    }
    listing::paged(items, &["vhost", "name"], query)
}

/// A page in the usual order, which the vhosts keep: what it costs does not grow with the length of the list.
fn usual_page(
    vhosts: &[Arc<Vhost>],
    node: &Shared,
    query: &Query,
    (ranges, detail): (Ranges, Detail),
) -> Result<Option<Response>, Error> {
    if query.get("page").is_none() {
        return Ok(None);
    }
    let lists: Vec<_> = vhosts.iter().map(|it| (it, it.queue_names())).collect();
    let names = lists.iter().flat_map(|(vhost, names)| {
        let names = names.iter();
        names.map(move |name| (&**name, (*vhost, name)))
    });
    let find = |(vhost, name): &(&Arc<Vhost>, &Arc<str>)| {
        let queue = vhost.queue(name)?;
        Some(Item::new(node, queue, ranges, detail))
    };
    let fields: &[&str] = match vhosts {
        [] | [_] => &["vhost", "name"],
        _ => &["vhost"],
    };
    listing::page_in_order(names, find, fields, query)
}

async fn one(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    let (_, queue) = existing(&auth, &names)?;
    let detail = match (
        query.is_true("disable_stats"),
        query.is_true("enable_queue_totals"),
    ) {
        (true, true) => Detail::Totals,
        (true, false) => Detail::Declared,
        (false, _) => Detail::Full,
    };
    listing::one(Item::new(&node, queue, ranges, detail).json(), &query)
}

async fn declare(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.writable()?;
    let declaration = QueueDeclaration {
        name: names.get("queue").to_owned(),
        durable: body.flag("durable")?,
        exclusive: false,
        auto_delete: body.flag("auto_delete")?,
        arguments: arguments(&body)?,
    };
    if declaration.name.len() > LARGEST_NAME {
        let text = format!("queue name must not exceed {LARGEST_NAME} bytes");
        return Err(Error::BadRequest(text));
    }
    let access = auth.caller.access(&node, vhost);
    let new = vhost.queue(&declaration.name).is_none();
    let name = declaration.name.clone();
    let declaring = Arc::clone(vhost);
    let declared = node.elsewhere(move |_| {
        access.decide(|| declaring.declare_queue_as(declaration.clone(), NO_CONNECTION, &access))
    });
    let (_, ticket) = declared.await??;
    if new {
        let (by, vhost) = (&*auth.caller.user, &*vhost.name);
        tracing::info!(target: "audit", by, vhost, name, "queue declared");
    }
    node.durable(ticket).await?;
    Ok(put_status(new))
}

async fn remove(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<StatusCode, Error> {
    let (vhost, queue) = existing(&auth, &names)?;
    let access = auth.caller.access(&node, vhost);
    let name = Arc::clone(queue.name());
    let conditions = (query.is_true("if-unused"), query.is_true("if-empty"));
    let deleting = Arc::clone(vhost);
    let deleted = node.elsewhere(move |node| {
        access.decide(|| access.check(Operation::Configure, Resource::Queue(&name)))?;
        let work = &mut Work::default();
        let deleted = deleting.delete_queue(&name, NO_CONNECTION, conditions, work);
        deleting.bury(node.now(), work);
        deleted
    });
    let (_, ticket) = deleted.await??;
    let (by, vhost, name) = (&*auth.caller.user, &*vhost.name, &**queue.name());
    tracing::info!(target: "audit", by, vhost, name, "queue deleted");
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn purge(
    auth: Authorized<VhostMember>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let (vhost, queue) = existing(&auth, &names)?;
    let access = auth.caller.access(&node, vhost);
    vhost.check_exclusive(&queue, NO_CONNECTION)?;
    let (by, vhost) = (Arc::clone(&auth.caller.user), Arc::clone(vhost));
    let purged = node.elsewhere(move |node| {
        let name = &**queue.name();
        access.decide(|| access.check(Operation::Read, Resource::Queue(name)))?;
        tracing::info!(target: "audit", by = &*by, vhost = &*vhost.name, name, "queue purged");
        let work = &mut Work::default();
        queue.purge(node.now(), work);
        vhost.bury(node.now(), work);
        Ok::<_, Error>(())
    });
    purged.await??;
    Ok(StatusCode::NO_CONTENT)
}

/// What can be done with a queue of a single node: nothing. RabbitMQ 4 knows no action either.
async fn act(
    auth: Authorized<Administrator>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.existing()?;
    if vhost.queue(names.get("queue")).is_none() {
        return Err(Error::NotFound("queue_not_found".to_owned()));
    }
    let [action] = body.required(["action"])?;
    match action.as_str() {
        // Clients of RabbitMQ 3 ask for these of mirrored queues. There is nothing to synchronise.
        Some("sync" | "cancel_sync") => Ok(StatusCode::NO_CONTENT),
        Some(other) => Err(Error::BadRequest(format!("[unknown,{other}]"))),
        None => Err(Error::BadRequest(format!("[unknown,{action}]"))),
    }
}
