//! How many logins there were, and how they ended (RabbitMQ: `rabbit_core_metrics:auth_attempt_succeeded`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How somebody tried to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginProtocol {
    /// By AMQP 0-9-1.
    Amqp,
    /// By a request of the HTTP API.
    Http,
}

impl LoginProtocol {
    const ALL: [Self; 2] = [Self::Amqp, Self::Http];

    /// RabbitMQ's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amqp => "amqp091",
            Self::Http => "http",
        }
    }
}

/// The attempts of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attempts {
    /// Those that were let in.
    pub succeeded: u64,
    /// Those that were not.
    pub failed: u64,
}

/// The attempts of all protocols since the start, or since they were reset.
#[derive(Debug, Default)]
pub struct LoginAttempts([Counters; 2]);

#[derive(Debug, Default)]
struct Counters {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl LoginAttempts {
    /// Counts an attempt.
    pub fn count(&self, protocol: LoginProtocol, succeeded: bool) {
        let [amqp, http] = &self.0;
        let counters = match protocol {
            LoginProtocol::Amqp => amqp,
            LoginProtocol::Http => http,
        };
        let counter = match succeeded {
            true => &counters.succeeded,
            false => &counters.failed,
        };
        counter.fetch_add(1, Relaxed);
    }

    /// The attempts by protocol.
    pub fn all(&self) -> Vec<(LoginProtocol, Attempts)> {
        let each = self.0.iter().map(|counters| Attempts {
            succeeded: counters.succeeded.load(Relaxed),
            failed: counters.failed.load(Relaxed),
        });
        LoginProtocol::ALL.into_iter().zip(each).collect()
    }

    /// Begins to count anew.
    pub fn reset(&self) {
        for counters in &self.0 {
            counters.succeeded.store(0, Relaxed);
            counters.failed.store(0, Relaxed);
        }
    }
}
