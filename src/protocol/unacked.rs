//! The deliveries of a channel that its client still owes an answer for.
//!
//! They are kept by rising delivery tag. Tags are consecutive and answers mostly come in order, so a tag is nearly always
//! found by its distance from the first; where deliveries without an answer lie between, by binary search. A settled
//! delivery leaves a hole until it reaches the front or holes are in the majority.

use std::collections::VecDeque;

use broker_core::{
    outbox::SubscriptionKey,
    queue::{Entry, Millis},
};

/// When a delivery was sent, in four octets: a number of 64 milliseconds, which comes round every eight years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent(u32);

/// Bits of a time in milliseconds that are left out.
const LEFT_OUT: u32 = 6;

impl Sent {
    /// Sent now, or up to 64 milliseconds later.
    #[inline]
    pub fn at(now: Millis) -> Self {
        Self(((now >> LEFT_OUT) as u32).wrapping_add(1))
    }

    /// The time in milliseconds, for one who knows what time it is now.
    pub fn millis(self, now: Millis) -> Millis {
        let now = now >> LEFT_OUT;
        let ago = (now as u32).wrapping_sub(self.0) as i32;
        now.saturating_add_signed(-i64::from(ago)) << LEFT_OUT
    }
}

/// A delivery that was sent and not answered.
#[derive(Debug)]
pub struct Unacked {
    /// The consumer (or `basic.get`) that it was for.
    pub subscription: SubscriptionKey,
    /// When it was sent.
    pub sent: Sent,
    /// The message and its place.
    pub entry: Entry,
}

/// Capacity that an empty list keeps, and the fewest holes that are worth closing.
const KEPT: usize = 1024;

#[derive(Debug)]
struct Slot {
    tag: u64,
    unacked: Option<Unacked>,
}

/// All unanswered deliveries of a channel.
#[derive(Debug)]
pub struct Unackeds {
    next_tag: u64,
    slots: VecDeque<Slot>,
    holes: usize,
}

impl Default for Unackeds {
    fn default() -> Self {
        Self {
            next_tag: 1,
            slots: VecDeque::new(),
            holes: 0,
        }
    }
}

impl Unackeds {
    /// How many deliveries wait for an answer.
    pub fn count(&self) -> usize {
        self.slots.len() - self.holes
    }

    /// The tag of the next delivery.
    pub fn next_tag(&self) -> u64 {
        self.next_tag
    }

    /// Gives a delivery that needs no answer its tag.
    pub fn skip(&mut self) -> u64 {
        let tag = self.next_tag;
        self.next_tag += 1;
        tag
    }

    /// Gives a delivery its tag and keeps it.
    pub fn push(&mut self, unacked: Unacked) -> u64 {
        let tag = self.skip();
        self.slots.push_back(Slot {
            tag,
            unacked: Some(unacked),
        });
        tag
    }

    /// Takes out one delivery; `None` when the tag is unknown.
    pub fn take(&mut self, tag: u64) -> Option<Unacked> {
        let index = self.find(tag)?;
        let unacked = self.slots.get_mut(index)?.unacked.take()?;
        self.holes += 1;
        self.close_holes();
        Some(unacked)
    }

    /// Takes out every delivery up to `tag` (all of them for tag 0), in the order of tags. False, and nothing taken,
    /// when that tag is not outstanding. With tag 0 there need not be any.
    pub fn take_up_to(&mut self, tag: u64, mut each: impl FnMut(Unacked)) -> bool {
        let upto = match tag {
            0 => self.slots.len(),
            _ => match self.find(tag) {
                Some(index) => index + 1,
                None => return false,
            },
        };
        for slot in self.slots.drain(..upto) {
            match slot.unacked {
                Some(unacked) => each(unacked),
                None => self.holes -= 1,
            }
        }
        self.close_holes();
        true
    }

    /// All that are outstanding, by rising tag: those that were sent later stand behind.
    pub fn iter(&self) -> impl Iterator<Item = &Unacked> {
        self.slots.iter().filter_map(|slot| slot.unacked.as_ref())
    }

    /// The outstanding tags up to `tag` (all of them for tag 0).
    pub fn tags_up_to(&self, tag: u64) -> Vec<u64> {
        let outstanding = self.slots.iter().filter(|slot| slot.unacked.is_some());
        let tags = outstanding.map(|slot| slot.tag);
        tags.take_while(|&t| tag == 0 || t <= tag).collect()
    }

    /// Puts deliveries back under their tags, as `tx.rollback` does.
    pub fn restore(&mut self, taken: impl Iterator<Item = (u64, Unacked)>) {
        self.slots.retain(|slot| slot.unacked.is_some());
        self.holes = 0;
        self.slots.extend(taken.map(|(tag, unacked)| Slot {
            tag,
            unacked: Some(unacked),
        }));
        self.slots
            .make_contiguous()
            .sort_unstable_by_key(|slot| slot.tag);
    }

    /// Where an outstanding tag is kept.
    fn find(&self, tag: u64) -> Option<usize> {
        let distance = tag.checked_sub(self.slots.front()?.tag)?;
        let guess = usize::try_from(distance).ok()?;
        let at_guess = self.slots.get(guess).filter(|slot| slot.tag == tag);
        let index = match at_guess {
            Some(_) => guess,
            None => self
                .slots
                .binary_search_by_key(&tag, |slot| slot.tag)
                .ok()?,
        };
        let slot = self.slots.get(index)?;
        slot.unacked.is_some().then_some(index)
    }

    fn close_holes(&mut self) {
        while self.slots.front().is_some_and(|s| s.unacked.is_none()) {
            self.slots.pop_front();
            self.holes -= 1;
        }
        if self.slots.is_empty() {
            if self.slots.capacity() > KEPT {
                self.slots = VecDeque::new();
            }
        } else if self.holes > KEPT.max(self.slots.len() / 2) {
            self.slots.retain(|slot| slot.unacked.is_some());
            self.holes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_core::message::Message;

    use super::*;

    fn unacked(position: u64) -> Unacked {
        Unacked {
            subscription: SubscriptionKey(0),
            sent: Sent::at(0),
            entry: Entry::new(position, Message::new("", "q", &[0, 0], b"", false), 0),
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
    fn delivery_without_an_answer_costs_48_bytes() {
        assert_eq!(size_of::<Slot>(), 48);
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

    #[test]
    fn one_old_delivery_does_not_keep_the_room_of_later_ones() {
        let mut unackeds = filled(1);
        for _ in 0..100_000 {
            unackeds.skip();
            let tag = unackeds.push(unacked(2));
            unackeds.take(tag).unwrap();
        }
        assert!(unackeds.slots.len() <= 2 * KEPT, "{}", unackeds.slots.len());
        assert_eq!(unackeds.take(1).unwrap().entry.position, 1);
        assert!(unackeds.slots.is_empty());
    }
}
