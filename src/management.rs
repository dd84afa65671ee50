//! What the HTTP API sees of the broker.

use std::net::IpAddr;

use management_api::{Broker, Listener, ObjectTotals, Overview};

/// This broker, for the HTTP API.
#[derive(Debug)]
pub struct Node {
    /// The node's name.
    pub name: String,
    /// Where it listens.
    pub listeners: Vec<Listener>,
}

impl Broker for Node {
    /// Nobody yet: there are no users.
    fn log_in(&self, _user: &str, _password: &str, _peer: IpAddr) -> bool {
        false
    }

    fn overview(&self) -> Overview {
        Overview {
            node: self.name.clone(),
            cluster_name: self.name.clone(),
            object_totals: ObjectTotals::default(),
            listeners: self.listeners.clone(),
        }
    }
}
