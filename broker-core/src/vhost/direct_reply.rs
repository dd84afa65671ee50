//! Direct reply-to: answers to remote procedure calls that go from channel to channel without a queue
//! (<https://www.rabbitmq.com/docs/direct-reply-to>).
//!
//! A client consumes from the pseudo-queue [`DIRECT_REPLY_TO`]; its requests then carry an address of its own, which is
//! a routing key of the default exchange that no queue can have.

use std::sync::Arc;

use dashmap::DashMap;

use super::{Vhost, queues::random_name};
use crate::{
    message::Message,
    outbox::{Delivery, Outbox, SubscriptionKey},
    queue::Entry,
};

/// The pseudo-queue's name, and the value of `reply-to` that stands for "my address".
pub const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to";

/// Whether a name belongs to the pseudo-queue or to an address.
pub(super) fn is_reply_queue(name: &str) -> bool {
    name.starts_with(DIRECT_REPLY_TO)
}

#[derive(Debug)]
struct Receiver {
    outbox: Arc<Outbox>,
    subscription: SubscriptionKey,
}

/// The addresses that are in use, by routing key.
#[derive(Debug, Default)]
pub(super) struct Replies {
    receivers: DashMap<Arc<str>, Receiver, foldhash::fast::RandomState>,
}

/// The address of a channel's reply consumer; answers are dropped once it is gone.
#[derive(Debug)]
pub struct ReplyAddress {
    /// The routing key that requests carry in `reply-to`.
    pub name: Arc<str>,
}

impl Vhost {
    /// Gives a reply consumer an address.
    pub fn open_reply_address(
        &self,
        outbox: &Arc<Outbox>,
        subscription: SubscriptionKey,
    ) -> ReplyAddress {
        let name: Arc<str> = format!("{DIRECT_REPLY_TO}.{}", random_name()).into();
        self.replies.receivers.insert(
            Arc::clone(&name),
            Receiver {
                outbox: Arc::clone(outbox),
                subscription,
            },
        );
        ReplyAddress { name }
    }

    /// Ends an address.
    pub fn close_reply_address(&self, address: &ReplyAddress) {
        self.replies.receivers.remove(&address.name);
    }

    /// Whether somebody listens at that address (`queue.declare` of an address asks this way).
    pub fn reply_address_exists(&self, name: &str) -> bool {
        self.replies.receivers.contains_key(name)
    }

    /// Sends a message to an address; false when nobody listens there.
    pub fn reply(&self, message: Message) -> bool {
        let receiver = self.replies.receivers.get(message.routing_key());
        receiver.is_some_and(|receiver| {
            if receiver.outbox.room() == 0 {
                // Replies are sent at most once, and one who does not read must not fill the memory.
                return true;
            }
            let entry = Entry::new(0, message.clone(), 0);
            receiver.outbox.deliver(&mut vec![Delivery {
                subscription: receiver.subscription,
                entry,
            }])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        definitions::MemoryDefinitions, outbox::OUTBOX_BYTES, store::MemoryStore, vhost::Shared,
    };

    #[test]
    fn replies_to_one_who_does_not_read_are_bounded_and_dropped() {
        let shared = Shared {
            statistics: Arc::default(),
            store: Arc::new(MemoryStore::new()),
            definitions: Arc::new(MemoryDefinitions::new()),
            pager: crate::paging::Pager::unlimited(),
            expiries: Arc::default(),
        };
        let vhost = Vhost::new("/".into(), shared);
        let outbox = Outbox::new();
        let address = vhost.open_reply_address(&outbox, SubscriptionKey(0));
        let reply = Message::new("", &address.name, &[0, 0], &[0; 16 * 1024], false);
        // A reply that is dropped counts as sent: the replier has done nothing wrong.
        assert!((0..1000).all(|_| vhost.reply(reply.clone())));
        let mut deliveries = Vec::new();
        outbox.take(&mut deliveries, &mut Vec::new());
        let kept = deliveries.len() * reply.size();
        assert!(kept > 0 && kept <= OUTBOX_BYTES + reply.size(), "{kept}");
        deliveries.clear();
        assert!(vhost.reply(reply));
        outbox.take(&mut deliveries, &mut Vec::new());
        assert_eq!(
            deliveries.len(),
            1,
            "one who reads again gets replies again"
        );
    }
}
