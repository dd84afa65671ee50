//! What a channel counts, and what it shows of itself to those who look from outside.
//!
//! The counters belong to the connection's task alone: adding to one is a load and a store.

use std::sync::atomic::Ordering;

use broker_core::{statistics::Column, store::Ticket, vhost::Route};

use super::{channel::Channel, session::Session};

impl Channel {
    /// Counts a publish with a body of this many bytes.
    #[inline]
    pub(super) fn count_publish(&self, size: usize, session: &Session) {
        self.entry.counters.add(Column::Publish, 1);
        session.entry.sizes.add(size);
    }

    /// Counts deliveries of a consumer.
    pub(super) fn count_deliveries(&self, count: u64, redelivered: u64, no_ack: bool) {
        let column = match no_ack {
            true => Column::DeliverNoAck,
            false => Column::Deliver,
        };
        self.entry.counters.add(column, count);
        self.entry.counters.add(Column::Redeliver, redelivered);
        self.show_unacked();
    }

    /// Counts a message that `basic.get` fetched.
    pub(super) fn count_get(&self, redelivered: bool, no_ack: bool) {
        let column = match no_ack {
            true => Column::GetNoAck,
            false => Column::Get,
        };
        self.entry.counters.add(column, 1);
        let redelivered = u64::from(redelivered);
        self.entry.counters.add(Column::Redeliver, redelivered);
        self.show_unacked();
    }

    /// Counts acknowledgements.
    #[inline]
    pub(super) fn count_acks(&self, count: u64) {
        self.entry.counters.add(Column::Ack, count);
        self.show_unacked();
    }

    /// Counts something else.
    pub(super) fn count(&self, column: Column) {
        self.entry.counters.add(column, 1);
    }

    /// Shows how many deliveries wait for an answer.
    #[inline]
    pub(super) fn show_unacked(&self) {
        let unacked = self.unackeds.count() as u64;
        self.entry.messages_unacknowledged.set(unacked);
    }

    /// Shows the mode of the channel, and what its transaction has gathered.
    pub(super) fn show_mode(&self) {
        let entry = &self.entry;
        entry
            .confirm
            .store(self.confirms.is_some(), Ordering::Relaxed);
        let transactional = self.transaction.is_some();
        entry.transactional.store(transactional, Ordering::Relaxed);
        let pending = self.transaction.as_ref();
        let (messages, acks) = pending.map_or((0, 0), |it| (it.publishes.len(), it.answers.len()));
        entry.messages_uncommitted.set(messages as u64);
        entry.acks_uncommitted.set(acks as u64);
        self.show_unacked();
    }

    /// Sends the confirms that are due, and counts them.
    pub(super) fn poll_confirms(&mut self, durable: Ticket, out: &mut Vec<u8>) {
        let Some(confirms) = &mut self.confirms else {
            return;
        };
        let confirmed = confirms.poll(self.number, durable, out);
        self.entry.counters.add(Column::Confirm, confirmed);
        let unconfirmed = confirms.unconfirmed();
        self.entry.messages_unconfirmed.set(unconfirmed);
    }

    /// Counts a message that goes into so many queues.
    #[inline]
    pub(super) fn count_targets(&self, queues: usize) {
        self.entry.counters.add(Column::Routed, queues as u64);
    }
}

impl Session {
    /// Counts messages that went over one route.
    #[inline]
    pub(super) fn count_routed(&self, route: &Route, messages: usize) {
        let (came, queues) = (messages as u64, route.queues.len() as u64);
        let statistics = &self.vhost.statistics;
        route.source.count(came, came * queues, statistics);
    }
}
