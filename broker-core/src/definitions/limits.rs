//! Limits of vhosts and users, in the words of RabbitMQ's definitions file. A negative number is no limit.

use serde::{Deserialize, Serialize};

use super::{Kind, Record, key};

/// What a vhost may hold at most.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VhostLimitsDefinition {
    /// The vhost.
    pub vhost: String,
    /// Open connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queues: Option<i64>,
}

/// What a user may open at most.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UserLimitsDefinition {
    /// The user.
    pub user: String,
    /// Open connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<i64>,
    /// Open channels of all connections together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_channels: Option<i64>,
}

impl VhostLimitsDefinition {
    /// The key of a vhost's limits.
    pub fn key_of(vhost: &str) -> String {
        key(&[vhost])
    }
}

impl UserLimitsDefinition {
    /// The key of a user's limits.
    pub fn key_of(user: &str) -> String {
        key(&[user])
    }
}

impl Record for VhostLimitsDefinition {
    const KIND: Kind = Kind::VhostLimits;

    fn key(&self) -> String {
        Self::key_of(&self.vhost)
    }
}

impl Record for UserLimitsDefinition {
    const KIND: Kind = Kind::UserLimits;

    fn key(&self) -> String {
        Self::key_of(&self.user)
    }
}
