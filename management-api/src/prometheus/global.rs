//! RabbitMQ's newer metrics: totals of the node by protocol and queue type (`rabbit_global_counters`), sizes of messages,
//! alarms, and what is known of the cluster.

use broker_core::{
    alarms::Resource,
    queue::arguments::QueueType,
    statistics::{BUCKETS, Column},
};

use super::{
    objects::{Filter, float},
    text::{Kind, Labels, Page, labels},
};
use crate::{Node, nodes::total};

/// A metric, what is added up for it, and a text about it.
type Total = (&'static str, &'static [Column], &'static str);

const OF_PROTOCOL: &[Total] = &[
    (
        "messages_received_total",
        &[Column::Publish],
        "Total number of messages received from publishers",
    ),
    (
        "messages_received_confirm_total",
        &[Column::PublishConfirm],
        "Total number of messages received from publishers expecting confirmations",
    ),
    (
        "messages_routed_total",
        &[Column::Routed],
        "Total number of messages routed to queues or streams",
    ),
    (
        "messages_unroutable_dropped_total",
        &[Column::DropUnroutable],
        "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
    ),
    (
        "messages_unroutable_returned_total",
        &[Column::ReturnUnroutable],
        "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
    ),
    (
        "messages_confirmed_total",
        &[Column::Confirm],
        "Total number of messages confirmed to publishers",
    ),
];

const OF_QUEUE_TYPE: &[Total] = &[
    (
        "messages_delivered_total",
        &[
            Column::Deliver,
            Column::DeliverNoAck,
            Column::Get,
            Column::GetNoAck,
        ],
        "Total number of messages delivered to consumers",
    ),
    (
        "messages_delivered_consume_manual_ack_total",
        &[Column::Deliver],
        "Total number of messages delivered to consumers using basic.consume with manual acknowledgment",
    ),
    (
        "messages_delivered_consume_auto_ack_total",
        &[Column::DeliverNoAck],
        "Total number of messages delivered to consumers using basic.consume with automatic acknowledgment",
    ),
    (
        "messages_delivered_get_manual_ack_total",
        &[Column::Get],
        "Total number of messages delivered to consumers using basic.get with manual acknowledgment",
    ),
    (
        "messages_delivered_get_auto_ack_total",
        &[Column::GetNoAck],
        "Total number of messages delivered to consumers using basic.get with automatic acknowledgment",
    ),
    (
        "messages_get_empty_total",
        &[Column::GetEmpty],
        "Total number of times basic.get operations fetched no message",
    ),
    (
        "messages_redelivered_total",
        &[Column::Redeliver],
        "Total number of messages redelivered to consumers",
    ),
    (
        "messages_acknowledged_total",
        &[Column::Ack],
        "Total number of messages acknowledged by consumers",
    ),
];

const DEAD: &[Total] = &[
    (
        "messages_dead_lettered_maxlen_total",
        &[Column::DeadMaxLength],
        "Total number of messages dead-lettered due to overflow drop-head or reject-publish-dlx",
    ),
    (
        "messages_dead_lettered_expired_total",
        &[Column::DeadExpired],
        "Total number of messages dead-lettered due to message TTL exceeded",
    ),
    (
        "messages_dead_lettered_rejected_total",
        &[Column::DeadRejected],
        "Total number of messages dead-lettered due to basic.reject or basic.nack",
    ),
    (
        "messages_dead_lettered_delivery_limit_total",
        &[Column::DeadDeliveryLimit],
        "Total number of messages dead-lettered due to delivery-limit exceeded",
    ),
];

/// RabbitMQ's name of a queue type in metrics.
pub(super) fn queue_type(kind: QueueType) -> &'static str {
    match kind {
        QueueType::Quorum => "rabbit_quorum_queue",
        _ => "rabbit_classic_queue",
    }
}

/// Writes the totals of the node. All queues are counted as classic ones: there is one kind.
pub(super) fn put(node: &Node, consumers: usize, page: &mut Page) {
    let protocol: &[(&str, &str)] = &[("protocol", "amqp091")];
    let classic = &[
        ("protocol", "amqp091"),
        ("queue_type", "rabbit_classic_queue"),
    ];
    let dead = &[
        ("queue_type", "rabbit_classic_queue"),
        ("dead_letter_strategy", "at_most_once"),
    ];
    put_totals(OF_PROTOCOL, protocol, node, page);
    put_totals(OF_QUEUE_TYPE, classic, node, page);
    put_totals(DEAD, dead, node, page);
    let gauge = |name: &str, help: &str, count: usize, page: &mut Page| {
        let name = format!("rabbitmq_global_{name}");
        let sample = (labels(protocol), count as f64);
        page.family(&name, help, Kind::Gauge, [sample]);
    };
    gauge(
        "publishers",
        "Current number of publishers",
        publishers(node),
        page,
    );
    gauge("consumers", "Current number of consumers", consumers, page);
    put_sizes(node, page);
    put_alarms(node, page);
}

fn put_totals(totals: &[Total], with: &[(&str, &str)], node: &Node, page: &mut Page) {
    for (name, columns, help) in totals {
        let sum: u64 = columns.iter().map(|it| total(node, *it)).sum();
        let name = format!("rabbitmq_global_{name}");
        page.family(&name, help, Kind::Counter, [(labels(with), float(sum))]);
    }
}

/// Channels that have published.
fn publishers(node: &Node) -> usize {
    let connections = node.core.connections();
    let channels = connections.iter().flat_map(|it| it.open_channels());
    let publishes = channels.map(|it| it.counters.read().get(Column::Publish));
    publishes.filter(|count| *count > 0).count()
}

fn put_sizes(node: &Node, page: &mut Page) {
    let sizes = node.core.statistics().sizes();
    page.histogram(
        "rabbitmq_message_size_bytes",
        "Size of messages received from publishers",
        labels(&[("protocol", "amqp091")]),
        BUCKETS.iter().map(|end| float(*end)),
        (&sizes.counts, float(sizes.sum)),
    );
}

fn put_alarms(node: &Node, page: &mut Page) {
    let alarms = node.core.alarms();
    for (name, resource, help) in [
        (
            "free_disk_space_watermark",
            Resource::Disk,
            "is 1 if free disk space watermark alarm is in effect",
        ),
        (
            "memory_used_watermark",
            Resource::Memory,
            "is 1 if VM memory watermark alarm is in effect",
        ),
    ] {
        let on = alarms.resources().any(|it| it == resource);
        let name = format!("rabbitmq_alarms_{name}");
        page.one(&name, help, Kind::Gauge, f64::from(u8::from(on)));
    }
}

/// Writes the families that `/metrics/detailed` alone has.
pub(super) fn put_cluster(
    node: &Node,
    filter: &Filter,
    wants: &dyn Fn(&str) -> bool,
    page: &mut Page,
) {
    if wants("vhost_status") {
        let vhosts = node.core.vhosts();
        let samples = vhosts
            .iter()
            .map(|it| (labels(&[("vhost", &it.name)]), 1.0));
        let help = "Whether a given vhost is running";
        page.family("rabbitmq_cluster_vhost_status", help, Kind::Gauge, samples);
    }
    if wants("exchange_bindings") {
        let help = "Number of bindings for an exchange. This value is cluster-wide.";
        let samples = exchanges(node, filter);
        page.family(
            "rabbitmq_cluster_exchange_bindings",
            help,
            Kind::Gauge,
            samples,
        );
    }
    if wants("exchange_names") {
        let help = "Enumerates exchanges without any additional info. This value is cluster-wide. A cheaper alternative to `exchange_bindings`";
        let samples = exchanges(node, filter)
            .into_iter()
            .map(|(labels, _)| (labels, 1.0));
        page.family("rabbitmq_cluster_exchange_name", help, Kind::Gauge, samples);
    }
}

/// Every exchange that clients can publish to but the default one, with the number of its bindings.
fn exchanges(node: &Node, filter: &Filter) -> Vec<(Labels, f64)> {
    let mut samples = Vec::new();
    for vhost in node.core.vhosts() {
        if !filter.admits_vhost(&vhost.name) {
            continue;
        }
        for exchange in vhost.exchanges() {
            if exchange.internal || exchange.name.is_empty() {
                continue;
            }
            let labels = labels(&[
                ("vhost", &vhost.name),
                ("exchange", &exchange.name),
                ("type", exchange.kind.as_str()),
            ]);
            samples.push((labels, exchange.binding_count() as f64));
        }
    }
    samples
}
