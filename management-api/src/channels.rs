//! Channels, and the consumers on them (RabbitMQ: `rabbit_mgmt_wm_channels`, `rabbit_mgmt_wm_channel`,
//! `rabbit_mgmt_wm_connection_channels`, `rabbit_mgmt_wm_consumers`).

use std::sync::{Arc, atomic::Ordering};

use axum::{extract::State, response::Response};
use broker_core::{
    arguments::json::table_to_json,
    broker::{ChannelEntry, ConnectionEntry},
    queue::{InspectedConsumer, Queue},
    statistics::Counts,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    Error, Node, Shared,
    caller::{Authorized, Level, Management, VhostVisible},
    connections::{channel_state, may_see, named, permit, visible},
    listing::{self, Columns, Key, Listed, Ready},
    openapi::{Methods, Routes, get, schemas::clients as schemas},
    request::{Names, Query},
    statistics::{Figures, Object, Ranges, channel_stats, time_text},
};

pub(crate) fn routes() -> Routes {
    let lists = |methods: Methods| methods.pages::<schemas::Channel>().with_statistics();
    let one = get(one)
        .says("A channel")
        .gives::<schemas::Channel>()
        .with_statistics();
    let of_connection = get(of_connection).says("The channels of a connection");
    Routes::about("Channels and consumers")
        .route(
            "/channels",
            lists(get(list::<Management>).says("All channels")),
        )
        .route(
            "/vhosts/{vhost}/channels",
            lists(get(list::<VhostVisible>).says("The channels in a virtual host")),
        )
        .route("/channels/{channel}", one)
        .route(
            "/connections/{connection}/channels",
            of_connection.lists::<schemas::Channel>().with_statistics(),
        )
        .route(
            "/consumers",
            get(consumers)
                .says("All consumers")
                .lists::<schemas::Consumer>(),
        )
        .route(
            "/consumers/{vhost}",
            get(consumers)
                .says("The consumers in a virtual host")
                .lists::<schemas::Consumer>(),
        )
}

/// A channel of a list.
struct Item {
    node: Shared,
    ranges: Ranges,
    statistics: bool,
    connection: Arc<ConnectionEntry>,
    channel: Arc<ChannelEntry>,
    name: String,
}

impl Item {
    fn new(
        node: &Shared,
        query: &Query,
        ranges: Ranges,
        connection: &Arc<ConnectionEntry>,
        channel: Arc<ChannelEntry>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            ranges,
            statistics: !query.is_true("disable_stats"),
            connection: Arc::clone(connection),
            name: channel_name(connection, channel.number),
            channel,
        }
    }

    fn json(&self) -> Object {
        let (channel, connection) = (&self.channel, &self.connection);
        let Value::Object(mut object) = json!({
            "connection_details": {
                "name": connection.name,
                "peer_host": connection.facts.peer.ip().to_canonical().to_string(),
                "peer_port": connection.facts.peer.port(),
            },
            "name": self.name,
            "node": self.node.name,
            "number": channel.number,
            "user": connection.user,
            "user_who_performed_action": connection.user,
            "vhost": connection.vhost,
        }) else {
            return Object::new();
        };
        if self.statistics {
            self.put_state(&mut object);
        }
        object
    }

    fn put_state(&self, object: &mut Object) {
        let channel = &self.channel;
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("acks_uncommitted", channel.acks_uncommitted.get().into());
        put("confirm", channel.confirm.load(Ordering::Relaxed).into());
        put("consumer_count", channel.consumer_count().into());
        let global = channel.global_prefetch_count.get();
        put("global_prefetch_count", global.into());
        let unacknowledged = channel.messages_unacknowledged.get();
        put("messages_unacknowledged", unacknowledged.into());
        put(
            "messages_uncommitted",
            channel.messages_uncommitted.get().into(),
        );
        put(
            "messages_unconfirmed",
            channel.messages_unconfirmed.get().into(),
        );
        put("prefetch_count", channel.prefetch_count.get().into());
        put("pending_raft_commands", 0.into());
        put("cached_segments", 0.into());
        put("state", channel_state(&self.connection).into());
        let transactional = channel.transactional.load(Ordering::Relaxed);
        put("transactional", transactional.into());
        let since = match channel.last_traffic() {
            Some(second) => second * 1000,
            None => self.connection.facts.connected_at,
        };
        put("idle_since", time_text(since).into());
        let counts = channel.counters.read();
        if counts != Counts::default() {
            channel.with_history(|history| {
                let figures = Figures::new(counts, history, &self.node);
                put("message_stats", channel_stats(&figures, &self.ranges));
            });
        }
    }
}

impl Listed for Item {
    fn name(&self) -> &str {
        &self.name
    }

    fn key(&self, field: &str) -> Option<Key> {
        match field {
            "name" => Some(Key::Text(self.name.as_str().into())),
            "vhost" => Some(Key::Text(Arc::clone(&self.connection.vhost))),
            "user" => Some(Key::Text(Arc::clone(&self.connection.user))),
            "number" => Some(Key::Number(self.channel.number.into())),
            _ => None,
        }
    }

    fn object(&self, _: &Columns) -> impl Serialize {
        self.json()
    }
}

/// `127.0.0.1:50000 -> 127.0.0.1:5672 (1)`.
fn channel_name(connection: &ConnectionEntry, number: u16) -> String {
    format!("{} ({number})", connection.name)
}

async fn list<L: Level>(
    auth: Authorized<L>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    let mut items = Vec::new();
    for connection in visible(&auth, &node)? {
        let channels = connection.open_channels().into_iter();
        items.extend(channels.map(|it| Item::new(&node, &query, ranges, &connection, it)));
    }
    listing::paged(items, &["vhost", "name"], &query)
}

async fn of_connection(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    let connection = named(names.get("connection"), &auth, &node)?;
    let channels = connection.open_channels().into_iter();
    let items = channels.map(|it| Item::new(&node, &query, ranges, &connection, it));
    listing::all(items.collect(), &["vhost", "name"], &query)
}

async fn one(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    names: Names,
    query: Query,
) -> Result<Response, Error> {
    let ranges = Ranges::of(&query)?;
    let name = names.get("channel");
    let (connection, channel) = find(name, &node).ok_or(Error::NoSuchPath)?;
    permit(&auth.caller, &connection.user)?;
    let consumers = consumers_of(&channel, &node);
    let item = Item::new(&node, &query, ranges, &connection, channel);
    let mut object = item.json();
    if item.statistics {
        object.insert("consumer_details".to_owned(), consumers.into());
        object.insert("deliveries".to_owned(), json!([]));
        object.insert("publishes".to_owned(), json!([]));
    }
    listing::one(object, &query)
}

fn find(name: &str, node: &Node) -> Option<(Arc<ConnectionEntry>, Arc<ChannelEntry>)> {
    let (connection, number) = name.rsplit_once(' ')?;
    let number = number.strip_prefix('(')?.strip_suffix(')')?;
    let connection = node.core.connection_named(connection)?;
    let number: u16 = number.parse().ok()?;
    let mut channels = connection.open_channels().into_iter();
    let channel = channels.find(|it| it.number == number)?;
    Some((connection, channel))
}

async fn consumers(
    auth: Authorized<Management>,
    State(node): State<Shared>,
    query: Query,
) -> Result<Response, Error> {
    if query.is_true("disable_stats") {
        let text = "Stats in management UI are disabled on this node";
        return Err(Error::BadRequest(text.to_owned()));
    }
    let mut items = Vec::new();
    for connection in visible(&auth, &node)? {
        if !may_see(&auth.caller, &connection.user) {
            continue;
        }
        for channel in connection.open_channels() {
            items.extend(consumers_of(&channel, &node).into_iter().map(Ready));
        }
    }
    listing::all(items, &[], &query)
}

fn consumers_of(channel: &ChannelEntry, node: &Node) -> Vec<Value> {
    let consumers = channel.consumers().into_iter();
    let each = consumers.filter_map(|consumer| {
        let queue = consumer.queue.upgrade()?;
        let inspected = queue.inspect_consumer(&consumer);
        Some(consumer_json(&inspected, &queue, node))
    });
    each.collect()
}

/// What the API says of the consumers of a queue.
pub(crate) fn queue_consumers(queue: &Queue, node: &Node) -> Vec<Value> {
    let consumers = queue.inspect_consumers();
    let consumers = consumers.iter();
    consumers.map(|it| consumer_json(it, queue, node)).collect()
}

fn consumer_json(consumer: &InspectedConsumer, queue: &Queue, node: &Node) -> Value {
    let entry = &consumer.entry;
    let connection = entry.connection.upgrade();
    let details = connection.map(|connection| {
        json!({
            "connection_name": connection.name,
            "name": channel_name(&connection, entry.channel),
            "node": node.name,
            "number": entry.channel,
            "peer_host": connection.facts.peer.ip().to_canonical().to_string(),
            "peer_port": connection.facts.peer.port(),
            "user": connection.user,
        })
    });
    let limit = Some(u32::from(entry.prefetch_count)).filter(|limit| *limit > 0);
    let credit = limit.filter(|_| entry.ack_required);
    let credit = credit.map(|limit| limit.saturating_sub(consumer.unacknowledged));
    json!({
        "arguments": table_to_json(&entry.arguments),
        "ack_required": entry.ack_required,
        "unacknowledged": if entry.ack_required { consumer.unacknowledged } else { 0 },
        "credit": credit,
        "active": consumer.active,
        "activity_status": consumer.activity_status,
        "channel_details": details.unwrap_or_else(|| json!({})),
        "consumer_tag": entry.tag,
        // RabbitMQ tells only what the queue or the broker says, although it goes by the consumer's own as well.
        "consumer_timeout": queue.consumer_timeout(entry.timeout, node.consumer_timeout),
        "exclusive": entry.exclusive,
        "prefetch_count": entry.prefetch_count,
        "queue": { "name": queue.name(), "vhost": queue.properties.vhost },
    })
}
