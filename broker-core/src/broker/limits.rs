//! How many connections, channels and queues there may be, and how many there are (RabbitMQ: `rabbit_vhost_limit`,
//! "Per-User Resource Limits"). Texts are those of `rabbit_reader` and `rabbit_queue_type`.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::Broker;
use crate::{
    Error,
    definitions::{Change, Kind, UserLimitsDefinition, VhostLimitsDefinition},
    store::Ticket,
};

/// Who has how many connections.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    vhosts: HashMap<Arc<str>, usize>,
    users: HashMap<Arc<str>, OfUser>,
}

#[derive(Debug, Default)]
struct OfUser {
    connections: usize,
    channels: Arc<AtomicU64>,
}

/// The place of an open connection among those that are counted, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    user: Arc<str>,
    vhost: Arc<str>,
    /// Open channels of this connection.
    own_channels: AtomicU64,
    /// Those of all connections of the user.
    channels: Arc<AtomicU64>,
}

impl Place {
    /// Counts a channel that was opened (1) or closed (-1).
    pub fn count_channels(&self, change: i64) {
        let change = change.cast_unsigned();
        self.own_channels.fetch_add(change, Ordering::Relaxed);
        self.channels.fetch_add(change, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let open = *self.own_channels.get_mut();
        self.channels.fetch_sub(open, Ordering::Relaxed);
        let mut counts = self.places.0.lock();
        counts.total = counts.total.saturating_sub(1);
        if let Some(count) = counts.vhosts.get_mut(&self.vhost) {
            *count -= 1;
            if *count == 0 {
                counts.vhosts.remove(&self.vhost);
            }
        }
        if let Some(of_user) = counts.users.get_mut(&self.user) {
            of_user.connections -= 1;
            if of_user.connections == 0 {
                counts.users.remove(&self.user);
            }
        }
    }
}

/// A limit as it counts; `None` is no limit.
fn limit(value: Option<i64>) -> Option<usize> {
    value.and_then(|value| usize::try_from(value).ok())
}

impl Broker {
    /// Gives a connection its place. `node_limit` is the most connections of the whole broker, 0 for any number.
    ///
    /// # Errors
    /// 530: there are as many as there may be, or there is no such vhost.
    pub fn admit(
        &self,
        user: &Arc<str>,
        vhost: &Arc<str>,
        node_limit: usize,
    ) -> Result<Place, Error> {
        let of_vhost = self
            .vhost_limits(vhost)
            .and_then(|l| limit(l.max_connections));
        let of_user = self
            .user_limits(user)
            .and_then(|l| limit(l.max_connections));
        let mut counts = self.places.0.lock();
        if node_limit > 0 && counts.total >= node_limit {
            return Err(Error::NotAllowed(format!(
                "connection refused: node connection limit ({node_limit}) is reached"
            )));
        }
        if let Some(limit) = of_vhost
            && counts.vhosts.get(vhost).copied().unwrap_or(0) >= limit
        {
            return Err(Error::NotAllowed(format!(
                "access to vhost '{vhost}' refused for user '{user}': connection limit ({limit}) is reached"
            )));
        }
        if let Some(limit) = of_user
            && counts.users.get(user).map_or(0, |user| user.connections) >= limit
        {
            return Err(Error::NotAllowed(format!(
                "connection refused for user '{user}': user connection limit ({limit}) is reached"
            )));
        }
        counts.total += 1;
        *counts.vhosts.entry(Arc::clone(vhost)).or_default() += 1;
        let counted = counts.users.entry(Arc::clone(user)).or_default();
        counted.connections += 1;
        Ok(Place {
            places: Arc::clone(&self.places),
            user: Arc::clone(user),
            vhost: Arc::clone(vhost),
            own_channels: AtomicU64::new(0),
            channels: Arc::clone(&counted.channels),
        })
    }

    /// Checks that a user may open one more channel.
    ///
    /// # Errors
    /// 530: there are as many as there may be.
    pub fn check_channel_limit(&self, place: &Place) -> Result<(), Error> {
        let user = &place.user;
        let limit = self.user_limits(user).and_then(|l| limit(l.max_channels));
        match limit {
            Some(limit) if place.channels.load(Ordering::Relaxed) >= limit as u64 => {
                Err(Error::NotAllowed(format!(
                    "number of channels opened for user '{user}' has reached the maximum allowed user limit of {limit}"
                )))
            }
            _ => Ok(()),
        }
    }

    /// What a vhost may hold at most, if that is limited.
    pub fn vhost_limits(&self, vhost: &str) -> Option<VhostLimitsDefinition> {
        let key = VhostLimitsDefinition::key_of(vhost);
        let definition = self.definitions().get(Kind::VhostLimits, &key)?;
        definition.record().ok()
    }

    /// What a user may open at most, if that is limited.
    pub fn user_limits(&self, user: &str) -> Option<UserLimitsDefinition> {
        let key = UserLimitsDefinition::key_of(user);
        let definition = self.definitions().get(Kind::UserLimits, &key)?;
        definition.record().ok()
    }

    /// Limits a vhost; what is there already stays. Without any number the limits are lifted.
    ///
    /// # Errors
    /// 404: no such vhost.
    pub fn set_vhost_limits(
        &self,
        limits: &VhostLimitsDefinition,
        by: &str,
    ) -> Result<Ticket, Error> {
        let VhostLimitsDefinition {
            vhost,
            max_connections,
            max_queues,
        } = limits;
        let _turn = self.accounts.turn.lock();
        self.check_vhost_exists(vhost)?;
        let change = match (max_connections, max_queues) {
            (None, None) => Change::delete(Kind::VhostLimits, VhostLimitsDefinition::key_of(vhost)),
            _ => Change::put(limits)?,
        };
        let ticket = self.definitions().apply(vec![change])?;
        tracing::info!(target: "audit", by, vhost, max_connections, max_queues, "vhost limits set");
        Ok(ticket)
    }

    /// Limits a user; what is open already stays. Without any number the limits are lifted.
    ///
    /// # Errors
    /// 404: no such user.
    pub fn set_user_limits(
        &self,
        limits: &UserLimitsDefinition,
        by: &str,
    ) -> Result<Ticket, Error> {
        let UserLimitsDefinition {
            user,
            max_connections,
            max_channels,
        } = limits;
        let _turn = self.accounts.turn.lock();
        self.existing_user(user)?;
        let change = match (max_connections, max_channels) {
            (None, None) => Change::delete(Kind::UserLimits, UserLimitsDefinition::key_of(user)),
            _ => Change::put(limits)?,
        };
        let ticket = self.definitions().apply(vec![change])?;
        tracing::info!(target: "audit", by, user, max_connections, max_channels, "user limits set");
        Ok(ticket)
    }
}
