//! Accepts connections until the broker stops.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long to wait when the system has no descriptor or memory for another connection: it needs time, not requests.
const PAUSE: Duration = Duration::from_millis(200);

/// At most one log line in this time about failing to accept.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Calls `on_connection` for every connection until `stopping`. It must return at once: spawn, do not serve.
pub async fn accept(
    listener: TcpListener,
    stopping: CancellationToken,
    on_connection: impl Fn(TcpStream, SocketAddr),
) {
    let mut last_complaint = None;
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => on_connection(stream, peer),
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                complain(&listener, &error, &mut last_complaint);
                sleep(PAUSE).await;
            }
        }
    }
}

/// The client was gone before it was accepted: nothing is wrong with the listener (accept(2), "error handling").
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

fn complain(listener: &TcpListener, error: &io::Error, last: &mut Option<Instant>) {
    if last.is_some_and(|last| last.elapsed() < LOG_INTERVAL) {
        return;
    }
    *last = Some(Instant::now());
    let address = listener
        .local_addr()
        .map(|address| address.to_string())
        .unwrap_or_default();
    tracing::error!("cannot accept connections on {address}, trying again: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn connections_are_handed_over_until_the_broker_stops() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = CancellationToken::new();
        let (sender, mut accepted) = mpsc::unbounded_channel();
        let on_connection = move |_stream, peer| sender.send(peer).unwrap();
        let task = tokio::spawn(accept(listener, stopping.clone(), on_connection));
        for _ in 0..3 {
            let client = TcpStream::connect(address).await.unwrap();
            assert_eq!(accepted.recv().await.unwrap(), client.local_addr().unwrap());
        }
        stopping.cancel();
        task.await.unwrap();
        let refusal = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refusal.kind(), io::ErrorKind::ConnectionRefused);
    }
}
