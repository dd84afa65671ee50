//! Publisher confirms: publishes of a channel are numbered, and acknowledged in order once they are safe
//! (<https://www.rabbitmq.com/docs/confirms>).
//!
//! The publishes of one run that reached the store wait for one ticket together; a later run's publishes wait behind
//! them even if they need no disk, so confirms never overtake each other and one `basic.ack` with `multiple` answers all
//! that became safe at the same time.

use std::collections::VecDeque;

use amqp_codec::encode;
use broker_core::store::Ticket;

/// The publishes of a run.
#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    ticket: Ticket,
    up_to: u64,
    refused: Vec<u64>,
}

/// Confirm mode of a channel.
#[derive(Debug, Default)]
pub struct Confirms {
    published: u64,
    confirmed: u64,
    waiting: VecDeque<Waiting>,
}

impl Confirms {
    /// Numbers the next publish, from 1.
    pub fn number(&mut self) -> u64 {
        self.published += 1;
        self.published
    }

    /// Ends a run: everything published so far is safe once `ticket` is durable, but for what a queue refused (in
    /// rising order).
    pub fn seal(&mut self, ticket: Ticket, refused: Vec<u64>) {
        let last = self.waiting.back().map_or(self.confirmed, |w| w.up_to);
        if self.published > last {
            self.waiting.push_back(Waiting {
                ticket,
                up_to: self.published,
                refused,
            });
        }
    }

    /// Whether publishes wait for the store.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Publishes that have not been answered.
    pub fn unconfirmed(&self) -> u64 {
        self.published - self.confirmed
    }

    /// Writes the confirms that are due now that `durable` is durable; says how many publishes they confirm.
    pub fn poll(&mut self, channel: u16, durable: Ticket, out: &mut Vec<u8>) -> u64 {
        let before = self.confirmed;
        let mut refusals = 0;
        let mut up_to = self.confirmed;
        while let Some(run) = self.waiting.pop_front_if(|run| run.ticket <= durable) {
            for refused in run.refused {
                self.acknowledge(channel, up_to.max(refused - 1), out);
                encode::nack(out, channel, refused, false, false);
                self.confirmed = refused;
                refusals += 1;
            }
            up_to = run.up_to;
        }
        self.acknowledge(channel, up_to, out);
        self.confirmed - before - refusals
    }

    fn acknowledge(&mut self, channel: u16, up_to: u64, out: &mut Vec<u8>) {
        if up_to > self.confirmed {
            encode::ack(out, channel, up_to, up_to - self.confirmed > 1);
            self.confirmed = up_to;
        }
    }
}

#[cfg(test)]
mod tests {
    use amqp_codec::{Ack, Method, Nack, parse_frame, parse_method};

    use super::*;

    fn sent(mut bytes: &[u8]) -> Vec<String> {
        let mut methods = Vec::new();
        while let Ok(Some((frame, used))) = parse_frame(bytes, 0) {
            methods.push(match parse_method(frame.payload).unwrap() {
                Method::Ack(Ack {
                    delivery_tag,
                    multiple,
                }) => format!("ack {delivery_tag} {multiple}"),
                Method::Nack(Nack { delivery_tag, .. }) => format!("nack {delivery_tag}"),
                other => format!("{other:?}"),
            });
            bytes = &bytes[used..];
        }
        methods
    }

    #[test]
    fn confirms_of_several_runs_are_one_multiple_ack() {
        let mut confirms = Confirms::default();
        let mut out = Vec::new();
        confirms.number();
        confirms.seal(Ticket(1), Vec::new());
        confirms.number();
        confirms.seal(Ticket(2), Vec::new());
        confirms.poll(1, Ticket(2), &mut out);
        assert_eq!(sent(&out), ["ack 2 true"]);
        assert!(!confirms.waits());
    }

    #[test]
    fn confirm_never_overtakes_one_that_waits_for_the_disk() {
        let mut confirms = Confirms::default();
        let mut out = Vec::new();
        confirms.number();
        confirms.seal(Ticket(7), Vec::new());
        confirms.number();
        confirms.seal(Ticket::NONE, Vec::new());
        confirms.poll(1, Ticket(6), &mut out);
        assert!(out.is_empty());
        confirms.poll(1, Ticket(7), &mut out);
        assert_eq!(sent(&out), ["ack 2 true"]);
    }

    #[test]
    fn refused_publish_is_nacked_between_the_acks_of_its_neighbours() {
        let mut confirms = Confirms::default();
        let mut out = Vec::new();
        for _ in 0..5 {
            confirms.number();
        }
        confirms.seal(Ticket::NONE, vec![3]);
        confirms.poll(1, Ticket::NONE, &mut out);
        assert_eq!(sent(&out), ["ack 2 true", "nack 3", "ack 5 true"]);
    }

    #[test]
    fn single_confirm_is_not_multiple() {
        let mut confirms = Confirms::default();
        let mut out = Vec::new();
        confirms.number();
        confirms.seal(Ticket::NONE, Vec::new());
        confirms.poll(3, Ticket::NONE, &mut out);
        assert_eq!(sent(&out), ["ack 1 false"]);
    }
}
