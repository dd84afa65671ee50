//! Messages that are moved at an operator's word: as dead letters they leave their queue in the same store batch in
//! which they enter the next, so a crash finds them in exactly one of them.

use std::sync::Arc;

use super::Vhost;
use crate::{
    message::Message,
    moving::Destination,
    queue::{Entry, Millis, Queue, Work},
};

/// Neighbours that go to the same queues.
struct Group {
    messages: Vec<Message>,
    queues: Vec<Arc<Queue>>,
}

impl Vhost {
    /// Moves those of `messages` that still wait in a lane of `source`; says how many those were. They were read from
    /// there and are in the order of positions. They are safe once `work.ticket` is durable.
    pub(crate) fn move_messages(
        &self,
        source: &Arc<Queue>,
        lane: u8,
        messages: Vec<(Entry, Destination)>,
        now: Millis,
        work: &mut Work,
    ) -> usize {
        let wanted = messages.iter().map(|(entry, _)| entry.clone()).collect();
        let left = source.take_out(lane, wanted, now, work);
        if left.is_empty() {
            return 0;
        }
        let mut batch: Vec<_> = left
            .iter()
            .filter_map(|entry| entry.settlement(source.id))
            .collect();
        let groups = groups(messages, &left);
        let mut places = Vec::new();
        for group in &groups {
            for queue in &group.queues {
                places.push(queue.reserve_row(&group.messages, now, &mut batch));
            }
        }
        if !batch.is_empty() {
            let ticket = self.shared.store.append(&mut batch);
            work.ticket = work.ticket.max(ticket);
        }
        source.note_left(lane, &left, work.ticket);
        let mut places = places.into_iter();
        for group in &groups {
            for (queue, places) in group.queues.iter().zip(&mut places) {
                queue.insert_moved(places, &group.messages, now, work);
            }
        }
        self.bury(now, work);
        left.len()
    }
}

/// Puts together what goes to the same queues one behind the other. `left` are those of the messages that did leave.
fn groups(messages: Vec<(Entry, Destination)>, left: &[Entry]) -> Vec<Group> {
    let mut left = left.iter().peekable();
    let mut groups: Vec<Group> = Vec::new();
    for (entry, destination) in messages {
        if left.next_if(|it| it.position == entry.position).is_none() {
            continue;
        }
        let Destination { message, queues } = destination;
        match groups
            .last_mut()
            .filter(|group| same(&group.queues, &queues))
        {
            Some(group) => group.messages.push(message),
            None => groups.push(Group {
                messages: vec![message],
                queues,
            }),
        }
    }
    groups
}

fn same(one: &[Arc<Queue>], other: &[Arc<Queue>]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| Arc::ptr_eq(one, other))
}
