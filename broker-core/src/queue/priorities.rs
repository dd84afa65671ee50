//! Which of a queue's orders a message belongs to.
//!
//! A classic queue with `x-max-priority` has one for each priority from 0 to that
//! (<https://www.rabbitmq.com/docs/priority>). A quorum queue always has 32, and what says nothing belongs into the fifth
//! (RabbitMQ 4.3: `rabbit_fifo`). All other queues have one.

use amqp_codec::properties;

use super::arguments::{QueueArguments, QueueType};
use crate::message::Message;

/// The highest priority of quorum queues.
const QUORUM_HIGHEST: u8 = 31;

/// The priority of messages in quorum queues that do not say any.
const QUORUM_DEFAULT: u8 = 4;

/// The priorities that make a difference in one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priorities {
    /// What is above it counts as it.
    highest: u8,
    /// The priority of a message that does not say any.
    default: u8,
}

impl Priorities {
    /// The priorities of a queue with these arguments, `None` when it has one order only.
    pub fn of(arguments: &QueueArguments) -> Option<Self> {
        match arguments.queue_type {
            QueueType::Quorum => Some(Self {
                highest: QUORUM_HIGHEST,
                default: QUORUM_DEFAULT,
            }),
            // RabbitMQ: 0 counts as 1.
            QueueType::Classic => arguments.max_priority.map(|highest| Self {
                highest: highest.max(1),
                default: 0,
            }),
        }
    }

    /// The highest one.
    pub fn highest(self) -> u8 {
        self.highest
    }

    /// The priority that a message has here.
    pub(super) fn of_message(self, message: &Message) -> u8 {
        let said = properties::priority(message.properties());
        said.unwrap_or(self.default).min(self.highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(priority: Option<u8>) -> Message {
        let properties = priority.map_or_else(|| vec![0, 0], |priority| vec![0x08, 0, priority]);
        Message::new("", "q", &properties, b"", false)
    }

    fn priorities(queue_type: QueueType, max_priority: Option<u8>) -> Option<Priorities> {
        Priorities::of(&QueueArguments {
            queue_type,
            max_priority,
            ..QueueArguments::default()
        })
    }

    #[test]
    fn priority_above_the_highest_counts_as_the_highest() {
        let five = priorities(QueueType::Classic, Some(5)).unwrap();
        let of = |said| five.of_message(&message(said));
        assert_eq!(
            [
                of(None),
                of(Some(0)),
                of(Some(5)),
                of(Some(6)),
                of(Some(255))
            ],
            [0, 0, 5, 5, 5]
        );
    }

    #[test]
    fn highest_priority_0_counts_as_1() {
        let zero = priorities(QueueType::Classic, Some(0)).unwrap();
        assert_eq!(zero.highest(), 1);
    }

    #[test]
    fn quorum_queues_have_32_priorities_and_4_is_the_usual_one() {
        let quorum = priorities(QueueType::Quorum, None).unwrap();
        let of = |said| quorum.of_message(&message(said));
        assert_eq!(
            [of(None), of(Some(0)), of(Some(31)), of(Some(99))],
            [4, 0, 31, 31]
        );
    }

    #[test]
    fn queue_without_priorities_has_one_order() {
        assert_eq!(priorities(QueueType::Classic, None), None);
    }
}
