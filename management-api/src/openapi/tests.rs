//! The document has every route of the router and says what each is for.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::tests::{core, json_of, node};

/// What RabbitMQ 4.3's management plugin answers, a path each; those of plugins that Leveret does not have are left out.
const RABBITMQ: &str = include_str!("rabbitmq_routes.txt");

async fn send(method: Method, path: &str) -> axum::http::Response<Body> {
    thread_local! {
        static ROUTER: axum::Router = crate::router(node(core()));
    }
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).unwrap();
    ROUTER.with(Clone::clone).oneshot(request).await.unwrap()
}

async fn document() -> Value {
    json_of(send(Method::GET, "/api/openapi.json").await).await
}

/// The methods that the router has for a path, but for `HEAD`.
async fn methods(path: &str) -> BTreeSet<String> {
    let answer = send(Method::OPTIONS, path).await;
    let allow = answer.headers().get(header::ALLOW);
    let allow = allow.map_or("", |it| it.to_str().unwrap());
    let methods = allow
        .split(',')
        .filter(|it| !it.is_empty() && *it != "HEAD");
    methods.map(str::to_lowercase).collect()
}

/// A path of the document with an `x` for each name.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part.chars().next() {
        Some('{' | ':') => "x",
        _ => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn the_document_has_the_methods_of_the_router() {
    let document = document().await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 100, "{}", paths.len());
    for (path, operations) in paths {
        let described: BTreeSet<String> = operations.as_object().unwrap().keys().cloned().collect();
        if path.starts_with("/api") {
            assert_eq!(methods(&filled(path)).await, described, "{path}");
        }
    }
}

#[tokio::test]
async fn every_operation_says_what_it_is_for_and_what_it_answers() {
    let document = document().await;
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(
                !summary.is_empty(),
                "{method} {path} does not say what it is for"
            );
            let answers = operation["responses"].as_object().unwrap();
            assert!(
                answers.keys().any(|it| it < &"400".to_owned()) || answers.contains_key("501"),
                "{method} {path}"
            );
            assert!(
                method != "get" || !answers.contains_key("204"),
                "{method} {path} does not say what it gives"
            );
            assert!(
                ids.insert(operation["operationId"].to_string()),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|it| references(it, found));
            }
            Value::Array(items) => items.iter().for_each(|it| references(it, found)),
            _ => {}
        }
    }
    let document = document().await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn no_path_of_rabbitmq_is_unknown() {
    let mut unknown = Vec::new();
    for path in RABBITMQ.lines().filter(|it| !it.is_empty()) {
        if send(Method::OPTIONS, &filled(path)).await.status() != StatusCode::OK {
            unknown.push(path);
        }
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[tokio::test]
async fn the_page_loads_only_what_lies_beside_it() {
    for (path, kind) in [
        ("/api/docs", "text/html; charset=utf-8"),
        ("/api/docs/docs.js", "text/javascript; charset=utf-8"),
        ("/api/docs/docs.css", "text/css; charset=utf-8"),
    ] {
        let answer = send(Method::GET, path).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], kind);
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        let body = axum::body::to_bytes(answer.into_body(), 1 << 20)
            .await
            .unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(
            !text.contains("http://") && !text.contains("https://"),
            "{path}"
        );
        assert!(text.len() < 20 * 1024, "{path}");
    }
}
