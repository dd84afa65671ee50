//! The socket below TLS. A client that has not finished its handshake may send so much and no more: messages of the
//! handshake can be announced as 64 KiB, and are kept until they are whole.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// Bytes of a handshake: a long chain of client certificates fits. With what goes before and comes behind it, a
/// connection stays below the 64 KiB that it may cost before it has logged in.
const HANDSHAKE_MAX: usize = 32 * 1024;

/// A socket of which only so much is read until its handshake is over.
#[derive(Debug)]
pub struct Bounded {
    socket: TcpStream,
    /// Bytes that may come; `None` for any number.
    left: Option<usize>,
}

impl Bounded {
    /// Does the handshake of TLS.
    ///
    /// # Errors
    /// It fails, or is too long.
    pub async fn shake_hands(
        acceptor: TlsAcceptor,
        socket: TcpStream,
    ) -> io::Result<TlsStream<Self>> {
        let bounded = Self {
            socket,
            left: Some(HANDSHAKE_MAX),
        };
        let mut stream = acceptor.accept(bounded).await?;
        stream.get_mut().0.left = None;
        Ok(stream)
    }

    /// The socket itself.
    pub fn tcp(&self) -> &TcpStream {
        &self.socket
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == Some(0) {
            let problem = format!("the handshake is longer than {HANDSHAKE_MAX} bytes");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(buffer.filled().len() - before);
        }
        polled
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
