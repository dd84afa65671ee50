//! Users (RabbitMQ: `rabbit_mgmt_wm_users`, `rabbit_mgmt_wm_user`, `rabbit_mgmt_wm_users_bulk_delete`).

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use broker_core::{
    definitions::{PermissionDefinition, UserDefinition, UserLimitsDefinition},
    users::{MAX_USER_TAGS, NewPassword, SHA_256},
};
use serde_json::{Map, Value, json};

use crate::{
    Error, Node, Shared,
    body::JsonBody,
    caller::{Administrator, Authorized},
    listing::{self, Ready},
    openapi::{Routes, get, post, schemas::access as schemas},
    request::{Names, Query, put_status},
};

/// A user with this tag cannot be changed through the API.
const PROTECTED: &str = "protected";

pub(crate) fn routes() -> Routes {
    let without = get(without_permissions).says("Users without permissions in any virtual host");
    let bulk_delete = post(bulk_delete)
        .says("Delete several users")
        .takes::<schemas::Users>();
    let one = get(one)
        .says("A user")
        .gives::<schemas::User>()
        .put(put)
        .says("Make a user, or change it")
        .takes::<schemas::NewUser>()
        .delete(delete)
        .says("Delete a user");
    Routes::about("Users")
        .route(
            "/users",
            get(list).says("All users").pages::<schemas::User>(),
        )
        .route(
            "/users/without-permissions",
            without.pages::<schemas::User>(),
        )
        .route("/users/bulk-delete", bulk_delete)
        .route("/users/{user}", one)
}

async fn list(
    _: Authorized<Administrator>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let users = node.core.users();
    let users = users.iter().map(|user| Ready(user_json(&node, user)));
    listing::paged(users.collect(), &["name"], &query)
}

async fn without_permissions(
    _: Authorized<Administrator>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let permissions = node.core.permissions();
    let mut users = node.core.users();
    users.retain(|user| permissions.iter().all(|it| it.user != user.name));
    let users = users.iter().map(|user| Ready(user_json(&node, user)));
    listing::paged(users.collect(), &["name"], &query)
}

async fn one(
    _: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let user = node.core.user(names.get("user"));
    listing::one(user_json(&node, &user.ok_or(Error::NoSuchPath)?), &query)
}

/// What the API says of a user.
fn user_json(node: &Node, user: &UserDefinition) -> Value {
    json!({
        "name": user.name,
        "password_hash": user.password_hash,
        "hashing_algorithm": user.hashing_algorithm,
        "tags": user.tags,
        "limits": limits_json(node, &user.name),
    })
}

/// What a user may open at most, as an object without what is not limited.
pub(crate) fn limits_json(node: &Node, user: &str) -> Value {
    let limits = node.core.user_limits(user).unwrap_or_default();
    let limits = [
        ("max-connections", limits.max_connections),
        ("max-channels", limits.max_channels),
    ];
    let given = limits
        .into_iter()
        .filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())));
    Value::Object(given.collect::<Map<_, _>>())
}

async fn put(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let name = names.get("user").to_owned();
    check_unprotected(&node, &name)?;
    let request = UserRequest::of(&name, &body.0)?;
    let by = Arc::clone(&auth.caller.user);
    let put = move |node: &Node| request.put(node, &by);
    let (new, ticket) = node.elsewhere(put).await??;
    node.durable(ticket).await?;
    Ok(put_status(new))
}

fn check_unprotected(node: &Node, user: &str) -> Result<(), Error> {
    match node.core.user(user) {
        Some(user) if user.tags.iter().any(|tag| tag == PROTECTED) => Err(Error::BadRequest(
            "Protected users cannot be modified via the HTTP API".to_owned(),
        )),
        _ => Ok(()),
    }
}

async fn delete(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    let name = names.get("user");
    node.core.user(name).ok_or(Error::NoSuchPath)?;
    check_unprotected(&node, name)?;
    let ticket = node.core.delete_user(name, &auth.caller.user)?;
    node.durable(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Deletes the users that there are among those named, but for protected ones.
async fn bulk_delete(
    auth: Authorized<Administrator>,
    State(node): State<Shared>,
    body: JsonBody,
) -> Result<StatusCode, Error> {
    let [users] = body.required(["users"])?;
    let names = users.as_array().map(Vec::as_slice).unwrap_or_default();
    for name in names.iter().filter_map(Value::as_str) {
        if check_unprotected(&node, name).is_err() {
            continue;
        }
        match node.core.delete_user(name, &auth.caller.user) {
            Ok(ticket) => node.durable(ticket).await?,
            Err(broker_core::Error::NotFound(_)) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What a user is to be (`rabbit_auth_backend_internal:put_user`).
struct UserRequest {
    name: String,
    password: Password,
    tags: Vec<String>,
    limits: Option<UserLimitsDefinition>,
    /// Granted to a user that is new.
    permissions: Vec<PermissionDefinition>,
}

enum Password {
    None,
    Clear(String),
    Hash { hash: String, algorithm: String },
}

impl UserRequest {
    fn of(name: &str, body: &Map<String, Value>) -> Result<Self, Error> {
        let tags = tags(body)?;
        if tags.len() > MAX_USER_TAGS {
            return Err(Error::BadRequest(format!(
                "A user can have at most {MAX_USER_TAGS} tags (received {})",
                tags.len()
            )));
        }
        let limits = body.get("limits").and_then(Value::as_object);
        let limits = limits.map(|limits| crate::limits::of_user(name, limits));
        Ok(Self {
            name: name.to_owned(),
            password: Password::of(body)?,
            tags,
            limits: limits.transpose()?,
            permissions: permissions(name, body)?,
        })
    }

    fn put(
        &self,
        node: &Node,
        by: &str,
    ) -> Result<(bool, broker_core::store::Ticket), broker_core::Error> {
        let password = match &self.password {
            Password::None => NewPassword::None,
            Password::Clear(password) => NewPassword::Clear(password),
            Password::Hash { hash, algorithm } => NewPassword::Hash { hash, algorithm },
        };
        let (new, mut ticket) = node.core.put_user(&self.name, password, &self.tags, by)?;
        if let Some(limits) = &self.limits {
            ticket = node.core.set_user_limits(limits, by)?;
        }
        if new {
            for permission in &self.permissions {
                ticket = node.core.set_permissions(permission, by)?;
            }
        }
        Ok((new, ticket))
    }
}

impl Password {
    fn of(body: &Map<String, Value>) -> Result<Self, Error> {
        let text = |value: &Value| {
            let text = value.as_str().map(str::to_owned);
            text.ok_or_else(|| Error::BadRequest("a password has to be a string".to_owned()))
        };
        match (body.get("password"), body.get("password_hash")) {
            (Some(_), Some(_)) => Err(Error::BadRequest(
                "both_password_and_password_hash_are_provided".to_owned(),
            )),
            (Some(password), None) => Ok(Self::Clear(text(password)?)),
            (None, Some(hash)) => {
                let algorithm = body.get("hashing_algorithm").and_then(Value::as_str);
                Ok(Self::Hash {
                    hash: text(hash)?,
                    algorithm: algorithm.unwrap_or(SHA_256).to_owned(),
                })
            }
            (None, None) => Ok(Self::None),
        }
    }
}

/// Tags are a list, or a text with commas; very old clients say `administrator`.
///
/// # Errors
/// 400: neither is there.
fn tags(body: &Map<String, Value>) -> Result<Vec<String>, Error> {
    match (body.get("tags"), body.get("administrator")) {
        (None, None) => Err(Error::BadRequest("tags_not_present".to_owned())),
        (None, Some(administrator)) => {
            let is = *administrator == json!(true) || *administrator == json!("true");
            Ok(is.then(|| "administrator".to_owned()).into_iter().collect())
        }
        (Some(tags), _) => Ok(tag_list(tags)),
    }
}

/// Tags as they are given, a list or a text with commas.
pub(crate) fn tag_list(tags: &Value) -> Vec<String> {
    let each: Vec<&str> = match tags {
        Value::String(text) => text.split(',').collect(),
        Value::Array(tags) => tags.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let trimmed = each.into_iter().map(str::trim);
    trimmed
        .filter(|tag| !tag.is_empty())
        .map(str::to_owned)
        .collect()
}

fn permissions(user: &str, body: &Map<String, Value>) -> Result<Vec<PermissionDefinition>, Error> {
    let Some(Value::Object(vhosts)) = body.get("permissions") else {
        return Ok(Vec::new());
    };
    let each = vhosts.iter().map(|(vhost, patterns)| {
        let patterns = JsonBody(patterns.as_object().cloned().unwrap_or_default());
        Ok(PermissionDefinition {
            user: user.to_owned(),
            vhost: vhost.clone(),
            configure: patterns.text("configure")?.to_owned(),
            write: patterns.text("write")?.to_owned(),
            read: patterns.text("read")?.to_owned(),
        })
    });
    each.collect()
}
