//! Permissions and topic permissions of users in vhosts (RabbitMQ: `rabbit_mgmt_wm_permission` and its neighbours).

use axum::{extract::State, http::StatusCode, response::Response};
use broker_core::definitions::{PermissionDefinition, TopicPermissionDefinition};
use serde_json::{Value, to_value};

use crate::{
    Error, Node, Shared,
    body::JsonBody,
    caller::{Administrator, Authorized},
    listing::{self, Ready},
    openapi::{Methods, Routes, get, schemas::access as schemas},
    request::{Names, Query, put_status},
};

/// The order of every list here.
const ORDER: &[&str] = &["vhost", "user"];

pub(crate) fn routes() -> Routes {
    let one = get(one)
        .says("The permissions of a user in a virtual host")
        .gives::<schemas::Permission>()
        .put(put)
        .says("Set them")
        .takes::<schemas::NewPermission>()
        .delete(delete)
        .says("Take them away");
    let all = |methods: Methods| methods.lists::<schemas::Permission>();
    Routes::about("Permissions")
        .route("/permissions", all(get(list).says("All permissions")))
        .route("/permissions/{vhost}/{user}", one)
        .route(
            "/users/{user}/permissions",
            all(get(of_user).says("The permissions of a user")),
        )
        .route(
            "/vhosts/{vhost}/permissions",
            all(get(of_vhost).says("The permissions in a virtual host")),
        )
        .merge(topic_routes())
}

fn topic_routes() -> Routes {
    let one = get(user_topics)
        .says("The topic permissions of a user in a virtual host")
        .gives::<Vec<schemas::TopicPermission>>()
        .put(put_topic)
        .says("Set those for one exchange")
        .takes::<schemas::NewTopicPermission>()
        .delete(delete_topics)
        .says("Take them away");
    let all = |methods: Methods| methods.lists::<schemas::TopicPermission>();
    Routes::about("Permissions")
        .route(
            "/topic-permissions",
            all(get(topics).says("All topic permissions")),
        )
        .route("/topic-permissions/{vhost}/{user}", one.clone())
        .route("/topic-permissions/{vhost}/{user}/{exchange}", one)
        .route(
            "/users/{user}/topic-permissions",
            all(get(topics_of_user).says("The topic permissions of a user")),
        )
        .route(
            "/vhosts/{vhost}/topic-permissions",
            all(get(topics_of_vhost).says("The topic permissions in a virtual host")),
        )
}

fn permissions(
    node: &Node,
    query: &Query,
    concerned: impl Fn(&PermissionDefinition) -> bool,
) -> Result<Response, Error> {
    let all = node
        .core
        .permissions()
        .into_iter()
        .filter(|it| concerned(it));
    let all = all.map(|it| Ready(to_value(it).unwrap_or_default()));
    listing::all(all.collect(), ORDER, query)
}

fn topic_permissions(
    node: &Node,
    query: &Query,
    concerned: impl Fn(&TopicPermissionDefinition) -> bool,
) -> Result<Response, Error> {
    let all = node.core.topic_permissions().into_iter();
    let all = all.filter(|it| concerned(it));
    let all = all.map(|it| Ready(to_value(it).unwrap_or_default()));
    listing::all(all.collect(), ORDER, query)
}

async fn list(
    _: Authorized<Administrator>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    permissions(&node, &query, |_| true)
}

async fn of_user(
    _: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let user = node.core.user(names.get("user")).ok_or(Error::NoSuchPath)?;
    permissions(&node, &query, |it| it.user == user.name)
}

async fn of_vhost(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let vhost = auth.scope.existing()?;
    permissions(&node, &query, |it| *it.vhost == *vhost.name)
}

/// A user and a vhost that both exist; `None` if one of them does not.
fn both<'a>(
    auth: &'a Authorized<Administrator>,
    node: &Node,
    names: &'a Names,
) -> Option<(&'a str, &'a str)> {
    let vhost = auth.scope.existing().ok()?;
    let user = names.get("user");
    node.core.user(user)?;
    Some((user, &vhost.name))
}

fn not_both() -> Error {
    Error::BadRequest("vhost_or_user_not_found".to_owned())
}

fn find(node: &Node, user: &str, vhost: &str) -> Option<PermissionDefinition> {
    let all = node.core.permissions();
    all.into_iter()
        .find(|it| it.user == user && it.vhost == vhost)
}

async fn one(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let (user, vhost) = both(&auth, &node, &names).ok_or(Error::NoSuchPath)?;
    let found = find(&node, user, vhost).ok_or(Error::NoSuchPath)?;
    listing::one(found, &query)
}

async fn put(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let (user, vhost) = both(&auth, &node, &names).ok_or_else(not_both)?;
    body.required(["configure", "write", "read"])?;
    let permission = PermissionDefinition {
        user: user.to_owned(),
        vhost: vhost.to_owned(),
        configure: body.text("configure")?.to_owned(),
        write: body.text("write")?.to_owned(),
        read: body.text("read")?.to_owned(),
    };
    let new = find(&node, user, vhost).is_none();
    let ticket = node.core.set_permissions(&permission, &auth.caller.user)?;
    node.durable(ticket).await?;
    Ok(put_status(new))
}

async fn delete(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let (user, vhost) = both(&auth, &node, &names).ok_or(Error::NoSuchPath)?;
    find(&node, user, vhost).ok_or(Error::NoSuchPath)?;
    let ticket = node
        .core
        .clear_permissions(user, vhost, &auth.caller.user)?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn topics(
    _: Authorized<Administrator>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    topic_permissions(&node, &query, |_| true)
}

async fn topics_of_user(
    _: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let user = node.core.user(names.get("user")).ok_or(Error::NoSuchPath)?;
    topic_permissions(&node, &query, |it| it.user == user.name)
}

async fn topics_of_vhost(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let vhost = auth.scope.existing()?;
    topic_permissions(&node, &query, |it| *it.vhost == *vhost.name)
}

fn find_topics(node: &Node, user: &str, vhost: &str) -> Vec<TopicPermissionDefinition> {
    let mut all = node.core.topic_permissions();
    all.retain(|it| it.user == user && it.vhost == vhost);
    all
}

async fn user_topics(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let (user, vhost) = both(&auth, &node, &names).ok_or(Error::NoSuchPath)?;
    let found = find_topics(&node, user, vhost);
    if found.is_empty() {
        return Err(Error::NoSuchPath);
    }
    let found: Vec<Value> = found
        .iter()
        .map(|it| to_value(it).unwrap_or_default())
        .collect();
    listing::one(found, &query)
}

async fn put_topic(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let (user, vhost) = both(&auth, &node, &names).ok_or_else(not_both)?;
    body.required(["exchange", "write", "read"])?;
    let permission = TopicPermissionDefinition {
        user: user.to_owned(),
        vhost: vhost.to_owned(),
        exchange: body.text("exchange")?.to_owned(),
        write: body.text("write")?.to_owned(),
        read: body.text("read")?.to_owned(),
    };
    let new = find_topics(&node, user, vhost).is_empty();
    let by = &auth.caller.user;
    let ticket = node.core.set_topic_permissions(&permission, by)?;
    node.durable(ticket).await?;
    Ok(put_status(new))
}

/// Those of one exchange, or of all.
async fn delete_topics(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let (user, vhost) = both(&auth, &node, &names).ok_or(Error::NoSuchPath)?;
    if find_topics(&node, user, vhost).is_empty() {
        return Err(Error::NoSuchPath);
    }
    let (exchange, by) = (names.find("exchange"), &auth.caller.user);
    let ticket = node
        .core
        .clear_topic_permissions(user, vhost, exchange, by)?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}
