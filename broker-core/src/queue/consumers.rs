//! The consumers of one queue and the order in which they are served.
//!
//! Among the consumers of the highest priority that have credit, messages go round in turn; lower priorities are served
//! only while all higher ones are out of credit (<https://www.rabbitmq.com/docs/consumer-priority>). A consumer without
//! credit leaves its ring, so a queue never walks over consumers that cannot take anything.

mod single_active;

use std::{cmp::Reverse, collections::VecDeque, sync::Arc};

pub use self::single_active::Activity;
use self::single_active::SingleActive;

use super::{credit::ChannelCredit, entry::Entry};
use crate::{
    broker::ConsumerEntry,
    outbox::{Delivery, Outbox, SubscriptionKey, weight},
};

/// Names a consumer within its queue: where it is kept, and which one of those that were kept there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerHandle {
    index: u32,
    generation: u32,
}

/// What a channel says when it starts to consume.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The consumer in the connection's numbering.
    pub key: SubscriptionKey,
    /// Where deliveries go.
    pub outbox: Arc<Outbox>,
    /// The limit that its channel's consumers share; unused with `no_ack`.
    pub channel_credit: Arc<ChannelCredit>,
    /// Deliveries count as acknowledged when they are sent.
    pub no_ack: bool,
    /// The consumer's own prefetch limit, 0 for none; unused with `no_ack`.
    pub prefetch: u16,
    /// `x-priority`; larger is served first.
    pub priority: i32,
    /// What others see of it.
    pub entry: Arc<ConsumerEntry>,
}

#[derive(Debug)]
struct Consumer {
    subscription: Subscription,
    outstanding: u32,
    in_ring: bool,
    /// Room in the outbox as seen at the start of a dispatch, less what was staged since.
    room: usize,
    staged: Vec<Delivery>,
}

impl Consumer {
    fn has_prefetch_credit(&self) -> bool {
        let limit = u32::from(self.subscription.prefetch);
        self.subscription.no_ack || limit == 0 || self.outstanding < limit
    }

    fn acquire(&mut self) -> Refusal {
        if self.room == 0 {
            return Refusal::NoRoom;
        }
        if !self.has_prefetch_credit() {
            return Refusal::NoCredit;
        }
        if self.subscription.no_ack || self.subscription.channel_credit.acquire() {
            return Refusal::None;
        }
        Refusal::NoCredit
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    None,
    NoCredit,
    NoRoom,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    consumer: Option<Consumer>,
}

#[derive(Debug)]
struct Ring {
    priority: i32,
    members: VecDeque<u32>,
}

/// All consumers of a queue. See the module's text for the order of service.
#[derive(Debug, Default)]
pub struct Consumers {
    slots: Vec<Slot>,
    /// By falling priority.
    rings: Vec<Ring>,
    /// Consumers with staged deliveries.
    touched: Vec<u32>,
    /// Outboxes that had no room during this dispatch.
    starved: Vec<u32>,
    count: u32,
    /// If one consumer at a time is served: who that is.
    single: Option<Box<SingleActive>>,
}

impl Consumers {
    /// How many consumers there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a consumer at the end of its priority's ring.
    pub fn add(&mut self, subscription: Subscription) -> ConsumerHandle {
        let consumer = Consumer {
            room: subscription.outbox.room(),
            subscription,
            outstanding: 0,
            in_ring: false,
            staged: Vec::new(),
        };
        let free = self.slots.iter().position(|s| s.consumer.is_none());
        let index = free.unwrap_or(self.slots.len());
        match self.slots.get_mut(index) {
            Some(slot) => {
                slot.generation = slot.generation.wrapping_add(1);
                slot.consumer = Some(consumer);
            }
            None => self.slots.push(Slot {
                generation: 0,
                consumer: Some(consumer),
            }),
        }
        self.count += 1;
        let index = index as u32;
        match self.single {
            None => self.enter_ring(index),
            Some(_) => self.await_turn(index),
        }
        ConsumerHandle {
            index,
            generation: self.generation(index),
        }
    }

    /// Removes a consumer.
    pub fn remove(&mut self, handle: ConsumerHandle) -> Removed {
        if self.get(handle).is_none() {
            return Removed::Nobody;
        }
        if let Some(slot) = self.slots.get_mut(handle.index as usize) {
            slot.consumer = None;
        }
        for ring in &mut self.rings {
            ring.members.retain(|&member| member != handle.index);
        }
        self.count -= 1;
        if self.count == 0 {
            *self = Self {
                slots: std::mem::take(&mut self.slots),
                single: self.single.take(),
                ..Self::default()
            };
        }
        match self.leave(handle.index) {
            true => Removed::FromSingleActive,
            false => Removed::Consumer,
        }
    }

    /// Removes all consumers.
    pub fn clear(&mut self) {
        let single = self.single.is_some();
        *self = Self::default();
        if single {
            self.make_single_active();
        }
    }

    /// What each consumer does, and how many deliveries it has not settled.
    pub fn activities(&self) -> impl Iterator<Item = (&Subscription, Activity, u32)> {
        let slots = (0..).zip(&self.slots);
        slots.filter_map(|(index, slot)| {
            let consumer = slot.consumer.as_ref()?;
            let activity = self.activity(index, consumer.in_ring);
            Some((&consumer.subscription, activity, consumer.outstanding))
        })
    }

    /// Every subscription, for cancelling them all.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription> {
        self.slots
            .iter()
            .filter_map(|s| s.consumer.as_ref())
            .map(|c| &c.subscription)
    }

    /// Notes that `count` deliveries of this consumer were settled, and lets it be served again.
    pub fn release(&mut self, handle: ConsumerHandle, count: u32) {
        if let Some(consumer) = self.get(handle) {
            consumer.outstanding = consumer.outstanding.saturating_sub(count);
            match self.single {
                None => self.enter_ring(handle.index),
                Some(_) => self.elect(),
            }
        }
    }

    /// Lets every consumer be looked at again: a channel's limit was raised or an outbox was emptied.
    pub fn wake_all(&mut self) {
        for index in 0..self.slots.len() as u32 {
            self.enter_ring(index);
        }
    }

    /// Reads anew how much each consumer's outbox can take. To be called once before a run of [`Self::offer`].
    pub fn begin(&mut self) {
        for ring in &self.rings {
            for &index in &ring.members {
                if let Some(c) = consumer_mut(&mut self.slots, index) {
                    c.room = c.subscription.outbox.room();
                }
            }
        }
    }

    /// Whether any consumer would take a message now.
    pub fn can_take(&mut self) -> bool {
        self.begin();
        let Self { rings, slots, .. } = self;
        rings.iter().flat_map(|r| &r.members).any(|&index| {
            consumer_mut(slots, index).is_some_and(|c| {
                let credit = &c.subscription.channel_credit;
                let channel = c.subscription.no_ack || credit.available();
                c.room > 0 && c.has_prefetch_credit() && channel
            })
        })
    }

    /// Whether a consumer may want more: one that has not been refused since it got credit or room.
    pub fn any_waits(&self) -> bool {
        self.rings.iter().any(|ring| !ring.members.is_empty())
    }

    /// Finds the consumer whose turn it is and takes its credit; `None` when nobody can take a message.
    pub fn offer(&mut self) -> Option<Offer> {
        let Self {
            rings,
            slots,
            starved,
            ..
        } = self;
        for ring in rings.iter_mut() {
            while let Some(index) = ring.members.pop_front() {
                let Some(consumer) = consumer_mut(slots, index) else {
                    continue;
                };
                match consumer.acquire() {
                    Refusal::None => {
                        ring.members.push_back(index);
                        return Some(Offer {
                            index,
                            no_ack: consumer.subscription.no_ack,
                        });
                    }
                    Refusal::NoRoom => starved.push(index),
                    Refusal::NoCredit => {}
                }
                consumer.in_ring = false;
            }
        }
        None
    }

    /// Stages a message for the consumer that [`Self::offer`] found.
    pub fn stage(&mut self, offer: &Offer, entry: Entry) {
        let Some(consumer) = consumer_mut(&mut self.slots, offer.index) else {
            return;
        };
        consumer.room = consumer.room.saturating_sub(weight(&entry));
        if !offer.no_ack {
            consumer.outstanding += 1;
        }
        if consumer.staged.is_empty() {
            self.touched.push(offer.index);
        }
        consumer.staged.push(Delivery {
            subscription: consumer.subscription.key,
            entry,
        });
    }

    /// Puts everything staged into the outboxes, one lock each. `undeliverable` gets what was staged for connections
    /// that are gone. Returns true when an outbox that had no room has been emptied meanwhile: offer again.
    pub fn flush(&mut self, undeliverable: &mut Vec<Entry>) -> bool {
        let Self { slots, touched, .. } = self;
        if touched.len() > 1 {
            touched.sort_unstable_by_key(|&index| outbox_of(slots, index));
        }
        let mut rest = touched.drain(..).peekable();
        while let Some(index) = rest.next() {
            let mut staged = take_staged(slots, index);
            let outbox = outbox_of(slots, index);
            let mut joined = false;
            while let Some(other) = rest.next_if(|&other| outbox_of(slots, other) == outbox) {
                staged.append(&mut take_staged(slots, other));
                joined = true;
            }
            if joined {
                // A channel gets a queue's messages in order, whichever of its consumers they are for (AMQP 0-9-1,
                // 4.7). Messages leave a queue by falling priority, and then by rising position.
                staged.sort_by_key(|it| (Reverse(it.entry.lane), it.entry.position));
            }
            let Some(consumer) = consumer_mut(slots, index) else {
                continue;
            };
            if !consumer.subscription.outbox.deliver(&mut staged) {
                undeliverable.extend(staged.drain(..).map(|d| d.entry));
            }
            if staged.capacity() <= KEPT_STAGING {
                consumer.staged = staged;
            }
        }
        drop(rest);
        let mut again = false;
        for index in std::mem::take(&mut self.starved) {
            let waits = consumer_mut(&mut self.slots, index)
                .is_none_or(|c| c.subscription.outbox.note_starved());
            if !waits {
                self.enter_ring(index);
                again = true;
            }
        }
        again
    }

    fn get(&mut self, handle: ConsumerHandle) -> Option<&mut Consumer> {
        let slot = self.slots.get_mut(handle.index as usize)?;
        slot.consumer
            .as_mut()
            .filter(|_| slot.generation == handle.generation)
    }

    fn generation(&self, index: u32) -> u32 {
        self.slots.get(index as usize).map_or(0, |s| s.generation)
    }

    fn consumer(&self, index: u32) -> Option<&Consumer> {
        self.slots.get(index as usize)?.consumer.as_ref()
    }

    fn enter_ring(&mut self, index: u32) {
        if !self.may_be_served(index) {
            return;
        }
        let Some(consumer) = consumer_mut(&mut self.slots, index) else {
            return;
        };
        if consumer.in_ring {
            return;
        }
        consumer.in_ring = true;
        consumer.room = consumer.subscription.outbox.room();
        let priority = consumer.subscription.priority;
        let place = self.rings.partition_point(|r| r.priority > priority);
        match self.rings.get_mut(place) {
            Some(ring) if ring.priority == priority => ring.members.push_back(index),
            _ => self.rings.insert(
                place,
                Ring {
                    priority,
                    members: VecDeque::from([index]),
                },
            ),
        }
    }
}

/// What came of removing a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// It was gone already.
    Nobody,
    /// It is gone.
    Consumer,
    /// It is gone, and another one may take over with [`Consumers::hand_over`].
    FromSingleActive,
}

/// A staging vector larger than this is given back, so that a burst does not stay in memory.
const KEPT_STAGING: usize = 1024;

/// A consumer that was picked, with its credit taken.
#[derive(Debug)]
pub struct Offer {
    index: u32,
    /// The delivery counts as settled when it is sent.
    pub no_ack: bool,
}

/// The deliveries staged for a consumer. The vector goes with them.
fn take_staged(slots: &mut [Slot], index: u32) -> Vec<Delivery> {
    consumer_mut(slots, index).map_or_else(Vec::new, |c| std::mem::take(&mut c.staged))
}

/// Tells apart the outboxes that consumers deliver to.
fn outbox_of(slots: &[Slot], index: u32) -> Option<*const Outbox> {
    let consumer = slots.get(index as usize)?.consumer.as_ref()?;
    Some(Arc::as_ptr(&consumer.subscription.outbox))
}

fn consumer_mut(slots: &mut [Slot], index: u32) -> Option<&mut Consumer> {
    slots.get_mut(index as usize)?.consumer.as_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be 100,000 of them, nearly all alone at their queue. Without what they point to.
    #[test]
    fn a_consumer_stays_small_in_its_queue() {
        assert_eq!(size_of::<Slot>(), 88);
    }
}
