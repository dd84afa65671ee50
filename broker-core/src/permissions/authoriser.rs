//! Questions to those outside of the broker who know what a user may do, and their answers.

use std::{fmt, net::IpAddr, sync::Arc};

use super::Operation;
use crate::{
    authentication::{Identity, NotRenewed},
    queue::Millis,
};

/// What a user wants to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Question {
    /// The vhost in which it is to be done.
    pub vhost: Arc<str>,
    /// What it is about.
    pub about: About,
}

/// What a question is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum About {
    /// The vhost itself: may it be opened from this address?
    Vhost(Option<IpAddr>),
    /// A queue or exchange.
    Resource {
        /// `queue` or `exchange`.
        kind: &'static str,
        /// Its name, the default exchange being `amq.default`.
        name: String,
        /// What is done with it.
        operation: Operation,
    },
    /// A routing key of a topic exchange.
    Topic {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
        /// Publishing is writing, binding is reading.
        operation: Operation,
    },
}

/// What somebody outside says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Allowed,
    /// No.
    Refused,
    /// No, and the client is told why.
    RefusedBecause(String),
    /// Nothing that one could understand, or nothing at all: this is why, for the client too.
    Failed(String),
}

/// What a new secret gives.
#[derive(Debug)]
pub struct Renewal {
    /// The user's tags from now on.
    pub tags: Vec<String>,
    /// Who says from now on what the user may do.
    pub authoriser: Arc<dyn Authoriser>,
}

/// Somebody outside of the broker who knows what one user may do (RabbitMQ: `rabbit_authz_backend`).
pub trait Authoriser: Send + Sync + fmt::Debug {
    /// Its name in reply texts, which is that of RabbitMQ's module.
    fn backend(&self) -> &'static str;

    /// The answer, if it takes no time.
    fn answer_now(&self, user: &Identity, question: &Question) -> Option<Answer>;

    /// The answer. May wait for others.
    fn answer(&self, user: &Identity, question: &Question) -> Answer;

    /// For how many milliseconds an answer counts; `None` if it never changes.
    fn answers_count_for(&self) -> Option<Millis>;

    /// When the login ends by itself, in seconds since 1970.
    fn expires_at(&self) -> Option<u64> {
        None
    }

    /// Takes a new secret. May wait for others.
    ///
    /// # Errors
    /// It is not good, or another user's, or this is nobody whose secrets end.
    fn renew(&self, secret: &[u8]) -> Result<Renewal, NotRenewed>;
}
