//! Limits of vhosts and users (RabbitMQ: `rabbit_mgmt_wm_limits`, `rabbit_mgmt_wm_user_limits`; the faults are those of
//! `rabbit_parameter_validation:proplist`).

use axum::{extract::State, http::StatusCode, response::Response};
use broker_core::definitions::{UserLimitsDefinition, VhostLimitsDefinition};
use serde_json::{Map, Value, json};

use crate::{
    Error, Node, Shared,
    body::JsonBody,
    caller::{Administrator, Authorized, Management, VhostVisible},
    listing::{self, Ready},
    openapi::{
        self, Routes, get,
        schemas::settings::{NewLimit, UserLimits, VhostLimits},
    },
    request::{Names, Query},
    users::limits_json,
};

pub(crate) fn routes() -> Routes {
    let of_vhost = openapi::put(put_of_vhost)
        .says("Limit a virtual host: `max-connections`, `max-queues`")
        .takes::<NewLimit>()
        .answers(StatusCode::NO_CONTENT)
        .delete(delete_of_vhost)
        .says("Take a limit away");
    let of_user = openapi::put(put_of_user)
        .says("Limit a user: `max-connections`, `max-channels`")
        .takes::<NewLimit>()
        .answers(StatusCode::NO_CONTENT)
        .delete(delete_of_user)
        .says("Take a limit away, or `all`");
    let all_of_vhosts = get(of_vhosts).says("The limits of all virtual hosts");
    Routes::about("Limits")
        .route("/vhost-limits", all_of_vhosts.lists::<VhostLimits>())
        .route(
            "/vhost-limits/{vhost}",
            get(of_vhosts)
                .says("The limits of a virtual host")
                .lists::<VhostLimits>(),
        )
        .route("/vhost-limits/{vhost}/{name}", of_vhost)
        .route(
            "/user-limits",
            get(of_users)
                .says("The limits of all users")
                .lists::<UserLimits>(),
        )
        .route(
            "/user-limits/{user}",
            get(of_one_user)
                .says("The limits of a user")
                .lists::<UserLimits>(),
        )
        .route("/user-limits/{user}/{name}", of_user)
}

/// What a vhost may hold at most, as an object without what is not limited.
pub(crate) fn vhost_limits_json(node: &Node, vhost: &str) -> Map<String, Value> {
    let limits = node.core.vhost_limits(vhost).unwrap_or_default();
    let limits = [
        ("max-connections", limits.max_connections),
        ("max-queues", limits.max_queues),
    ];
    let given = limits
        .into_iter()
        .filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())));
    given.collect()
}

async fn of_vhosts(
    auth: Authorized<VhostVisible>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let vhosts = match names.find("vhost") {
        Some(_) => vec![auth.scope.existing()?.clone()],
        None => auth.caller.visible_vhosts(&node),
    };
    let limits = vhosts.iter().filter_map(|vhost| {
        let limits = vhost_limits_json(&node, &vhost.name);
        (!limits.is_empty()).then(|| Ready(json!({ "vhost": vhost.name, "value": limits })))
    });
    listing::all(limits.collect(), &[], &query)
}

async fn put_of_vhost(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.writable()?;
    let [value] = body.required(["value"])?;
    let mut limits = vhost_limits_json(&node, &vhost.name);
    limits.insert(names.get("name").to_owned(), value.clone());
    let limits = of_vhost(&vhost.name, &limits)?;
    let ticket = node.core.set_vhost_limits(&limits, &auth.caller.user)?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_of_vhost(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let vhost = auth.scope.writable()?;
    let mut limits = vhost_limits_json(&node, &vhost.name);
    limits.remove(names.get("name"));
    let limits = of_vhost(&vhost.name, &limits)?;
    let ticket = node.core.set_vhost_limits(&limits, &auth.caller.user)?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn of_users(
    _: Authorized<Administrator>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let users = node.core.users();
    let limits = users.iter().filter_map(|user| user_item(&node, &user.name));
    listing::all(limits.collect(), &[], &query)
}

/// Those of one user, who may look at them too.
async fn of_one_user(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let user = names.get("user");
    if !auth.caller.is_monitor() && *auth.caller.user != *user {
        let text = "User not authorised to access object";
        return Err(Error::NotAuthorised(text.to_owned()));
    }
    node.core.user(user).ok_or(Error::NoSuchPath)?;
    let limits = user_item(&node, user);
    listing::all(limits.into_iter().collect(), &[], &query)
}

/// The limits of a user who has some.
fn user_item(node: &Node, user: &str) -> Option<Ready> {
    let limits = limits_json(node, user);
    let none = limits.as_object().is_none_or(Map::is_empty);
    (!none).then(|| Ready(json!({ "user": user, "value": limits })))
}

fn existing_user<'a>(node: &Node, names: &'a Names) -> Result<&'a str, Error> {
    let user = names.get("user");
    match node.core.user(user) {
        Some(_) => Ok(user),
        None => Err(Error::NotFound("user_not_found".to_owned())),
    }
}

async fn put_of_user(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let user = existing_user(&node, &names)?;
    let [value] = body.required(["value"])?;
    let mut limits = limits_json(&node, user)
        .as_object()
        .cloned()
        .unwrap_or_default();
    limits.insert(names.get("name").to_owned(), value.clone());
    let ticket = node
        .core
        .set_user_limits(&of_user(user, &limits)?, &auth.caller.user)?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// One limit, or `all` of them.
async fn delete_of_user(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let user = existing_user(&node, &names)?;
    let mut limits = limits_json(&node, user)
        .as_object()
        .cloned()
        .unwrap_or_default();
    match names.get("name") {
        "all" => limits.clear(),
        name => drop(limits.remove(name)),
    }
    let ticket = node
        .core
        .set_user_limits(&of_user(user, &limits)?, &auth.caller.user)?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The limits of a vhost that an object says.
///
/// # Errors
/// 400 with RabbitMQ's text.
pub(crate) fn of_vhost(
    vhost: &str,
    limits: &Map<String, Value>,
) -> Result<VhostLimitsDefinition, Error> {
    let [max_connections, max_queues] =
        numbers("limits", ["max-connections", "max-queues"], limits)
            .map_err(|faults| Error::BadRequest(format!("Validation failed\n\n{faults}\n")))?;
    Ok(VhostLimitsDefinition {
        vhost: vhost.to_owned(),
        max_connections,
        max_queues,
    })
}

/// The limits of a user that an object says.
///
/// # Errors
/// 400 with RabbitMQ's text.
pub(crate) fn of_user(
    user: &str,
    limits: &Map<String, Value>,
) -> Result<UserLimitsDefinition, Error> {
    let [max_connections, max_channels] =
        numbers("user-limits", ["max-connections", "max-channels"], limits)
            .map_err(Error::BadRequest)?;
    Ok(UserLimitsDefinition {
        user: user.to_owned(),
        max_connections,
        max_channels,
    })
}

/// The numbers under these names; or what is wrong with the object, a line each.
fn numbers<const N: usize>(
    what: &str,
    names: [&str; N],
    limits: &Map<String, Value>,
) -> Result<[Option<i64>; N], String> {
    let mut faults = Vec::new();
    for (name, value) in limits {
        let shown = match value {
            Value::String(text) => format!("<<\"{text}\">>"),
            other => other.to_string(),
        };
        if !names.contains(&name.as_str()) {
            faults.push(format!(
                "Unrecognised terms [{{<<\"{name}\">>,{shown}}}] in {what}"
            ));
        } else if !value.is_i64() {
            faults.push(format!("{name} should be a number, actually was {shown}"));
        }
    }
    match faults.is_empty() {
        true => Ok(names.map(|name| limits.get(name).and_then(Value::as_i64))),
        false => Err(faults.join("\n")),
    }
}
