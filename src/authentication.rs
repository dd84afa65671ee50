//! Who may log in, as the configuration says it: from words to the backends of the core.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use auth_backends::{
    http::{self, HttpBackend},
    oauth2::{self, KeySource, OAuth2, PatternSyntax},
};
use broker_core::authentication::{Backend, Chain, Source, Step};

use crate::{
    config::{
        Config,
        authentication::{HttpMethod, ScopePatternSyntax},
    },
    error::Error,
};

/// The backends that are configured, in their order.
///
/// # Errors
/// [`Error::Authentication`]: an option is missing, or a file cannot be used.
pub fn configured(config: &Config) -> Result<Chain, Error> {
    let mut backends = Backends {
        config,
        made: BTreeMap::new(),
    };
    let steps = config.auth.backends.iter().map(|step| {
        let (authentication, authorisation) = match step.split_once(':') {
            Some((authentication, authorisation)) => (authentication, Some(authorisation)),
            None => (step.as_str(), None),
        };
        Ok(Step {
            authentication: backends.source(authentication)?,
            authorisation: authorisation
                .map(|name| backends.source(name))
                .transpose()?,
        })
    });
    Ok(Chain::new(steps.collect::<Result<_, Error>>()?))
}

struct Backends<'a> {
    config: &'a Config,
    made: BTreeMap<String, Arc<dyn Backend>>,
}

impl Backends<'_> {
    fn source(&mut self, name: &str) -> Result<Source, Error> {
        if let Some(made) = self.made.get(name) {
            return Ok(Source::External(Arc::clone(made)));
        }
        let backend: Arc<dyn Backend> = match name {
            "oauth2" => OAuth2::new(oauth2_options(self.config)?)?,
            "http" => Arc::new(HttpBackend::new(http_options(self.config))?),
            _ => return Ok(Source::Internal),
        };
        self.made.insert(name.to_owned(), Arc::clone(&backend));
        Ok(Source::External(backend))
    }
}

fn http_options(config: &Config) -> http::Options {
    let options = &config.auth_http;
    http::Options {
        method: match options.http_method {
            HttpMethod::Get => http::Method::Get,
            HttpMethod::Post => http::Method::Post,
        },
        user_path: options.user_path.clone(),
        vhost_path: options.vhost_path.clone(),
        resource_path: options.resource_path.clone(),
        topic_path: options.topic_path.clone(),
        disclose_reasons: options.authorization_failure_disclosure,
        cache: Duration::from_secs(config.auth.cache_ttl_seconds),
        client: http::ClientOptions {
            ca_file: options.ca_file.clone(),
            timeout: Duration::from_secs(options.request_timeout_seconds),
        },
    }
}

fn oauth2_options(config: &Config) -> Result<oauth2::Options, Error> {
    let options = &config.oauth2;
    let named = options.algorithms.iter();
    let algorithms = named.filter_map(|name| oauth2::algorithm(name)).collect();
    Ok(oauth2::Options {
        resource_server_id: options.resource_server_id.clone(),
        verify_audience: options.verify_aud,
        require_expiry: options.require_exp,
        leeway: options.leeway_seconds,
        issuer: options.issuer.clone(),
        scope_prefix: options.scope_prefix.clone(),
        scope_aliases: aliases(&options.scope_aliases)?,
        additional_scopes_key: options.additional_scopes_key.clone(),
        preferred_username_claims: options.preferred_username_claims.clone(),
        pattern_syntax: match options.scope_pattern_syntax {
            ScopePatternSyntax::Wildcard => PatternSyntax::Wildcard,
            ScopePatternSyntax::Regex => PatternSyntax::Regex,
        },
        algorithms,
        default_key: options.default_key.clone(),
        keys: key_source(config)?,
        client: http::ClientOptions {
            ca_file: options.ca_file.clone(),
            timeout: Duration::from_secs(options.timeout_seconds),
        },
    })
}

fn key_source(config: &Config) -> Result<KeySource, Error> {
    let options = &config.oauth2;
    let (url, file) = (&options.jwks_url, &options.jwks_file);
    match (url.as_str(), file.as_str(), options.issuer.as_str()) {
        ("", "", "") => Err(wrong(
            "oauth2.jwks_url",
            "or oauth2.jwks_file must say where the keys of tokens are",
        )),
        ("", "", issuer) => Ok(KeySource::Discovery(issuer.to_owned())),
        ("", file, _) => Ok(KeySource::File(file.to_owned())),
        (url, "", _) => Ok(KeySource::Url(url.to_owned())),
        _ => Err(wrong(
            "oauth2.jwks_file",
            "must be empty where oauth2.jwks_url is not",
        )),
    }
}

fn aliases(texts: &[String]) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let parsed = texts.iter().map(|text| {
        let problem = "must be a list of name=scopes";
        let (name, scopes) = text
            .split_once('=')
            .ok_or_else(|| wrong("oauth2.scope_aliases", problem))?;
        let scopes = scopes.split_whitespace().map(str::to_owned).collect();
        Ok((name.trim().to_owned(), scopes))
    });
    parsed.collect()
}

fn wrong(option: &'static str, problem: &str) -> Error {
    let problem = problem.to_owned();
    Error::Authentication(auth_backends::Error::Option { option, problem })
}
