//! Failed logins by source address: whoever guesses passwords is answered later and later.
//!
//! A refusal is held back for a time that doubles with each failure of the same address, and an address can have only
//! so many refusals held back at once; what it tries beyond that is not even looked at. Both together bound the guesses
//! per second whatever the number of connections. A refusal counts for its whole time, also when the client does not wait
//! for it: right passwords are answered at once, so no answer is an answer. Where a check takes time, many could begin
//! before the first one fails; so those that are under way count as well once an address has failed too often. Logins
//! that are right are never held up, so a neighbour behind the same address translation can still work. Failures are
//! forgiven with time.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
};

use parking_lot::Mutex;

use crate::queue::Millis;

/// How long every refusal is held back at least. It is longer than any comparison of a password takes, so that the time
/// to the answer does not tell whether there is such a user.
const SHORTEST: Millis = 100;

/// How long a refusal is held back at most: less than a login may take.
const LONGEST: Millis = 5_000;

/// Failures that cost nothing more: people mistype.
const FREE: u32 = 5;

/// One failure is forgiven in this time.
const FORGIVEN: Millis = 5_000;

/// Refusals of one address that are held back at once.
const HELD: usize = 16;

/// Refusals of one address whose times are remembered. More than [`HELD`] come only from what was under way together.
const REMEMBERED: usize = 256;

/// Addresses that are remembered at most.
const CAPACITY: usize = 20_000;

#[derive(Debug, Default)]
struct Source {
    failures: u32,
    /// When `failures` was right.
    at: Millis,
    /// When the last one was.
    last: Millis,
    /// Until when refusals are held back.
    held: Vec<Millis>,
    /// Checks that are under way.
    asking: usize,
}

impl Source {
    fn held(&self, now: Millis) -> usize {
        self.held.iter().filter(|until| now < **until).count()
    }

    fn hold(&mut self, until: Millis, now: Millis) {
        self.held.retain(|until| now < *until);
        if self.held.len() < REMEMBERED {
            self.held.push(until);
        }
    }

    /// Whether there is nothing to remember.
    fn is_forgotten(&self, now: Millis) -> bool {
        self.failures == 0 && self.asking == 0 && self.held(now) == 0
    }

    fn forgive(&mut self, now: Millis) {
        let forgiven = now.saturating_sub(self.at) / FORGIVEN;
        self.failures = self
            .failures
            .saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
        self.at += forgiven * FORGIVEN;
    }

    fn delay(&self) -> Millis {
        let doublings = self.failures.saturating_sub(FREE).min(16);
        (SHORTEST << doublings).min(LONGEST)
    }
}

/// Who failed how often.
#[derive(Debug, Default)]
pub struct LoginFailures {
    sources: Mutex<HashMap<IpAddr, Source>>,
}

/// A check that takes time, until it is dropped.
#[derive(Debug)]
pub struct Asking<'a> {
    failures: &'a LoginFailures,
    network: IpAddr,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut sources = self.failures.sources.lock();
        if let Some(source) = sources.get_mut(&self.network) {
            source.asking = source.asking.saturating_sub(1);
            if source.is_forgotten(source.last) {
                sources.remove(&self.network);
            }
        }
    }
}

impl LoginFailures {
    /// Whether a login from there is looked at: not while as many refusals as possible are held back.
    pub fn admits(&self, address: IpAddr, now: Millis) -> bool {
        let sources = self.sources.lock();
        let source = sources.get(&network_of(address));
        source.is_none_or(|source| source.held(now) < HELD)
    }

    /// Begins a check that takes time: `None` if it is not looked at. Of an address that has failed too often, those
    /// under way count like refusals that are held back.
    pub fn begin(&self, address: IpAddr, now: Millis) -> Option<Asking<'_>> {
        let network = network_of(address);
        let mut sources = self.sources.lock();
        if sources.len() >= CAPACITY {
            make_room(&mut sources, now);
        }
        let source = sources.entry(network).or_default();
        source.forgive(now);
        let counted = match source.failures > FREE {
            true => source.held(now) + source.asking,
            false => source.held(now),
        };
        if counted >= HELD {
            return None;
        }
        source.asking += 1;
        Some(Asking {
            failures: self,
            network,
        })
    }

    /// Whether the last failure of this address is so short ago that a refusal would still be held back: for callers
    /// that cannot hold one back.
    pub fn is_delayed(&self, address: IpAddr, now: Millis) -> bool {
        let sources = self.sources.lock();
        let source = sources.get(&network_of(address));
        source.is_some_and(|source| source.failures > FREE && now < source.last + source.delay())
    }

    /// A login failed: says when the client is to be told. Until then the refusal counts as held back, whether the
    /// client waits for it or not.
    pub fn failed(&self, address: IpAddr, now: Millis) -> Millis {
        let mut sources = self.sources.lock();
        if sources.len() >= CAPACITY {
            make_room(&mut sources, now);
        }
        let source = sources.entry(network_of(address)).or_default();
        source.forgive(now);
        if source.failures == 0 {
            source.at = now;
        }
        source.last = now;
        source.failures = source.failures.saturating_add(1);
        let until = now + source.delay();
        source.hold(until, now);
        until
    }
}

/// Forgets the addresses that are forgiven, and if there are none, those that nothing is held back or asked for.
fn make_room(sources: &mut HashMap<IpAddr, Source>, now: Millis) {
    sources.retain(|_, source| {
        source.forgive(now);
        !source.is_forgotten(now)
    });
    if sources.len() >= CAPACITY {
        sources.retain(|_, source| source.asking > 0 || source.held(now) > 0);
    }
}

/// What counts as one address: itself, or its /64 with IPv6, which is what a household or a server has.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "192.0.2.1";

    fn failed(failures: &LoginFailures, address: &str, now: Millis) -> Millis {
        failures.failed(address.parse().unwrap(), now) - now
    }

    #[test]
    fn refusals_come_later_with_each_failure_up_to_a_bound() {
        let failures = LoginFailures::default();
        let delays: Vec<_> = (0..13).map(|_| failed(&failures, HERE, 0)).collect();
        let expected = [
            100, 100, 100, 100, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000,
        ];
        assert_eq!(delays, expected);
        assert_eq!(failed(&failures, "192.0.2.2", 0), 100);
    }

    #[test]
    fn failures_are_forgiven_with_time() {
        let failures = LoginFailures::default();
        for _ in 0..10 {
            failed(&failures, HERE, 0);
        }
        assert_eq!(failed(&failures, HERE, 1), 5000);
        assert_eq!(failed(&failures, HERE, 11 * FORGIVEN + 1), 100);
    }

    #[test]
    fn guesses_are_bounded_whatever_the_number_of_connections() {
        let failures = LoginFailures::default();
        let address = HERE.parse().unwrap();
        let mut guesses = 0;
        // Nobody waits for the refusal.
        for now in (0..600_000).step_by(10) {
            while failures.admits(address, now) {
                guesses += 1;
                failures.failed(address, now);
            }
        }
        assert!(guesses < 2100, "{guesses} guesses in ten minutes");
        assert!(failures.admits(address, 700_000));
    }

    #[test]
    fn guesses_that_are_under_way_together_are_bounded_once_some_have_failed() {
        let failures = LoginFailures::default();
        let address = HERE.parse().unwrap();
        // Whoever has not failed may log in many times at once.
        let many: Vec<_> = (0..100).map(|_| failures.begin(address, 0)).collect();
        assert!(many.iter().all(Option::is_some));
        drop(many);
        assert!(failures.sources.lock().is_empty());
        for _ in 0..=FREE {
            failures.failed(address, 0);
        }
        let under_way: Vec<_> = (0..100)
            .filter_map(|_| failures.begin(address, 1000))
            .collect();
        assert_eq!(under_way.len(), HELD);
        assert!(failures.begin("192.0.2.2".parse().unwrap(), 0).is_some());
        drop(under_way);
        assert!(failures.begin(address, 1000).is_some());
    }

    #[test]
    fn who_cannot_be_answered_later_is_refused_for_as_long() {
        let failures = LoginFailures::default();
        let address = HERE.parse().unwrap();
        for _ in 0..FREE {
            failed(&failures, HERE, 0);
            assert!(!failures.is_delayed(address, 0));
        }
        failed(&failures, HERE, 0);
        assert!(failures.is_delayed(address, 199));
        assert!(!failures.is_delayed(address, 200));
    }

    #[test]
    fn neighbours_in_a_network_of_ipv6_count_as_one() {
        let failures = LoginFailures::default();
        for host in 0..10 {
            failed(&failures, &format!("2001:db8::{host:x}"), 0);
        }
        assert_eq!(failed(&failures, "2001:db8::ffff", 0), 5000);
        assert_eq!(failed(&failures, "2001:db8:0:1::1", 0), 100);
        for _ in 0..10 {
            failed(&failures, "::ffff:192.0.2.1", 0);
        }
        assert_eq!(failed(&failures, HERE, 0), 5000);
    }

    #[test]
    fn memory_is_bounded_whatever_the_number_of_addresses() {
        let failures = LoginFailures::default();
        let under_way = failures.begin(HERE.parse().unwrap(), 0);
        for number in 0..3 * CAPACITY {
            let address = std::net::Ipv4Addr::from(number as u32).to_string();
            failed(&failures, &address, number as Millis);
        }
        assert!(failures.sources.lock().len() <= CAPACITY);
        // What is under way is not forgotten.
        let network = HERE.parse().unwrap();
        assert_eq!(failures.sources.lock()[&network].asking, 1);
        drop(under_way);
    }
}
