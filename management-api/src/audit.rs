//! Whose request an event of the audit log belongs to: where the client is, who it is, and what it has asked for.

use std::net::SocketAddr;

use axum::{
    extract::{ConnectInfo, Request},
    middleware::Next,
    response::Response,
};
use tracing::{Instrument as _, Span, field::Empty};

/// Answers a request; what is logged meanwhile is logged with the client's address and the request.
pub(crate) async fn request(request: Request, next: Next) -> Response {
    let span = tracing::error_span!(
        target: "audit", "request", peer = Empty, user = Empty,
        method = %request.method(), path = request.uri().path()
    );
    if let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        span.record("peer", tracing::field::display(peer));
    }
    next.run(request).instrument(span).await
}

/// Notes who has sent the request that is being answered.
pub(crate) fn note_user(user: &str) {
    Span::current().record("user", user);
}
