//! Creating, changing and deleting vhosts (<https://www.rabbitmq.com/docs/vhosts>).

use std::sync::Arc;

use super::Broker;
use crate::{
    Error,
    definitions::{Change, Kind, VhostDefinition},
    store::Ticket,
    vhost::vhost_of,
};

/// What goes with a vhost, in the order in which it goes.
const INSIDE: [Kind; 10] = [
    Kind::Permission,
    Kind::TopicPermission,
    Kind::Parameter,
    Kind::VhostLimits,
    Kind::Binding,
    Kind::Queue,
    Kind::Exchange,
    Kind::Policy,
    Kind::OperatorPolicy,
    Kind::Vhost,
];

/// The queue types that a vhost can have as its default.
const QUEUE_TYPES: [&str; 4] = ["classic", "quorum", "undefined", ""];

impl Broker {
    /// Creates a vhost, or changes what an existing one says of itself, but for its protection from deletion. Says
    /// whether it is new. Nobody has permissions in a new one.
    ///
    /// # Errors
    /// 406: no name, or a default queue type that there is not.
    pub fn put_vhost(&self, vhost: &VhostDefinition, by: &str) -> Result<(bool, Ticket), Error> {
        check_vhost(vhost)?;
        let _turn = self.accounts.turn.lock();
        let existing = self.vhost_definition(&vhost.name);
        let new = existing.is_none();
        let vhost = VhostDefinition {
            protected_from_deletion: existing.is_some_and(|it| it.protected_from_deletion),
            ..vhost.clone()
        };
        let ticket = self.definitions().apply(vec![Change::put(&vhost)?])?;
        let what = if new {
            "vhost created"
        } else {
            "vhost changed"
        };
        tracing::info!(target: "audit", by, vhost = vhost.name, "{what}");
        Ok((new, ticket))
    }

    /// Protects a vhost from being deleted, or takes that back.
    ///
    /// # Errors
    /// 404: no such vhost.
    pub fn protect_vhost(&self, name: &str, protected: bool, by: &str) -> Result<Ticket, Error> {
        let _turn = self.accounts.turn.lock();
        let mut vhost = self
            .vhost_definition(name)
            .ok_or_else(|| Error::NotFound(format!("no vhost '{name}'")))?;
        vhost.protected_from_deletion = protected;
        let ticket = self.definitions().apply(vec![Change::put(&vhost)?])?;
        tracing::info!(target: "audit", by, vhost = name, protected, "vhost protected from deletion");
        Ok(ticket)
    }

    /// What a vhost says of itself.
    pub fn vhost_definition(&self, name: &str) -> Option<VhostDefinition> {
        let key = VhostDefinition::key_of(name);
        let definition = self.definitions().get(Kind::Vhost, &key)?;
        definition.record().ok()
    }

    /// Deletes a vhost with everything in it, and closes its connections.
    ///
    /// # Errors
    /// 404: no such vhost. 406: it is protected.
    pub fn delete_vhost(&self, name: &str, by: &str) -> Result<Ticket, Error> {
        let _turn = self.accounts.turn.lock();
        self.check_vhost_exists(name)?;
        if self
            .vhost_definition(name)
            .is_some_and(|it| it.protected_from_deletion)
        {
            return Err(Error::PreconditionFailed(format!(
                "Refusing to delete virtual host '{name}' because it is protected from deletion"
            )));
        }
        let vhost = self.vhost(name);
        // Before anything else goes: a client shall hear of this and not of a consumer that is cancelled.
        self.close_connections_of(name);
        if let Some(vhost) = &vhost {
            vhost.close();
        }
        let definitions = self.definitions();
        let inside = INSIDE.into_iter().flat_map(|kind| definitions.list(kind));
        let inside = inside.filter(|inside| vhost_of(&inside.key).as_deref() == Some(name));
        let deletions = inside.map(|inside| Change::delete(inside.kind, inside.key));
        let ticket = definitions.apply(deletions.collect())?;
        if let Some(vhost) = &vhost {
            vhost.drop_transient_queues();
        }
        tracing::info!(target: "audit", by, vhost = name, "vhost deleted");
        // Whoever was opening it meanwhile.
        self.close_connections_of(name);
        Ok(ticket)
    }

    fn close_connections_of(&self, vhost: &str) {
        let reason = format!("vhost '{vhost}' is deleted");
        self.close_connections_where(&reason, |connection| *connection.vhost == *vhost);
    }

    /// Why a connection that was just added has to close: its vhost or its user was deleted while it was being opened.
    pub(super) fn came_too_late(&self, user: Option<&str>, vhost: &str) -> Option<Arc<str>> {
        if self.vhost(vhost).is_none() {
            return Some(format!("vhost '{vhost}' is deleted").into());
        }
        let deleted = user.filter(|user| self.user(user).is_none())?;
        Some(format!("user '{deleted}' is deleted").into())
    }
}

/// Checks what a vhost is to be.
///
/// # Errors
/// 406: no name, or a default queue type that there is not (RabbitMQ: `rabbit_queue_type:validate_default_queue_type`).
pub(crate) fn check_vhost(vhost: &VhostDefinition) -> Result<(), Error> {
    if vhost.name.is_empty() {
        let text = "a vhost must have a name".to_owned();
        return Err(Error::PreconditionFailed(text));
    }
    match vhost.default_queue_type.as_deref() {
        Some(kind) if !QUEUE_TYPES.contains(&kind) => Err(Error::PreconditionFailed(format!(
            "{kind} is not a valid queue type"
        ))),
        _ => Ok(()),
    }
}
