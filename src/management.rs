//! What the HTTP API is told of the program around the core.

use std::sync::Arc;

use management_api::{Certificate, Listener, Node};

use crate::{config::Config, net::connection::Serving, tls::Tls};

/// This broker, for the HTTP API.
pub fn node(
    config: &Config,
    serving: &Serving,
    listeners: Vec<Listener>,
    tls: Option<Arc<Tls>>,
) -> Node {
    let clock = serving.clock;
    Node {
        core: Arc::clone(&serving.broker),
        name: config.node_name.clone(),
        listeners,
        store: config.store.kind(),
        loopback_users: config.amqp.loopback_users.clone(),
        connection_max: config.amqp.connection_max,
        data_dir: config.data_dir.clone(),
        started_at: clock.now(),
        clock: Arc::new(move || clock.now()),
        certificates: Arc::new(move || {
            let expiry = tls.as_ref().and_then(|tls| tls.expiry());
            let certificate = expiry.map(|(file, expires_at)| Certificate { file, expires_at });
            certificate.into_iter().collect()
        }),
    }
}
