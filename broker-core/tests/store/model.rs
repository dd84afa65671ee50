//! Random operations against a map, with restarts in between.

use std::collections::BTreeMap;

use broker_core::store::{MessageStore, Operation, Position, QueueId};
use proptest::{collection::vec, prelude::*};

use crate::support::{
    OnDisk, OnSled, SmallJournal, commit, delete, enqueue, requeue, settle, settle_range, stored,
};

#[derive(Debug, Clone)]
enum Step {
    Enqueue {
        queue: usize,
        length: usize,
    },
    Settle {
        queue: usize,
        back: u64,
    },
    SettleRange {
        queue: usize,
        back: u64,
        length: u64,
    },
    Requeue {
        queue: usize,
        back: u64,
    },
    Delete {
        queue: usize,
    },
    Append,
    Commit,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let queue = 0..QUEUES;
    let length = prop_oneof![6 => 0..200_usize, 1 => 6_000..20_000_usize];
    prop_oneof![
        12 => (queue.clone(), length).prop_map(|(queue, length)| Step::Enqueue { queue, length }),
        8 => (queue.clone(), 0..12_u64).prop_map(|(queue, back)| Step::Settle { queue, back }),
        1 => (queue.clone(), 0..12_u64, 0..8_u64)
            .prop_map(|(queue, back, length)| Step::SettleRange { queue, back, length }),
        3 => (queue.clone(), 0..12_u64).prop_map(|(queue, back)| Step::Requeue { queue, back }),
        1 => queue.prop_map(|queue| Step::Delete { queue }),
        8 => Just(Step::Append),
        3 => Just(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

const QUEUES: usize = 3;

/// What the store should hold, and the batch that gathers.
#[derive(Default)]
struct Model {
    messages: BTreeMap<(u64, Position), (Vec<u8>, u32)>,
    /// The id and the last position of each queue; a deleted one gets a new id.
    queues: [(u64, Position); QUEUES],
    ids: u64,
    batch: Vec<Operation>,
}

impl Model {
    fn new() -> Self {
        let queues = std::array::from_fn(|at| (at as u64 + 1, 0));
        Self {
            queues,
            ids: QUEUES as u64,
            ..Self::default()
        }
    }

    fn enqueue(&mut self, queue: usize, length: usize) {
        let (id, last) = &mut self.queues[queue];
        *last += 1;
        let body = vec![(*last % 251) as u8; length];
        self.batch.push(enqueue(*id, *last, &body));
        self.messages.insert((*id, *last), (body, 0));
    }

    /// Like a broker, which notes only of what is there that it came back.
    fn requeue(&mut self, queue: usize, back: u64) {
        let (id, last) = self.queues[queue];
        let place = last.saturating_sub(back);
        if let Some((_, count)) = self.messages.get_mut(&(id, place)) {
            *count += 1;
            self.batch.push(requeue(id, place, *count));
        }
    }

    fn settle_range(&mut self, queue: usize, back: u64, length: u64) {
        let (id, last) = self.queues[queue];
        let from = last.saturating_sub(back);
        let to = from + length;
        self.batch.push(if length == 0 {
            settle(id, from)
        } else {
            settle_range(id, from, to)
        });
        self.messages
            .retain(|(queue, at), _| *queue != id || !(from..=to).contains(at));
    }

    fn delete(&mut self, queue: usize) {
        let (id, _) = self.queues[queue];
        self.batch.push(delete(id));
        self.messages.retain(|(queue, _), _| *queue != id);
        self.ids += 1;
        self.queues[queue] = (self.ids, 0);
    }

    fn check(&self, store: &dyn MessageStore) {
        let mut queues: Vec<_> = self
            .messages
            .keys()
            .map(|(queue, _)| QueueId(*queue))
            .collect();
        queues.dedup();
        assert_eq!(store.queues().unwrap(), queues);
        for QueueId(queue) in queues {
            let expected = self.messages.range((queue, 0)..=(queue, Position::MAX));
            let expected: Vec<_> = expected
                .map(|((_, at), (body, count))| (*at, *count > 0, *count, body.clone()))
                .collect();
            let found = stored(store, queue).into_iter();
            let found: Vec<_> = found
                .map(|s| {
                    let body = s.message.body().to_vec();
                    (s.position, s.redelivered, s.delivery_count, body)
                })
                .collect();
            assert!(found == expected, "queue {queue} differs");
        }
    }
}

fn run<S: OnDisk>(steps: Vec<Step>) {
    let mut subject = S::new();
    let mut model = Model::new();
    for step in steps.into_iter().chain([Step::Append, Step::Reopen]) {
        match step {
            Step::Enqueue { queue, length } => model.enqueue(queue, length),
            Step::Settle { queue, back } => model.settle_range(queue, back, 0),
            Step::SettleRange {
                queue,
                back,
                length,
            } => model.settle_range(queue, back, length),
            Step::Requeue { queue, back } => model.requeue(queue, back),
            Step::Delete { queue } => model.delete(queue),
            Step::Append => {
                subject.store().append(&mut model.batch);
            }
            Step::Commit => commit(subject.store(), model.batch.drain(..)),
            Step::Reopen => {
                subject.store().append(&mut model.batch);
                subject.reopen();
                model.check(subject.store());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sled_holds_what_a_map_would_hold(steps in vec(step(), 0..120)) {
        run::<OnSled>(steps);
    }

    #[test]
    fn journal_holds_what_a_map_would_hold(steps in vec(step(), 0..120)) {
        run::<SmallJournal>(steps);
    }
}
