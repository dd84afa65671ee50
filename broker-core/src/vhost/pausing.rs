//! Stopping a queue's deliveries, and letting them go on. For a durable queue that is part of its definition, so it
//! outlives a restart.

use super::Vhost;
use crate::{
    Error,
    definitions::{Change, Kind, QueueDefinition},
    store::Ticket,
};

impl Vhost {
    /// Stops the deliveries of a queue, or lets them go on. Doing it twice is doing it once.
    ///
    /// # Errors
    /// 404 when there is no such queue; 541 when the definitions cannot be written.
    pub fn set_paused(&self, name: &str, paused: bool) -> Result<Ticket, Error> {
        let mut turn = self.turn();
        loop {
            let queue = self.existing_queue(name)?;
            if !queue.properties.durable {
                queue.set_paused(paused);
                return Ok(turn.ticket);
            }
            if queue.is_paused() == paused {
                return Ok(self.written(true));
            }
            let key = QueueDefinition::key_of(&self.name, queue.name());
            let expect = turn.expect(Kind::Queue, &key);
            let found = self.shared.definitions.get(Kind::Queue, &key);
            let found =
                found.ok_or_else(|| Error::NotFound(format!("no {}", self.queue_text(name))))?;
            let definition = QueueDefinition {
                paused,
                ..found.record()?
            };
            if turn.write(vec![Change::put(&definition)?.expecting(expect)])? {
                return Ok(turn.ticket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use amqp_codec::FieldTable;

    use crate::{
        broker::Broker,
        definitions::MemoryDefinitions,
        message::Message,
        outbox::{Outbox, SubscriptionKey},
        queue::{ConnectionId, Queue, Subscription, Work},
        store::MemoryStore,
        vhost::QueueDeclaration,
    };

    fn start(definitions: &Arc<MemoryDefinitions>) -> Arc<Broker> {
        let store = Arc::new(MemoryStore::new());
        Broker::start(store, Arc::clone(definitions) as _, 0).unwrap()
    }

    fn queue(broker: &Broker, name: &str, durable: bool) -> Arc<Queue> {
        let declaration = QueueDeclaration {
            name: name.to_owned(),
            durable,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::default(),
        };
        let vhost = broker.vhost("/").unwrap();
        vhost.declare_queue(declaration, ConnectionId(1)).unwrap().0
    }

    fn set_paused(broker: &Broker, name: &str, paused: bool) {
        let vhost = broker.vhost("/").unwrap();
        vhost.set_paused(name, paused).unwrap();
    }

    fn publish(queue: &Arc<Queue>) {
        let message = Message::new("", "q", &[0, 0], b"", false);
        let mut work = Work::default();
        let one = std::iter::once(message);
        queue.publish(one, 0, &mut work, &mut Vec::new());
    }

    fn delivered(outbox: &Outbox) -> usize {
        let mut deliveries = Vec::new();
        outbox.take(&mut deliveries, &mut Vec::new());
        deliveries.len()
    }

    #[test]
    fn paused_queue_delivers_nothing_until_it_goes_on() {
        let broker = start(&Arc::default());
        let queue = queue(&broker, "q", true);
        let outbox = Outbox::new();
        let subscription = Subscription {
            key: SubscriptionKey(1),
            outbox: Arc::clone(&outbox),
            channel_credit: Arc::default(),
            no_ack: true,
            prefetch: 0,
            priority: 0,
            entry: Arc::default(),
        };
        queue.consume(subscription, false).unwrap().unwrap();
        set_paused(&broker, "q", true);
        publish(&queue);
        let mut work = Work::default();
        queue.dispatch(None, 0, &mut work);
        assert_eq!(delivered(&outbox), 0);
        assert!(queue.get(true, 0, &mut work).unwrap().is_none());
        let message = Message::new("", "q", &[0, 0], b"", false);
        assert!(!queue.publish_immediate(message, 0, &mut work));
        assert_eq!((queue.counts().ready, queue.counts().consumers), (1, 1));
        set_paused(&broker, "q", false);
        broker.run_expiries(0);
        assert_eq!(delivered(&outbox), 1);
    }

    #[test]
    fn durable_queue_is_paused_over_a_restart_and_others_are_not_there_then() {
        let definitions = Arc::new(MemoryDefinitions::new());
        let broker = start(&definitions);
        for name in ["kept", "resumed"] {
            queue(&broker, name, true);
            set_paused(&broker, name, true);
        }
        queue(&broker, "transient", false);
        set_paused(&broker, "transient", true);
        assert!(queue(&broker, "transient", false).is_paused());
        set_paused(&broker, "resumed", false);
        drop(broker);
        let broker = start(&definitions);
        let vhost = broker.vhost("/").unwrap();
        assert!(vhost.queue("kept").unwrap().is_paused());
        assert!(!vhost.queue("resumed").unwrap().is_paused());
        // Its definition is still the one to be deleted.
        let deleted = vhost.delete_queue(
            "kept",
            ConnectionId(1),
            (false, false),
            &mut Work::default(),
        );
        assert!(deleted.is_ok() && vhost.queue("kept").is_none());
    }

    #[test]
    fn missing_queue_cannot_be_paused() {
        let vhost = start(&Arc::default()).vhost("/").unwrap();
        let refused = vhost.set_paused("none", true).unwrap_err().to_string();
        assert_eq!(refused, "no queue 'none' in vhost '/'");
    }
}
