//! The running broker's side of a backup: whoever may open the data directory may ask for a copy, over a socket in it.
//!
//! A client sends one line and is answered with one: `ready` when the copy is there, or `error` with the reason. The copy
//! stays until the client goes. What a broker left that was ended meanwhile goes with the next copy, or the next start.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use broker_core::broker::Broker;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::stores::{JOURNAL, SLED};

/// The socket in the data directory.
pub const SOCKET: &str = "control.sock";

/// The directory of the copy in the data directory.
pub const STAGING: &str = "backup.new";

/// What a client says.
pub const REQUEST: &[u8] = b"backup\n";

/// How an answer begins when the copy is there.
pub const READY: &str = "ready";

/// How long a client may take over its line.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait after the system refused a connection.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers until it is aborted. Without the socket there are no backups of the running broker, and that is said.
pub fn serve(broker: Arc<Broker>, data_dir: &Path) -> JoinHandle<()> {
    let data_dir = data_dir.to_owned();
    tokio::spawn(async move {
        match listen(&data_dir) {
            Ok(listener) => answer_all(&listener, &broker, &data_dir).await,
            Err(error) => {
                let socket = data_dir.join(SOCKET);
                let socket = socket.display();
                tracing::warn!(
                    "no backup can be taken while this broker runs: cannot listen on {socket}: {error}"
                );
            }
        }
    })
}

/// Takes the socket away, so that a data directory at rest holds files only, which any tool copies.
pub fn remove_socket(data_dir: &Path) {
    let socket = data_dir.join(SOCKET);
    if let Err(error) = fs::remove_file(&socket)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove {}: {error}", socket.display());
    }
}

fn listen(data_dir: &Path) -> io::Result<UnixListener> {
    remove(&data_dir.join(STAGING))?;
    let socket = data_dir.join(SOCKET);
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // The lock of the directory is ours: whoever left it has ended.
        _ => {}
    }
    let listener = UnixListener::bind(&socket)?;
    fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// One client at a time: there is one copy.
async fn answer_all(listener: &UnixListener, broker: &Arc<Broker>, data_dir: &Path) {
    loop {
        let answered = match listener.accept().await {
            Ok((stream, _)) => answer(stream, Arc::clone(broker), data_dir).await,
            Err(error) => {
                sleep(PAUSE).await;
                Err(error)
            }
        };
        if let Err(error) = answered {
            tracing::warn!("a backup was not finished: {error}");
        }
    }
}

async fn answer(mut stream: UnixStream, broker: Arc<Broker>, data_dir: &Path) -> io::Result<()> {
    let mut request = [0; REQUEST.len()];
    timeout(PATIENCE, stream.read_exact(&mut request)).await??;
    if request != REQUEST {
        return stream.write_all(b"error unknown request\n").await;
    }
    let staging = data_dir.join(STAGING);
    let place = staging.clone();
    let copied = spawn_blocking(move || copy(&broker, &place)).await?;
    let told = match copied {
        Ok(()) => {
            tracing::info!("a copy of the data is ready for a backup");
            let ready = format!("{READY} {STAGING}\n");
            stream.write_all(ready.as_bytes()).await
        }
        Err(problem) => {
            tracing::error!("cannot copy the data for a backup: {problem}");
            let line = format!("error {}\n", problem.replace('\n', " "));
            stream.write_all(line.as_bytes()).await
        }
    };
    // Nothing comes any more: this ends when the client goes.
    let mut rest = [0; 1];
    let gone = stream.read(&mut rest).await;
    spawn_blocking(move || remove(&staging)).await??;
    told.and(gone.map(drop))
}

/// The journal first: whatever queue has messages in it is defined by then, unless it was deleted meanwhile.
fn copy(broker: &Broker, to: &Path) -> Result<(), String> {
    let write = |error: io::Error| format!("cannot write {}: {error}", to.display());
    remove(to).map_err(write)?;
    DirBuilder::new().mode(0o700).create(to).map_err(write)?;
    let journal: PathBuf = to.join(JOURNAL);
    let copied = broker.store().copy_to(&journal);
    copied.map_err(|error| error.to_string())?;
    let copied = broker.definitions().copy_to(&to.join(SLED));
    copied.map_err(|error| error.to_string())
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
