//! A listener of HTTP over TLS, for axum: handshakes of TLS go on side by side, and only finished ones are handed over.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{accept::accept, bounded::Bounded};
use crate::tls::Tls;

/// How long a handshake may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Connections whose handshake is over, and that wait to be taken.
const WAITING: usize = 64;

type Accepted = (TlsStream<Bounded>, SocketAddr);

/// Connections over TLS. No more are accepted once it is dropped.
pub struct SecureListener {
    address: SocketAddr,
    accepted: Receiver<Accepted>,
    _accepting: DropGuard,
}

impl SecureListener {
    /// Starts to accept.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start(listener: TcpListener, tls: Arc<Tls>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, accepted) = channel(WAITING);
        let stopping = CancellationToken::new();
        let on_connection = move |stream, peer| {
            tokio::spawn(shake_hands(stream, peer, Arc::clone(&tls), sender.clone()));
        };
        tokio::spawn(accept(listener, stopping.clone(), on_connection));
        Ok(Self {
            address,
            accepted,
            _accepting: stopping.drop_guard(),
        })
    }
}

async fn shake_hands(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Arc<Tls>,
    accepted: Sender<Accepted>,
) {
    match timeout(PATIENCE, Bounded::shake_hands(tls.acceptor(), stream)).await {
        // Nobody takes it when the broker stops.
        Ok(Ok(stream)) => drop(accepted.send((stream, peer)).await),
        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
    }
}

impl Listener for SecureListener {
    type Io = TlsStream<Bounded>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Accepted {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
