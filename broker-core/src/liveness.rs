//! Whether the client of a connection is still there, for others who need to know now.
//!
//! A client whose connection was cut may be back before the task of its old connection has run and noticed. What the
//! old connection holds exclusively is then still locked, though nobody holds it any more. Whoever meets such a lock
//! asks ([`Liveness::ask`]); the owner's task looks at its socket and either says that the client is there
//! ([`Liveness::answer`]) or ends ([`Liveness::end`]), and both wake those who asked.

use std::{sync::Arc, task::Waker};

use parking_lot::Mutex;

use crate::{
    outbox::Outbox,
    store::{Completion, Ticket},
};

/// Questions to one connection about its client, and their answers.
#[derive(Debug, Default)]
pub struct Liveness {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Of the connection's task.
    waker: Option<Waker>,
    askers: Vec<Arc<Outbox>>,
    /// How often the answer was that the client is there.
    answers: u64,
    ended: bool,
}

/// Names a question: it is answered when there is one more answer than there was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question(u64);

impl Liveness {
    /// Asks the connection's task to look at its socket; `asker` is woken when there is an answer. `None` when the
    /// connection has ended.
    pub fn ask(&self, asker: Arc<Outbox>) -> Option<Question> {
        let mut inner = self.inner.lock();
        if inner.ended {
            return None;
        }
        inner.askers.push(asker);
        let question = Question(inner.answers);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(question)
    }

    /// Whether the client was there, or the connection has ended, since this was asked.
    pub fn is_answered(&self, question: Question) -> bool {
        let inner = self.inner.lock();
        inner.ended || inner.answers > question.0
    }

    /// For the connection's task: true when somebody asks. In any case `waker` is called when somebody asks later.
    pub fn poll_asked(&self, waker: &Waker) -> bool {
        let mut inner = self.inner.lock();
        if !inner.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            inner.waker = Some(waker.clone());
        }
        !inner.askers.is_empty()
    }

    /// For the connection's task: the client is there.
    pub fn answer(&self) {
        let mut inner = self.inner.lock();
        inner.answers += 1;
        wake(inner);
    }

    /// The connection has ended and holds nothing any more.
    pub fn end(&self) {
        let mut inner = self.inner.lock();
        inner.ended = true;
        inner.waker = None;
        wake(inner);
    }
}

fn wake(mut inner: parking_lot::MutexGuard<'_, Inner>) {
    let askers = std::mem::take(&mut inner.askers);
    drop(inner);
    for asker in askers {
        asker.durable(Ticket::NONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_once_the_client_was_seen_after_it() {
        let liveness = Liveness::default();
        liveness.answer();
        let asker = Outbox::new();
        let question = liveness.ask(Arc::clone(&asker)).unwrap();
        assert!(liveness.poll_asked(Waker::noop()));
        assert!(!liveness.is_answered(question));
        assert!(!asker.poll_durable(Waker::noop()));
        liveness.answer();
        assert!(liveness.is_answered(question));
        assert!(asker.poll_durable(Waker::noop()));
        assert!(!liveness.poll_asked(Waker::noop()));
    }

    #[test]
    fn the_end_of_the_connection_answers_too() {
        let liveness = Liveness::default();
        let asker = Outbox::new();
        let question = liveness.ask(Arc::clone(&asker)).unwrap();
        liveness.end();
        assert!(liveness.is_answered(question));
        assert!(asker.poll_durable(Waker::noop()));
        assert_eq!(liveness.ask(asker), None);
    }
}
