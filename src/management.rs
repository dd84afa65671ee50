//! What the HTTP API sees of the broker.

use std::{net::IpAddr, sync::Arc};

use broker_core::{alarms::Resource, broker::Broker as Core};
use management_api::{Broker, Listener, ObjectTotals, Overview, StoreKind};
use tokio::task::block_in_place;

use crate::clock::Clock;
use crate::protocol::authorization::may_log_in_from;

/// This broker, for the HTTP API.
pub struct Node {
    /// The node's name.
    pub name: String,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// What keeps persistent messages.
    pub store: StoreKind,
    /// The core.
    pub core: Arc<Core>,
    /// The time.
    pub clock: Clock,
    /// Users that may log in from this machine only.
    pub loopback_users: Vec<String>,
}

impl Node {
    fn password_is_right(&self, user: &str, password: &str) -> bool {
        let password = password.as_bytes();
        let checked = self.core.authenticate_now(user, password);
        // Slow by design: other tasks of this thread go on elsewhere meanwhile.
        checked.unwrap_or_else(|| block_in_place(|| self.core.authenticate(user, password)))
    }
}

impl Broker for Node {
    fn log_in(&self, user: &str, password: &str, peer: IpAddr) -> bool {
        let failures = self.core.login_failures();
        let now = self.clock.now();
        if !failures.admits(peer) || failures.is_delayed(peer, now) {
            return false;
        }
        let right = may_log_in_from(peer, user, &self.loopback_users)
            && self.password_is_right(user, password);
        if !right {
            tracing::warn!(target: "audit", %peer, user, mechanism = "HTTP", "login refused");
            failures.failed(peer, now);
            failures.released(peer);
        }
        right
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
            store: self.store.clone(),
        }
    }

    fn alarms(&self) -> Vec<&'static str> {
        self.core.alarms().resources().map(Resource::name).collect()
    }
}
