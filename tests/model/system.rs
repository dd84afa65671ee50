//! The system under test: the same operations, done over a socket by lapin.

use std::collections::BTreeMap;

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ExchangeKind,
    message::Delivery,
    options::*,
    types::{AMQPValue, FieldTable, LongString},
};
use proptest::sample::Index;

use crate::{
    client::{connect, declare, purge, unique},
    features::{FEATURES, Features},
    operation::{EXCHANGES, KEYS, Operation, QUEUES},
    reference::Answer,
};

/// A connection to the broker, whose queues and exchanges have names of this run alone.
pub struct System {
    connection: Connection,
    channel: Channel,
    prefix: String,
    unacked: Vec<Delivery>,
    published: u64,
    /// What the queues that are there were declared with.
    features: BTreeMap<usize, usize>,
}

impl System {
    /// Connects and opens the channel that all operations use.
    pub async fn connect(uri: &str) -> Self {
        let connection = connect(uri).await;
        let channel = open_channel(&connection).await;
        let (prefix, unacked, published) = (unique("model"), Vec::new(), 0);
        Self {
            connection,
            channel,
            prefix,
            unacked,
            published,
            features: BTreeMap::new(),
        }
    }

    /// Does an operation; whatever the broker refuses fails the test.
    pub async fn apply(&mut self, operation: &Operation) -> Answer {
        match *operation {
            Operation::DeclareQueue { queue, features } => {
                return Answer::Count(self.declare_queue(queue, features).await);
            }
            Operation::DeleteQueue(queue) => return Answer::Count(self.remove_queue(queue).await),
            Operation::Purge(queue) => {
                return Answer::Count(purge(&self.channel, &self.queue(queue)).await);
            }
            Operation::DeclareExchange(exchange) => self.declare_exchange(exchange).await,
            Operation::DeleteExchange(exchange) => self.delete_exchange(exchange).await,
            Operation::Bind {
                queue,
                exchange,
                key,
            } => self.bind(queue, exchange, key).await,
            Operation::Unbind {
                queue,
                exchange,
                key,
            } => self.unbind(queue, exchange, key).await,
            Operation::Publish {
                exchange,
                routing_key,
                expiration,
                priority,
            } => {
                let properties = properties(expiration, priority);
                return self.publish(exchange, routing_key, properties).await;
            }
            Operation::Get { queue, no_ack } => return self.get(queue, no_ack).await,
            Operation::Ack { index, multiple } => self.ack(&index, multiple).await,
            Operation::Nack {
                index,
                multiple,
                requeue,
            } => {
                self.nack(&index, multiple, requeue).await;
            }
            Operation::Reject(index) => self.reject(&index).await,
            Operation::Recover => self.recover().await,
            Operation::ReopenChannel => self.reopen_channel().await,
        }
        Answer::Done
    }

    /// Removes what the run has made.
    pub async fn close(self) {
        for queue in 0..QUEUES.len() {
            self.delete_queue(queue).await;
        }
        for exchange in 1..EXCHANGES.len() {
            self.delete_exchange(exchange).await;
        }
        self.connection
            .close(200, "bye".into())
            .await
            .expect("a clean close");
    }

    fn queue(&self, queue: usize) -> String {
        format!("{}.{}", self.prefix, QUEUES[queue])
    }

    fn exchange(&self, exchange: usize) -> String {
        match exchange {
            0 => String::new(),
            _ => format!("{}.{}", self.prefix, EXCHANGES[exchange].0),
        }
    }

    async fn declare_queue(&mut self, queue: usize, features: usize) -> u32 {
        let features = *self.features.entry(queue).or_insert(features);
        let next = self.queue((queue + 1) % QUEUES.len());
        let arguments = arguments(&FEATURES[features], &next);
        let options = QueueDeclareOptions::durable();
        let declared = declare(&self.channel, &self.queue(queue), options, arguments).await;
        declared.message_count()
    }

    async fn remove_queue(&mut self, queue: usize) -> u32 {
        self.features.remove(&queue);
        self.delete_queue(queue).await
    }

    async fn delete_queue(&self, queue: usize) -> u32 {
        let (name, options) = (self.queue(queue).into(), QueueDeleteOptions::default());
        self.channel
            .queue_delete(name, options)
            .await
            .expect("delete-ok")
    }

    async fn declare_exchange(&self, exchange: usize) {
        let kind = ExchangeKind::Custom(EXCHANGES[exchange].1.to_owned());
        let (options, none) = (ExchangeDeclareOptions::default(), FieldTable::default());
        let name = self.exchange(exchange).into();
        let declared = self
            .channel
            .exchange_declare(name, kind, options, none)
            .await;
        declared.expect("declare-ok");
    }

    async fn delete_exchange(&self, exchange: usize) {
        let (name, options) = (
            self.exchange(exchange).into(),
            ExchangeDeleteOptions::default(),
        );
        self.channel
            .exchange_delete(name, options)
            .await
            .expect("delete-ok");
    }

    async fn bind(&self, queue: usize, exchange: usize, key: usize) {
        let (queue, exchange) = (self.queue(queue).into(), self.exchange(exchange).into());
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let bound = self
            .channel
            .queue_bind(queue, exchange, KEYS[key].into(), options, none)
            .await;
        bound.expect("bind-ok");
    }

    async fn unbind(&self, queue: usize, exchange: usize, key: usize) {
        let (queue, exchange) = (self.queue(queue).into(), self.exchange(exchange).into());
        let none = FieldTable::default();
        let unbound = self
            .channel
            .queue_unbind(queue, exchange, KEYS[key].into(), none)
            .await;
        unbound.expect("unbind-ok");
    }

    async fn publish(
        &mut self,
        exchange: usize,
        routing_key: &str,
        properties: BasicProperties,
    ) -> Answer {
        let body = self.published.to_string();
        self.published += 1;
        let key = match exchange {
            0 => format!("{}.{routing_key}", self.prefix),
            _ => routing_key.to_owned(),
        };
        let exchange = self.exchange(exchange);
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        let (exchange, key) = (exchange.into(), key.into());
        let publish =
            self.channel
                .basic_publish(exchange, key, options, body.as_bytes(), properties);
        let confirm = publish.await.expect("to publish");
        match confirm.await.expect("a confirm") {
            Confirmation::Ack(returned) => Answer::Published {
                routed: returned.is_none(),
                taken: true,
            },
            Confirmation::Nack(_) => Answer::Published {
                routed: true,
                taken: false,
            },
            Confirmation::NotRequested => unreachable!("the channel is in confirm mode"),
        }
    }

    async fn get(&mut self, queue: usize, no_ack: bool) -> Answer {
        let name = self.queue(queue).into();
        let got = self
            .channel
            .basic_get(name, BasicGetOptions { no_ack })
            .await;
        let Some(got) = got.expect("get-ok or get-empty") else {
            return Answer::Empty;
        };
        let text = String::from_utf8_lossy(&got.delivery.data).into_owned();
        let answer = Answer::Got {
            message: text.parse().expect("a number"),
            redelivered: got.delivery.redelivered,
            left: got.message_count,
        };
        if !no_ack {
            self.unacked.push(got.delivery);
        }
        answer
    }

    /// Takes the messages that a settlement is about off the list; returns the tag to settle.
    fn settle(&mut self, index: &Index, multiple: bool) -> u64 {
        let last = index.index(self.unacked.len());
        let first = if multiple { 0 } else { last };
        let tag = self.unacked[last].delivery_tag;
        self.unacked.drain(first..=last);
        tag
    }

    async fn ack(&mut self, index: &Index, multiple: bool) {
        let tag = self.settle(index, multiple);
        self.channel
            .basic_ack(tag, BasicAckOptions { multiple })
            .await
            .expect("to ack");
    }

    async fn nack(&mut self, index: &Index, multiple: bool, requeue: bool) {
        let tag = self.settle(index, multiple);
        let options = BasicNackOptions { multiple, requeue };
        self.channel
            .basic_nack(tag, options)
            .await
            .expect("to nack");
    }

    async fn reject(&mut self, index: &Index) {
        let tag = self.settle(index, false);
        let options = BasicRejectOptions { requeue: true };
        let rejected = self.channel.basic_reject(tag, options).await;
        rejected.expect("to reject");
    }

    async fn recover(&mut self) {
        self.unacked.clear();
        let options = BasicRecoverOptions { requeue: true };
        self.channel
            .basic_recover(options)
            .await
            .expect("recover-ok");
    }

    async fn reopen_channel(&mut self) {
        self.unacked.clear();
        self.channel
            .close(200, "again".into())
            .await
            .expect("close-ok");
        self.channel = open_channel(&self.connection).await;
    }
}

async fn open_channel(connection: &Connection) -> Channel {
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .expect("confirm mode");
    channel
}

fn properties(expiration: Option<u64>, priority: u8) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_priority(priority);
    match expiration {
        Some(expiration) => properties.with_expiration(expiration.to_string().into()),
        None => properties,
    }
}

/// The arguments of a queue whose dead letters go to the queue `next`.
fn arguments(features: &Features, next: &str) -> FieldTable {
    let mut table = FieldTable::default();
    let mut number = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            table.insert(name.into(), AMQPValue::LongLongInt(value as i64));
        }
    };
    number("x-max-length", features.max_length.map(|it| it as u64));
    number("x-max-length-bytes", features.max_bytes.map(|it| it as u64));
    number("x-message-ttl", features.ttl);
    number("x-max-priority", features.max_priority.map(u64::from));
    number("x-delivery-limit", features.delivery_limit.map(u64::from));
    let mut text = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            let value = LongString::from(value.as_bytes());
            table.insert(name.into(), AMQPValue::LongString(value));
        }
    };
    text("x-overflow", features.overflow);
    let dead_letters = |value| features.dead_letters.then_some(value);
    text("x-dead-letter-exchange", dead_letters(""));
    text("x-dead-letter-routing-key", dead_letters(next));
    table
}
