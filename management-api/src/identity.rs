//! Who one is, and passwords (RabbitMQ: `rabbit_mgmt_wm_whoami`, `rabbit_mgmt_wm_login`,
//! `rabbit_mgmt_wm_hash_password`, `rabbit_mgmt_wm_auth_attempts`).

use axum::{
    Router,
    extract::State,
    http::{StatusCode, request::Parts},
    response::Response,
    routing::{get, post},
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
    request::{Names, Query},
};

pub(crate) fn routes() -> Router<Shared> {
    let attempts = get(attempts).delete(reset_attempts);
    Router::new()
        .route("/whoami", get(whoami))
        .route("/login", post(log_in).delete(log_out))
        .route("/auth/hash_password/{password}", get(hash_password))
        .route("/auth/attempts/{node}", attempts)
        .route(
            "/auth/attempts/{node}/source",
            get(attempts_by_source).delete(reset_attempts),
        )
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

/// Attempts are not counted by address and user; neither are they in RabbitMQ unless it is told to.
async fn attempts_by_source(
    _: Authorized<Monitor>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    node.check_name(names.get("node"))?;
    listing::one(json!([]), &query)
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
