//! Connections over TLS: the handshake of TLS, then a connection as any other.

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, time::timeout};

use super::{
    bounded::Bounded,
    connection::{self, Serving},
    proxy::Ends,
};
use crate::{protocol::handshake::Certificate, tls::Tls};

/// Serves a connection that speaks TLS until it ends.
pub async fn run(stream: TcpStream, ends: Ends, tls: Arc<Tls>, serving: Serving) {
    let (peer, _) = ends;
    let patience = Duration::from_millis(serving.settings.login_timeout);
    let stream = match timeout(patience, Bounded::shake_hands(tls.acceptor(), stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::warn!(target: "audit", %peer, "TLS handshake failed: {error}");
            return;
        }
        Err(_) => {
            tracing::warn!(target: "audit", %peer, "TLS handshake took too long");
            return;
        }
    };
    let shown = stream.get_ref().1.peer_certificates();
    let certificate = shown.and_then(<[_]>::first).map(|certificate| Certificate {
        name: tls.login_name(certificate),
    });
    connection::serve(stream, ends, certificate, serving).await;
}
