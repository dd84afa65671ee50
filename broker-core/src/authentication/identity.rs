//! Somebody who has logged in.

use std::{fmt, sync::Arc};

use super::unix_millis;
use crate::{
    permissions::{Authoriser, Renewal},
    queue::Millis,
    users::IMPERSONATOR,
};

/// Who says what a user may do.
#[derive(Debug, Clone)]
pub(crate) enum Authority {
    /// The broker's own permissions.
    Internal,
    /// Somebody else.
    External(Arc<dyn Authoriser>),
}

/// Somebody who has logged in (RabbitMQ: `#user{}`).
#[derive(Clone)]
pub struct Identity {
    name: Arc<str>,
    tags: Vec<String>,
    authority: Authority,
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Identity of {}", self.name)
    }
}

/// Why a new secret was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRenewed {
    /// It is not good, for this reason, or another user's.
    Refused(String),
    /// Nobody could say whether it is good.
    Failed(String),
}

impl Identity {
    /// A user of the broker's own.
    pub fn internal(name: impl Into<Arc<str>>, tags: Vec<String>) -> Self {
        Self::new(name.into(), tags, Authority::Internal)
    }

    pub(crate) fn new(name: Arc<str>, tags: Vec<String>, authority: Authority) -> Self {
        Self {
            name,
            tags,
            authority,
        }
    }

    /// The user's name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The user's tags, as of the login.
    pub fn tags(&self) -> &[String] {
        &self.tags
    }

    /// Whether the broker's own permissions are the user's: then there has to be such a user.
    pub fn is_internal(&self) -> bool {
        matches!(self.authority, Authority::Internal)
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(crate) fn impersonates(&self) -> bool {
        self.tags.iter().any(|tag| tag == IMPERSONATOR)
    }

    /// How long it is until this login ends by itself, in milliseconds; `None` if it does not.
    pub fn remaining(&self) -> Option<Millis> {
        let Authority::External(authoriser) = &self.authority else {
            return None;
        };
        let end = authoriser.expires_at()?.saturating_mul(1000);
        Some(end.saturating_sub(unix_millis()))
    }

    /// Whether this login ends by itself, and so takes new secrets.
    pub fn expires(&self) -> bool {
        self.remaining().is_some()
    }

    /// The same user with what a new secret gives. May wait for others. A login that does not end by itself has no
    /// secret, and whatever is given is not looked at (RabbitMQ: `rabbit_access_control:update_state`).
    ///
    /// # Errors
    /// Why not; without any secret.
    pub fn renew(&self, secret: &[u8]) -> Result<Self, NotRenewed> {
        let authoriser = match &self.authority {
            Authority::External(authoriser) if self.expires() => authoriser,
            _ => return Ok(self.clone()),
        };
        let Renewal { tags, authoriser } = authoriser.renew(secret)?;
        let authority = Authority::External(authoriser);
        Ok(Self::new(Arc::clone(&self.name), tags, authority))
    }
}
