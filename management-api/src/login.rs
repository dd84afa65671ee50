//! Who sends a request: the header `Authorization` or the cookie of a session, and the user that it stands for.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts as _},
    http::{header::AUTHORIZATION, request::Parts},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use broker_core::{
    authentication::{self, Identity, Refusal, Verdict},
    users::LoginProtocol,
};
use tokio::sync::Semaphore;

use crate::{Error, Node, Shared, caller::Caller, session};

/// Logins that take time, at once.
static INQUIRIES: Semaphore = Semaphore::const_new(64);

/// User and password of a request (RFC 7617), or a token (RFC 6750), which says itself who its bearer is.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

impl Credentials {
    /// Those of the header; a password may contain colons, a user name may not.
    fn of(parts: &Parts) -> Option<Self> {
        let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, encoded) = header.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("Bearer") {
            return Some(Self {
                user: String::new(),
                password: encoded.trim().to_owned(),
            });
        }
        if !scheme.eq_ignore_ascii_case("Basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some(Self {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    fn presented(&self) -> authentication::Credentials<'_> {
        authentication::Credentials {
            user: &self.user,
            password: Some(self.password.as_bytes()),
        }
    }
}

/// The peer's address, as the listener tells it.
///
/// # Errors
/// The router is served without connect info: then nobody gets in.
pub(crate) async fn peer(parts: &mut Parts, node: &Shared) -> Result<IpAddr, Error> {
    let peer = ConnectInfo::<SocketAddr>::from_request_parts(parts, node).await;
    let ConnectInfo(peer) = peer.map_err(|_| Error::NotAuthenticated)?;
    Ok(peer.ip().to_canonical())
}

/// The user who sends this request.
///
/// # Errors
/// 401: there are no credentials, or wrong ones, or the user may not log in from there.
pub(crate) async fn log_in(parts: &mut Parts, node: &Shared) -> Result<Caller, Error> {
    let peer = peer(parts, node).await?;
    let credentials = Credentials::of(parts);
    let claimed = credentials.as_ref().map(|it| it.user.clone());
    let logged_in = match credentials {
        Some(credentials) => check(credentials, peer, node).await,
        None if session::is_of_the_page(&parts.headers) => {
            log_in_by_session(parts, peer, node).await
        }
        None => Err(Error::NotAuthenticated),
    };
    count(
        claimed.as_deref().unwrap_or_default(),
        peer,
        &logged_in,
        node,
    );
    logged_in
}

/// Counts an attempt of somebody who claims to be this user; a token says only when it is good whose it is.
pub(crate) fn count(claimed: &str, peer: IpAddr, logged_in: &Result<Caller, Error>, node: &Node) {
    let user = match logged_in {
        Ok(caller) => &*caller.user,
        Err(_) => claimed,
    };
    let attempts = node.core.login_attempts();
    attempts.count(LoginProtocol::Http, peer, user, logged_in.is_ok());
}

/// The user of a session, who is checked again each time. This is no guess at a password, and counts for none.
async fn log_in_by_session(parts: &Parts, peer: IpAddr, node: &Shared) -> Result<Caller, Error> {
    let cookie = session::cookie(&parts.headers).ok_or(Error::NoSession)?;
    session::check_origin(parts)?;
    let found = node.sessions.find(cookie, node.now());
    let credentials = found.ok_or(Error::NoSession)?;
    let user = credentials.user.clone();
    match identify(credentials, None, node).await? {
        Ok(identity) => admit(identity, peer, node),
        Err(refusal) => {
            tracing::info!(target: "audit", %peer, user, "session of the web page ends: {refusal}");
            node.sessions.end(cookie);
            Err(Error::NoSession)
        }
    }
}

/// The user with these credentials.
///
/// # Errors
/// 401: they are wrong, or the user may not log in from there.
pub(crate) async fn check(
    credentials: Credentials,
    peer: IpAddr,
    node: &Shared,
) -> Result<Caller, Error> {
    let failures = node.core.login_failures();
    let now = node.now();
    if !failures.admits(peer, now) || failures.is_delayed(peer, now) {
        return Err(Error::NotAuthenticated);
    }
    let claimed = credentials.user.clone();
    let identity = match identify(credentials, Some(peer), node).await? {
        Ok(identity) => identity,
        Err(refusal) => {
            tracing::warn!(target: "audit", %peer, user = claimed, mechanism = "HTTP", "login refused: {refusal}");
            return Err(Error::NotAuthenticated);
        }
    };
    admit(identity, peer, node)
}

/// Lets somebody in from there.
fn admit(identity: Arc<Identity>, peer: IpAddr, node: &Node) -> Result<Caller, Error> {
    let user = Arc::clone(identity.name());
    let local_only = node.loopback_users.iter().any(|local| **local == *user);
    if local_only && !peer.is_loopback() {
        tracing::warn!(target: "audit", %peer, user = &*user, mechanism = "HTTP", "login refused: localhost only");
        return Err(Error::NotAuthorised(
            "User can only log in via localhost".to_owned(),
        ));
    }
    Ok(Caller {
        user,
        tags: identity.tags().to_vec(),
        internal: identity.is_internal(),
        identity,
        peer,
    })
}

/// Who has these credentials, or why nobody is let in, which is counted where somebody may be guessing `from` there.
///
/// # Errors
/// 401: too many logins from there have failed meanwhile, so nobody has looked.
async fn identify(
    credentials: Credentials,
    from: Option<IpAddr>,
    node: &Shared,
) -> Result<Result<Arc<Identity>, Refusal>, Error> {
    if let Some(found) = node.core.log_in_now(&credentials.presented()) {
        if let (Err(_), Some(peer)) = (&found, from) {
            node.core.login_failures().failed(peer, node.now());
        }
        return Ok(found);
    }
    // Slow by design, or somebody has to be asked.
    let turn = INQUIRIES.acquire().await;
    let turn = turn.map_err(|closed| Error::Internal(closed.to_string()))?;
    let asked = node.elsewhere(move |node| {
        // Kept to the end, also when nobody waits for the answer any more.
        let _turn = turn;
        let presented = credentials.presented();
        let Some(peer) = from else {
            return Some(node.core.log_in(&presented));
        };
        match node.core.log_in_from(peer, &presented, || node.now()) {
            Verdict::Admitted(identity) => Some(Ok(identity)),
            Verdict::Refused { why, .. } => Some(Err(why)),
            Verdict::NotLookedAt => None,
        }
    });
    asked.await?.ok_or(Error::NotAuthenticated)
}
