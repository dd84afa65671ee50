//! The values of the families: for each object a row of them, in the order of the family's metrics.

use std::sync::Arc;

use broker_core::{
    pattern::Pattern,
    queue::{Inspection, Millis, Queue},
    statistics::{Column, Counts, Resource},
};

use super::{
    families::{FAMILIES, Family, Objects},
    text::{Labels, labels},
};
use crate::{
    Node,
    nodes::{total, used},
    queues::{consumer_capacity, head_timestamp},
};

/// A value that an object does not have.
pub(super) const MISSING: f64 = f64::NAN;

/// Which objects are wanted.
#[derive(Debug, Default)]
pub(super) struct Filter {
    /// Only those of these vhosts.
    pub(super) vhosts: Option<Vec<String>>,
    /// Only queues whose name matches.
    pub(super) queues: Option<Pattern>,
}

impl Filter {
    pub(super) fn admits_vhost(&self, name: &str) -> bool {
        let vhosts = self.vhosts.as_ref();
        vhosts.is_none_or(|vhosts| vhosts.iter().any(|it| it == name))
    }

    fn admits(&self, queue: &Queue) -> bool {
        let queues = self.queues.as_ref();
        queues.is_none_or(|pattern| pattern.matches(queue.name()))
    }

    /// Calls `each` for every queue that is wanted. No lock is held longer than for one part of a registry.
    pub(super) fn for_each_queue(&self, node: &Node, mut each: impl FnMut(&Arc<Queue>)) {
        for vhost in node.core.vhosts() {
            if self.admits_vhost(&vhost.name) {
                for queue in vhost.queues() {
                    if self.admits(&queue) {
                        each(&queue);
                    }
                }
            }
        }
    }
}

/// Takes the rows of a family: the labels, made on demand, and the values.
type Take<'a> = &'a mut dyn FnMut(&dyn Fn() -> Labels, &[f64]);

/// Tells `take` every row of a family. With `each` the rows have what only one object can have.
pub(super) fn rows(family: &Family, node: &Node, filter: &Filter, each: bool, take: Take<'_>) {
    match family.objects {
        Objects::Churn => churn(node, take),
        Objects::Resources => resources(node, take),
        Objects::Limits => limits(node, take),
        Objects::Logins => logins(node, take),
        Objects::QueueLengths
        | Objects::QueueConsumers
        | Objects::QueueContents
        | Objects::QueueDeliveries
        | Objects::QueuePublishes => filter.for_each_queue(node, |queue| {
            let inspection = queue.inspect();
            let values = queue_values(family.objects, &inspection, each);
            take(&|| queue_labels(queue), &values);
        }),
        Objects::Channels | Objects::ChannelPublishes | Objects::ChannelDeliveries => {
            channels(family.objects, node, take);
        }
        Objects::ConnectionBytes | Objects::Connections => connections(family.objects, node, take),
        Objects::Exchanges => exchanges(node, filter, take),
    }
}

/// Numbers of all kinds as the format has them.
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

fn churn(node: &Node, take: Take<'_>) {
    let columns = [
        Column::ConnectionCreated,
        Column::ConnectionClosed,
        Column::ChannelCreated,
        Column::ChannelClosed,
        Column::QueueDeclared,
        Column::QueueCreated,
        Column::QueueDeleted,
    ];
    take(&Labels::new, &columns.map(|it| float(total(node, it))));
}

fn resources(node: &Node, take: Take<'_>) {
    let resources = [Resource::FdUsed, Resource::MemUsed, Resource::DiskFree];
    take(&Labels::new, &resources.map(|it| float(used(node, it))));
}

fn limits(node: &Node, take: Take<'_>) {
    let limits = &node.limits;
    let uptime = node.now().saturating_sub(node.started_at);
    let values = [
        float(limits.fd_total),
        float(limits.mem_limit),
        float(limits.disk_free_limit),
        float(uptime) / 1000.0,
    ];
    take(&Labels::new, &values);
}

fn logins(node: &Node, take: Take<'_>) {
    for (protocol, attempts) in node.core.login_attempts().all() {
        let (succeeded, failed) = (attempts.succeeded, attempts.failed);
        let values = [succeeded + failed, succeeded, failed].map(float);
        take(&|| labels(&[("protocol", protocol.as_str())]), &values);
    }
}

pub(super) fn queue_labels(queue: &Queue) -> Labels {
    labels(&[("vhost", &queue.properties.vhost), ("queue", queue.name())])
}

fn queue_values(objects: Objects, inspection: &Inspection, each: bool) -> Vec<f64> {
    let counts = &inspection.counts;
    match objects {
        Objects::QueueLengths => {
            let (ready, unacked) = (counts.ready as f64, counts.unacknowledged as f64);
            vec![ready, unacked, counts.messages() as f64]
        }
        Objects::QueueConsumers => vec![counts.consumers as f64],
        Objects::QueueDeliveries => deliveries(&inspection.statistics).to_vec(),
        Objects::QueuePublishes => vec![float(inspection.statistics.get(Column::Publish))],
        _ => contents(inspection, each),
    }
}

/// What all queues have between them.
#[derive(Debug, Default)]
pub(super) struct QueueSums {
    /// For each family of queues, in the order of [`FAMILIES`], a sum for each of its metrics.
    families: Vec<(Objects, Vec<f64>)>,
    /// Queues.
    pub(super) queues: usize,
    /// Consumers.
    pub(super) consumers: usize,
    /// Ready messages that lie on disk only.
    pub(super) paged: usize,
    /// When the oldest message entered that is first in its queue.
    pub(super) oldest: Option<Millis>,
}

impl QueueSums {
    /// Looks at every queue once.
    pub(super) fn of(node: &Node) -> Self {
        let families = FAMILIES
            .iter()
            .filter(|family| is_of_queues(family.objects));
        let mut sums = Self {
            families: families
                .map(|family| (family.objects, vec![0.0; family.metrics.len()]))
                .collect(),
            ..Self::default()
        };
        Filter::default().for_each_queue(node, |queue| sums.add(&queue.inspect_counts()));
        sums
    }

    fn add(&mut self, inspection: &Inspection) {
        self.queues += 1;
        self.consumers += inspection.counts.consumers;
        self.paged += inspection.counts.paged;
        let entered = inspection.head_entered;
        self.oldest = self.oldest.into_iter().chain(entered).min();
        for (objects, sums) in &mut self.families {
            let values = queue_values(*objects, inspection, false);
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
    }

    /// The sums of a family of queues; `None` for any other family. What says nothing as a sum is [`MISSING`].
    pub(super) fn get(&self, objects: Objects) -> Option<&[f64]> {
        let found = self.families.iter().find(|(of, _)| *of == objects);
        found.map(|(_, sums)| sums.as_slice())
    }
}

fn is_of_queues(objects: Objects) -> bool {
    matches!(
        objects,
        Objects::QueueLengths
            | Objects::QueueConsumers
            | Objects::QueueContents
            | Objects::QueueDeliveries
            | Objects::QueuePublishes
    )
}

fn deliveries<const N: usize>(counts: &Counts<N>) -> [f64; 7] {
    let columns = [
        Column::Get,
        Column::GetNoAck,
        Column::Deliver,
        Column::DeliverNoAck,
        Column::Redeliver,
        Column::Ack,
        Column::GetEmpty,
    ];
    columns.map(|it| float(counts.get(it)))
}

fn contents(inspection: &Inspection, each: bool) -> Vec<f64> {
    let counts = &inspection.counts;
    let in_memory = counts.ready.saturating_sub(counts.paged);
    let bytes = counts.bytes();
    // A sum of these over several queues says nothing.
    let of_one = |value: f64| if each { value } else { MISSING };
    let capacity = of_one(consumer_capacity(inspection));
    let timestamp = head_timestamp(inspection).filter(|_| each);
    vec![
        counts.consumers as f64,
        capacity,
        capacity,
        counts.resident_bytes as f64,
        (in_memory + counts.unacknowledged) as f64,
        counts.resident_bytes as f64,
        in_memory as f64,
        counts.unacknowledged as f64,
        bytes as f64,
        counts.ready_bytes as f64,
        counts.unacknowledged_bytes as f64,
        timestamp.map_or(MISSING, float),
        float(inspection.statistics.get(Column::DiskReads)),
        float(inspection.statistics.get(Column::DiskWrites)),
    ]
}

fn channels(objects: Objects, node: &Node, take: Take<'_>) {
    for connection in node.core.connections() {
        for channel in connection.open_channels() {
            let counts = channel.counters.read();
            let values = match objects {
                Objects::ChannelPublishes => [
                    Column::Publish,
                    Column::Confirm,
                    Column::ReturnUnroutable,
                    Column::DropUnroutable,
                ]
                .map(|it| float(counts.get(it)))
                .to_vec(),
                Objects::ChannelDeliveries => deliveries(&counts).to_vec(),
                _ => vec![
                    channel.consumer_count() as f64,
                    float(channel.messages_unacknowledged.get()),
                    float(channel.messages_unconfirmed.get()),
                    float(channel.messages_uncommitted.get()),
                    float(channel.acks_uncommitted.get()),
                    float(channel.prefetch_count.get()),
                    float(channel.global_prefetch_count.get()),
                ],
            };
            let name = || format!("{} ({})", connection.name, channel.number);
            take(&|| labels(&[("channel", &name())]), &values);
        }
    }
}

fn connections(objects: Objects, node: &Node, take: Take<'_>) {
    for connection in node.core.connections() {
        let Counts([received, receives, sent, sends]) = connection.octets.read();
        let values = match objects {
            Objects::ConnectionBytes => vec![float(received), float(sent)],
            _ => vec![
                float(receives),
                float(sends),
                connection.channel_count() as f64,
            ],
        };
        take(&|| labels(&[("connection", &connection.name)]), &values);
    }
}

fn exchanges(node: &Node, filter: &Filter, take: Take<'_>) {
    for vhost in node.core.vhosts() {
        if !filter.admits_vhost(&vhost.name) {
            continue;
        }
        for exchange in vhost.exchanges() {
            let counts = exchange.statistics.counts();
            if counts == Counts::default() {
                continue;
            }
            let Counts([came, went]) = counts;
            let of = || labels(&[("vhost", &vhost.name), ("exchange", &exchange.name)]);
            take(&of, &[float(came), float(went)]);
        }
    }
}
