//! The broker as the HTTP API sees it.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use broker_core::{
    broker::Broker,
    queue::Millis,
    store::{Completion, Ticket},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{Error, EventLog, ResourceLimits, Sessions};

/// The time: milliseconds since 1970 that never go back.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// The broker core, and what is known of the program around it.
pub struct Node {
    /// The core.
    pub core: Arc<Broker>,
    /// The node's name, `leveret@host`.
    pub name: String,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// What keeps persistent messages, and what a confirm of one means.
    pub store: StoreKind,
    /// Users that may log in from this machine only.
    pub loopback_users: Vec<String>,
    /// The most connections of clients, 0 for any number.
    pub connection_max: usize,
    /// How long a consumer may take to answer a delivery unless it or its queue says otherwise, in milliseconds; 0 for
    /// any time.
    pub consumer_timeout: Millis,
    /// The configuration in effect, as text without secrets.
    pub configuration: String,
    /// Where definitions and messages are kept.
    pub data_dir: PathBuf,
    /// When the program was started.
    pub started_at: Millis,
    /// The time.
    pub clock: Clock,
    /// What the process may use.
    pub limits: ResourceLimits,
    /// Whether metrics are for monitors only.
    pub metrics_authentication: bool,
    /// Who is logged in to the web page.
    pub sessions: Sessions,
    /// The certificates that the listeners show.
    pub certificates: Arc<dyn Fn() -> Vec<Certificate> + Send + Sync>,
    /// What happened lately.
    pub events: Arc<EventLog>,
    /// Which lines the program logs.
    pub log_level: Arc<dyn LogLevel>,
}

/// Which lines the program logs. It may change while the program runs.
pub trait LogLevel: Send + Sync {
    /// The filter in force, written as in the configuration: `info`, or `info,leveret::net=debug`.
    fn current(&self) -> String;

    /// Sets another filter.
    ///
    /// # Errors
    /// It is not understood; the text is the end of a sentence that begins with its name.
    fn change(&self, level: &str) -> Result<(), String>;
}

/// A certificate of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The file that it comes from.
    pub file: PathBuf,
    /// When it is no longer valid, in seconds since 1970.
    pub expires_at: u64,
}

impl fmt::Debug for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Node").field(&self.name).finish()
    }
}

/// What keeps persistent messages, and what a confirm of one means. Not part of RabbitMQ's API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoreKind {
    /// `journal` or `sled`, as `store.engine` says.
    pub engine: &'static str,
    /// `sync`, `interval` or `none`, as `store.durability` says.
    pub durability: &'static str,
    /// Milliseconds between two syncs, with `interval`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<u64>,
}

/// A port that the broker listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// RabbitMQ's name of the protocol: `amqp`, `http`.
    pub protocol: &'static str,
    /// Address and port.
    pub address: SocketAddr,
}

impl Listener {
    /// Whether clients have to speak TLS.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.protocol, "amqp/ssl" | "https")
    }
}

impl Node {
    /// The certificates that the listeners show.
    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        (self.certificates)()
    }

    /// What the health check says of each listener that shows this certificate.
    pub(crate) fn expired_listeners(&self, certificate: &Certificate) -> Vec<Value> {
        let secure = self.listeners.iter().filter(|it| it.is_secure());
        let each = secure.map(|listener| {
            json!({
                "node": self.name,
                "protocol": listener.protocol,
                "interface": listener.address.ip().to_string(),
                "port": listener.address.port(),
                "certfile": certificate.file,
                "certfile_expires_on": [certificate.expires_at],
                "cacertfile_expires_on": [],
            })
        });
        each.collect()
    }

    /// How many connections there are, if that is as many as there may be.
    pub(crate) fn connection_limit_reached(&self) -> Option<usize> {
        let count = self.core.connection_count();
        (self.connection_max > 0 && count >= self.connection_max).then_some(count)
    }

    /// The name of the cluster: what an operator has set, or else the node's.
    pub(crate) fn cluster_name(&self) -> String {
        let set = self.core.cluster_name();
        set.unwrap_or_else(|| self.name.clone())
    }

    /// Checks that a node of that name is this one.
    ///
    /// # Errors
    /// 404.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), Error> {
        match name == self.name {
            true => Ok(()),
            false => Err(Error::NoSuchPath),
        }
    }

    /// Now, in milliseconds since 1970.
    pub(crate) fn now(&self) -> Millis {
        (self.clock)()
    }

    /// Waits until a change of the definitions is on disk: only then is it promised to anybody.
    ///
    /// # Errors
    /// 503: the broker stops, and the change may be lost.
    pub(crate) async fn durable(&self, ticket: Ticket) -> Result<(), Error> {
        let definitions = self.core.definitions();
        match ticket <= definitions.durable() {
            true => Ok(()),
            false => wait(|waiting| definitions.notify(ticket, waiting)).await,
        }
    }

    /// Waits until messages are on disk.
    ///
    /// # Errors
    /// 503: the broker stops, and they may be lost.
    pub(crate) async fn stored(&self, ticket: Ticket) -> Result<(), Error> {
        let store = self.core.store();
        match ticket <= store.durable() {
            true => Ok(()),
            false => wait(|waiting| store.notify(ticket, waiting)).await,
        }
    }

    /// Does what takes long, hashing a password for example, where nobody waits for the thread.
    ///
    /// # Errors
    /// Those of `work`; 500 if it panicked.
    pub(crate) async fn elsewhere<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (node, request) = (Arc::clone(self), tracing::Span::current());
        let done = tokio::task::spawn_blocking(move || request.in_scope(|| work(&node))).await;
        done.map_err(|error| Error::Internal(error.to_string()))
    }
}

async fn wait(begin: impl FnOnce(Arc<dyn Completion>)) -> Result<(), Error> {
    let (done, durable) = oneshot::channel();
    begin(Arc::new(Waiting(std::sync::Mutex::new(Some(done)))));
    let stops = |_| Error::Unavailable("the broker stops".to_owned());
    durable.await.map_err(stops)
}

/// Somebody who waits for a ticket.
struct Waiting(std::sync::Mutex<Option<oneshot::Sender<()>>>);

impl Completion for Waiting {
    fn durable(&self, _: Ticket) {
        let mut waiting = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        if let Some(done) = waiting.take() {
            // Nobody waits any more when the client is gone.
            let _ = done.send(());
        }
    }
}
