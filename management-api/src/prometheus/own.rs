//! What Leveret alone tells: the age of messages, the memory of queues, the journal, and publishers that are blocked.

use broker_core::{
    journal::statistics::SYNC_SECONDS,
    queue::{Quantiles, Queue, UndeliverableCounts},
};

use super::{
    objects::{Filter, QueueSums, float, queue_labels},
    text::{Kind, Labels, Page, labels},
};
use crate::{Node, nodes::blocked_publishers};

/// Writes the figures of the whole node.
pub(super) fn put(node: &Node, queues: &QueueSums, page: &mut Page) {
    let pager = node.core.pager();
    let now = node.now();
    let oldest = queues.oldest.map_or(0, |at| now.saturating_sub(at));
    let paged = queues.paged;
    for (name, help, value) in [
        (
            "leveret_oldest_message_age_seconds",
            "Age of the oldest message that is first in its queue",
            float(oldest) / 1000.0,
        ),
        (
            "leveret_messages_paged_out",
            "Ready messages that lie on disk only",
            paged as f64,
        ),
        (
            "leveret_message_memory_bytes",
            "Memory that waiting messages take",
            pager.resident() as f64,
        ),
        (
            "leveret_message_memory_budget_bytes",
            "Memory that waiting messages may take",
            pager.budget() as f64,
        ),
        (
            "leveret_blocked_publishers",
            "Connections that an alarm keeps from publishing",
            blocked_publishers(node) as f64,
        ),
        (
            "leveret_store_pending_bytes",
            "Bytes of messages on their way to the disk",
            node.core.store().pending_bytes() as f64,
        ),
    ] {
        page.one(name, help, Kind::Gauge, value);
    }
    let dropped = node.core.statistics().undeliverable_dead_letters();
    let samples = by_reason(dropped).map(|(reason, count)| (labels(&[("reason", reason)]), count));
    page.family(
        "leveret_dead_letters_dropped_total",
        "Dead letters that went nowhere",
        Kind::Counter,
        samples,
    );
    put_journal(node, page);
}

fn by_reason(dropped: UndeliverableCounts) -> [(&'static str, f64); 3] {
    [
        ("missing_exchange", float(dropped.missing_exchange)),
        ("unroutable", float(dropped.unroutable)),
        ("cycle", float(dropped.cycles)),
    ]
}

fn put_journal(node: &Node, page: &mut Page) {
    let Some(journal) = node.core.store().statistics() else {
        return;
    };
    page.histogram(
        "leveret_journal_sync_duration_seconds",
        "Time that the disk took to sync the journal's log",
        Labels::new(),
        SYNC_SECONDS.iter().copied(),
        (&journal.syncs, journal.sync_seconds),
    );
    for (name, help, value) in [
        (
            "leveret_journal_log_files",
            "Files of the journal's log",
            journal.log_files,
        ),
        (
            "leveret_journal_segments",
            "Segments of the journal",
            journal.segments,
        ),
        (
            "leveret_journal_live_bytes",
            "Bytes of the journal that are needed",
            journal.live_bytes,
        ),
        (
            "leveret_journal_bytes",
            "Bytes of the journal's files",
            journal.bytes,
        ),
    ] {
        page.one(name, help, Kind::Gauge, float(value));
    }
    for (name, help, value) in [
        (
            "leveret_journal_written_bytes_total",
            "Bytes written to the journal's log",
            journal.written_bytes,
        ),
        (
            "leveret_journal_compactions_total",
            "Segments that were rewritten because most of them was not needed any more",
            journal.compactions,
        ),
        (
            "leveret_journal_compacted_bytes_total",
            "Bytes of messages that were copied from one file of the journal to another",
            journal.compacted_bytes,
        ),
    ] {
        page.one(name, help, Kind::Counter, float(value));
    }
}

/// Writes the figures of each queue.
pub(super) fn put_each(node: &Node, filter: &Filter, page: &mut Page) {
    use broker_core::statistics::Column;
    let now = node.now();
    let mut ages = Vec::new();
    let mut dead = Vec::new();
    let (mut in_queue, mut to_ack) = (Vec::new(), Vec::new());
    let mut dropped = Vec::new();
    filter.for_each_queue(node, |queue| {
        let times = queue.times(now);
        put_percentiles(queue, times.time_in_queue, &mut in_queue);
        put_percentiles(queue, times.publish_to_ack, &mut to_ack);
        if let Some(at) = queue.front().entered {
            ages.push((queue_labels(queue), float(now.saturating_sub(at)) / 1000.0));
        }
        let counts = queue.statistics_counts();
        for (reason, column) in [
            ("maxlen", Column::DeadMaxLength),
            ("expired", Column::DeadExpired),
            ("rejected", Column::DeadRejected),
            ("delivery_limit", Column::DeadDeliveryLimit),
        ] {
            let count = counts.get(column);
            if count > 0 {
                let mut of = queue_labels(queue);
                of.extend(labels(&[("reason", reason)]));
                dead.push((of, float(count)));
            }
        }
        for (reason, count) in by_reason(queue.undeliverable_dead_letters()) {
            if count > 0.0 {
                let mut of = queue_labels(queue);
                of.extend(labels(&[("reason", reason)]));
                dropped.push((of, count));
            }
        }
    });
    let help = "Age of the first message of a queue";
    page.family(
        "leveret_queue_oldest_message_age_seconds",
        help,
        Kind::Gauge,
        ages,
    );
    let help = "Time from entering a queue until the first delivery, over the last minute";
    let name = "leveret_queue_time_in_queue_seconds";
    page.family(name, help, Kind::Gauge, in_queue);
    let help = "Time from entering a queue until the acknowledgement, over the last minute";
    let name = "leveret_queue_publish_to_ack_seconds";
    page.family(name, help, Kind::Gauge, to_ack);
    let help = "Messages that left a queue other than by an acknowledgement";
    page.family(
        "leveret_queue_dead_messages_total",
        help,
        Kind::Counter,
        dead,
    );
    page.family(
        "leveret_queue_dead_letters_dropped_total",
        "Dead letters of a queue that went nowhere",
        Kind::Counter,
        dropped,
    );
}

/// Adds the percentiles of a queue, if there is anything to tell.
fn put_percentiles(queue: &Queue, times: Option<Quantiles>, samples: &mut Vec<(Labels, f64)>) {
    let Some(times) = times else { return };
    for (percentile, milliseconds) in [("50", times.p50), ("99", times.p99), ("99.9", times.p999)] {
        let mut of = queue_labels(queue);
        of.extend(labels(&[("percentile", percentile)]));
        samples.push((of, float(milliseconds) / 1000.0));
    }
}
