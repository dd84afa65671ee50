//! Creating, changing and deleting users.

use super::password;
use crate::{
    Error,
    broker::Broker,
    definitions::{
        Change, Kind, PermissionDefinition, TopicPermissionDefinition, UserDefinition,
        UserLimitsDefinition,
    },
    store::Ticket,
};

/// The most tags that a user may have (RabbitMQ: `rabbit_auth_backend_internal`).
pub const MAX_USER_TAGS: usize = 32;

/// The password that a user is to have.
#[derive(Clone, Copy)]
pub enum NewPassword<'a> {
    /// None: the user cannot log in with a password.
    None,
    /// This one, which is hashed.
    Clear(&'a str),
    /// The one that has this hash, as a definitions file says it.
    Hash {
        /// The hash, in the algorithm's form.
        hash: &'a str,
        /// The algorithm's name.
        algorithm: &'a str,
    },
}

impl NewPassword<'_> {
    fn hashed(self) -> Result<(String, String), Error> {
        let (hash, algorithm) = match self {
            Self::None => (String::new(), password::SHA_256),
            Self::Clear("") => {
                let text = "a password must not be blank".to_owned();
                return Err(Error::PreconditionFailed(text));
            }
            Self::Clear(password) => (
                password::hash_password(password.as_bytes())?,
                password::ARGON2ID,
            ),
            Self::Hash { hash, algorithm } => {
                password::check_hash(hash, algorithm)?;
                (hash.to_owned(), algorithm)
            }
        };
        Ok((hash, algorithm.to_owned()))
    }
}

impl Broker {
    /// Creates a user, or changes password and tags of an existing one. Says whether it is new. Hashing a password
    /// takes some tens of milliseconds.
    ///
    /// # Errors
    /// 406: no name, too many tags, a blank password or a hash that is none.
    pub fn put_user(
        &self,
        name: &str,
        password: NewPassword<'_>,
        tags: &[String],
        by: &str,
    ) -> Result<(bool, Ticket), Error> {
        if name.is_empty() {
            let text = "a user must have a name".to_owned();
            return Err(Error::PreconditionFailed(text));
        }
        if tags.len() > MAX_USER_TAGS {
            let text = format!("a user may have at most {MAX_USER_TAGS} tags");
            return Err(Error::PreconditionFailed(text));
        }
        let (password_hash, hashing_algorithm) = password.hashed()?;
        let user = UserDefinition {
            name: name.to_owned(),
            password_hash,
            hashing_algorithm,
            tags: tags.to_vec(),
        };
        let _turn = self.accounts.turn.lock();
        let new = self.user(name).is_none();
        let ticket = self.definitions().apply(vec![Change::put(&user)?])?;
        let what = if new { "user created" } else { "user changed" };
        let tags = tags.join(",");
        tracing::info!(target: "audit", by, user = name, tags, "{what}");
        Ok((new, ticket))
    }

    /// Sets a user's tags, and leaves the password as it is.
    ///
    /// # Errors
    /// 404: no such user. 406: too many tags.
    pub fn set_user_tags(&self, name: &str, tags: &[String], by: &str) -> Result<Ticket, Error> {
        let _turn = self.accounts.turn.lock();
        let mut user = self.existing_user(name)?;
        if tags.len() > MAX_USER_TAGS {
            let text = format!("a user may have at most {MAX_USER_TAGS} tags");
            return Err(Error::PreconditionFailed(text));
        }
        user.tags = tags.to_vec();
        let ticket = self.definitions().apply(vec![Change::put(&user)?])?;
        let tags = tags.join(",");
        tracing::info!(target: "audit", by, user = name, tags, "user changed");
        Ok(ticket)
    }

    /// Deletes a user with all its permissions and limits, and closes its connections.
    ///
    /// # Errors
    /// 404: no such user.
    pub fn delete_user(&self, name: &str, by: &str) -> Result<Ticket, Error> {
        let _turn = self.accounts.turn.lock();
        self.existing_user(name)?;
        let mut changes = vec![Change::delete(Kind::User, UserDefinition::key_of(name))];
        changes.extend(self.grants(|_, user| user == name));
        let limits = UserLimitsDefinition::key_of(name);
        changes.push(Change::delete(Kind::UserLimits, limits));
        let ticket = self.definitions().apply(changes)?;
        tracing::info!(target: "audit", by, user = name, "user deleted");
        let reason = format!("user '{name}' is deleted");
        self.close_connections_where(&reason, |connection| *connection.user == *name);
        Ok(ticket)
    }

    pub(crate) fn existing_user(&self, name: &str) -> Result<UserDefinition, Error> {
        self.user(name)
            .ok_or_else(|| Error::NotFound(format!("no user '{name}'")))
    }

    /// Deletions of the permissions and topic permissions of these vhosts and users.
    pub(crate) fn grants(&self, concerned: impl Fn(&str, &str) -> bool) -> Vec<Change> {
        let definitions = self.definitions();
        let mut changes = Vec::new();
        for definition in definitions.list(Kind::Permission) {
            let record = definition.record::<PermissionDefinition>();
            if record.is_ok_and(|record| concerned(&record.vhost, &record.user)) {
                changes.push(Change::delete(Kind::Permission, definition.key));
            }
        }
        for definition in definitions.list(Kind::TopicPermission) {
            let record = definition.record::<TopicPermissionDefinition>();
            if record.is_ok_and(|record| concerned(&record.vhost, &record.user)) {
                changes.push(Change::delete(Kind::TopicPermission, definition.key));
            }
        }
        changes
    }
}
