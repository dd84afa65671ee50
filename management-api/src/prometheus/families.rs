//! The families of metrics that RabbitMQ has, with its names and texts (`prometheus_rabbitmq_core_metrics_collector`).
//!
//! What only Erlang could tell (reductions, garbage collection, its memory) is left out.

use super::text::Kind::{self, Counter, Gauge};

/// A metric of a family: its name without prefix, what it is, and a text about it.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

const fn metric(name: &'static str, kind: Kind, help: &'static str) -> Metric {
    Metric { name, kind, help }
}

/// Metrics that are known of the same objects.
#[derive(Debug)]
pub(super) struct Family {
    /// The name by which `/metrics/detailed?family=` asks for it.
    pub(super) name: &'static str,
    /// What it is about.
    pub(super) objects: Objects,
    pub(super) metrics: &'static [Metric],
}

/// What a family has a sample for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objects {
    /// The node alone.
    Churn,
    /// The node alone.
    Resources,
    /// The node alone.
    Limits,
    /// The protocols.
    Logins,
    /// Each queue: its lengths.
    QueueLengths,
    /// Each queue: its consumers.
    QueueConsumers,
    /// Each queue: everything in it.
    QueueContents,
    /// Each queue: what went out.
    QueueDeliveries,
    /// Each queue: what came in.
    QueuePublishes,
    /// Each channel: its state.
    Channels,
    /// Each channel: what it published.
    ChannelPublishes,
    /// Each channel: what it consumed.
    ChannelDeliveries,
    /// Each connection: its bytes.
    ConnectionBytes,
    /// Each connection: its state.
    Connections,
    /// Each exchange.
    Exchanges,
}

/// All of them, in RabbitMQ's order.
pub(super) const FAMILIES: &[Family] = &[
    Family {
        name: "connection_churn_metrics",
        objects: Objects::Churn,
        metrics: &[
            metric(
                "connections_opened_total",
                Counter,
                "Total number of connections opened",
            ),
            metric(
                "connections_closed_total",
                Counter,
                "Total number of connections closed or terminated",
            ),
            metric(
                "channels_opened_total",
                Counter,
                "Total number of channels opened",
            ),
            metric(
                "channels_closed_total",
                Counter,
                "Total number of channels closed",
            ),
            metric(
                "queues_declared_total",
                Counter,
                "Total number of queues declared",
            ),
            metric(
                "queues_created_total",
                Counter,
                "Total number of queues created",
            ),
            metric(
                "queues_deleted_total",
                Counter,
                "Total number of queues deleted",
            ),
        ],
    },
    Family {
        name: "node_coarse_metrics",
        objects: Objects::Resources,
        metrics: &[
            metric("process_open_fds", Gauge, "Open file descriptors"),
            metric(
                "process_resident_memory_bytes",
                Gauge,
                "Memory used in bytes",
            ),
            metric(
                "disk_space_available_bytes",
                Gauge,
                "Disk space available in bytes",
            ),
        ],
    },
    Family {
        name: "node_metrics",
        objects: Objects::Limits,
        metrics: &[
            metric("process_max_fds", Gauge, "Open file descriptors limit"),
            metric(
                "resident_memory_limit_bytes",
                Gauge,
                "Memory high watermark in bytes",
            ),
            metric(
                "disk_space_available_limit_bytes",
                Gauge,
                "Free disk space low watermark in bytes",
            ),
            metric("erlang_uptime_seconds", Gauge, "Node uptime"),
        ],
    },
    Family {
        name: "auth_attempt_metrics",
        objects: Objects::Logins,
        metrics: &[
            metric(
                "auth_attempts_total",
                Counter,
                "Total number of authentication attempts",
            ),
            metric(
                "auth_attempts_succeeded_total",
                Counter,
                "Total number of successful authentication attempts",
            ),
            metric(
                "auth_attempts_failed_total",
                Counter,
                "Total number of failed authentication attempts",
            ),
        ],
    },
    Family {
        name: "queue_coarse_metrics",
        objects: Objects::QueueLengths,
        metrics: &[
            metric(
                "queue_messages_ready",
                Gauge,
                "Messages ready to be delivered to consumers",
            ),
            metric(
                "queue_messages_unacked",
                Gauge,
                "Messages delivered to consumers but not yet acknowledged",
            ),
            metric(
                "queue_messages",
                Gauge,
                "Sum of ready and unacknowledged messages - total queue depth",
            ),
        ],
    },
    Family {
        name: "queue_consumer_count",
        objects: Objects::QueueConsumers,
        metrics: &[metric("queue_consumers", Gauge, "Consumers on a queue")],
    },
    Family {
        name: "queue_metrics",
        objects: Objects::QueueContents,
        metrics: &[
            metric("queue_consumers", Gauge, "Consumers on a queue"),
            metric("queue_consumer_capacity", Gauge, "Consumer capacity"),
            metric(
                "queue_consumer_utilisation",
                Gauge,
                "Same as consumer capacity",
            ),
            metric(
                "queue_process_memory_bytes",
                Gauge,
                "Memory in bytes used by the messages of the queue",
            ),
            metric(
                "queue_messages_ram",
                Gauge,
                "Ready and unacknowledged messages stored in memory",
            ),
            metric(
                "queue_messages_ram_bytes",
                Gauge,
                "Size of ready and unacknowledged messages stored in memory",
            ),
            metric(
                "queue_messages_ready_ram",
                Gauge,
                "Ready messages stored in memory",
            ),
            metric(
                "queue_messages_unacked_ram",
                Gauge,
                "Unacknowledged messages stored in memory",
            ),
            metric(
                "queue_messages_bytes",
                Gauge,
                "Size in bytes of ready and unacknowledged messages",
            ),
            metric(
                "queue_messages_ready_bytes",
                Gauge,
                "Size in bytes of ready messages",
            ),
            metric(
                "queue_messages_unacked_bytes",
                Gauge,
                "Size in bytes of all unacknowledged messages",
            ),
            metric(
                "queue_head_message_timestamp",
                Gauge,
                "Timestamp of the first message in the queue, if any",
            ),
            metric(
                "queue_disk_reads_total",
                Counter,
                "Total number of times queue read messages from disk",
            ),
            metric(
                "queue_disk_writes_total",
                Counter,
                "Total number of times queue wrote messages to disk",
            ),
        ],
    },
    Family {
        name: "channel_metrics",
        objects: Objects::Channels,
        metrics: &[
            metric("channel_consumers", Gauge, "Consumers on a channel"),
            metric(
                "channel_messages_unacked",
                Gauge,
                "Delivered but not yet acknowledged messages",
            ),
            metric(
                "channel_messages_unconfirmed",
                Gauge,
                "Published but not yet confirmed messages",
            ),
            metric(
                "channel_messages_uncommitted",
                Gauge,
                "Messages received in a transaction but not yet committed",
            ),
            metric(
                "channel_acks_uncommitted",
                Gauge,
                "Message acknowledgements in a transaction not yet committed",
            ),
            metric(
                "consumer_prefetch",
                Gauge,
                "Limit of unacknowledged messages for each consumer",
            ),
            metric(
                "channel_prefetch",
                Gauge,
                "Deprecated and will be removed in a future version",
            ),
        ],
    },
    Family {
        name: "channel_exchange_metrics",
        objects: Objects::ChannelPublishes,
        metrics: &[
            metric(
                "channel_messages_published_total",
                Counter,
                "Total number of messages published into an exchange on a channel",
            ),
            metric(
                "channel_messages_confirmed_total",
                Counter,
                "Total number of messages published into an exchange and confirmed on the channel",
            ),
            metric(
                "channel_messages_unroutable_returned_total",
                Counter,
                "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
            ),
            metric(
                "channel_messages_unroutable_dropped_total",
                Counter,
                "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
            ),
        ],
    },
    Family {
        name: "channel_queue_metrics",
        objects: Objects::ChannelDeliveries,
        metrics: &[
            metric(
                "channel_get_ack_total",
                Counter,
                "Total number of messages fetched with basic.get in manual acknowledgement mode",
            ),
            metric(
                "channel_get_total",
                Counter,
                "Total number of messages fetched with basic.get in automatic acknowledgement mode",
            ),
            metric(
                "channel_messages_delivered_ack_total",
                Counter,
                "Total number of messages delivered to consumers in manual acknowledgement mode",
            ),
            metric(
                "channel_messages_delivered_total",
                Counter,
                "Total number of messages delivered to consumers in automatic acknowledgement mode",
            ),
            metric(
                "channel_messages_redelivered_total",
                Counter,
                "Total number of messages redelivered to consumers",
            ),
            metric(
                "channel_messages_acked_total",
                Counter,
                "Total number of messages acknowledged by consumers",
            ),
            metric(
                "channel_get_empty_total",
                Counter,
                "Total number of times basic.get operations fetched no message",
            ),
        ],
    },
    Family {
        name: "connection_coarse_metrics",
        objects: Objects::ConnectionBytes,
        metrics: &[
            metric(
                "connection_incoming_bytes_total",
                Counter,
                "Total number of bytes received on a connection",
            ),
            metric(
                "connection_outgoing_bytes_total",
                Counter,
                "Total number of bytes sent on a connection",
            ),
        ],
    },
    Family {
        name: "connection_metrics",
        objects: Objects::Connections,
        metrics: &[
            metric(
                "connection_incoming_packets_total",
                Counter,
                "Total number of packets received on a connection",
            ),
            metric(
                "connection_outgoing_packets_total",
                Counter,
                "Total number of packets sent on a connection",
            ),
            metric("connection_channels", Gauge, "Channels on a connection"),
        ],
    },
    Family {
        name: "channel_queue_exchange_metrics",
        objects: Objects::QueuePublishes,
        metrics: &[metric(
            "queue_messages_published_total",
            Counter,
            "Total number of messages published into a queue",
        )],
    },
    Family {
        name: "exchange_metrics",
        objects: Objects::Exchanges,
        metrics: &[
            metric(
                "exchange_messages_published_total",
                Counter,
                "Total number of messages published into an exchange",
            ),
            metric(
                "exchange_messages_routed_total",
                Counter,
                "Total number of messages that an exchange put into queues",
            ),
        ],
    },
    Family {
        name: "queue_delivery_metrics",
        objects: Objects::QueueDeliveries,
        metrics: &[
            metric(
                "queue_get_ack_total",
                Counter,
                "Total number of messages fetched from a queue with basic.get in manual acknowledgement mode",
            ),
            metric(
                "queue_get_total",
                Counter,
                "Total number of messages fetched from a queue with basic.get in automatic acknowledgement mode",
            ),
            metric(
                "queue_messages_delivered_ack_total",
                Counter,
                "Total number of messages delivered from a queue to consumers in manual acknowledgement mode",
            ),
            metric(
                "queue_messages_delivered_total",
                Counter,
                "Total number of messages delivered from a queue to consumers in automatic acknowledgement mode",
            ),
            metric(
                "queue_messages_redelivered_total",
                Counter,
                "Total number of messages redelivered from a queue to consumers",
            ),
            metric(
                "queue_messages_acked_total",
                Counter,
                "Total number of messages acknowledged by consumers on a queue",
            ),
            metric(
                "queue_get_empty_total",
                Counter,
                "Total number of times basic.get operations fetched no message on a queue",
            ),
        ],
    },
];
