//! A broker that has everything in memory, for tests that look into its store.

use std::sync::Arc;

use amqp_codec::{AMQPValue, FieldTable};

use super::Broker;
use crate::{
    definitions::MemoryDefinitions,
    queue::{ConnectionId, Queue},
    store::{MemoryStore, MessageStore as _, Position, QueueId, StoredMessage},
    vhost::{QueueDeclaration, Vhost},
};

/// The broker, and what such tests need of it. Their modules add what they do with it.
pub(crate) struct Scene {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) vhost: Arc<Vhost>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let definitions = Arc::new(MemoryDefinitions::new());
        let broker = Broker::start(Arc::clone(&store) as _, definitions, 0).unwrap();
        Self {
            store,
            vhost: broker.vhost("/").unwrap(),
            broker,
        }
    }

    /// Declares a durable queue.
    pub(crate) fn queue(&self, name: &str, arguments: &[(&str, AMQPValue)]) -> Arc<Queue> {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        let declaration = QueueDeclaration {
            name: name.to_owned(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: table,
        };
        let by = ConnectionId(1);
        self.vhost.declare_queue(declaration, by).unwrap().0
    }

    /// What the store has of a queue.
    pub(crate) fn stored(&self, queue: QueueId) -> Vec<StoredMessage> {
        let mut found = Vec::new();
        let mut each = |stored| found.push(stored);
        self.store
            .read(queue, 0, Position::MAX, usize::MAX, &mut each)
            .unwrap();
        found
    }
}

/// A text as an argument's value.
pub(crate) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// A message's body as text.
pub(crate) fn body(stored: &StoredMessage) -> String {
    String::from_utf8(stored.message.body().to_vec()).unwrap()
}
