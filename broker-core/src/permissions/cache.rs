//! Compiled permissions, shared by the connections of a user, and the number that moves when one changes.

use std::{
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;

use super::Access;
use crate::{
    authentication::Identity,
    broker::Broker,
    definitions::{Event, Kind, Watcher},
};

/// Compiled permissions that are kept at most: beyond it they are all let go, and come back as they are asked for.
const CAPACITY: usize = 10_000;

/// The permissions in use, by user and vhost.
#[derive(Debug, Default)]
pub(crate) struct AccessCache {
    generation: AtomicU64,
    compiled: DashMap<(Arc<str>, Arc<str>), Arc<Access>>,
}

impl Broker {
    /// Moves with every change of users and permissions; an [`Access`] made under another value is stale.
    #[inline]
    pub fn access_generation(&self) -> u64 {
        self.access.generation.load(Ordering::Acquire)
    }

    /// Whether a user of the broker's own has permissions in the vhost at all.
    pub fn may_access(&self, user: &str, vhost: &str) -> bool {
        let access = self.access(&user.into(), &vhost.into());
        access.check_vhost(None).is_ok()
    }

    /// Whether somebody may open the vhost from this address. Waits for whoever has to be asked.
    pub fn may_open(&self, identity: &Arc<Identity>, vhost: &Arc<str>, peer: IpAddr) -> bool {
        let access = self.access_of(identity, vhost);
        access.decide(|| access.check_vhost(Some(peer))).is_ok()
    }

    /// What somebody who has logged in may do in a vhost.
    pub fn access_of(&self, identity: &Arc<Identity>, vhost: &Arc<str>) -> Arc<Access> {
        if identity.is_internal() && self.has_internal_users_only() {
            return self.access(identity.name(), vhost);
        }
        let generation = self.access_generation();
        Arc::new(Access::of(self, identity, vhost, generation))
    }

    /// What a user of the broker's own may do in a vhost.
    pub fn access(&self, user: &Arc<str>, vhost: &Arc<str>) -> Arc<Access> {
        let key = (Arc::clone(user), Arc::clone(vhost));
        // Read first: what is loaded then is at least as new.
        let generation = self.access_generation();
        if let Some(known) = self.access.compiled.get(&key)
            && known.generation() == generation
        {
            return Arc::clone(&known);
        }
        let access = Arc::new(Access::load(self, user, vhost, generation));
        if self.access.compiled.len() >= CAPACITY {
            self.access.compiled.clear();
        }
        self.access.compiled.insert(key, Arc::clone(&access));
        access
    }

    /// Lets changes of users and permissions take effect, whoever makes them.
    pub(crate) fn watch_permissions(self: &Arc<Self>) {
        let watcher = PermissionWatcher(Arc::downgrade(self));
        self.definitions().watch(Arc::new(watcher));
    }
}

/// Moves the generation with every change.
struct PermissionWatcher(Weak<Broker>);

impl Watcher for PermissionWatcher {
    fn changed(&self, event: &Event) {
        let concerned = matches!(
            event.kind,
            Kind::User | Kind::Permission | Kind::TopicPermission
        );
        if concerned && let Some(broker) = self.0.upgrade() {
            broker.access.generation.fetch_add(1, Ordering::AcqRel);
            // Publishers look at the vhost's generation only, once for each message.
            for vhost in broker.vhosts() {
                vhost.changed();
            }
        }
    }
}
