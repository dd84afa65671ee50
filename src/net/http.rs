//! Serves HTTP/1.1 on a listener until the broker stops, and closes connections whose client takes too long.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request},
    response::Response,
    serve::Listener,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

/// How long the head of a request may take, and how long a connection may wait for its next one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves connections until `stopping`. Those that are open then end with the request that they are at.
pub async fn serve(
    mut listener: impl Listener<Addr = SocketAddr>,
    router: Router,
    stopping: CancellationToken,
    connections: TaskTracker,
) {
    loop {
        let (io, peer) = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (router, stopping) = (router.clone(), stopping.clone());
        connections.spawn(async move {
            let answer = |request| answer(router.clone(), request, peer);
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE);
            let connection = builder.serve_connection(TokioIo::new(io), service_fn(answer));
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stopping.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "HTTP connection ended");
            }
        });
    }
}

async fn answer(
    router: Router,
    mut request: hyper::Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(peer));
    let request: Request = request.map(Body::new);
    router.oneshot(request).await
}
