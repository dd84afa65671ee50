//! What the HTTP API sees of the broker.

use std::{net::IpAddr, sync::Arc};

use broker_core::{alarms::Resource, broker::Broker as Core};
use management_api::{Broker, Listener, ObjectTotals, Overview};

use crate::protocol::authorization::may_log_in_from;

/// This broker, for the HTTP API.
pub struct Node {
    /// The node's name.
    pub name: String,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// The core.
    pub core: Arc<Core>,
    /// Users that may log in from this machine only.
    pub loopback_users: Vec<String>,
}

impl Broker for Node {
    fn log_in(&self, user: &str, password: &str, peer: IpAddr) -> bool {
        may_log_in_from(peer, user, &self.loopback_users)
            && self.core.authenticate(user, password.as_bytes())
    }

    fn overview(&self) -> Overview {
        let totals = self.core.totals();
        Overview {
            node: self.name.clone(),
            cluster_name: self.name.clone(),
            object_totals: ObjectTotals {
                connections: totals.connections as u64,
                channels: totals.channels as u64,
                exchanges: totals.exchanges as u64,
                queues: totals.queues as u64,
                consumers: totals.consumers as u64,
            },
            listeners: self.listeners.clone(),
        }
    }

    fn alarms(&self) -> Vec<&'static str> {
        self.core.alarms().resources().map(Resource::name).collect()
    }
}
