//! How many logins there were, and how they ended (RabbitMQ: `rabbit_core_metrics:auth_attempt_succeeded`).

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

/// How somebody tried to log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// Who tried to log in, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoginSource {
    /// The client's address.
    pub address: IpAddr,
    /// The user's name, as the client gave it.
    pub user: String,
    /// How.
    pub protocol: LoginProtocol,
}

/// Sources that are remembered at most: whoever makes up names must not fill the memory.
const MOST_SOURCES: usize = 2_000;

/// The longest name that is remembered, in characters.
const LONGEST_USER: usize = 255;

/// The attempts of all protocols since the start, or since they were reset.
#[derive(Debug, Default)]
pub struct LoginAttempts {
    protocols: [Counters; 2],
    sources: Mutex<Sources>,
}

#[derive(Debug, Default)]
struct Counters {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

/// The sources, each with the place of its last attempt among all.
#[derive(Debug, Default)]
struct Sources {
    known: HashMap<LoginSource, (Attempts, u64)>,
    attempts: u64,
}

impl Sources {
    fn count(&mut self, source: LoginSource, succeeded: bool) {
        self.attempts += 1;
        if self.known.len() >= MOST_SOURCES && !self.known.contains_key(&source) {
            self.forget_older_half();
        }
        let (attempts, last) = self.known.entry(source).or_default();
        *last = self.attempts;
        match succeeded {
            true => attempts.succeeded += 1,
            false => attempts.failed += 1,
        }
    }

    fn forget_older_half(&mut self) {
        let mut places: Vec<u64> = self.known.values().map(|(_, last)| *last).collect();
        let middle = places.len() / 2;
        let (_, median, _) = places.select_nth_unstable(middle);
        let median = *median;
        self.known.retain(|_, (_, last)| *last > median);
    }
}

impl LoginAttempts {
    /// Counts an attempt of somebody who gave this name.
    pub fn count(&self, protocol: LoginProtocol, address: IpAddr, user: &str, succeeded: bool) {
        let [amqp, http] = &self.protocols;
        let counters = match protocol {
            LoginProtocol::Amqp => amqp,
            LoginProtocol::Http => http,
        };
        let counter = match succeeded {
            true => &counters.succeeded,
            false => &counters.failed,
        };
        counter.fetch_add(1, Relaxed);
        let source = LoginSource {
            address: address.to_canonical(),
            user: user.chars().take(LONGEST_USER).collect(),
            protocol,
        };
        self.sources.lock().count(source, succeeded);
    }

    /// The attempts by protocol.
    pub fn all(&self) -> Vec<(LoginProtocol, Attempts)> {
        let each = self.protocols.iter().map(|counters| Attempts {
            succeeded: counters.succeeded.load(Relaxed),
            failed: counters.failed.load(Relaxed),
        });
        LoginProtocol::ALL.into_iter().zip(each).collect()
    }

    /// The attempts by source; of many sources those that tried lately.
    pub fn by_source(&self) -> Vec<(LoginSource, Attempts)> {
        let sources = self.sources.lock();
        let each = sources.known.iter();
        each.map(|(source, (attempts, _))| (source.clone(), *attempts))
            .collect()
    }

    /// Begins to count anew.
    pub fn reset(&self) {
        for counters in &self.protocols {
            counters.succeeded.store(0, Relaxed);
            counters.failed.store(0, Relaxed);
        }
        self.sources.lock().known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_that_are_made_up_push_each_other_out() {
        let attempts = LoginAttempts::default();
        let here = IpAddr::from([192, 0, 2, 1]);
        for number in 0..5 * MOST_SOURCES {
            let name = format!("user{number}");
            attempts.count(LoginProtocol::Amqp, here, &name, false);
            attempts.count(LoginProtocol::Http, here, "app", true);
        }
        let sources = attempts.by_source();
        assert!(sources.len() <= MOST_SOURCES, "{}", sources.len());
        let app = sources.iter().find(|(source, _)| source.user == "app");
        let succeeded = 5 * MOST_SOURCES as u64;
        assert_eq!(
            app.unwrap().1,
            Attempts {
                succeeded,
                failed: 0
            }
        );
        attempts.reset();
        assert!(attempts.by_source().is_empty());
    }
}
