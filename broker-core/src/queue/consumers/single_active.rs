//! Single active consumer: one consumer of the queue is served, the others stand by
//! (<https://www.rabbitmq.com/docs/consumers#single-active-consumer>).
//!
//! The first consumer is the active one. When it ends, the one that waits with the highest priority takes its place, among
//! equals the one that came first. A consumer with a higher priority than the active one takes over too: the active
//! one gets no more messages from then on, and hands over when all that it had are answered (RabbitMQ:
//! `rabbit_fifo:activate_next_consumer`).
//!
//! Who is not served is in no ring, so serving knows nothing of this.

use std::collections::VecDeque;

use super::{Consumers, consumer_mut};

/// Who is active and who waits.
#[derive(Debug, Default)]
pub(super) struct SingleActive {
    active: Option<u32>,
    /// By falling priority, then in the order in which they came.
    waiting: VecDeque<u32>,
    /// How many have ended and not yet given their messages back: nobody takes a free place before.
    leaving: usize,
}

/// What a consumer does, in RabbitMQ's words (`activity_status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It is served.
    Up,
    /// It would be served if it had any credit left.
    Blocked,
    /// It is the one that is served.
    SingleActive,
    /// Another one is served.
    Waiting,
}

impl Activity {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Blocked => "blocked",
            Self::SingleActive => "single_active",
            Self::Waiting => "waiting",
        }
    }

    /// Whether it counts as active.
    pub fn is_active(self) -> bool {
        self != Self::Waiting
    }
}

impl Consumers {
    /// Lets one consumer at a time be served. To be called before the first one comes.
    pub fn make_single_active(&mut self) {
        self.single = Some(Box::default());
    }

    /// Whether messages go to one consumer at a time.
    pub fn is_single_active(&self) -> bool {
        self.single.is_some()
    }

    /// What a consumer does.
    pub(super) fn activity(&self, index: u32, in_ring: bool) -> Activity {
        match &self.single {
            Some(single) if single.active == Some(index) => Activity::SingleActive,
            Some(_) => Activity::Waiting,
            None if in_ring => Activity::Up,
            None => Activity::Blocked,
        }
    }

    /// Whether a consumer may enter a ring.
    pub(super) fn may_be_served(&self, index: u32) -> bool {
        match &self.single {
            None => true,
            Some(single) => single.active == Some(index) && !self.has_successor(index),
        }
    }

    /// Whether somebody waits who is to take over from this consumer.
    fn has_successor(&self, active: u32) -> bool {
        let single = self.single.as_ref();
        let next = single.and_then(|single| single.waiting.front());
        next.is_some_and(|&next| self.priority(next) > self.priority(active))
    }

    /// Puts a new consumer behind those that wait with its priority.
    pub(super) fn await_turn(&mut self, index: u32) {
        let priority = self.priority(index);
        self.enqueue(index, |other| other >= priority);
        self.elect();
    }

    /// Forgets a consumer. Says whether [`Self::hand_over`] is to follow.
    pub(super) fn leave(&mut self, index: u32) -> bool {
        let Some(single) = &mut self.single else {
            return false;
        };
        single.waiting.retain(|&other| other != index);
        if single.active == Some(index) {
            single.active = None;
        }
        single.leaving += 1;
        true
    }

    /// Lets another one take over now that one has left and given back what it had; or the active one go on, if it was
    /// to make way for that one.
    pub fn hand_over(&mut self) {
        if let Some(single) = &mut self.single {
            single.leaving = single.leaving.saturating_sub(1);
        }
        self.elect();
    }

    /// Lets the one take over whose turn it is, if somebody's is.
    pub(super) fn elect(&mut self) {
        let Some(single) = &self.single else { return };
        match single.active {
            None if single.leaving == 0 => self.activate_next(),
            None => {}
            Some(active) if !self.has_successor(active) => self.enter_ring(active),
            Some(active) => {
                self.leave_ring(active);
                if self.outstanding(active) == 0 {
                    let priority = self.priority(active);
                    // Whoever was active came before the others of its priority.
                    self.enqueue(active, |other| other > priority);
                    self.activate_next();
                }
            }
        }
    }

    fn activate_next(&mut self) {
        let single = self.single.as_mut();
        let next = single.and_then(|single| {
            single.active = single.waiting.pop_front();
            single.active
        });
        if let Some(next) = next {
            self.enter_ring(next);
        }
    }

    /// Puts a consumer behind the others whose priority is `before` its own.
    fn enqueue(&mut self, index: u32, before: impl Fn(i32) -> bool) {
        let Some(mut single) = self.single.take() else {
            return;
        };
        let waiting = &mut single.waiting;
        let place = waiting.partition_point(|&other| before(self.priority(other)));
        waiting.insert(place, index);
        self.single = Some(single);
    }

    fn leave_ring(&mut self, index: u32) {
        if let Some(consumer) = consumer_mut(&mut self.slots, index) {
            consumer.in_ring = false;
        }
        for ring in &mut self.rings {
            ring.members.retain(|&member| member != index);
        }
    }

    fn priority(&self, index: u32) -> i32 {
        let consumer = self.consumer(index);
        consumer.map_or(0, |consumer| consumer.subscription.priority)
    }

    fn outstanding(&self, index: u32) -> u32 {
        self.consumer(index)
            .map_or(0, |consumer| consumer.outstanding)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{ConsumerHandle, Removed, Subscription},
        *,
    };
    use crate::{
        message::Message,
        outbox::{Outbox, SubscriptionKey},
        queue::Entry,
    };

    /// Consumers of a queue by their numbers.
    struct Scene {
        consumers: Consumers,
        outbox: Arc<Outbox>,
    }

    impl Scene {
        fn new() -> Self {
            let mut consumers = Consumers::default();
            consumers.make_single_active();
            Self {
                consumers,
                outbox: Outbox::new(),
            }
        }

        fn add(&mut self, number: u32, priority: i32) -> ConsumerHandle {
            self.consumers.add(Subscription {
                key: SubscriptionKey(number),
                outbox: Arc::clone(&self.outbox),
                channel_credit: Arc::default(),
                no_ack: false,
                prefetch: 0,
                priority,
                entry: Arc::default(),
            })
        }

        /// Hands a message out. Says to whom.
        fn serve(&mut self) -> Option<u32> {
            self.consumers.begin();
            let offer = self.consumers.offer()?;
            let message = Message::new("", "q", &[0, 0], b"", false);
            self.consumers.stage(&offer, Entry::new(1, message, 0));
            self.consumers.flush(&mut Vec::new());
            let mut deliveries = Vec::new();
            self.outbox.take(&mut deliveries, &mut Vec::new());
            Some(deliveries.first()?.subscription.0)
        }

        fn remove(&mut self, handle: ConsumerHandle) {
            assert_eq!(self.consumers.remove(handle), Removed::FromSingleActive);
        }

        fn activities(&self) -> Vec<(u32, &'static str)> {
            let all = self.consumers.activities();
            all.map(|(it, activity, _)| (it.key.0, activity.as_str()))
                .collect()
        }
    }

    #[test]
    fn nobody_is_served_until_what_the_last_one_had_has_come_back() {
        let mut scene = Scene::new();
        let first = scene.add(1, 0);
        scene.add(2, 0);
        assert_eq!(scene.serve(), Some(1));
        scene.remove(first);
        assert_eq!(scene.serve(), None);
        scene.add(3, 9);
        assert_eq!(scene.serve(), None);
        scene.consumers.hand_over();
        assert_eq!(scene.serve(), Some(3));
    }

    #[test]
    fn place_stays_free_until_all_that_left_have_handed_over() {
        let mut scene = Scene::new();
        let (first, second) = (scene.add(1, 0), scene.add(2, 0));
        scene.add(3, 0);
        scene.remove(first);
        scene.remove(second);
        scene.consumers.hand_over();
        assert_eq!(scene.serve(), None);
        scene.consumers.hand_over();
        assert_eq!(scene.serve(), Some(3));
    }

    #[test]
    fn who_made_way_is_the_first_of_its_priority_to_come_back() {
        let mut scene = Scene::new();
        let (_, _) = (scene.add(1, 0), scene.add(2, 0));
        let high = scene.add(3, 5);
        assert_eq!(
            scene.activities(),
            [(1, "waiting"), (2, "waiting"), (3, "single_active")]
        );
        assert_eq!(scene.serve(), Some(3));
        scene.remove(high);
        scene.consumers.hand_over();
        assert_eq!(scene.serve(), Some(1));
    }

    #[test]
    fn active_one_that_is_to_make_way_is_active_until_it_has_nothing_left() {
        let mut scene = Scene::new();
        let first = scene.add(1, 0);
        assert_eq!((scene.serve(), scene.serve()), (Some(1), Some(1)));
        scene.add(2, 1);
        assert_eq!(scene.serve(), None);
        assert_eq!(scene.activities(), [(1, "single_active"), (2, "waiting")]);
        scene.consumers.release(first, 1);
        assert_eq!(scene.serve(), None);
        scene.consumers.wake_all();
        assert_eq!(scene.serve(), None);
        scene.consumers.release(first, 1);
        assert_eq!(scene.serve(), Some(2));
    }

    #[test]
    fn consumers_that_were_all_removed_start_anew_one_at_a_time() {
        let mut scene = Scene::new();
        let first = scene.add(1, 0);
        scene.remove(first);
        scene.consumers.hand_over();
        scene.add(2, 0);
        scene.add(3, 0);
        assert_eq!((scene.serve(), scene.serve()), (Some(2), Some(2)));
        scene.consumers.clear();
        assert!(scene.consumers.is_single_active());
    }
}
