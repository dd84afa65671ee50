//! What a connection's task needs of its socket, with and without TLS.

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::bounded::Bounded;

/// A stream of bytes over TCP.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// What is written may stay in the stream until it is flushed, and the client expects to be told of the end.
    const BUFFERS: bool;

    /// The connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    const BUFFERS: bool = false;

    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for TlsStream<Bounded> {
    const BUFFERS: bool = true;

    fn tcp(&self) -> &TcpStream {
        self.get_ref().0.tcp()
    }
}
