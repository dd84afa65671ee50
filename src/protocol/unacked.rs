//! The deliveries of a channel that its client still owes an answer for.
//!
//! Delivery tags are consecutive, so the tag is an index: a settled delivery leaves a hole, and holes at the front are
//! dropped.

use std::collections::VecDeque;

use broker_core::{outbox::SubscriptionKey, queue::Entry};

/// A delivery that was sent and not answered.
#[derive(Debug)]
pub struct Unacked {
    /// The consumer (or `basic.get`) that it was for.
    pub subscription: SubscriptionKey,
    /// The message and its place.
    pub entry: Entry,
}

/// Capacity that an empty list keeps.
const KEPT: usize = 1024;

/// All unanswered deliveries of a channel.
#[derive(Debug)]
pub struct Unackeds {
    /// The tag of the first slot.
    first: u64,
    slots: VecDeque<Option<Unacked>>,
}

impl Default for Unackeds {
    fn default() -> Self {
        Self {
            first: 1,
            slots: VecDeque::new(),
        }
    }
}

impl Unackeds {
    /// The tag of the next delivery.
    pub fn next_tag(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Gives a delivery that needs no answer its tag.
    pub fn skip(&mut self) -> u64 {
        let tag = self.next_tag();
        if self.slots.is_empty() {
            self.first += 1;
        } else {
            self.slots.push_back(None);
        }
        tag
    }

    /// Gives a delivery its tag and keeps it.
    pub fn push(&mut self, unacked: Unacked) -> u64 {
        let tag = self.next_tag();
        self.slots.push_back(Some(unacked));
        tag
    }

    /// Takes out one delivery; `None` when the tag is unknown.
    pub fn take(&mut self, tag: u64) -> Option<Unacked> {
        let index = usize::try_from(tag.checked_sub(self.first)?).ok()?;
        let unacked = self.slots.get_mut(index)?.take()?;
        self.drop_holes();
        Some(unacked)
    }

    /// Takes out every delivery up to `tag` (all of them for tag 0), in the order of tags. False, and nothing taken,
    /// when that tag is not outstanding. With tag 0 there need not be any.
    pub fn take_up_to(&mut self, tag: u64, mut each: impl FnMut(Unacked)) -> bool {
        let upto = match tag {
            0 => self.slots.len(),
            _ => {
                let index = tag.checked_sub(self.first);
                let Some(index) = index.and_then(|index| usize::try_from(index).ok()) else {
                    return false;
                };
                if !self.slots.get(index).is_some_and(Option::is_some) {
                    return false;
                }
                index + 1
            }
        };
        for unacked in self.slots.drain(..upto).flatten() {
            each(unacked);
        }
        self.first += upto as u64;
        self.drop_holes();
        true
    }

    /// The outstanding tags up to `tag` (all of them for tag 0).
    pub fn tags_up_to(&self, tag: u64) -> Vec<u64> {
        let tags = self.slots.iter().zip(self.first..);
        let outstanding = tags.filter(|(slot, _)| slot.is_some()).map(|(_, tag)| tag);
        outstanding.take_while(|&t| tag == 0 || t <= tag).collect()
    }

    /// Puts deliveries back under their tags, as `tx.rollback` does.
    pub fn restore(&mut self, taken: impl Iterator<Item = (u64, Unacked)>) {
        for (tag, unacked) in taken {
            while tag < self.first {
                self.slots.push_front(None);
                self.first -= 1;
            }
            let index = usize::try_from(tag - self.first).unwrap_or(usize::MAX);
            if let Some(slot) = self.slots.get_mut(index) {
                *slot = Some(unacked);
            }
        }
    }

    fn drop_holes(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        if self.slots.is_empty() && self.slots.capacity() > KEPT {
            self.slots = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_core::{message::Message, queue::NEVER};

    use super::*;

    fn unacked(position: u64) -> Unacked {
        Unacked {
            subscription: SubscriptionKey(0),
            entry: Entry {
                position,
                message: Message::new("", "q", &[0, 0], b"", false),
                expires_at: NEVER,
                delivery_count: 0,
                stored: false,
                redelivered: false,
            },
        }
    }

    fn filled(count: u64) -> Unackeds {
        let mut unackeds = Unackeds::default();
        for position in 1..=count {
            assert_eq!(unackeds.push(unacked(position)), position);
        }
        unackeds
    }

    #[test]
    fn tag_is_known_until_it_is_taken_once() {
        let mut unackeds = filled(3);
        assert_eq!(unackeds.take(2).unwrap().entry.position, 2);
        assert!(unackeds.take(2).is_none());
        assert!(unackeds.take(4).is_none());
        assert!(unackeds.take(0).is_none());
    }

    #[test]
    fn multiple_takes_everything_up_to_the_tag_in_order() {
        let mut unackeds = filled(5);
        unackeds.take(2);
        let mut taken = Vec::new();
        assert!(unackeds.take_up_to(4, |u| taken.push(u.entry.position)));
        assert_eq!(taken, [1, 3, 4]);
        assert!(!unackeds.take_up_to(4, |_| ()));
        assert_eq!(unackeds.next_tag(), 6);
    }

    #[test]
    fn multiple_with_tag_zero_takes_everything_even_if_that_is_nothing() {
        let mut unackeds = filled(2);
        assert!(unackeds.take_up_to(0, |_| ()));
        assert!(unackeds.take_up_to(0, |_| ()));
        assert_eq!(unackeds.next_tag(), 3);
    }

    #[test]
    fn delivery_that_needs_no_answer_uses_up_a_tag() {
        let mut unackeds = filled(1);
        assert_eq!(unackeds.skip(), 2);
        assert_eq!(unackeds.push(unacked(3)), 3);
        assert!(unackeds.take(2).is_none());
        assert!(unackeds.take(3).is_some());
    }

    #[test]
    fn rollback_restores_tags_that_were_taken_from_the_front() {
        let mut unackeds = filled(3);
        let first = unackeds.take(1).unwrap();
        let second = unackeds.take(2).unwrap();
        unackeds.restore([(1, first), (2, second)].into_iter());
        assert_eq!(unackeds.next_tag(), 4);
        assert_eq!(unackeds.take(1).unwrap().entry.position, 1);
    }
}
