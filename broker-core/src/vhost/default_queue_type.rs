//! The type of queues whose declaration names none (<https://www.rabbitmq.com/docs/vhosts#default-queue-type>).

use std::sync::Arc;

use super::{QueueDeclaration, Vhost};
use crate::{
    arguments::{AMQPValue, lookup, text},
    queue::arguments::{QUEUE_TYPE, QueueType},
};

impl Vhost {
    /// Sets the type for declarations from now on. `None`, an empty name and `undefined` mean classic queues.
    pub(crate) fn set_default_queue_type(&self, name: Option<&str>) {
        let name = name.filter(|name| !is_nothing(name));
        *self.default_queue_type.write() = name.map(Into::into);
    }

    /// The name of the type.
    pub fn default_queue_type(&self) -> Arc<str> {
        let name = self.default_queue_type.read().clone();
        name.unwrap_or_else(|| QueueType::default().as_str().into())
    }

    /// Writes the vhost's type into the arguments of a declaration that names none and could be one of a replicated
    /// queue; others stay what they are without it, classic queues (RabbitMQ: `rabbit_amqqueue:augment_declare_args`).
    pub(super) fn augment(&self, declaration: &mut QueueDeclaration) {
        let replicable = declaration.durable && !declaration.exclusive && !declaration.auto_delete;
        let given = lookup(&declaration.arguments, QUEUE_TYPE);
        if !replicable || given.is_some_and(|given| !text(given).is_some_and(is_nothing)) {
            return;
        }
        if let Some(name) = &*self.default_queue_type.read() {
            let name = AMQPValue::LongString(name.as_bytes().to_vec().into());
            declaration.arguments.insert(QUEUE_TYPE.into(), name);
        }
    }
}

/// Names that count as not given.
fn is_nothing(name: &str) -> bool {
    matches!(name, "" | "undefined")
}
