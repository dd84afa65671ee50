//! The OpenAPI document of the HTTP API, and the page that shows it.
//!
//! The document is made of the routes themselves (`routes.rs`): who adds a path says there what it takes and gives, in the
//! types of `schemas/`. Those types describe what handlers write field by field, because what is in an object depends on
//! what a client asks for; that they are true is tested against the running program.

mod parameters;
mod routes;
pub(crate) mod schemas;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, OnceLock},
};

use axum::{
    Router,
    http::{
        StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::IntoResponse,
};
use bytes::Bytes;
use utoipa::{
    PartialSchema as _,
    openapi::{
        Components, ComponentsBuilder, Content, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder,
        Paths, Ref, RefOr, Required, ResponseBuilder, Schema, SecurityRequirement,
        path::OperationBuilder,
        request_body::{RequestBody, RequestBodyBuilder},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use self::routes::{Described, Operation, Outline};
pub(crate) use self::routes::{Methods, Routes, delete, get, post, put};
use crate::Shared;

/// What the page may load: what lies beside it, and answers of the API. No other site may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// The title of what RabbitMQ has and Leveret does not: it is answered with 501.
pub(crate) const ABSENT: &str = "Not available";

/// The ways to say who one is.
const LOGINS: [(&str, HttpAuthScheme); 2] = [
    ("password", HttpAuthScheme::Basic),
    ("token", HttpAuthScheme::Bearer),
];

/// The page, which needs no login: it says nothing about this broker.
pub(crate) fn routes() -> Routes {
    let page = get(async || {
        file(
            "text/html; charset=utf-8",
            include_str!("../../static/docs.html"),
        )
    });
    let script = get(async || {
        file(
            "text/javascript; charset=utf-8",
            include_str!("../../static/docs.js"),
        )
    });
    let style = get(async || {
        file(
            "text/css; charset=utf-8",
            include_str!("../../static/docs.css"),
        )
    });
    Routes::about("Documentation")
        .route(
            "/docs",
            page.says("This API as a page")
                .gives_text("text/html")
                .open(),
        )
        .route(
            "/docs/docs.js",
            script
                .says("Its script")
                .gives_text("text/javascript")
                .open(),
        )
        .route(
            "/docs/docs.css",
            style.says("Its style").gives_text("text/css").open(),
        )
}

fn file(content_type: &'static str, content: &'static str) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}

/// Where the document is.
const DOCUMENT: &str = "/api/openapi.json";

/// The router of all routes, with the document about them.
pub(crate) fn described(routes: Routes) -> Router<Shared> {
    let slot = Arc::new(OnceLock::<LazyDocument>::new());
    let filled = Arc::clone(&slot);
    let answer = get(async move || {
        let document = filled.get().map(|document| (**document).clone());
        (
            [(CONTENT_TYPE, "application/json")],
            document.unwrap_or_default(),
        )
    });
    let answer = answer
        .says("This API as an OpenAPI document")
        .gives::<schemas::Any>()
        .open();
    let own = Routes::about("Documentation").route(DOCUMENT, answer);
    let (router, outlines) = routes.merge(own).into_parts();
    let document = move || {
        let described: Vec<Described> = outlines.iter().map(Outline::described).collect();
        let document = serde_json::to_vec(&document(&described));
        document.unwrap_or_default().into()
    };
    // It is new, so it is empty.
    let _ = slot.set(LazyLock::new(Box::new(document)));
    router
}

/// The document as JSON, made when it is first asked for.
type LazyDocument = LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>;

/// The document about these routes.
fn document(described: &[Described]) -> OpenApi {
    let mut tags: Vec<&str> = Vec::new();
    for each in described {
        if !tags.contains(&each.tag) {
            tags.push(each.tag);
        }
    }
    // Who looks for something does not look there first.
    tags.sort_by_key(|tag| *tag == ABSENT);
    let tags = tags.into_iter().map(utoipa::openapi::Tag::new);
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Leveret")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "RabbitMQ's HTTP API, and Leveret's own below `/api/leveret`. Answers to `GET` understand `columns`: the \
                     fields that are wanted, with commas. Clients must expect fields that are not described here.",
                ))
                .license(Some(utoipa::openapi::License::new("Apache-2.0")))
                .build(),
        )
        .tags(Some(tags))
        .paths(paths(described))
        .components(Some(components(described)))
        .build()
}

fn paths(described: &[Described]) -> Paths {
    described.iter().fold(Paths::new(), |mut paths, each| {
        paths.add_path_operation(
            &each.path,
            vec![each.operation.method.clone()],
            operation(each),
        );
        paths
    })
}

fn components(described: &[Described]) -> Components {
    let mut schemas: BTreeMap<String, RefOr<Schema>> = BTreeMap::new();
    let error = ("Error".to_owned(), schemas::Error::schema());
    let all = described.iter().flat_map(|it| it.operation.schemas.clone());
    schemas.extend(all.chain([error]));
    let components = ComponentsBuilder::new().schemas_from_iter(schemas);
    let with_logins = LOGINS
        .into_iter()
        .fold(components, |components, (name, scheme)| {
            let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(scheme).build());
            components.security_scheme(name, scheme)
        });
    with_logins.build()
}

fn operation(described: &Described) -> utoipa::openapi::path::Operation {
    let Described {
        path,
        tag,
        operation,
    } = described;
    let mut parameters = parameters::of_path(path);
    let named = !parameters.is_empty();
    parameters.extend(operation.query.iter().chain(&operation.headers).cloned());
    let mut built = OperationBuilder::new()
        .tag(*tag)
        .summary(Some(operation.summary))
        .operation_id(Some(id(&operation.method, path)))
        .parameters(Some(parameters))
        .request_body(body(operation));
    if !operation.open {
        let logins = LOGINS.map(|(name, _)| SecurityRequirement::new(name, [] as [&str; 0]));
        built = built.securities(Some(logins));
    }
    for (status, content) in answers(operation) {
        let mut response =
            ResponseBuilder::new().description(status.canonical_reason().unwrap_or("other"));
        if let Some((kind, schema)) = content {
            response = response.content(kind, Content::new(Some(schema)));
        }
        built = built.response(status.as_str(), response.build());
    }
    for (status, what) in faults(operation, named) {
        let error = Content::new(Some(Ref::from_schema_name("Error")));
        let response = ResponseBuilder::new()
            .description(what)
            .content("application/json", error);
        built = built.response(status, response.build());
    }
    built.build()
}

/// A name that no other operation has: `get_queues_vhost_queue`.
fn id(method: &HttpMethod, path: &str) -> String {
    let words = path
        .trim_start_matches("/api")
        .split(|it: char| !it.is_ascii_alphanumeric());
    let method = match method {
        HttpMethod::Get => "get",
        HttpMethod::Put => "put",
        HttpMethod::Post => "post",
        HttpMethod::Delete => "delete",
        _ => "other",
    };
    words
        .filter(|word| !word.is_empty())
        .fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

fn body(operation: &Operation) -> Option<RequestBody> {
    let contents = operation.body.iter();
    let body = contents.fold(RequestBodyBuilder::new(), |body, (kind, schema)| {
        body.content(*kind, Content::new(Some(schema.clone())))
    });
    (!operation.body.is_empty()).then(|| body.required(Some(Required::True)).build())
}

/// The answers of success: what was said, or else what every operation with this method answers.
fn answers(operation: &Operation) -> Vec<(StatusCode, Option<routes::Content>)> {
    if !operation.answers.is_empty() {
        return operation.answers.clone();
    }
    match operation.method {
        HttpMethod::Put => vec![(StatusCode::CREATED, None), (StatusCode::NO_CONTENT, None)],
        _ => vec![(StatusCode::NO_CONTENT, None)],
    }
}

/// The answers of failure.
fn faults(operation: &Operation, named: bool) -> Vec<(&'static str, &'static str)> {
    let mut faults = vec![("400", "the request makes no sense")];
    if !operation.open {
        faults.push(("401", "wrong credentials, or too few rights"));
    }
    if named {
        faults.push((
            "404",
            "there is no such object, or its vhost is not for you to know of",
        ));
    }
    faults
}

#[cfg(test)]
mod tests;
