//! The files of the web page (`web/`), which are part of the binary. Debug builds read them from disk, so that changing
//! the page takes no compiler.
//!
//! The page has addresses of its own (`/queues/%2F/orders`), which are all the same `index.html`: its script looks at the
//! address. So every path is the page that is neither the API, nor metrics, nor in a folder of files.

use axum::{
    extract::Request,
    http::{
        HeaderName, Method, StatusCode,
        header::{
            ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
            REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use rust_embed::{Embed, EmbeddedFile};

use crate::Error;

/// Scripts, styles and answers come from this broker alone, nothing is written inline, no text becomes markup
/// (`require-trusted-types-for`), and no other site may frame the page or get its forms.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// The page itself.
const INDEX: &str = "index.html";

/// Folders that hold files only: what is not in them is not found.
const FOLDERS: [&str; 3] = ["core/", "components/", "views/"];

#[derive(Embed)]
#[folder = "web/"]
struct Files;

/// Answers whatever is no part of the API.
pub(crate) async fn serve(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let path = percent_decode_str(path).decode_utf8_lossy();
    if path == "api" || path == "metrics" || path.starts_with("metrics/") {
        return Error::NoSuchPath.into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let allowed = [(ALLOW, "GET,HEAD")];
        return (allowed, Error::MethodNotAllowed).into_response();
    }
    match Files::get(&path) {
        Some(file) => answer(&request, &path, file),
        None if is_file_only(&path) => Error::NoSuchPath.into_response(),
        None => match Files::get(INDEX) {
            Some(index) => answer(&request, INDEX, index),
            None => Error::NoSuchPath.into_response(),
        },
    }
}

/// Whether nobody can mean a view of the page: names of queues have dots too, but stand deeper.
fn is_file_only(path: &str) -> bool {
    let top = !path.contains('/') && path.contains('.');
    top || FOLDERS.iter().any(|folder| path.starts_with(folder))
}

fn answer(request: &Request, name: &str, file: EmbeddedFile) -> Response {
    let hash = file.metadata.sha256_hash();
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(hash));
    let headers = [
        (CONTENT_TYPE, content_type(name)),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        // Always asked for again, and nearly always answered with 304.
        (CACHE_CONTROL, "no-cache"),
        (ETAG, &tag),
    ];
    let known = request.headers().get(IF_NONE_MATCH);
    let known = known.and_then(|known| known.to_str().ok());
    let is_known = known.is_some_and(|known| {
        let mut tags = known.split(',').map(str::trim);
        tags.any(|known| known.trim_start_matches("W/") == tag || known == "*")
    });
    match is_known {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, Bytes::from(file.data.into_owned())).into_response(),
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}
