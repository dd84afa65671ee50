//! SIGINT and SIGTERM: the first stops the broker in order, the second at once. SIGXFSZ: nothing. SIGCHLD: a process that
//! the broker inherited has ended.
//!
//! A process that is the first one of a container has only the signals that it handles, so they are handled before
//! anything that takes time.

use std::io;

use rustix::process::{WaitOptions, wait};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code after a second signal, as shells report a program that ended by SIGINT.
const EXIT_AT_ONCE: i32 = 130;

/// The token that the first signal cancels. Must be called inside the runtime.
///
/// # Errors
/// When the system does not let signals be handled.
pub fn stopping() -> io::Result<CancellationToken> {
    let stopping = CancellationToken::new();
    let (interrupt, terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::spawn(watch(interrupt, terminate, stopping.clone()));
    Ok(stopping)
}

/// Keeps the process alive when a file reaches the limit that `ulimit -f` sets: the write fails then, as on a full disk.
/// Must be called inside the runtime, before anything is written.
///
/// # Errors
/// When the system does not let signals be handled.
pub fn survive_file_size_limit() -> io::Result<()> {
    // Once there is a handler it stays, though nobody listens.
    let number = rustix::process::Signal::XFSZ.as_raw();
    signal(SignalKind::from_raw(number)).map(drop)
}

/// Lets go of processes that have ended and that nobody else asks about: the first process of a container inherits those
/// whose parents have gone, and a script that ends in `exec leveret` leaves it its children. The broker itself starts no
/// processes, so nobody waits for them in vain. Must be called inside the runtime.
///
/// # Errors
/// When the system does not let signals be handled.
pub fn reap_orphans() -> io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    tokio::spawn(async move {
        loop {
            while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
            if ended.recv().await.is_none() {
                return;
            }
        }
    });
    Ok(())
}

async fn watch(mut interrupt: Signal, mut terminate: Signal, stopping: CancellationToken) {
    loop {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        if stopping.is_cancelled() {
            tracing::warn!("{name} again: exiting at once");
            std::process::exit(EXIT_AT_ONCE);
        }
        tracing::info!("{name}: stopping");
        stopping.cancel();
    }
}
