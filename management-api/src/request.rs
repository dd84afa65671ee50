//! What a request says besides its body: the names in its path, and its query.

use std::convert::Infallible;

use axum::{
    extract::{FromRequestParts, RawPathParams},
    http::{StatusCode, request::Parts},
};

use crate::{Error, Shared};

/// Names of exchanges in a path under which the default exchange goes by the name `amq.default`.
const EXCHANGES: [&str; 3] = ["exchange", "source", "destination"];

/// The default exchange, whose name is empty, in a path.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// The names in the path of a request, percent-decoded, so that `%2F` is the vhost `/`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(Vec<(String, String)>);

impl Names {
    /// The name under this key of the route.
    pub(crate) fn find(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, name)| name.as_str())
    }

    /// The name under this key of the route; empty if the route has none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.find(key).unwrap_or_default()
    }
}

impl FromRequestParts<Shared> for Names {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, node: &Shared) -> Result<Self, Error> {
        let params = RawPathParams::from_request_parts(parts, node).await;
        let params =
            params.map_err(|_| Error::BadRequest("the path is not valid UTF-8".to_owned()))?;
        let names = params.iter().map(|(key, name)| {
            let default = name == DEFAULT_EXCHANGE && EXCHANGES.contains(&key);
            let name = if default { "" } else { name };
            (key.to_owned(), name.to_owned())
        });
        Ok(Self(names.collect()))
    }
}

/// The query of a request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Takes a query apart.
    pub(crate) fn parse(query: &str) -> Self {
        Self(
            form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
        )
    }

    /// The value under this key; the first if there are several.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// All values under this key.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(known, _)| known == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the value under this key is `true`.
    pub(crate) fn is_true(&self, key: &str) -> bool {
        self.get(key) == Some("true")
    }
}

impl FromRequestParts<Shared> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

/// The answer to a `PUT` that was done: 201 for something new, 204 for something changed.
pub(crate) fn put_status(new: bool) -> StatusCode {
    match new {
        true => StatusCode::CREATED,
        false => StatusCode::NO_CONTENT,
    }
}
