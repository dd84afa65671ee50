//! `leveret serve`: the broker from start to stop.
//!
//! Start: lock the data directory, take the ports, read the data, listen, tell systemd. Stop, at the first SIGINT or
//! SIGTERM: accept no more, let connections end, close the data. Every step that fails is one line in the log and exit code 1.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use broker_core::users::FirstStart;
use sd_notify::NotifyState;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;

use crate::alarms::{self, Watch};
use crate::authentication;
use crate::backup::copies;
use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::data_dir::DataDir;
use crate::definitions;
use crate::error::Error;
use crate::logging::{self, Logs};
use crate::machine;
use crate::management;
use crate::net::connection::Serving;
use crate::net::expiries;
use crate::ports::{House, Ports};
use crate::protocol::{Settings, server_properties::Greeting};
use crate::sampler::{self, Sampler};
use crate::tls::{self, Tls};
use crate::{signals, stores};

/// How long connections may take to end when the broker stops. Docker sends SIGKILL ten seconds after SIGTERM, and by
/// then the data must be closed too.
const PATIENCE: Duration = Duration::from_secs(6);

/// How long what runs on threads of its own may take to end after that.
const LAST_WORK: Duration = Duration::from_secs(1);

/// RabbitMQ's words to its clients when it stops.
const SHUTDOWN: &str = "broker forced connection closure with reason 'shutdown'";

/// Runs a broker until it is told to stop.
pub fn run(loaded: &Loaded) -> ExitCode {
    let logs = logging::start(&loaded.config.log);
    for variable in &loaded.unknown_variables {
        tracing::warn!("{variable}");
    }
    match serve(loaded, logs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(loaded: &Loaded, logs: Logs) -> Result<(), Error> {
    let config = &loaded.config;
    let data_dir = DataDir::open(&config.data_dir)?;
    tracing::info!("data directory {}", data_dir.path().display());
    let tls = tls::configured(config)?;
    let authentication = authentication::configured(config)?;
    let bound = Ports::bind(config)?;
    let clock = Clock::start();
    let runtime = runtime(config.worker_threads)?;
    let entered = runtime.enter();
    let stopping = signals::stopping()?;
    signals::survive_file_size_limit()?;
    signals::reap_orphans()?;
    drop(entered);
    let broker = stores::open(
        data_dir.path(),
        &config.store,
        &config.memory,
        &first_start(config),
    )?;
    definitions::import(&broker, &config.definitions)?;
    broker.set_authentication(authentication);
    // Before anybody can connect: who publishes to a broker that is short of something is to hear it at once.
    let mut watch = Watch::new(Arc::clone(&broker), data_dir.path(), &config.alarms);
    watch.check();
    let serving = Serving {
        broker: Arc::clone(&broker),
        settings: Arc::new(settings(config)),
        clock,
    };
    let house = House::new(config, serving, stopping);
    if !house.stopping.is_cancelled() {
        runtime.block_on(until_stopped(
            loaded,
            data_dir.path(),
            bound,
            tls,
            house,
            watch,
            logs,
        ))?;
    }
    runtime.shutdown_timeout(LAST_WORK);
    broker.close();
    tracing::info!("stopped");
    Ok(())
}

/// Tells systemd, if it waits for that (`Type=notify`).
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!("systemd cannot be told how the broker is: {error}");
    }
}

fn first_start(config: &Config) -> FirstStart {
    if !config.definitions.import_file.is_empty() {
        return FirstStart::nothing();
    }
    FirstStart {
        vhost: config.default_vhost.clone(),
        user: config.default_user.clone(),
        password: config.default_pass.0.clone(),
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        greeting: Greeting::new(&config.node_name),
        heartbeat: config.amqp.heartbeat_seconds,
        channel_max: config.amqp.channel_max,
        frame_max: config.amqp.frame_max,
        max_message_size: config.amqp.max_message_size,
        consumer_timeout: config.amqp.consumer_timeout_ms,
        login_timeout: config.amqp.login_timeout_seconds * 1000,
        connection_max: config.amqp.connection_max,
        loopback_users: config.amqp.loopback_users.clone(),
    }
}

fn runtime(worker_threads: usize) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    let threads = match worker_threads {
        0 => machine::processors(),
        threads => threads,
    };
    tracing::info!("{threads} worker threads");
    builder.worker_threads(threads);
    builder.thread_name("leveret").enable_all().build()
}

async fn until_stopped(
    loaded: &Loaded,
    data_dir: &Path,
    ports: Ports,
    tls: Option<Arc<Tls>>,
    house: House,
    watch: Watch,
    logs: Logs,
) -> Result<(), Error> {
    let config = &loaded.config;
    let serving = house.serving.clone();
    let copies = copies::serve(Arc::clone(&serving.broker), data_dir);
    let mut sampler = Sampler::new(Arc::clone(&serving.broker), &config.data_dir);
    // Whoever asks first is told numbers, not noughts.
    sampler.sample(serving.clock.now());
    let listening = ports.listen()?;
    let node = management::node(
        loaded,
        &serving,
        listening.describe()?,
        tls.clone(),
        watch.memory_limit(),
        logs,
    );
    let router = management_api::router(node);
    listening.serve(&house, &router, tls.as_ref())?;
    let certificates = tls.map(|tls| tokio::spawn(tls.watch()));
    let expiries = tokio::spawn(expiries::run(Arc::clone(&serving.broker), serving.clock));
    let alarms = tokio::spawn(alarms::run(watch));
    let sampler = tokio::spawn(sampler::run(sampler, serving.clock));
    tracing::info!("Leveret {} ready", env!("CARGO_PKG_VERSION"));
    notify(NotifyState::Ready);
    house.stopping.cancelled().await;
    notify(NotifyState::Stopping);
    serving.broker.close_connections(SHUTDOWN);
    wait_for(&house.tasks).await;
    expiries.abort();
    alarms.abort();
    sampler.abort();
    copies.abort();
    copies::remove_socket(data_dir);
    if let Some(certificates) = certificates {
        certificates.abort();
    }
    Ok(())
}

async fn wait_for(tasks: &TaskTracker) {
    tasks.close();
    if tokio::time::timeout(PATIENCE, tasks.wait()).await.is_err() {
        let (count, seconds) = (tasks.len(), PATIENCE.as_secs());
        tracing::warn!("{count} connections or listeners did not end within {seconds} s");
    }
}
