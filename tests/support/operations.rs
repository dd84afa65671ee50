//! The everyday operations of a client, each with the answer it must get.

use super::content::publish_to;
use super::table::table;
use super::{
    AMQPClass, AMQPProperties, FieldTable, Peer, basic, channel, confirm, connection, exchange,
    queue,
};
use std::sync::atomic::{AtomicU64, Ordering};

/// A name no other test uses: tests share a broker and run at once.
pub fn unique(word: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{word}-{}-{number}", std::process::id())
}

/// A durable, shared queue without arguments.
pub fn durable_queue(name: &str) -> queue::Declare {
    queue::Declare {
        queue: name.into(),
        durable: true,
        ..queue::Declare::default()
    }
}

/// A queue of this connection only, gone with it.
pub fn exclusive_queue(name: &str) -> queue::Declare {
    queue::Declare {
        queue: name.into(),
        exclusive: true,
        ..queue::Declare::default()
    }
}

/// An exchange that is gone when its last binding is.
pub fn exchange_of(kind: &str, name: &str) -> exchange::Declare {
    exchange::Declare {
        exchange: name.into(),
        kind: kind.into(),
        auto_delete: true,
        ..exchange::Declare::default()
    }
}

impl Peer {
    /// channel.open.
    #[track_caller]
    pub fn open_channel(&mut self, channel: u16) {
        self.call::<_, channel::OpenOk>(channel, channel::Open {});
    }

    /// channel.close.
    #[track_caller]
    pub fn close_channel(&mut self, channel: u16) {
        let close = channel::Close {
            reply_code: 200,
            reply_text: "bye".into(),
            ..channel::Close::default()
        };
        self.call::<_, channel::CloseOk>(channel, close);
    }

    /// connection.close and close-ok.
    #[track_caller]
    pub fn close(mut self) {
        let close = connection::Close {
            reply_code: 200,
            reply_text: "bye".into(),
            ..connection::Close::default()
        };
        self.call::<_, connection::CloseOk>(0, close);
        self.cut();
    }

    /// queue.declare.
    #[track_caller]
    pub fn declare(&mut self, channel: u16, declare: queue::Declare) -> queue::DeclareOk {
        self.call(channel, declare)
    }

    /// A fresh queue of this connection, named after `word`; answers its name.
    #[track_caller]
    pub fn fresh_queue(&mut self, channel: u16, word: &str) -> String {
        self.fresh_queue_with(channel, word, FieldTable::default())
    }

    /// A fresh queue of this connection with arguments; answers its name.
    #[track_caller]
    pub fn fresh_queue_with(&mut self, channel: u16, word: &str, arguments: FieldTable) -> String {
        let name = unique(word);
        self.declare(
            channel,
            queue::Declare {
                arguments,
                ..exclusive_queue(&name)
            },
        );
        name
    }

    /// A fresh queue that other connections can use too; answers its name. The test deletes it.
    #[track_caller]
    pub fn fresh_shared_queue(&mut self, channel: u16, word: &str) -> String {
        let name = unique(word);
        self.declare(channel, durable_queue(&name));
        name
    }

    /// How many messages and consumers a queue has, by a passive declare.
    #[track_caller]
    pub fn counts(&mut self, channel: u16, queue: &str) -> (u32, u32) {
        let ok = self.declare(
            channel,
            queue::Declare {
                queue: queue.into(),
                passive: true,
                ..queue::Declare::default()
            },
        );
        (ok.message_count, ok.consumer_count)
    }

    /// queue.delete; answers the message count.
    #[track_caller]
    pub fn delete_queue(&mut self, channel: u16, queue: &str) -> u32 {
        let delete = queue::Delete {
            queue: queue.into(),
            ..queue::Delete::default()
        };
        self.call::<_, queue::DeleteOk>(channel, delete)
            .message_count
    }

    /// queue.purge; answers the message count.
    #[track_caller]
    pub fn purge(&mut self, channel: u16, queue: &str) -> u32 {
        let purge = queue::Purge {
            queue: queue.into(),
            ..queue::Purge::default()
        };
        self.call::<_, queue::PurgeOk>(channel, purge).message_count
    }

    /// queue.bind.
    #[track_caller]
    pub fn bind(&mut self, channel: u16, queue: &str, exchange: &str, routing_key: &str) {
        self.bind_with(channel, queue, exchange, routing_key, FieldTable::default());
    }

    /// queue.bind with arguments.
    #[track_caller]
    pub fn bind_with(
        &mut self,
        channel: u16,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) {
        let bind = queue::Bind {
            queue: queue.into(),
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            nowait: false,
            arguments,
        };
        self.call::<_, queue::BindOk>(channel, bind);
    }

    /// queue.unbind.
    #[track_caller]
    pub fn unbind(&mut self, channel: u16, queue: &str, exchange: &str, routing_key: &str) {
        let unbind = queue::Unbind {
            queue: queue.into(),
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            arguments: FieldTable::default(),
        };
        self.call::<_, queue::UnbindOk>(channel, unbind);
    }

    /// exchange.bind.
    #[track_caller]
    pub fn bind_exchange(
        &mut self,
        channel: u16,
        destination: &str,
        source: &str,
        routing_key: &str,
    ) {
        let bind = exchange::Bind {
            destination: destination.into(),
            source: source.into(),
            routing_key: routing_key.into(),
            ..exchange::Bind::default()
        };
        self.call::<_, exchange::BindOk>(channel, bind);
    }

    /// A fresh exchange named after its type; answers its name. The test deletes it or its last binding.
    #[track_caller]
    pub fn fresh_exchange(&mut self, channel: u16, kind: &str) -> String {
        let name = unique(kind);
        self.call::<_, exchange::DeclareOk>(channel, exchange_of(kind, &name));
        name
    }

    /// exchange.delete.
    #[track_caller]
    pub fn delete_exchange(&mut self, channel: u16, exchange: &str) {
        let delete = exchange::Delete {
            exchange: exchange.into(),
            ..exchange::Delete::default()
        };
        self.call::<_, exchange::DeleteOk>(channel, delete);
    }

    /// basic.consume with acknowledgements and the given tag.
    #[track_caller]
    pub fn consume(&mut self, channel: u16, queue: &str, tag: &str) {
        self.consume_with(channel, consume_from(queue, tag));
    }

    /// basic.consume without acknowledgements.
    #[track_caller]
    pub fn consume_no_ack(&mut self, channel: u16, queue: &str, tag: &str) {
        self.consume_with(
            channel,
            basic::Consume {
                no_ack: true,
                ..consume_from(queue, tag)
            },
        );
    }

    /// basic.consume; answers the tag.
    #[track_caller]
    pub fn consume_with(&mut self, channel: u16, consume: basic::Consume) -> String {
        self.call::<_, basic::ConsumeOk>(channel, consume)
            .consumer_tag
            .to_string()
    }

    /// basic.cancel. Deliveries that were under way are dropped.
    #[track_caller]
    pub fn cancel(&mut self, channel: u16, tag: &str) {
        let cancel = basic::Cancel {
            consumer_tag: tag.into(),
            nowait: false,
        };
        let ok: basic::CancelOk = self.call(channel, cancel);
        assert_eq!(ok.consumer_tag.as_str(), tag);
    }

    /// basic.qos.
    #[track_caller]
    pub fn qos(&mut self, channel: u16, prefetch_count: u16, global: bool) {
        self.call::<_, basic::QosOk>(
            channel,
            basic::Qos {
                prefetch_count,
                global,
            },
        );
    }

    /// basic.ack.
    pub fn ack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        self.send(
            channel,
            basic::Ack {
                delivery_tag,
                multiple,
            },
        );
    }

    /// basic.nack.
    pub fn nack(&mut self, channel: u16, delivery_tag: u64, multiple: bool, requeue: bool) {
        self.send(
            channel,
            basic::Nack {
                delivery_tag,
                multiple,
                requeue,
            },
        );
    }

    /// basic.reject.
    pub fn reject(&mut self, channel: u16, delivery_tag: u64, requeue: bool) {
        self.send(
            channel,
            basic::Reject {
                delivery_tag,
                requeue,
            },
        );
    }

    /// confirm.select.
    #[track_caller]
    pub fn confirm_select(&mut self, channel: u16) {
        self.call::<_, confirm::SelectOk>(channel, confirm::Select { nowait: false });
    }

    /// Confirms must come in order until `last` is confirmed.
    #[track_caller]
    pub fn expect_confirms_to(&mut self, channel: u16, last: u64) {
        let mut confirmed = 0;
        while confirmed < last {
            let ack = self.expect::<basic::Ack>(channel);
            assert!(
                ack.delivery_tag > confirmed,
                "confirm {} after {confirmed}",
                ack.delivery_tag
            );
            assert!(
                ack.multiple || ack.delivery_tag == confirmed + 1,
                "a confirm is missing before {ack:?}"
            );
            confirmed = ack.delivery_tag;
        }
        assert_eq!(confirmed, last);
    }

    /// Publishes to the default exchange on a confirming channel of its own, so that the messages are in the queue
    /// when this returns.
    #[track_caller]
    pub fn fill(&mut self, queue: &str, bodies: &[&str]) {
        const FILLING: u16 = 1998;
        self.open_channel(FILLING);
        self.confirm_select(FILLING);
        for body in bodies {
            self.publish(FILLING, "", queue, body);
        }
        // RabbitMQ may confirm out of order between queues, never within one.
        self.expect_confirms_to(FILLING, bodies.len() as u64);
        self.close_channel(FILLING);
    }

    /// Publishes mandatory; the message must come back as unroutable.
    #[track_caller]
    pub fn expect_unroutable(&mut self, channel: u16, exchange: &str, routing_key: &str) {
        let publish = basic::Publish {
            mandatory: true,
            ..publish_to(exchange, routing_key)
        };
        self.send_publish(channel, publish, AMQPProperties::default(), b"unroutable?");
        assert_eq!(self.expect_return(channel).method.reply_code, 312);
    }
}

/// A consumer with acknowledgements.
pub fn consume_from(queue: &str, tag: &str) -> basic::Consume {
    basic::Consume {
        queue: queue.into(),
        consumer_tag: tag.into(),
        ..basic::Consume::default()
    }
}
