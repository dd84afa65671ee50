//! What is configured of tokens.

use std::collections::BTreeMap;

use jsonwebtoken::Algorithm;

use crate::{
    Error,
    client::{ClientOptions, check_address},
};

/// Where keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file with a set of JSON Web Keys (RFC 7517), which is read again when it changes.
    File(String),
    /// The same at an address.
    Url(String),
    /// An issuer whose metadata (RFC 8414, OpenID Connect Discovery) say where its keys are.
    Discovery(String),
}

/// What `*` and the like mean in scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternSyntax {
    /// `*` is any text; other characters may be percent-encoded.
    Wildcard,
    /// Regular expressions that match all of a name.
    Regex,
}

/// What is configured of tokens (RabbitMQ: `auth_oauth2.*`).
#[derive(Debug, Clone)]
pub struct Options {
    /// Who this broker is among those for whom tokens are.
    pub resource_server_id: String,
    /// Whether that has to be among a token's audience.
    pub verify_audience: bool,
    /// Whether tokens have to end.
    pub require_expiry: bool,
    /// Seconds by which clocks may differ.
    pub leeway: u64,
    /// Who has to have issued tokens; empty for anybody with a known key.
    pub issuer: String,
    /// What scopes begin with that are for this broker.
    pub scope_prefix: String,
    /// What the words stand for that are scopes of others.
    pub scope_aliases: BTreeMap<String, Vec<String>>,
    /// Places of further scopes in a token, separated by spaces; `a.b` is `b` inside of `a`.
    pub additional_scopes_key: String,
    /// Where a token has the user's name; the first of them that is there counts.
    pub preferred_username_claims: Vec<String>,
    /// What patterns are.
    pub pattern_syntax: PatternSyntax,
    /// How tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// The key of tokens that name none; empty for the one without name.
    pub default_key: String,
    /// Where keys come from.
    pub keys: KeySource,
    /// How addresses are asked.
    pub client: ClientOptions,
}

impl Options {
    /// Checks that what must be there is there.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let missing = |option, problem: &str| {
            let problem = problem.to_owned();
            Err(Error::Option { option, problem })
        };
        if self.resource_server_id.is_empty() {
            return missing(
                "oauth2.resource_server_id",
                "must say who this broker is in tokens",
            );
        }
        if self.algorithms.is_empty() {
            return missing("oauth2.algorithms", "must name at least one");
        }
        match &self.keys {
            KeySource::File(_) => Ok(()),
            KeySource::Url(url) => check_address("oauth2.jwks_url", url),
            KeySource::Discovery(issuer) => check_address("oauth2.issuer", issuer),
        }
    }

    /// What stands before permissions in scopes: the prefix, with the broker's name put in.
    pub(crate) fn prefix(&self) -> String {
        let name = &self.resource_server_id;
        self.scope_prefix.replace("{resource_server_id}", name)
    }
}
