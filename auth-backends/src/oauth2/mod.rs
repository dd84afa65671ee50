//! Logging in with a token (RabbitMQ: `rabbitmq_auth_backend_oauth2`, <https://www.rabbitmq.com/docs/oauth2>).
//!
//! The client sends a JSON Web Token (RFC 7519) in place of a password. It is signed by somebody whose keys the broker
//! knows (`keys`), says for whom it is good and until when (`claims`), and lists scopes, of which some are
//! permissions (`scopes`). The user's name is in the token too; what the client gives as its name does not matter.

mod authoriser;
mod claims;
mod keys;
mod options;
mod pattern;
mod scopes;
mod signature;

use std::{str, sync::Arc};

use broker_core::authentication::{Admitted, Backend, Credentials, Refusal, unix_time};
use jsonwebtoken::decode_header;
use serde_json::{Map, Value};

use self::{
    authoriser::Bearer,
    keys::{Key, Keys},
};
pub use self::{
    options::{KeySource, Options, PatternSyntax},
    signature::algorithm,
};
use crate::Error;

/// What a token says.
pub(crate) type Claims = Map<String, Value>;

/// Somebody who checks tokens.
#[derive(Debug)]
pub struct OAuth2 {
    options: Options,
    keys: Keys,
    /// For authorisers, which come back for new tokens.
    this: std::sync::Weak<Self>,
}

/// Why a token was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// It cannot be read, or is for somebody else.
    NotForUs(String),
    /// Its signature, or what it says, is wrong.
    Wrong(String),
}

impl Invalid {
    fn wrong(problem: impl Into<String>) -> Self {
        Self::Wrong(problem.into())
    }

    fn reason(self) -> String {
        let (Self::NotForUs(problem) | Self::Wrong(problem)) = self;
        format!("Authentication using OAuth 2/JWT token failed: {problem}")
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self(invalid.reason())
    }
}

/// A token that can be checked: what its header says.
struct Unchecked<'a> {
    token: &'a str,
    /// The name of the key; empty if there is none.
    key: String,
}

impl OAuth2 {
    /// Reads what there is to read.
    ///
    /// # Errors
    /// A file cannot be used, or options are missing.
    pub fn new(options: Options) -> Result<Arc<Self>, Error> {
        options.check()?;
        signature::install();
        let keys = Keys::new(&options)?;
        Ok(Arc::new_cyclic(|this| Self {
            options,
            keys,
            this: this.clone(),
        }))
    }

    fn read<'a>(&self, credentials: &Credentials<'a>) -> Result<Unchecked<'a>, Invalid> {
        let Some(password) = credentials.password else {
            return Err(Invalid::NotForUs("there is no token".to_owned()));
        };
        self.read_token(password)
    }

    fn read_token<'a>(&self, token: &'a [u8]) -> Result<Unchecked<'a>, Invalid> {
        // What it is instead is perhaps a password.
        let none = || Invalid::NotForUs("provided token is invalid".to_owned());
        let token = str::from_utf8(token).map_err(|_| none())?;
        let header = decode_header(token).map_err(|_| none())?;
        if !self.options.algorithms.contains(&header.alg) {
            let problem = format!("tokens signed with {:?} are not accepted", header.alg);
            return Err(Invalid::wrong(problem));
        }
        let key = header
            .kid
            .unwrap_or_else(|| self.options.default_key.clone());
        Ok(Unchecked { token, key })
    }

    /// What a token says whose signature is right and that is meant for this broker.
    fn verify(&self, unchecked: &Unchecked<'_>, keys: &[Key]) -> Result<Claims, Invalid> {
        let claims = signature::verify(unchecked.token, keys)?;
        claims::check_audience(&claims, &self.options)?;
        claims::check_issuer(&claims, &self.options)?;
        Ok(claims)
    }

    fn admit(&self, unchecked: &Unchecked<'_>, keys: &[Key]) -> Result<Admitted, Invalid> {
        let claims = self.verify(unchecked, keys)?;
        let now = unix_time();
        claims::check_expiry(&claims, &self.options, now).map_err(Invalid::Wrong)?;
        claims::check_beginning(&claims, &self.options, now)?;
        let bearer = self.bearer(claims)?;
        Ok(Admitted {
            name: Arc::clone(bearer.name()),
            tags: bearer.tags(),
            authoriser: Arc::new(bearer),
        })
    }

    fn bearer(&self, claims: Claims) -> Result<Bearer, Invalid> {
        let Some(this) = self.this.upgrade() else {
            return Err(Invalid::wrong("the broker stops"));
        };
        let scopes = scopes::of(&claims, &self.options).map_err(Invalid::wrong)?;
        Ok(Bearer::new(this, claims, scopes))
    }
}

impl Backend for OAuth2 {
    fn name(&self) -> &'static str {
        "oauth2"
    }

    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Admitted, Refusal> {
        let unchecked = self.read(credentials)?;
        let keys = self.keys.find(&unchecked.key).map_err(Invalid::Wrong)?;
        Ok(self.admit(&unchecked, &keys)?)
    }

    fn authenticate_now(&self, credentials: &Credentials<'_>) -> Option<Result<Admitted, Refusal>> {
        let unchecked = match self.read(credentials) {
            Ok(unchecked) => unchecked,
            Err(invalid) => return Some(Err(invalid.into())),
        };
        let keys = self.keys.known(&unchecked.key)?;
        Some(self.admit(&unchecked, &keys).map_err(Refusal::from))
    }
}

#[cfg(test)]
mod tests;
