//! What an empty broker begins with: one vhost, and one user who may do everything.

use super::{BROKER, password};
use crate::{
    Error,
    broker::{Broker, DEFAULT_USER, DEFAULT_VHOST},
    definitions::{Change, PermissionDefinition, UserDefinition, VhostDefinition},
};

/// What the broker makes when it has no vhost yet.
#[derive(Debug, Clone)]
pub struct FirstStart {
    /// The vhost.
    pub vhost: String,
    /// The user, an administrator with all permissions in the vhost.
    pub user: String,
    /// The user's password.
    pub password: String,
}

impl FirstStart {
    /// Nothing at all: a definitions file says what there is.
    pub fn nothing() -> Self {
        Self {
            vhost: String::new(),
            user: String::new(),
            password: String::new(),
        }
    }
}

impl Default for FirstStart {
    fn default() -> Self {
        Self {
            vhost: DEFAULT_VHOST.to_owned(),
            user: DEFAULT_USER.to_owned(),
            password: DEFAULT_USER.to_owned(),
        }
    }
}

impl Broker {
    pub(crate) fn first_start(&self, first: &FirstStart) -> Result<(), Error> {
        if first.vhost.is_empty() {
            return Ok(());
        }
        let vhost = VhostDefinition {
            name: first.vhost.clone(),
            description: "Default virtual host".to_owned(),
            ..VhostDefinition::default()
        };
        let (password_hash, algorithm) = if first.password == DEFAULT_USER {
            let hash = password::hash_public_password(first.password.as_bytes());
            (hash, password::SHA_256)
        } else {
            let hash = password::hash_password(first.password.as_bytes())?;
            (hash, password::ARGON2ID)
        };
        let user = UserDefinition {
            name: first.user.clone(),
            password_hash,
            hashing_algorithm: algorithm.to_owned(),
            tags: vec!["administrator".to_owned()],
        };
        let everything = ".*".to_owned();
        let permission = PermissionDefinition {
            user: first.user.clone(),
            vhost: first.vhost.clone(),
            configure: everything.clone(),
            write: everything.clone(),
            read: everything,
        };
        self.definitions().apply(vec![
            Change::put(&vhost)?,
            Change::put(&user)?,
            Change::put(&permission)?,
        ])?;
        tracing::info!(target: "audit", by = BROKER, user = first.user, vhost = first.vhost, "first user created");
        Ok(())
    }
}
