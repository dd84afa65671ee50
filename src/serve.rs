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
use broker_core::users::FirstStart;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::alarms::{self, Watch};
use crate::clock::Clock;
use crate::config::{Config, Loaded, ProxyProtocol};
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::management::Node;
use crate::net::connection::{self, Serving};
use crate::net::listen::{self, Bound};
use crate::net::proxy::{Arrival, Ends};
use crate::net::sources::Sources;
use crate::net::{accept, expiries, secure};
use crate::protocol::Settings;
use crate::tls::Tls;
use crate::{logging, signals, stores};

/// How long connections may take to end when the broker stops; a container platform sends SIGKILL soon after.
const PATIENCE: Duration = Duration::from_secs(10);

/// RabbitMQ's words to its clients when it stops.
const SHUTDOWN: &str = "broker forced connection closure with reason 'shutdown'";

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
    let tls = Tls::open(&config.tls)?;
    let bound = Ports {
        amqp: listen::bind("AMQP 0-9-1", &config.amqp.listen)?,
        tls: listen::bind("AMQP 0-9-1 over TLS", &config.tls.listen)?,
        http: listen::bind("HTTP", &config.http.listen)?,
    };
    let clock = Clock::start();
    let runtime = runtime(config.worker_threads)?;
    let entered = runtime.enter();
    signals::survive_file_size_limit()?;
    drop(entered);
    let broker = stores::open(
        data_dir.path(),
        &config.store,
        &config.memory,
        &first_start(config),
    )?;
    // Before anybody can connect: who publishes to a broker that is short of something is to hear it at once.
    let mut watch = Watch::new(Arc::clone(&broker), data_dir.path(), &config.alarms);
    watch.check();
    let serving = Serving {
        broker: Arc::clone(&broker),
        settings: Arc::new(settings(config)),
        clock,
    };
    runtime.block_on(until_stopped(config, bound, tls, serving, watch))?;
    broker.close();
    tracing::info!("stopped");
    Ok(())
}

/// The ports that the broker has taken, and does not listen on yet.
struct Ports {
    amqp: Vec<Bound>,
    tls: Vec<Bound>,
    http: Vec<Bound>,
}

fn first_start(config: &Config) -> FirstStart {
    FirstStart {
        vhost: config.default_vhost.clone(),
        user: config.default_user.clone(),
        password: config.default_pass.0.clone(),
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        cluster_name: config.node_name.clone(),
        heartbeat: config.amqp.heartbeat_seconds,
        channel_max: config.amqp.channel_max,
        frame_max: config.amqp.frame_max,
        max_message_size: config.amqp.max_message_size,
        login_timeout: config.amqp.login_timeout_seconds * 1000,
        connection_max: config.amqp.connection_max,
        loopback_users: config.amqp.loopback_users.clone(),
    }
}

fn runtime(worker_threads: usize) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if worker_threads > 0 {
        builder.worker_threads(worker_threads);
    }
    builder.thread_name("leveret").enable_all().build()
}

async fn until_stopped(
    config: &Config,
    ports: Ports,
    tls: Option<Arc<Tls>>,
    serving: Serving,
    watch: Watch,
) -> Result<(), Error> {
    let stopping = signals::stopping()?;
    let tasks = TaskTracker::new();
    let amqp = listen_all(ports.amqp)?;
    let secure = listen_all(ports.tls)?;
    let http = listen_all(ports.http)?;
    let mut listeners = listeners("amqp", &amqp)?;
    listeners.extend(self::listeners("amqp/ssl", &secure)?);
    listeners.extend(self::listeners("http", &http)?);
    let node = Arc::new(Node {
        name: config.node_name.clone(),
        listeners,
        core: Arc::clone(&serving.broker),
        clock: serving.clock,
        loopback_users: config.amqp.loopback_users.clone(),
    });
    let arrivals = Arrivals {
        arrival: Arrival {
            proxied: config.amqp.proxy_protocol == ProxyProtocol::Required,
            patience: Duration::from_secs(config.amqp.login_timeout_seconds),
        },
        sources: Sources::new(config.amqp.connection_max_per_address),
    };
    for listener in amqp {
        let serving = serving.clone();
        let serve = move |stream, ends| connection::run(stream, ends, serving.clone());
        serve_amqp(&tasks, listener, serve, &arrivals, &stopping)?;
    }
    let mut certificates = None;
    if let Some(tls) = tls {
        for listener in secure {
            let (serving, tls) = (serving.clone(), Arc::clone(&tls));
            let serve =
                move |stream, ends| secure::run(stream, ends, Arc::clone(&tls), serving.clone());
            serve_amqp(&tasks, listener, serve, &arrivals, &stopping)?;
        }
        certificates = Some(tokio::spawn(tls.watch()));
    }
    for listener in http {
        let router = management_api::router(node.clone());
        serve_http(&tasks, listener, router, &stopping)?;
    }
    let expiries = tokio::spawn(expiries::run(Arc::clone(&serving.broker), serving.clock));
    let alarms = tokio::spawn(alarms::run(watch));
    tracing::info!("Leveret {} ready", env!("CARGO_PKG_VERSION"));
    stopping.cancelled().await;
    serving.broker.close_connections(SHUTDOWN);
    wait_for(&tasks).await;
    expiries.abort();
    alarms.abort();
    if let Some(certificates) = certificates {
        certificates.abort();
    }
    Ok(())
}

fn listen_all(bound: Vec<Bound>) -> Result<Vec<TcpListener>, Error> {
    bound.into_iter().map(Bound::listen).collect()
}

/// How AMQP connections begin, and how many there may be of each address.
#[derive(Clone)]
struct Arrivals {
    arrival: Arrival,
    sources: Arc<Sources>,
}

fn serve_amqp<Connection>(
    tasks: &TaskTracker,
    listener: TcpListener,
    serve: impl Fn(TcpStream, Ends) -> Connection + Send + Sync + 'static,
    arrivals: &Arrivals,
    stopping: &CancellationToken,
) -> io::Result<()>
where
    Connection: Future<Output = ()> + Send + 'static,
{
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let (connections, serve) = (tasks.clone(), Arc::new(serve));
    let Arrivals { arrival, sources } = arrivals.clone();
    let on_connection = move |mut stream: TcpStream, _peer| {
        let (sources, serve) = (Arc::clone(&sources), Arc::clone(&serve));
        connections.spawn(async move {
            let Some(ends) = arrival.ends(&mut stream).await else {
                return;
            };
            let peer = ends.0;
            match sources.count(peer.ip()) {
                Some(_counted) => serve(stream, ends).await,
                None => {
                    tracing::warn!(target: "audit", %peer, "connection refused: too many from this address");
                }
            }
        });
    };
    tasks.spawn(accept::accept(listener, stopping.clone(), on_connection));
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
