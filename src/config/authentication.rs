//! Options of those who know users: the broker itself, issuers of tokens, a service.

use serde::Deserialize;

/// Options of logins.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Who is asked, in this order.
    pub backends: Vec<String>,
    /// Seconds for which answers count.
    pub cache_ttl_seconds: u64,
}

/// Options of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// Who this broker is in tokens.
    pub resource_server_id: String,
    /// Address of keys.
    pub jwks_url: String,
    /// File of keys.
    pub jwks_file: String,
    /// Who issues tokens.
    pub issuer: String,
    /// File of root certificates.
    pub ca_file: String,
    /// Whether the audience counts.
    pub verify_aud: bool,
    /// Whether tokens have to end.
    pub require_exp: bool,
    /// Seconds by which clocks may differ.
    pub leeway_seconds: u64,
    /// What scopes begin with.
    pub scope_prefix: String,
    /// What scopes of others stand for, as `name=scopes`.
    pub scope_aliases: Vec<String>,
    /// Where there are further scopes.
    pub additional_scopes_key: String,
    /// Where the user's name is.
    pub preferred_username_claims: Vec<String>,
    /// What the parts of scopes are.
    pub scope_pattern_syntax: ScopePatternSyntax,
    /// How tokens may be signed.
    pub algorithms: Vec<String>,
    /// The key of tokens that name none.
    pub default_key: String,
    /// Seconds within which keys have to arrive.
    pub timeout_seconds: u64,
}

/// What the parts of scopes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScopePatternSyntax {
    /// Texts with stars.
    Wildcard,
    /// Regular expressions.
    Regex,
}

/// Options of the service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthHttp {
    /// How it is asked.
    pub http_method: HttpMethod,
    /// Where users are asked for.
    pub user_path: String,
    /// Where vhosts are asked for.
    pub vhost_path: String,
    /// Where queues and exchanges are asked for.
    pub resource_path: String,
    /// Where routing keys are asked for.
    pub topic_path: String,
    /// Whether clients hear of reasons.
    pub authorization_failure_disclosure: bool,
    /// Seconds within which it has to answer.
    pub request_timeout_seconds: u64,
    /// File of root certificates.
    pub ca_file: String,
}

/// How the service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HttpMethod {
    /// With addresses.
    Get,
    /// With forms.
    Post,
}
