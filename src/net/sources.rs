//! How many connections each client address has, those that have not logged in included.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use broker_core::users::network_of;
use parking_lot::Mutex;

/// The connections of each address, and how many there may be.
#[derive(Debug)]
pub struct Sources {
    /// 0 for any number; then nothing is counted.
    limit: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct Counted(Option<(Arc<Sources>, IpAddr)>);

impl Sources {
    /// Nothing counted yet.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            counts: Mutex::default(),
        })
    }

    /// Counts a connection from this address; `None` if there are as many as there may be.
    pub fn count(self: &Arc<Self>, address: IpAddr) -> Option<Counted> {
        if self.limit == 0 {
            return Some(Counted(None));
        }
        let network = network_of(address);
        let mut counts = self.counts.lock();
        let count = counts.entry(network).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Counted(Some((Arc::clone(self), network))))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Some((sources, network)) = &self.0 else {
            return;
        };
        let mut counts = sources.counts.lock();
        if let Some(count) = counts.get_mut(network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_as_many_connections_as_it_may() {
        let sources = Sources::new(2);
        let here = "192.0.2.1".parse().unwrap();
        let first = sources.count(here).unwrap();
        let _second = sources.count(here).unwrap();
        assert!(sources.count(here).is_none());
        assert!(sources.count("192.0.2.2".parse().unwrap()).is_some());
        drop(first);
        assert!(sources.count(here).is_some());
    }

    #[test]
    fn what_is_not_limited_is_not_counted() {
        let sources = Sources::new(0);
        let here = "192.0.2.1".parse().unwrap();
        let _first = sources.count(here).unwrap();
        assert!(sources.counts.lock().is_empty());
    }
}
