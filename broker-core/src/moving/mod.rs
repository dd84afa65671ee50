//! Messages moved from one queue to elsewhere, at an operator's word: all of them or those that a [`Filter`] means, at
//! once or slowly, or only counted.
//!
//! A move is a job with a thread of its own. It is known by a number, tells how far it has come, and can be cancelled. A
//! message is moved as a dead letter is: it leaves its queue in the same store batch in which it enters the next, so a
//! crash finds it in exactly one of them. Jobs themselves do not survive a restart; what they have moved does.

mod filter;
mod job;
mod pace;
mod progress;
mod target;

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::Mutex;

pub use self::{
    filter::{Filter, Matcher},
    progress::{Phase, Progress},
    target::{Destination, Stays, Target},
};
use self::{job::Job, progress::Tracker, target::NOBODY};
use crate::{
    Error,
    broker::Broker,
    permissions::{Access, Operation, Resource},
    queue::Millis,
};

/// Moves that may be under way at the same time: each has a thread and asks the disk for much.
const MOST_RUNNING: usize = 8;

/// Moves that are over and still remembered.
const MOST_REMEMBERED: usize = 100;

/// What is to be moved.
#[derive(Debug, Clone)]
pub struct Order {
    /// The vhost.
    pub vhost: Arc<str>,
    /// The queue that messages leave.
    pub queue: String,
    /// Which of them.
    pub filter: Filter,
    /// Where they go.
    pub target: Target,
    /// Messages a second; `None` for as many as possible.
    pub rate: Option<u64>,
    /// Messages that are moved at most.
    pub limit: Option<u64>,
    /// Nothing is moved, only counted.
    pub dry_run: bool,
    /// Who asks for it.
    pub user: Arc<str>,
}

/// A move that was started.
#[derive(Debug)]
pub struct Move {
    /// Its number. Numbers begin anew with each start of the broker.
    pub id: u64,
    /// What was asked for.
    pub order: Arc<Order>,
    /// When it began.
    pub started: Millis,
    tracker: Arc<Tracker>,
}

impl Move {
    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.tracker.progress()
    }

    /// Asks it to end. What was moved stays moved.
    pub fn cancel(&self) {
        self.tracker.cancel();
    }

    /// Waits until it is over, not longer than `patience`. Blocks the thread.
    pub fn wait(&self, patience: Duration) {
        self.tracker.wait_until_over(patience);
    }
}

/// The moves of a broker.
#[derive(Debug, Default)]
pub(crate) struct Moves(Mutex<Registry>);

#[derive(Debug, Default)]
struct Registry {
    last: u64,
    closed: bool,
    moves: BTreeMap<u64, (Arc<Move>, Option<JoinHandle<()>>)>,
}

impl Registry {
    fn running(&self) -> usize {
        let moves = self.moves.values();
        moves
            .filter(|(it, _)| !it.progress().phase.is_over())
            .count()
    }

    fn forget_oldest(&mut self) {
        while self.moves.len() >= MOST_RUNNING + MOST_REMEMBERED {
            let mut moves = self.moves.iter();
            let over = moves.find(|(_, (it, _))| it.progress().phase.is_over());
            let Some(id) = over.map(|(id, _)| *id) else {
                return;
            };
            self.moves.remove(&id);
        }
    }
}

impl Broker {
    /// Starts a move. Waits for whoever has to be asked for permissions. `access` is what the user may do in the vhost; it counts until the move is over.
    ///
    /// # Errors
    /// 404 and 403 for queues and exchanges as for clients, 405 for exclusive queues, 406 for a filter that cannot be
    /// used and when too many moves are under way.
    pub fn start_move(
        &self,
        order: Order,
        access: Arc<Access>,
        clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    ) -> Result<Arc<Move>, Error> {
        let vhost = self.vhost(&order.vhost);
        let vhost =
            vhost.ok_or_else(|| Error::NotFound(format!("vhost '{}' not found", order.vhost)))?;
        access.decide(|| access.check(Operation::Read, Resource::Queue(&order.queue)))?;
        let source = vhost.existing_queue(&order.queue)?;
        vhost.check_exclusive(&source, NOBODY)?;
        access.decide(|| order.target.check(&vhost, &source, &access))?;
        let matcher = order.filter.clone().compile()?;
        let order = Arc::new(order);
        let tracker = Arc::new(Tracker::new());
        let mut registry = self.moves.0.lock();
        if registry.closed || registry.running() >= MOST_RUNNING {
            let text = format!("{MOST_RUNNING} moves are under way: wait for one, or cancel it");
            return Err(Error::PreconditionFailed(text));
        }
        registry.forget_oldest();
        registry.last += 1;
        let started = Arc::new(Move {
            id: registry.last,
            order: Arc::clone(&order),
            started: clock(),
            tracker: Arc::clone(&tracker),
        });
        let job = Job {
            order,
            matcher,
            vhost,
            source,
            access,
            store: Arc::clone(self.store()),
            clock,
            tracker,
        };
        tell_of_start(&started);
        let thread = thread::Builder::new()
            .name("mover".to_owned())
            .spawn(move || job.run())
            .map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))?;
        let known = (Arc::clone(&started), Some(thread));
        registry.moves.insert(started.id, known);
        Ok(started)
    }

    /// The moves that are under way, and the latest ones that are over, by their numbers.
    pub fn moves(&self) -> Vec<Arc<Move>> {
        let registry = self.moves.0.lock();
        let moves = registry.moves.values();
        moves.map(|(it, _)| Arc::clone(it)).collect()
    }

    /// The move with this number.
    pub fn find_move(&self, id: u64) -> Option<Arc<Move>> {
        let registry = self.moves.0.lock();
        registry.moves.get(&id).map(|(it, _)| Arc::clone(it))
    }
}

impl Moves {
    /// Ends all moves and waits for them: what they have begun is finished before the stores close.
    pub(crate) fn close(&self) {
        let mut registry = self.0.lock();
        registry.closed = true;
        let moves = registry.moves.values_mut();
        let threads: Vec<_> = moves
            .filter_map(|(it, thread)| {
                it.cancel();
                thread.take()
            })
            .collect();
        drop(registry);
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a move ended with a panic");
            }
        }
    }
}

fn tell_of_start(started: &Move) {
    let order = &started.order;
    let (by, vhost, queue, id) = (&*order.user, &*order.vhost, &order.queue, started.id);
    let (target, filter, dry_run) = (&order.target, &order.filter, order.dry_run);
    tracing::info!(target: "audit", by, vhost, queue, id, to = ?target, %filter, dry_run, "move begun");
}

#[cfg(test)]
mod tests;
