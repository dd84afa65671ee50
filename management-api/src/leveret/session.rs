//! `/api/leveret/session`: how the web page logs in and out, and what it has to know to begin.

use axum::{Extension, extract::FromRequestParts as _};
use axum::{
    Json,
    extract::{State, rejection::ExtensionRejection},
    http::{
        HeaderMap, StatusCode,
        header::{CACHE_CONTROL, SET_COOKIE},
        request::Parts,
    },
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::check_keys;
use crate::{
    Error, Node, Shared,
    body::JsonBody,
    caller::{Authorized, Caller, Management},
    login::{self, Credentials},
    openapi::{
        Routes, get,
        schemas::access::{NewSession, Session},
    },
    session::{self, COOKIE_NAME, Secure},
};

pub(super) fn routes() -> Routes {
    let session = get(show)
        .says("Who is logged in, for a page")
        .gives::<Session>()
        .post(begin)
        .says("Log in: the answer sets a cookie")
        .takes::<NewSession>()
        .header(
            "X-Leveret-CSRF",
            "has to be there; no other web site can send it",
        )
        .gives::<Session>()
        .open()
        .delete(end)
        .says("Log out")
        .header(
            "X-Leveret-CSRF",
            "has to be there; no other web site can send it",
        )
        .open();
    Routes::about("Logins").route("/leveret/session", session)
}

/// Who is logged in, and what does not change while the broker runs.
async fn show(auth: Authorized<Management>, State(node): State<Shared>) -> Response {
    answer(StatusCode::OK, session_json(&auth.caller, &node))
}

fn session_json(caller: &Caller, node: &Node) -> Value {
    json!({
        "name": caller.user,
        "tags": caller.tags,
        "is_internal_user": caller.internal,
        "node": node.name,
        "cluster_name": node.cluster_name(),
        "product_version": env!("CARGO_PKG_VERSION"),
        "started_at": node.started_at,
    })
}

/// Checks user and password, and answers with the cookie of a new session.
async fn begin(
    State(node): State<Shared>,
    mut parts: Parts,
    body: JsonBody,
) -> Result<Response, Error> {
    session::check_origin(&parts)?;
    check_keys(&body, &["user", "password"])?;
    let credentials = Credentials {
        user: body.text("user")?.to_owned(),
        password: body.text("password")?.to_owned(),
    };
    let peer = login::peer(&mut parts, &node).await?;
    let caller = login::check(credentials.clone(), peer, &node).await;
    login::count(&credentials.user, peer, &caller, &node);
    let caller = caller.map_err(Error::without_challenge)?;
    caller.check_management_user()?;
    // Who logs in anew has no use for the session of before.
    end_session(&parts.headers, &node);
    let id = node.sessions.begin(credentials, node.now());
    let secure = is_secure(&mut parts, &node).await;
    tracing::info!(target: "audit", user = &*caller.user, %peer, "session of the web page begins");
    let mut response = answer(StatusCode::OK, session_json(&caller, &node));
    set_cookie(&mut response, &id, secure, "");
    Ok(response)
}

/// Ends the session that the request belongs to, if there is one.
async fn end(State(node): State<Shared>, mut parts: Parts) -> Result<Response, Error> {
    session::check_origin(&parts)?;
    end_session(&parts.headers, &node);
    let secure = is_secure(&mut parts, &node).await;
    let mut response = StatusCode::NO_CONTENT.into_response();
    set_cookie(&mut response, "", secure, "; Max-Age=0");
    Ok(response)
}

fn end_session(headers: &HeaderMap, node: &Node) {
    if let Some(cookie) = session::cookie(headers) {
        node.sessions.end(cookie);
    }
}

/// Whether the browser speaks TLS: with us, or with a proxy before us that says so. A browser that is lied to harms its
/// own session only.
async fn is_secure(parts: &mut Parts, node: &Shared) -> bool {
    let secure: Result<Extension<Secure>, ExtensionRejection> =
        Extension::from_request_parts(parts, node).await;
    let proxied = parts.headers.get("x-forwarded-proto");
    secure.is_ok() || proxied.is_some_and(|protocol| protocol == "https")
}

fn set_cookie(response: &mut Response, value: &str, secure: bool, more: &str) {
    let secure = if secure { "; Secure" } else { "" };
    let cookie =
        format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}").parse();
    if let Ok(cookie) = cookie {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
}

fn answer(status: StatusCode, body: Value) -> Response {
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
