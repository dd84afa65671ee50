//! Logging in: which backends are asked, in which order, and who somebody is to whom one of them says yes.
//!
//! RabbitMQ's description is <https://www.rabbitmq.com/docs/access-control#backends>, its code `rabbit_access_control`.
//! The broker's own users are the backend `internal`, which is always here. Others come from outside, as a [`Backend`]:
//! they may ask somebody over a network, so whoever calls them must be able to wait. What can be said without waiting is
//! said by the functions that end in `now`.
//!
//! A backend that lets somebody in names an [`Authoriser`], which is then asked what that
//! user may do.

mod chain;
mod identity;
mod verdict;

use std::{fmt, sync::Arc, time::SystemTime};

pub(crate) use self::identity::Authority;
pub use self::{
    chain::{Chain, Source, Step},
    identity::{Identity, NotRenewed},
    verdict::Verdict,
};
use crate::permissions::Authoriser;

/// What somebody who logs in presents.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// The user's name; empty with some tokens.
    pub user: &'a str,
    /// The password or token; `None` if the client's certificate has already said who it is.
    pub password: Option<&'a [u8]>,
}

/// No log line shows a password.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credentials of {}", self.user)
    }
}

/// Why somebody was not let in: for the log, and without any secret. Clients hear that they were refused, no more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

impl Refusal {
    /// A refusal for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// What a backend says of somebody whom it lets in.
#[derive(Debug, Clone)]
pub struct Admitted {
    /// The user's name, which a token knows better than the client.
    pub name: Arc<str>,
    /// The user's tags.
    pub tags: Vec<String>,
    /// Who says what the user may do.
    pub authoriser: Arc<dyn Authoriser>,
}

/// Somebody outside of the broker who knows users (RabbitMQ: `rabbit_authn_backend` and `rabbit_authz_backend`).
pub trait Backend: Send + Sync + fmt::Debug {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Checks who somebody is. May wait for others.
    ///
    /// # Errors
    /// Why not.
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Admitted, Refusal>;

    /// The same, if it takes no time; `None` if [`Self::authenticate`] has to be asked.
    fn authenticate_now(&self, credentials: &Credentials<'_>) -> Option<Result<Admitted, Refusal>>;
}

/// Seconds since 1970, in which tokens say when they end.
pub fn unix_time() -> u64 {
    unix_millis() / 1000
}

/// The same in milliseconds.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
