//! Consuming, getting and the prefetch limits (AMQP 0-9-1, 1.8; <https://www.rabbitmq.com/docs/consumer-prefetch>).

use std::sync::Arc;

use amqp_codec::{
    AMQPClass, ShortString, encode,
    protocol::basic::{self, AMQPMethod},
};
use broker_core::{
    broker::ConsumerEntry,
    outbox::SubscriptionKey,
    permissions::{Operation, Resource},
    queue::{Queue, Subscription, arguments::ConsumerArguments},
    statistics::Column,
    vhost::{DIRECT_REPLY_TO, random_name},
};

use super::{
    batch::Batch,
    channel::{Channel, Handled},
    exception::{Exception, MethodId},
    session::{Session, Source, Subscribed},
    unacked::{Sent, Unacked},
};

impl Channel {
    /// `basic.qos`. RabbitMQ's reading: without `global` the limit of each consumer that starts from now on, with it
    /// the limit of the channel.
    pub(super) fn set_prefetch(
        &mut self,
        method: basic::Qos,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        if method.global {
            self.credit.set_limit(method.prefetch_count);
            self.revive_consumers(session, batch);
        } else {
            self.prefetch = method.prefetch_count;
        }
        let entry = &self.entry;
        entry.prefetch_count.set(self.prefetch.into());
        if method.global {
            let limit = u64::from(method.prefetch_count);
            entry.global_prefetch_count.set(limit);
        }
        let answer = AMQPMethod::QosOk(basic::QosOk {});
        session.send(self.number, AMQPClass::Basic(answer), batch);
        Ok(())
    }

    /// Lets the queues look at this channel's consumers again: the channel as a whole has credit.
    pub(super) fn revive_consumers(&self, session: &mut Session, batch: &mut Batch) {
        for &key in self.consumers.values() {
            if let Some(subscribed) = session.subscription(key)
                && let Some((queue, handle)) = subscribed.queue()
            {
                queue.dispatch(handle, batch.now, &mut batch.work);
            }
        }
        session.vhost.bury(batch.now, &mut batch.work);
    }

    pub(super) fn consume(
        &mut self,
        method: basic::Consume,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let given = method.consumer_tag.as_str();
        if self.consumers.contains_key(given) {
            let text = format!("attempt to reuse consumer tag '{given}'");
            return Err(Exception::not_allowed(&text, id));
        }
        let tag: Arc<str> = match given {
            "" => format!("amq.ctag-{}", random_name()).into(),
            given => given.into(),
        };
        if method.queue.as_str() == DIRECT_REPLY_TO {
            return self.consume_replies(&method, tag, id, session, batch);
        }
        let name = self.queue_name(method.queue.as_str(), id)?;
        let queue = session.open_queue(&name, id)?;
        let key = self.subscribe(&queue, &method, &tag, id, session)?;
        self.consumers.insert(Arc::clone(&tag), key);
        self.send_consume_ok(method.nowait, &tag, session, batch);
        queue.dispatch(None, batch.now, &mut batch.work);
        session.vhost.bury(batch.now, &mut batch.work);
        Ok(())
    }

    fn subscribe(
        &self,
        queue: &Arc<Queue>,
        method: &basic::Consume,
        tag: &Arc<str>,
        id: MethodId,
        session: &mut Session,
    ) -> Result<SubscriptionKey, Exception> {
        let text = session.vhost.queue_text(queue.name());
        let kind = queue.properties.arguments.queue_type;
        let arguments = ConsumerArguments::parse(&method.arguments, kind, &text)
            .map_err(|error| Exception::of(&error, id))?;
        let key = session.subscribe(Subscribed {
            channel: self.number,
            tag: Arc::clone(tag),
            source: Source::Queue(Arc::clone(queue), None),
            credit: (!method.no_ack).then(|| Arc::clone(&self.credit)),
            no_ack: method.no_ack,
            timeout: arguments.consumer_timeout_ms,
            unacked: 0,
            ended: false,
        });
        let entry = Arc::new(ConsumerEntry {
            tag: Arc::clone(tag),
            channel: self.number,
            connection: Arc::downgrade(&session.entry),
            queue: Arc::downgrade(queue),
            ack_required: !method.no_ack,
            exclusive: method.exclusive,
            prefetch_count: self.prefetch,
            timeout: arguments.consumer_timeout_ms,
            arguments: method.arguments.clone(),
        });
        let subscription = Subscription {
            key,
            outbox: Arc::clone(&session.outbox),
            channel_credit: Arc::clone(&self.credit),
            no_ack: method.no_ack,
            prefetch: self.prefetch,
            priority: arguments.priority,
            entry: Arc::clone(&entry),
        };
        let handle = match queue.consume(subscription, method.exclusive) {
            Ok(Some(handle)) => handle,
            Ok(None) => {
                session.end(key);
                let text = format!("{text} in exclusive use");
                return Err(Exception::access_refused(&text, id));
            }
            Err(error) => {
                session.end(key);
                return Err(Exception::of(&error, id));
            }
        };
        if let Some(subscribed) = session.subscription(key) {
            subscribed.source = Source::Queue(Arc::clone(queue), Some(handle));
        }
        self.entry.add_consumer(&entry);
        Ok(key)
    }

    fn consume_replies(
        &mut self,
        method: &basic::Consume,
        tag: Arc<str>,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        if !method.no_ack {
            let text = "reply consumer cannot acknowledge";
            return Err(Exception::precondition_failed(text, id));
        }
        if self.replies.is_some() {
            let text = "reply consumer already set";
            return Err(Exception::precondition_failed(text, id));
        }
        let key = session.subscribe_to_replies(self.number, &tag);
        self.replies = Some(key);
        self.consumers.insert(Arc::clone(&tag), key);
        self.send_consume_ok(method.nowait, &tag, session, batch);
        Ok(())
    }

    fn send_consume_ok(&self, nowait: bool, tag: &str, session: &Session, batch: &mut Batch) {
        if nowait {
            return;
        }
        if let Ok(consumer_tag) = ShortString::try_new(tag) {
            let answer = AMQPMethod::ConsumeOk(basic::ConsumeOk { consumer_tag });
            session.send(self.number, AMQPClass::Basic(answer), batch);
        }
    }

    pub(super) fn get(
        &mut self,
        method: basic::Get,
        id: MethodId,
        session: &mut Session,
        batch: &mut Batch,
    ) -> Handled {
        let name = self.queue_name(method.queue.as_str(), id)?;
        let queue = session.open_queue(&name, id)?;
        let text = session.vhost.queue_text(queue.name());
        let permitted = queue.check_get(&text);
        permitted.map_err(|error| Exception::of(&error, id))?;
        let got = queue.get(method.no_ack, batch.now, &mut batch.work);
        session.vhost.bury(batch.now, &mut batch.work);
        let got = got.map_err(|error| Exception::of(&error, id))?;
        let Some((entry, remaining)) = got else {
            self.count(Column::GetEmpty);
            let answer = AMQPMethod::GetEmpty(basic::GetEmpty {});
            session.send(self.number, AMQPClass::Basic(answer), batch);
            return Ok(());
        };
        let tag = match method.no_ack {
            true => self.unackeds.skip(),
            false => {
                let subscription = session.subscribe(Subscribed {
                    channel: self.number,
                    tag: "".into(),
                    source: Source::Queue(Arc::clone(&queue), None),
                    credit: None,
                    no_ack: false,
                    timeout: None,
                    unacked: 1,
                    ended: true,
                });
                session.watch.delivered(batch.now);
                self.unackeds.push(Unacked {
                    subscription,
                    sent: Sent::at(batch.now),
                    entry: entry.clone(),
                })
            }
        };
        self.count_get(entry.redelivered, method.no_ack);
        encode::get_ok(
            &mut batch.out.frames,
            self.number,
            tag,
            entry.redelivered,
            entry.message.exchange_bytes(),
            entry.message.routing_key_bytes(),
            remaining as u32,
        );
        batch.out.content(
            self.number,
            session.frame_max,
            &entry.properties(),
            &entry.message,
        );
        Ok(())
    }
}

impl Session {
    /// A queue that this connection may take messages from.
    pub(super) fn open_queue(&mut self, name: &str, id: MethodId) -> Result<Arc<Queue>, Exception> {
        self.permit(Operation::Read, Resource::Queue(name), id)?;
        let queue = self.vhost.existing_queue(name);
        queue
            .and_then(|queue| {
                self.vhost.check_exclusive(&queue, self.id)?;
                Ok(queue)
            })
            .map_err(|error| Exception::of(&error, id))
    }

    fn subscribe_to_replies(&mut self, channel: u16, tag: &Arc<str>) -> SubscriptionKey {
        let entry = self.subscriptions.vacant_entry();
        let key = SubscriptionKey(entry.key() as u32);
        let address = self.vhost.open_reply_address(&self.outbox, key);
        entry.insert(Subscribed {
            channel,
            tag: Arc::clone(tag),
            source: Source::Replies(address),
            credit: None,
            no_ack: true,
            timeout: None,
            unacked: 0,
            ended: false,
        });
        key
    }
}
