//! Granting and revoking permissions.

use super::topic::without_placeholders;
use crate::{
    Error,
    broker::Broker,
    definitions::{
        Change, Kind, PermissionDefinition, Record, TopicPermissionDefinition, VhostDefinition,
    },
    pattern::Pattern,
    store::Ticket,
};

impl Broker {
    /// Lets a user do this in a vhost, instead of what it might before.
    ///
    /// # Errors
    /// 404: no such user or vhost. 406: a pattern is none.
    pub fn set_permissions(
        &self,
        permission: &PermissionDefinition,
        by: &str,
    ) -> Result<Ticket, Error> {
        for pattern in [&permission.configure, &permission.write, &permission.read] {
            check_pattern(pattern)?;
        }
        let _turn = self.accounts.turn.lock();
        self.existing_user(&permission.user)?;
        self.check_vhost_exists(&permission.vhost)?;
        let ticket = self.definitions().apply(vec![Change::put(permission)?])?;
        let PermissionDefinition {
            user,
            vhost,
            configure,
            write,
            read,
        } = permission;
        tracing::info!(target: "audit", by, user, vhost, configure, write, read, "permissions set");
        Ok(ticket)
    }

    /// Takes a user's permissions in a vhost away. Those of topics stay, as in RabbitMQ.
    ///
    /// # Errors
    /// 404: no such user or vhost.
    pub fn clear_permissions(&self, user: &str, vhost: &str, by: &str) -> Result<Ticket, Error> {
        let _turn = self.accounts.turn.lock();
        self.existing_user(user)?;
        self.check_vhost_exists(vhost)?;
        let key = PermissionDefinition::key_of(vhost, user);
        let change = Change::delete(Kind::Permission, key);
        let ticket = self.definitions().apply(vec![change])?;
        tracing::info!(target: "audit", by, user, vhost, "permissions cleared");
        Ok(ticket)
    }

    /// All permissions, by vhost and user.
    pub fn permissions(&self) -> Vec<PermissionDefinition> {
        self.records(Kind::Permission)
    }

    /// Restricts a user to these routing keys of a topic exchange.
    ///
    /// # Errors
    /// 404: no such user, vhost or exchange. 406: a pattern is none.
    pub fn set_topic_permissions(
        &self,
        permission: &TopicPermissionDefinition,
        by: &str,
    ) -> Result<Ticket, Error> {
        for pattern in [&permission.write, &permission.read] {
            check_topic_pattern(pattern)?;
        }
        let _turn = self.accounts.turn.lock();
        self.existing_user(&permission.user)?;
        self.check_vhost_exists(&permission.vhost)?;
        if let Some(vhost) = self.vhost(&permission.vhost) {
            vhost.existing_exchange(&permission.exchange)?;
        }
        let ticket = self.definitions().apply(vec![Change::put(permission)?])?;
        let TopicPermissionDefinition {
            user,
            vhost,
            exchange,
            write,
            read,
        } = permission;
        tracing::info!(target: "audit", by, user, vhost, exchange, write, read, "topic permissions set");
        Ok(ticket)
    }

    /// Lifts the restrictions of a user in a vhost: on one exchange, or on all.
    ///
    /// # Errors
    /// 404: no such user or vhost.
    pub fn clear_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
        by: &str,
    ) -> Result<Ticket, Error> {
        let _turn = self.accounts.turn.lock();
        self.existing_user(user)?;
        self.check_vhost_exists(vhost)?;
        let all = self.topic_permissions();
        let concerned = all.iter().filter(|topic| {
            let named = exchange.is_none_or(|exchange| topic.exchange == exchange);
            named && topic.user == user && topic.vhost == vhost
        });
        let changes = concerned.map(|topic| Change::delete(Kind::TopicPermission, topic.key()));
        let ticket = self.definitions().apply(changes.collect())?;
        let exchange = exchange.unwrap_or("*");
        tracing::info!(target: "audit", by, user, vhost, exchange, "topic permissions cleared");
        Ok(ticket)
    }

    /// All topic permissions, by vhost, user and exchange.
    pub fn topic_permissions(&self) -> Vec<TopicPermissionDefinition> {
        self.records(Kind::TopicPermission)
    }

    pub(crate) fn check_vhost_exists(&self, name: &str) -> Result<(), Error> {
        let key = VhostDefinition::key_of(name);
        match self.definitions().get(Kind::Vhost, &key) {
            Some(_) => Ok(()),
            None => Err(Error::NotFound(format!("no vhost '{name}'"))),
        }
    }

    pub(crate) fn records<R: Record>(&self, kind: Kind) -> Vec<R> {
        let all = self.definitions().list(kind);
        let records = all.iter().filter_map(|definition| definition.record().ok());
        records.collect()
    }
}

/// Checks that a permission's pattern is one.
///
/// # Errors
/// 406.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), Error> {
    match Pattern::compile(pattern) {
        Ok(_) => Ok(()),
        Err(error) => {
            let text = format!("a permission's pattern {error}");
            Err(Error::PreconditionFailed(text))
        }
    }
}

/// The same for a pattern of routing keys, which may have placeholders.
///
/// # Errors
/// 406.
pub(crate) fn check_topic_pattern(pattern: &str) -> Result<(), Error> {
    check_pattern(&without_placeholders(pattern))
}
