//! Permissions that somebody outside of the broker decides on.
//!
//! Whoever checks them cannot wait: a connection serves many channels, and its thread many connections. A question
//! without an answer is therefore refused for the time being and noted. Whoever can wait takes it
//! ([`Access::take_inquiry`]), asks it, brings the answer ([`Access::learn`]) and has everything done again from the
//! start.

use std::sync::Arc;

use parking_lot::Mutex;

use super::{About, Access, Answer, Authoriser, Operation, Question};
use crate::{authentication::Identity, queue::Millis};

/// The rules of somebody outside, for one user in one vhost.
#[derive(Debug)]
pub(super) struct External {
    identity: Arc<Identity>,
    authoriser: Arc<dyn Authoriser>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Answers for what is being done now. Beyond it the authoriser is asked again, who may have them at hand.
    answers: Vec<(Question, Answer)>,
    /// What was asked and has no answer yet.
    open: Option<Question>,
}

/// A question that somebody has to be asked who may take their time.
#[derive(Debug, Clone)]
pub struct Inquiry {
    identity: Arc<Identity>,
    authoriser: Arc<dyn Authoriser>,
    question: Question,
}

/// A question with its answer.
#[derive(Debug)]
pub struct Answered {
    question: Question,
    answer: Answer,
}

impl Inquiry {
    /// Asks. May wait for others.
    pub fn ask(self) -> Answered {
        let answer = self.authoriser.answer(&self.identity, &self.question);
        Answered {
            question: self.question,
            answer,
        }
    }
}

impl External {
    pub(super) fn new(identity: &Arc<Identity>, authoriser: &Arc<dyn Authoriser>) -> Self {
        Self {
            identity: Arc::clone(identity),
            authoriser: Arc::clone(authoriser),
            state: Mutex::default(),
        }
    }

    pub(super) fn backend(&self) -> &'static str {
        self.authoriser.backend()
    }

    /// The answer; a refusal if it is not known yet.
    pub(super) fn answer(&self, vhost: &Arc<str>, about: About) -> Answer {
        let question = Question {
            vhost: Arc::clone(vhost),
            about,
        };
        let mut state = self.state.lock();
        let known = state.answers.iter().find(|(asked, _)| *asked == question);
        if let Some((_, answer)) = known {
            return answer.clone();
        }
        match self.authoriser.answer_now(&self.identity, &question) {
            Some(answer) => answer,
            None => {
                state.open = Some(question);
                Answer::Refused
            }
        }
    }
}

impl Access {
    /// The question without an answer, because of which something was refused that may yet be allowed.
    pub fn take_inquiry(&self) -> Option<Inquiry> {
        let external = self.external()?;
        let question = external.state.lock().open.take()?;
        Some(Inquiry {
            identity: Arc::clone(&external.identity),
            authoriser: Arc::clone(&external.authoriser),
            question,
        })
    }

    /// Whether something was refused only because nobody knows the answer yet.
    pub fn has_open_question(&self) -> bool {
        let external = self.external();
        external.is_some_and(|external| external.state.lock().open.is_some())
    }

    /// The name that was chosen for a queue when it was asked whether it may be declared: what is done again has to be
    /// about the same one.
    pub(crate) fn queue_asked_for(&self) -> Option<String> {
        let state = self.external()?.state.lock();
        let mut asked = state.answers.iter().map(|(question, _)| &question.about);
        asked.find_map(|about| match about {
            About::Resource {
                kind: "queue",
                name,
                operation: Operation::Configure,
            } => Some(name.clone()),
            _ => None,
        })
    }

    /// Takes an answer, for what is done next.
    pub fn learn(&self, answered: Answered) {
        if let Some(external) = self.external() {
            let Answered { question, answer } = answered;
            external.state.lock().answers.push((question, answer));
        }
    }

    /// What was asked for is done: the next time is another time.
    #[inline]
    pub fn forget_answers(&self) {
        if let Some(external) = self.external() {
            external.state.lock().answers.clear();
        }
    }

    /// For how many milliseconds what is allowed stays so; `None` if for as long as the generation does not move.
    pub fn answers_count_for(&self) -> Option<Millis> {
        self.external()?.authoriser.answers_count_for()
    }

    /// Does something that has to be permitted, and waits for the answers that it needs.
    ///
    /// # Errors
    /// What `attempt` comes to once nothing is open any more.
    pub fn decide<T, E>(&self, mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        loop {
            let outcome = attempt();
            match self.take_inquiry() {
                Some(inquiry) if outcome.is_err() => self.learn(inquiry.ask()),
                _ => {
                    self.forget_answers();
                    return outcome;
                }
            }
        }
    }
}
