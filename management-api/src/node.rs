//! The broker as the HTTP API sees it.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use broker_core::{
    broker::Broker,
    queue::Millis,
    store::{Completion, Ticket},
};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::Error;

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
    /// Where definitions and messages are kept.
    pub data_dir: PathBuf,
    /// When the program was started.
    pub started_at: Millis,
    /// The time.
    pub clock: Clock,
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

impl Node {
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
        if ticket <= definitions.durable() {
            return Ok(());
        }
        let (done, durable) = oneshot::channel();
        let waiting = Waiting(std::sync::Mutex::new(Some(done)));
        definitions.notify(ticket, Arc::new(waiting));
        durable
            .await
            .map_err(|_| Error::Unavailable("the broker stops".to_owned()))
    }

    /// Does what takes long, hashing a password for example, where nobody waits for the thread.
    ///
    /// # Errors
    /// Those of `work`; 500 if it panicked.
    pub(crate) async fn elsewhere<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let node = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || work(&node)).await;
        done.map_err(|error| Error::Internal(error.to_string()))
    }
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
