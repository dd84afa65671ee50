//! The messages that have left a queue and are on their way to its dead-letter exchange, in the order in which they
//! died.
//!
//! Several threads can make messages of one queue die at the same time, those of its publishers and consumers and the one
//! that lets messages expire. They line up here under the queue's lock, and one thread at a time takes them on, for the
//! others too: so they arrive in their order. A thread takes on so many and leaves the rest to the task of expiries, for
//! it has others to serve. Nobody waits but who adds to a line that grows faster than it goes.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::{Condvar, Mutex};

use super::{DeadReason, Entry, Queue, effects::Dead, entry::Millis};
use crate::store::Ticket;

/// Most messages that a thread takes on before others get their turn: some milliseconds.
const TURN: usize = 2_048;

/// Whoever comes to a line longer than this waits until it has become shorter, or takes a turn.
const LONG: usize = 16 * 1_024;

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<(Entry, DeadReason)>,
    /// A thread takes them on.
    busy: bool,
    /// How many ever came into the line.
    came: u64,
    /// How many of them have been taken on.
    gone: u64,
    /// The last store batch that took one on.
    ticket: Ticket,
}

/// The line of one queue. Its lock is the last one that a thread takes, and never held for long. Who waits for a turn to
/// end holds no lock and has no turn anywhere, so turns end.
#[derive(Debug, Default)]
pub(super) struct Dying {
    line: Mutex<Line>,
    turn_ended: Condvar,
}

/// A thread's turn at taking on what waits in a line. However it ends, the next one may begin: after a panic with those
/// that this one has not come to.
struct Turn<'a> {
    dying: &'a Dying,
    entries: VecDeque<(Entry, DeadReason)>,
    /// How many have been taken on.
    taken: u64,
    /// The last store batch that took one on.
    ticket: Ticket,
}

impl Dying {
    /// Adds to the end of the line. The caller holds the queue's lock.
    pub(super) fn push(&self, dead: &mut Vec<(Entry, DeadReason)>) {
        let mut line = self.line.lock();
        line.came += dead.len() as u64;
        line.waiting.extend(dead.drain(..));
    }

    /// Begins a turn with the first of those that wait, `most` at most. `None` if there are none, or somebody else has a
    /// turn.
    fn begin(&self, most: usize) -> Option<Turn<'_>> {
        let mut line = self.line.lock();
        while line.busy && line.waiting.len() > LONG {
            self.turn_ended.wait(&mut line);
        }
        if line.busy || line.waiting.is_empty() || most == 0 {
            return None;
        }
        line.busy = true;
        let entries = match line.waiting.len() <= most {
            true => std::mem::take(&mut line.waiting),
            false => line.waiting.drain(..most).collect(),
        };
        Some(Turn {
            dying: self,
            entries,
            taken: 0,
            ticket: Ticket::NONE,
        })
    }

    /// Whether messages wait and nobody takes them on.
    pub(super) fn waits(&self) -> bool {
        let line = self.line.lock();
        !line.busy && !line.waiting.is_empty()
    }

    /// The store batch by which all that ever came have been taken on; `None` while somebody waits in the line.
    pub(super) fn last_ticket(&self) -> Option<Ticket> {
        let line = self.line.lock();
        (line.gone == line.came).then_some(line.ticket)
    }

    /// The store batch by which the first `count` have been taken on. Waits while another thread is at it; `None` if
    /// nobody is.
    fn wait_for(&self, count: u64) -> Option<Ticket> {
        let mut line = self.line.lock();
        while line.gone < count {
            if !line.busy {
                return None;
            }
            self.turn_ended.wait(&mut line);
        }
        Some(line.ticket)
    }
}

impl Iterator for Turn<'_> {
    type Item = (Entry, DeadReason);

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.entries.pop_front()?;
        self.taken += 1;
        Some(next)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut line = self.dying.line.lock();
        line.busy = false;
        line.gone += self.taken;
        line.ticket = line.ticket.max(self.ticket);
        if !self.entries.is_empty() {
            self.entries.append(&mut line.waiting);
            line.waiting = std::mem::take(&mut self.entries);
        }
        drop(line);
        self.dying.turn_ended.notify_all();
    }
}

impl Queue {
    /// Takes each message that has died, in their order, unless another thread does so. After a turn the rest is left to
    /// the alarm that is set for it ([`Queue::expire`]). `each` says the last store batch that it made.
    pub(crate) fn for_each_dead(self: &Arc<Self>, mut each: impl FnMut(Dead) -> Ticket) {
        let mut room = TURN;
        while let Some(mut turn) = self.dying.begin(room) {
            while let Some((entry, reason)) = turn.next() {
                let queue = Arc::clone(self);
                let dead = Dead {
                    queue,
                    entry,
                    reason,
                };
                turn.ticket = each(dead);
            }
            room = room.saturating_sub(turn.taken as usize);
        }
        if room == 0 && self.dying.waits() {
            self.schedule(NOW);
        }
    }

    /// How many messages have ever died.
    pub(crate) fn died(&self) -> u64 {
        self.dying.line.lock().came
    }

    /// The store batch by which the first `count` dead have gone on. Waits while another thread is at it, which the
    /// caller must not be itself; `None` if the caller has to see to it.
    pub(crate) fn buried(&self, count: u64) -> Option<Ticket> {
        self.dying.wait_for(count)
    }
}

/// An alarm for this moment comes at once.
const NOW: Millis = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    fn dead(position: u64) -> Vec<(Entry, DeadReason)> {
        let message = Message::new("", "q", &[0, 0], b"", false);
        vec![(Entry::new(position, message, 0), DeadReason::Expired)]
    }

    /// Takes a turn that ends with this store batch.
    fn take(dying: &Dying, most: usize, ticket: u64) -> Vec<u64> {
        let Some(mut turn) = dying.begin(most) else {
            return Vec::new();
        };
        turn.ticket = Ticket(ticket);
        turn.by_ref().map(|(entry, _)| entry.position).collect()
    }

    #[test]
    fn one_thread_at_a_time_takes_on_what_waits_in_its_order() {
        let dying = Dying::default();
        assert!(dying.begin(9).is_none(), "nothing died");
        (1..=4).for_each(|place| dying.push(&mut dead(place)));
        assert_eq!(take(&dying, 2, 6), [1, 2]);
        let turn = dying.begin(9);
        dying.push(&mut dead(5));
        assert!(dying.begin(9).is_none(), "somebody is at it");
        assert!(!dying.waits());
        assert_eq!(dying.wait_for(2), Some(Ticket(6)));
        drop(turn);
        assert!(dying.waits());
        assert_eq!((dying.wait_for(3), dying.last_ticket()), (None, None));
        assert_eq!(
            take(&dying, 9, 7),
            [3, 4, 5],
            "what was not come to is first"
        );
        assert_eq!(dying.wait_for(5), Some(Ticket(7)));
        assert_eq!(dying.last_ticket(), Some(Ticket(7)));
    }

    #[test]
    fn whoever_comes_to_a_long_line_waits_for_its_turn() {
        let dying = Dying::default();
        let last = LONG as u64 + 2;
        (1..=last).for_each(|place| dying.push(&mut dead(place)));
        let turn = dying.begin(1).unwrap();
        std::thread::scope(|scope| {
            let next = scope.spawn(|| take(&dying, 1, 0));
            let waits = scope.spawn(|| dying.wait_for(last));
            assert!(!next.is_finished() && !waits.is_finished());
            drop(turn);
            assert_eq!(next.join().unwrap().len(), 1);
            // Nobody is at it any more.
            assert_eq!(waits.join().unwrap(), None);
        });
    }
}
