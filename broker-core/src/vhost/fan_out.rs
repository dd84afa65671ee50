//! Publishing to the queues of a route.
//!
//! A persistent message for several durable queues enters the store as one batch: after a crash it is in all of them or
//! in none, and the store writes a large body once. As in a transaction places are reserved in every queue, all records
//! are appended, and then the messages take their places; each queue is locked once for either. All other messages enter
//! one queue after the other, which saves the second lock.

use super::{Route, Vhost};
use crate::{
    message::Message,
    queue::{Millis, Work},
    store::Operation,
};

/// About so many records go to the store at once. A run of a connection may have more, but what is written in one piece
/// lies in memory in one piece.
const MOST_RECORDS: usize = 4 * 1024;

/// A batch that grew beyond this is given back.
const KEPT_RECORDS: usize = 16 * 1024;

impl Vhost {
    /// Takes all of `messages` and puts them into the queues of their route. The indices of messages that a full queue
    /// refused go to `refused`, once for each such queue. The messages are safe once `work.ticket` is durable.
    pub fn publish(
        &self,
        route: &Route,
        messages: &mut Vec<Message>,
        now: Millis,
        work: &mut Work,
        refused: &mut Vec<usize>,
    ) {
        if route.fans_out && messages.iter().any(Message::persistent) {
            self.fan_out(route, messages, now, work, refused);
            messages.clear();
            return;
        }
        let Some((last, others)) = route.queues.split_last() else {
            return;
        };
        for queue in others {
            queue.publish(messages.iter().cloned(), now, work, refused);
        }
        last.publish(messages.drain(..), now, work, refused);
    }

    fn fan_out(
        &self,
        route: &Route,
        messages: &[Message],
        now: Millis,
        work: &mut Work,
        refused: &mut Vec<usize>,
    ) {
        let at_once = (MOST_RECORDS / route.queues.len().max(1)).max(1);
        let mut batch: Vec<Operation> = std::mem::take(&mut work.records);
        let mut places = Vec::with_capacity(route.queues.len());
        let mut done = 0;
        for messages in messages.chunks(at_once) {
            let queues = route.queues.iter();
            places.extend(queues.map(|queue| queue.reserve_row(messages, now, &mut batch)));
            let ticket = self.shared.store.append(&mut batch);
            work.ticket = work.ticket.max(ticket);
            for (queue, places) in route.queues.iter().zip(places.drain(..)) {
                let refuse = |index| refused.push(done + index);
                queue.insert_row(places, messages, now, work, refuse);
            }
            done += messages.len();
        }
        if batch.capacity() <= KEPT_RECORDS {
            work.records = batch;
        }
    }
}
