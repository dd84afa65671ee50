//! The system under test: the same operations, done over a socket by lapin.

use lapin::{Channel, Connection, ExchangeKind, message::Delivery, options::*, types::FieldTable};
use proptest::sample::Index;

use crate::{
    client::{connect, declare_durable, publish_confirmed, purge, unique},
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
        }
    }

    /// Does an operation; whatever the broker refuses fails the test.
    pub async fn apply(&mut self, operation: &Operation) -> Answer {
        match *operation {
            Operation::DeclareQueue(queue) => {
                let declared = declare_durable(&self.channel, &self.queue(queue)).await;
                return Answer::Count(declared.message_count());
            }
            Operation::DeleteQueue(queue) => return Answer::Count(self.delete_queue(queue).await),
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
            } => {
                return self.publish(exchange, routing_key).await;
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

    async fn publish(&mut self, exchange: usize, routing_key: &str) -> Answer {
        let body = self.published.to_string();
        self.published += 1;
        let key = match exchange {
            0 => format!("{}.{routing_key}", self.prefix),
            _ => routing_key.to_owned(),
        };
        let exchange = self.exchange(exchange);
        let returned = publish_confirmed(&self.channel, &exchange, &key, body.as_bytes()).await;
        Answer::Routed(returned.is_none())
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
