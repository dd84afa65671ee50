//! `leveret serve`: the broker from start to stop.
//!
//! Start: lock the data directory, take the ports, read the data, listen. Stop, at the first SIGINT or SIGTERM: accept
//! no more, let connections end, close the data. Every step that fails is one line in the log and exit code 1.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Loaded};
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::management::Node;
use crate::net::listen::{self, Bound};
use crate::{logging, signals};

/// How long connections may take to end when the broker stops; a container platform sends SIGKILL soon after.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a broker until it is told to stop.
pub fn run(loaded: &Loaded) -> ExitCode {
    logging::start(&loaded.config.log);
    for variable in &loaded.unknown_variables {
        tracing::warn!("{variable}");
    }
    match serve(&loaded.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config) -> Result<(), Error> {
    let data_dir = DataDir::open(&config.data_dir)?;
    tracing::info!("data directory {}", data_dir.path().display());
    let http = listen::bind("HTTP", &config.http.listen)?;
    let runtime = runtime(config.worker_threads)?;
    runtime.block_on(until_stopped(config, http))?;
    tracing::info!("stopped");
    Ok(())
}

fn runtime(worker_threads: usize) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if worker_threads > 0 {
        builder.worker_threads(worker_threads);
    }
    builder.thread_name("leveret").enable_all().build()
}

async fn until_stopped(config: &Config, http: Vec<Bound>) -> Result<(), Error> {
    let stopping = signals::stopping()?;
    let tasks = TaskTracker::new();
    let http = http
        .into_iter()
        .map(Bound::listen)
        .collect::<Result<Vec<_>, _>>()?;
    let listeners = listeners("http", &http)?;
    let node = Arc::new(Node {
        name: config.node_name.clone(),
        listeners,
    });
    for listener in http {
        serve_http(
            &tasks,
            listener,
            management_api::router(node.clone()),
            &stopping,
        )?;
    }
    tracing::info!("Leveret {} ready", env!("CARGO_PKG_VERSION"));
    stopping.cancelled().await;
    wait_for(&tasks).await;
    Ok(())
}

fn listeners(
    protocol: &'static str,
    listeners: &[TcpListener],
) -> io::Result<Vec<management_api::Listener>> {
    let describe = |listener: &TcpListener| {
        listener
            .local_addr()
            .map(|address| management_api::Listener { protocol, address })
    };
    listeners.iter().map(describe).collect()
}

fn serve_http(
    tasks: &TaskTracker,
    listener: TcpListener,
    router: Router,
    stopping: &CancellationToken,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server =
        axum::serve(listener, service).with_graceful_shutdown(stopping.clone().cancelled_owned());
    tasks.spawn(async move {
        if let Err(error) = server.await {
            tracing::error!("the HTTP API ended: {error}");
        }
    });
    Ok(())
}

async fn wait_for(tasks: &TaskTracker) {
    tasks.close();
    if tokio::time::timeout(PATIENCE, tasks.wait()).await.is_err() {
        let (count, seconds) = (tasks.len(), PATIENCE.as_secs());
        tracing::warn!("{count} connections or listeners did not end within {seconds} s");
    }
}
