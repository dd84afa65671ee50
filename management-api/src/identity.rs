//! Who one is, and passwords (RabbitMQ: `rabbit_mgmt_wm_whoami`, `rabbit_mgmt_wm_login`,
//! `rabbit_mgmt_wm_hash_password`, `rabbit_mgmt_wm_auth_attempts`).

use axum::{
    extract::State,
    http::{StatusCode, request::Parts},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use broker_core::users::hash_public_password;
use serde_json::{Value, json};

use crate::{
    Error, Shared,
    body::RawBody,
    caller::{Administrator, Authorized, Caller, Management, Monitor},
    listing,
    login::{self, Credentials},
    openapi::{
        Routes, get, post,
        schemas::{
            access::{Hash, LoggedIn, Login, Whoami},
            node::{Attempts, AttemptsBySource},
        },
    },
    request::{Names, Query},
};

pub(crate) fn routes() -> Routes {
    let log_in = post(log_in)
        .says("Check user and password, and say what to send from then on")
        .takes_as::<Login>("application/x-www-form-urlencoded")
        .gives::<LoggedIn>()
        .open()
        .delete(log_out)
        .says("Nothing is kept of a login, so there is nothing to end")
        .open();
    let hash = get(hash_password)
        .says("A hash of a password, for a definitions file")
        .gives::<Hash>();
    let attempts = get(attempts)
        .says("How many logins were tried")
        .gives::<Vec<Attempts>>()
        .delete(reset_attempts)
        .says("Count from 0 again");
    let by_source = get(attempts_by_source)
        .says("How many logins were tried from each address by each user")
        .gives::<Vec<AttemptsBySource>>()
        .delete(reset_attempts)
        .says("Count from 0 again");
    Routes::about("Logins")
        .route(
            "/whoami",
            get(whoami).says("Who sends this request").gives::<Whoami>(),
        )
        .route("/login", log_in)
        .route("/auth/hash_password/{password}", hash)
        .route("/auth/attempts/{node}", attempts)
        .route("/auth/attempts/{node}/source", by_source)
}

fn caller_json(caller: &Caller) -> Value {
    json!({ "name": caller.user, "tags": caller.tags, "is_internal_user": caller.internal })
}

async fn whoami(auth: Authorized<Management>, query: Query) -> Result<Response, Error> {
    listing::one(caller_json(&auth.caller), &query)
}

/// Checks user and password of a form, and answers with what to send from then on.
async fn log_in(
    State(node): State<Shared>,
    mut parts: Parts,
    RawBody(body): RawBody,
) -> Result<Response, Error> {
    let form = Query::parse(&String::from_utf8_lossy(&body));
    let (Some(user), Some(password)) = (form.get("username"), form.get("password")) else {
        return Err(Error::NotAuthenticated);
    };
    let credentials = Credentials {
        user: user.to_owned(),
        password: password.to_owned(),
    };
    let peer = login::peer(&mut parts, &node).await?;
    let caller = login::check(credentials, peer, &node).await?;
    caller.check_management_user()?;
    let token = STANDARD.encode(format!("{user}:{password}"));
    let answer =
        json!({ "token": { "type": "basic", "value": token }, "user": caller_json(&caller) });
    listing::one(answer, &Query::default())
}

/// Nothing is kept of a login, so there is nothing to end.
async fn log_out() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// A hash that a definitions file or `password_hash` of a user takes, here and in RabbitMQ.
async fn hash_password(
    _: Authorized<Administrator>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let hash = hash_public_password(names.get("password").as_bytes());
    listing::one(json!({ "ok": hash }), &query)
}

async fn attempts(
    _: Authorized<Monitor>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    node.check_name(names.get("node"))?;
    let attempts = node.core.login_attempts().all();
    let attempts = attempts.into_iter().map(|(protocol, attempts)| {
        let (succeeded, failed) = (attempts.succeeded, attempts.failed);
        json!({
            "protocol": protocol.as_str(),
            "auth_attempts": succeeded + failed,
            "auth_attempts_succeeded": succeeded,
            "auth_attempts_failed": failed,
        })
    });
    listing::one(attempts.collect::<Value>(), &query)
}

/// RabbitMQ counts them only if it is told to (`track_auth_attempt_source`), because there can be any number of sources;
/// here the latest are kept.
async fn attempts_by_source(
    _: Authorized<Monitor>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    node.check_name(names.get("node"))?;
    let sources = node.core.login_attempts().by_source().into_iter();
    let sources = sources.map(|(source, attempts)| {
        let (succeeded, failed) = (attempts.succeeded, attempts.failed);
        json!({
            "remote_address": source.address.to_string(),
            "username": source.user,
            "protocol": source.protocol.as_str(),
            "auth_attempts": succeeded + failed,
            "auth_attempts_succeeded": succeeded,
            "auth_attempts_failed": failed,
        })
    });
    listing::one(sources.collect::<Value>(), &query)
}

async fn reset_attempts(
    _: Authorized<Administrator>,
    State(node): State<Shared>,
    names: Names,
) -> Result<StatusCode, Error> {
    node.check_name(names.get("node"))?;
    node.core.login_attempts().reset();
    Ok(StatusCode::NO_CONTENT)
}
