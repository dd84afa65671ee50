//! The files of the web page, and which address shows what.

use axum::http::{
    HeaderValue,
    header::{
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use super::*;

async fn get(path: &str) -> Response<Body> {
    send(Method::GET, path, None, HERE).await
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn header(response: &Response<Body>, name: header::HeaderName) -> String {
    let value = response.headers().get(name).map(HeaderValue::to_str);
    value.unwrap().unwrap().to_owned()
}

#[tokio::test]
async fn every_address_of_the_page_is_the_page() {
    let index = text(get("/").await).await;
    assert!(index.starts_with("<!doctype html>"));
    for path in [
        "/queues",
        "/queues?vhost=%2F&name=x&page=2",
        "/queues/%2F/orders",
        "/queues/%2F/orders.v1",
        "/queues/%2F/core%2Fx.js",
        "/no/such",
    ] {
        let response = get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&response, CONTENT_TYPE), "text/html; charset=utf-8");
        assert_eq!(text(response).await, index, "{path}");
    }
}

#[tokio::test]
async fn files_have_their_types_and_what_is_no_file_is_not_found() {
    for (path, kind) in [
        ("/style.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/views/queues.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let response = get(path).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(header(&response, CONTENT_TYPE), kind);
    }
    for path in ["/core/no.js", "/favicon.ico", "/views/..%2F..%2FCargo.toml"] {
        let response = get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    let outside = text(get("/..%2FCargo.toml").await).await;
    assert!(outside.starts_with("<!doctype html>"), "{outside}");
}

#[tokio::test]
async fn nothing_comes_from_elsewhere_and_nobody_may_frame_the_page() {
    for path in ["/", "/app.js", "/queues/%2F/orders"] {
        let response = get(path).await;
        let policy = header(&response, CONTENT_SECURITY_POLICY);
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ] {
            assert!(
                policy.split("; ").any(|it| it == rule),
                "{path}: {rule} in {policy}"
            );
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"));
        assert_eq!(header(&response, X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header(&response, REFERRER_POLICY), "no-referrer");
    }
}

#[tokio::test]
async fn a_file_that_the_browser_has_is_not_sent_again() {
    let first = get("/app.js").await;
    let tag = header(&first, ETAG);
    let ask = async |tag: &str| {
        let request = Request::builder().uri("/app.js").header(IF_NONE_MATCH, tag);
        let peer: SocketAddr = HERE.parse().unwrap();
        let router = router(node(core())).layer(MockConnectInfo(peer));
        let request = request.body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap()
    };
    let again = ask(&tag).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(header(&again, ETAG), tag);
    assert_eq!(text(again).await, "");
    assert_eq!(ask(&format!("\"x\", W/{tag}")).await.status(), 304);
    assert_eq!(ask("\"x\"").await.status(), 200);
}

#[tokio::test]
async fn the_page_takes_no_other_method() {
    let response = send(Method::POST, "/queues", None, HERE).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
    let response = send(Method::HEAD, "/queues", None, HERE).await;
    assert_eq!(response.status(), StatusCode::OK);
}

/// The whole page is to load in a moment over a slow line, and is part of every binary.
#[test]
fn the_page_has_less_than_250_kib() {
    fn size(folder: &std::path::Path) -> u64 {
        let entries = std::fs::read_dir(folder).unwrap();
        let sizes = entries.map(|entry| {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => size(&entry.path()),
                false => entry.metadata().unwrap().len(),
            }
        });
        sizes.sum()
    }
    let size = size(std::path::Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/web"
    )));
    assert!(size < 250 * 1024, "{size} bytes");
}
