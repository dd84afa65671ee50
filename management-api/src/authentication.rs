//! Who sends the request: HTTP basic authentication (RFC 7617).

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::{Error, Shared};

/// Proof that the request comes from a user of the broker: a handler that takes it is for users only.
pub(crate) struct LoggedIn;

impl FromRequestParts<Shared> for LoggedIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, broker: &Shared) -> Result<Self, Error> {
        // Missing only if the router is served without connect info: then nobody gets in.
        let peer = ConnectInfo::<SocketAddr>::from_request_parts(parts, broker).await;
        let ConnectInfo(peer) = peer.map_err(|_| Error::NotAuthorized)?;
        let (user, password) = credentials(parts).ok_or(Error::NotAuthorized)?;
        if broker.log_in(&user, &password, peer.ip().to_canonical()) {
            Ok(Self)
        } else {
            Err(Error::NotAuthorized)
        }
    }
}

/// User and password of the Authorization header; a password may contain colons, a user name may not.
fn credentials(parts: &Parts) -> Option<(String, String)> {
    let header = parts.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
