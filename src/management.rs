//! What the HTTP API is told of the program around the core.

use std::sync::Arc;

use management_api::{Certificate, Listener, Node, ResourceLimits, Sessions};
use rustix::process::{Resource, getrlimit};

use crate::{
    config::{Loaded, MetricsAccess, show},
    logging::Logs,
    machine,
    net::connection::Serving,
    tls::Tls,
};

/// This broker, for the HTTP API.
pub fn node(
    loaded: &Loaded,
    serving: &Serving,
    listeners: Vec<Listener>,
    tls: Option<Arc<Tls>>,
    mem_limit: u64,
    logs: Logs,
) -> Node {
    let (config, clock) = (&loaded.config, serving.clock);
    Node {
        core: Arc::clone(&serving.broker),
        name: config.node_name.clone(),
        listeners,
        store: config.store.kind(),
        loopback_users: config.amqp.loopback_users.clone(),
        connection_max: config.amqp.connection_max,
        consumer_timeout: config.amqp.consumer_timeout_ms,
        configuration: show::as_toml(&loaded.settings),
        data_dir: config.data_dir.clone(),
        started_at: clock.now(),
        clock: Arc::new(move || clock.now()),
        limits: ResourceLimits {
            mem_limit,
            disk_free_limit: config.alarms.disk_free_limit,
            fd_total: open_file_limit(),
            processors: machine::processors(),
        },
        metrics_authentication: config.http.metrics_access == MetricsAccess::Monitors,
        events: logs.events,
        sessions: Sessions::default(),
        certificates: Arc::new(move || {
            let expiry = tls.as_ref().and_then(|tls| tls.expiry());
            let certificate = expiry.map(|(file, expires_at)| Certificate { file, expires_at });
            certificate.into_iter().collect()
        }),
        log_level: logs.level,
    }
}

/// How many files the process may open.
fn open_file_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
