//! `leveret serve`: the broker from start to stop.
//!
//! Start: lock the data directory, take the ports, read the data, listen. Stop, at the first SIGINT or SIGTERM: accept
//! no more, let connections end, close the data. Every step that fails is one line in the log and exit code 1.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use broker_core::users::FirstStart;
use management_api::EventLog;
use tokio::runtime::{Builder, Runtime};
use tokio_util::task::TaskTracker;

use crate::alarms::{self, Watch};
use crate::authentication;
use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::data_dir::DataDir;
use crate::definitions;
use crate::error::Error;
use crate::management;
use crate::net::connection::Serving;
use crate::net::expiries;
use crate::ports::{House, Ports};
use crate::protocol::Settings;
use crate::sampler::{self, Sampler};
use crate::tls::{self, Tls};
use crate::{logging, recorder, signals, stores};

/// How long connections may take to end when the broker stops; a container platform sends SIGKILL soon after.
const PATIENCE: Duration = Duration::from_secs(10);

/// RabbitMQ's words to its clients when it stops.
const SHUTDOWN: &str = "broker forced connection closure with reason 'shutdown'";

/// Runs a broker until it is told to stop.
pub fn run(loaded: &Loaded) -> ExitCode {
    let events = recorder::event_log();
    logging::start(&loaded.config.log, Arc::clone(&events));
    for variable in &loaded.unknown_variables {
        tracing::warn!("{variable}");
    }
    match serve(&loaded.config, events) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config, events: Arc<EventLog>) -> Result<(), Error> {
    let data_dir = DataDir::open(&config.data_dir)?;
    tracing::info!("data directory {}", data_dir.path().display());
    let tls = tls::configured(config)?;
    let authentication = authentication::configured(config)?;
    let bound = Ports::bind(config)?;
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
    runtime.block_on(until_stopped(config, bound, tls, serving, watch, events))?;
    broker.close();
    tracing::info!("stopped");
    Ok(())
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
        cluster_name: config.node_name.clone(),
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
    events: Arc<EventLog>,
) -> Result<(), Error> {
    let house = House::new(config, serving.clone(), signals::stopping()?);
    let listening = ports.listen()?;
    let node = management::node(
        config,
        &serving,
        listening.describe()?,
        tls.clone(),
        watch.memory_limit(),
        events,
    );
    let router = management_api::router(node);
    listening.serve(&house, &router, tls.as_ref())?;
    let certificates = tls.map(|tls| tokio::spawn(tls.watch()));
    let expiries = tokio::spawn(expiries::run(Arc::clone(&serving.broker), serving.clock));
    let alarms = tokio::spawn(alarms::run(watch));
    let sampler = Sampler::new(Arc::clone(&serving.broker), &config.data_dir);
    let sampler = tokio::spawn(sampler::run(sampler, serving.clock));
    tracing::info!("Leveret {} ready", env!("CARGO_PKG_VERSION"));
    house.stopping.cancelled().await;
    serving.broker.close_connections(SHUTDOWN);
    wait_for(&house.tasks).await;
    expiries.abort();
    alarms.abort();
    sampler.abort();
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
