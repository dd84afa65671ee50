//! What the API says of a queue, shorter or longer.

use std::sync::Arc;

use amqp_codec::Properties;
use broker_core::{
    arguments::json::table_to_json,
    queue::{Inspection, Queue, UndeliverableCounts, arguments::QueueType},
    statistics::{Column, DELIVER_GET, History, second},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Shared,
    channels::queue_consumers,
    leveret::own_json,
    listing::{Columns, Key, Listed},
    statistics::{Object, Ranges, put_queue, queue_rate, time_text},
};

/// The longest name of a queue in bytes.
pub(super) const LARGEST_NAME: usize = 255;

/// How much of a queue is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// How it was declared (`disable_stats`).
    Declared,
    /// The same and its lengths (`enable_queue_totals`).
    Totals,
    /// What lists show.
    Basic,
    /// What `/api/queues/detailed` shows.
    Listed,
    /// Everything, its consumers too.
    Full,
}

/// A queue, and how much of it is wanted.
pub(super) struct Item {
    node: Shared,
    queue: Arc<Queue>,
    ranges: Ranges,
    detail: Detail,
}

impl Listed for Item {
    fn name(&self) -> &str {
        self.queue.name()
    }

    fn key(&self, field: &str) -> Option<Key> {
        let queue = &self.queue;
        let counts = || queue.counts();
        let number = |number: usize| Some(Key::Number(number as f64));
        match field {
            "name" => Some(Key::Text(Arc::clone(queue.name()))),
            "vhost" => Some(Key::Text(Arc::clone(&queue.properties.vhost))),
            "state" => Some(Key::Text("running".into())),
            "durable" => Some(Key::Flag(queue.properties.durable)),
            "auto_delete" => Some(Key::Flag(queue.properties.auto_delete)),
            "messages_ready" => number(counts().ready),
            "messages_unacknowledged" => number(counts().unacknowledged),
            "messages" => number(counts().messages()),
            "messages_delayed" => number(counts().delayed),
            "consumers" => number(counts().consumers),
            "memory" => number(counts().resident_bytes),
            "message_bytes_ready" => number(counts().ready_bytes),
            _ => self.rate(field).map(Key::Number),
        }
    }

    fn object(&self, _: &Columns) -> impl Serialize {
        self.json()
    }
}

impl Item {
    pub(super) fn new(node: &Shared, queue: Arc<Queue>, ranges: Ranges, detail: Detail) -> Self {
        Self {
            node: Arc::clone(node),
            queue,
            ranges,
            detail,
        }
    }

    /// The rates that the columns of RabbitMQ's own page can be sorted by.
    fn rate(&self, field: &str) -> Option<f64> {
        let deliver_get = DELIVER_GET.map(|it| it as usize);
        let columns: &[usize] = match field {
            "message_stats.publish_details.rate" => &[Column::Publish as usize],
            "message_stats.ack_details.rate" => &[Column::Ack as usize],
            "message_stats.redeliver_details.rate" => &[Column::Redeliver as usize],
            "message_stats.deliver_get_details.rate" => &deliver_get,
            _ => return None,
        };
        Some(queue_rate(&self.node, &self.queue, columns))
    }

    pub(super) fn json(&self) -> Object {
        let mut object = self.declared();
        if self.detail == Detail::Declared {
            return object;
        }
        let inspection = self.queue.inspect();
        if self.detail == Detail::Totals {
            put_totals(&inspection, &mut object);
            return object;
        }
        let (node, queue) = (&self.node, &self.queue);
        put_queue(node, queue, &inspection, &self.ranges, &mut object);
        self.put_contents(&inspection, &mut object);
        self.put_policies(&mut object);
        if self.detail != Detail::Basic {
            self.put_idle_since(&mut object);
        }
        if self.detail == Detail::Full {
            object.extend(own_json(queue, &inspection, node));
            let consumers = queue_consumers(queue, node);
            object.insert("consumer_details".to_owned(), consumers.into());
            object.insert("deliveries".to_owned(), json!([]));
            object.insert("incoming".to_owned(), json!([]));
        }
        object
    }

    fn declared(&self) -> Object {
        let properties = &self.queue.properties;
        let mut object = Object::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("name", (**self.queue.name()).into());
        put("vhost", (*properties.vhost).into());
        put("durable", properties.durable.into());
        put("auto_delete", properties.auto_delete.into());
        put("exclusive", properties.exclusive_owner.is_some().into());
        put("arguments", table_to_json(&properties.table));
        put("type", properties.arguments.queue_type.as_str().into());
        put("state", "running".into());
        put("node", self.node.name.as_str().into());
        put("internal", false.into());
        put("internal_owner", false.into());
        let policies = self.queue.policies();
        let name = policies.policy.map(|policy| policy.record.name.clone());
        put("policy", name.into());
        if let Some(owner) = self.owner() {
            put("owner_pid_details", owner);
        }
        object
    }

    /// The connection that has the queue to itself.
    fn owner(&self) -> Option<Value> {
        let owner = self.queue.properties.exclusive_owner?;
        let connection = self.node.core.connection(owner)?;
        Some(json!({
            "name": connection.name,
            "peer_host": connection.facts.peer.ip().to_canonical().to_string(),
            "peer_port": connection.facts.peer.port(),
        }))
    }

    fn put_policies(&self, object: &mut Object) {
        let policies = self.queue.policies();
        let definition = policies.definition();
        let operator = policies.operator_policy;
        let operator = operator.map(|policy| policy.record.name.clone());
        object.insert("operator_policy".to_owned(), operator.into());
        object.insert("effective_policy_definition".to_owned(), definition.into());
    }

    fn put_contents(&self, inspection: &Inspection, object: &mut Object) {
        let counts = &inspection.counts;
        let bytes = counts.bytes();
        let in_memory = counts.ready - counts.paged.min(counts.ready);
        let capacity = consumer_capacity(inspection);
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("consumers", counts.consumers.into());
        put("consumer_capacity", capacity.into());
        put("consumer_utilisation", capacity.into());
        put("memory", counts.resident_bytes.into());
        put("message_bytes", bytes.into());
        put("message_bytes_ready", counts.ready_bytes.into());
        put(
            "message_bytes_unacknowledged",
            counts.unacknowledged_bytes.into(),
        );
        put("message_bytes_ram", counts.resident_bytes.into());
        put("messages_ram", (in_memory + counts.unacknowledged).into());
        put("messages_ready_ram", in_memory.into());
        put("messages_unacknowledged_ram", counts.unacknowledged.into());
        put("messages_paged_out", counts.paged.into());
        if self.queue.properties.arguments.queue_type == QueueType::Quorum {
            self.put_delayed(inspection, object);
        }
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("head_message_timestamp", head_timestamp(inspection).into());
        put("storage_version", 2.into());
        put("paused", self.queue.is_paused().into());
        let consumers = self.single_consumers();
        put("exclusive_consumer_tag", consumers.0);
        put("single_active_consumer_tag", consumers.1);
        let now = self.node.now();
        let age = inspection.head_entered.map(|at| now.saturating_sub(at));
        put("oldest_message_age", age.into());
        let lost = self.queue.undeliverable_dead_letters();
        if lost != UndeliverableCounts::default() {
            let lost = json!({
                "missing_exchange": lost.missing_exchange,
                "unroutable": lost.unroutable,
                "cycles": lost.cycles,
            });
            put("undeliverable_dead_letters", lost);
        }
    }

    /// What came back to a quorum queue and waits for its next try (`rabbit_quorum_queue:handle_tick`).
    fn put_delayed(&self, inspection: &Inspection, object: &mut Object) {
        let delayed = &inspection.delayed;
        let rule = self.queue.arguments().delayed_retry();
        let rule = rule.map_or_else(|| "disabled".to_owned(), |rule| rule.to_string());
        object.insert("delayed_retry".to_owned(), rule.into());
        object.insert("messages_delayed".to_owned(), delayed.count.into());
        if let Some(next) = delayed.next_at {
            object.insert("next_delayed_at".to_owned(), next.into());
        }
        if let Some(last) = delayed.last_at {
            object.insert("last_delayed_at".to_owned(), last.into());
        }
    }

    /// The tags of the exclusive consumer and of the single active one.
    fn single_consumers(&self) -> (Value, Value) {
        let consumers = self.queue.inspect_consumers();
        let exclusive = consumers.iter().find(|it| it.entry.exclusive);
        let active = consumers
            .iter()
            .find(|it| it.activity_status == "single_active");
        let tag = |found: Option<&broker_core::queue::InspectedConsumer>| {
            found.map_or(Value::Null, |it| (*it.entry.tag).into())
        };
        (tag(exclusive), tag(active))
    }

    /// Since when nothing went in or out.
    fn put_idle_since(&self, object: &mut Object) {
        let last = self
            .queue
            .statistics
            .with_history(|history| history.map(History::last_change));
        let now = second(self.node.now());
        if let Some(last) = last.filter(|last| *last < now) {
            let since = time_text(u64::from(last) * 1000);
            object.insert("idle_since".to_owned(), since.into());
        }
    }
}

fn put_totals(inspection: &Inspection, object: &mut Object) {
    let counts = &inspection.counts;
    let mut put = |key: &str, value: usize| object.insert(key.to_owned(), value.into());
    put("messages", counts.messages());
    put("messages_ready", counts.ready);
    put("messages_unacknowledged", counts.unacknowledged);
}

/// RabbitMQ measures which part of the time the queue could have delivered a message at once. Here it is what holds now.
pub(crate) fn consumer_capacity(inspection: &Inspection) -> f64 {
    match inspection.counts.consumers > 0 && inspection.consumer_waits {
        true => 1.0,
        false => 0.0,
    }
}

/// The property `timestamp` of the message at the front.
pub(crate) fn head_timestamp(inspection: &Inspection) -> Option<u64> {
    let head = inspection.head.as_ref()?;
    Properties::parse(head.properties()).ok()?.timestamp
}
