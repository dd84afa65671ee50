//! The messages that have left a queue and are on their way to its dead-letter exchange, in the order in which they
//! died.
//!
//! Several threads can make messages of one queue die at the same time, those of its publishers and consumers and the one
//! that lets messages expire. They line up here under the queue's lock, and one thread at a time takes them on, for the
//! others too: so they arrive in their order, and nobody waits.

use parking_lot::Mutex;

use super::{DeadReason, Entry};
use crate::store::Ticket;

/// Messages with the reason of their death.
pub type Dead = Vec<(Entry, DeadReason)>;

#[derive(Debug, Default)]
struct Line {
    waiting: Dead,
    /// A thread takes them on.
    busy: bool,
    /// How many ever came into the line.
    came: u64,
    /// How many of them have been taken on.
    gone: u64,
    /// The last store batch that took one on.
    ticket: Ticket,
}

/// The line of one queue. Its lock is the last one that a thread takes, and never held for long.
#[derive(Debug, Default)]
pub(super) struct Dying(Mutex<Line>);

impl Dying {
    /// Adds to the end of the line. The caller holds the queue's lock.
    pub(super) fn push(&self, dead: &mut Dead) {
        let mut line = self.0.lock();
        line.came += dead.len() as u64;
        line.waiting.append(dead);
    }

    /// Takes all that wait, and the duty to call [`Self::next`] until there are no more. `None` if there are none, or
    /// somebody else has that duty.
    pub(super) fn begin(&self) -> Option<Dead> {
        let mut line = self.0.lock();
        if line.busy || line.waiting.is_empty() {
            return None;
        }
        line.busy = true;
        Some(std::mem::take(&mut line.waiting))
    }

    /// Takes those that have come since, after the last `count` were taken on by store batches up to `ticket`. `None`
    /// ends the duty.
    pub(super) fn next(&self, count: usize, ticket: Ticket) -> Option<Dead> {
        let mut line = self.0.lock();
        line.gone += count as u64;
        line.ticket = line.ticket.max(ticket);
        line.busy = !line.waiting.is_empty();
        line.busy.then(|| std::mem::take(&mut line.waiting))
    }

    /// The store batch by which all that ever came have been taken on; `None` while somebody waits in the line.
    pub(super) fn last_ticket(&self) -> Option<Ticket> {
        let line = self.0.lock();
        (line.gone == line.came).then_some(line.ticket)
    }

    /// How many ever came into the line.
    pub(super) fn came(&self) -> u64 {
        self.0.lock().came
    }

    /// The store batch by which the first `count` have been taken on; `None` if they have not been yet.
    pub(super) fn gone(&self, count: u64) -> Option<Ticket> {
        let line = self.0.lock();
        (line.gone >= count).then_some(line.ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn dead(position: u64) -> Dead {
        let message = Message::new("", "q", &[0, 0], b"", false);
        vec![(Entry::new(position, message, 0), DeadReason::Expired)]
    }

    fn places(dead: Option<Dead>) -> Vec<u64> {
        let dead = dead.into_iter().flatten();
        dead.map(|(entry, _)| entry.position).collect()
    }

    #[test]
    fn one_thread_at_a_time_takes_all_on_in_their_order() {
        let dying = Dying::default();
        assert!(dying.begin().is_none(), "nothing died");
        dying.push(&mut dead(1));
        dying.push(&mut dead(2));
        assert_eq!(places(dying.begin()), [1, 2]);
        dying.push(&mut dead(3));
        assert!(dying.begin().is_none(), "somebody is at it");
        assert_eq!((dying.came(), dying.gone(1)), (3, None));
        assert_eq!(places(dying.next(2, Ticket(7))), [3]);
        assert_eq!((dying.gone(2), dying.gone(3)), (Some(Ticket(7)), None));
        assert!(dying.next(1, Ticket(8)).is_none());
        assert_eq!(dying.gone(3), Some(Ticket(8)));
        dying.push(&mut dead(4));
        assert_eq!(places(dying.begin()), [4]);
    }
}
