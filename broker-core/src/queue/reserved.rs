//! Messages that enter a queue together with changes of other queues: dead letters, transactions, messages for several
//! queues.
//!
//! Places are set aside in every queue, one batch with all the records goes to the store, and then the messages take their
//! places. No two queues are locked at once.

use std::sync::Arc;

use super::{Places, Queue, Run, Work, entry::Millis};
use crate::{message::Message, store::Operation};

impl Queue {
    /// Sets a place aside for a message that enters together with changes of other queues, and adds its record to
    /// `batch` if the store is to know it.
    pub fn reserve(&self, message: &Message, now: Millis, batch: &mut Vec<Operation>) -> Places {
        self.reserve_row(std::slice::from_ref(message), now, batch)
    }

    /// Sets places aside for messages that enter several queues at once, and adds the records that the store is to have
    /// to `batch`.
    pub fn reserve_row(
        &self,
        messages: &[Message],
        now: Millis,
        batch: &mut Vec<Operation>,
    ) -> Places {
        let mut state = self.state.lock();
        let places = state.reserve_row(messages);
        if state.is_deleted() {
            return places;
        }
        let mut next = places.clone();
        for message in messages {
            let place = state.next_place(message, &mut next);
            if state.stores(message) {
                batch.push(state.enqueueing(place, message, now));
            }
        }
        places
    }

    /// Puts a message that nobody else has any more at its reserved place, after the batch with its record was appended:
    /// `work.ticket` is that of the batch or a later one. A full queue does not lose it ([`Run::promised`]).
    pub fn insert(self: &Arc<Self>, place: Places, message: Message, now: Millis, work: &mut Work) {
        self.insert_run(place, &[message], now, work, Run::promised(), |_| {});
    }

    /// Puts messages at the places that [`Self::reserve_row`] has set aside for them, after the batch with their records
    /// was appended. Tells `refused` the indices of those that a full queue refused.
    pub fn insert_row(
        self: &Arc<Self>,
        places: Places,
        messages: &[Message],
        now: Millis,
        work: &mut Work,
        refused: impl FnMut(usize),
    ) {
        self.insert_run(places, messages, now, work, Run::default(), refused);
    }

    fn insert_run(
        self: &Arc<Self>,
        mut places: Places,
        messages: &[Message],
        now: Millis,
        work: &mut Work,
        mut run: Run,
        mut refused: impl FnMut(usize),
    ) {
        let ticket = work.ticket;
        self.change(now, work, |state, effects| {
            self.forget_much_left(state);
            state.note_records(&places, ticket, &|| self.store.durable());
            for (index, message) in messages.iter().enumerate() {
                let place = state.next_place(message, &mut places);
                if !state.insert(place, message.clone(), now, effects, &mut run) {
                    refused(index);
                }
            }
            state.end_run(now, effects);
        });
        self.make_room(now, work);
    }
}
