//! The sections of a document that are about the whole broker: users, vhosts, permissions, global parameters.

use serde_json::{Map, Value};

use super::{DefinitionsFile, LEVERET_PASSWORD_HASH, item::Item, item::words, plan::Plan};
use crate::{
    Error,
    broker::check_vhost,
    definitions::{
        GlobalParameterDefinition, PermissionDefinition, TopicPermissionDefinition, UserDefinition,
        UserLimitsDefinition, VhostDefinition, VhostLimitsDefinition,
    },
    permissions::{check_pattern, check_topic_pattern},
    policy::{OperatorPolicyDefinition, PolicyDefinition, PolicyKind, PolicyRequest},
    users::{ARGON2ID, MAX_USER_TAGS, SHA_256, check_hash, hash_password},
};

impl Plan<'_> {
    pub(super) fn accounts(&mut self, file: &DefinitionsFile) -> Result<(), Error> {
        for item in file.section("users")? {
            self.user(&item)?;
        }
        for item in file.section("vhosts")? {
            self.define_vhost(&item)?;
        }
        for item in file.section("permissions")? {
            self.permission(&item)?;
        }
        for item in file.section("topic_permissions")? {
            self.topic_permission(&item)?;
        }
        for item in file.section("global_parameters")? {
            let name = item.text("name")?.to_owned();
            let value = item.value("value")?.clone();
            self.put(&GlobalParameterDefinition { name, value })?;
        }
        Ok(())
    }

    fn user(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let name = item.text("name")?;
        if name.is_empty() {
            return Err(item.fault("a user must have a name"));
        }
        let tags = item.words("tags");
        if tags.len() > MAX_USER_TAGS {
            return Err(item.fault(format!("more than {MAX_USER_TAGS} tags")));
        }
        let (password_hash, hashing_algorithm) = self.password(name, item)?;
        self.put(&UserDefinition {
            name: name.to_owned(),
            password_hash,
            hashing_algorithm,
            tags,
        })?;
        self.users.insert(name.to_owned());
        let limits = item.object("limits")?;
        if !limits.is_empty() {
            self.put(&UserLimitsDefinition {
                user: name.to_owned(),
                max_connections: limit(item, &limits, "max-connections")?,
                max_channels: limit(item, &limits, "max-channels")?,
            })?;
        }
        Ok(())
    }

    /// The hash of a user's password and its algorithm.
    fn password(&self, name: &str, item: &Item<'_>) -> Result<(String, String), Error> {
        if item.find(LEVERET_PASSWORD_HASH).is_some() {
            let hash = item.text(LEVERET_PASSWORD_HASH)?;
            item.named(check_hash(hash, ARGON2ID))?;
            return Ok((hash.to_owned(), ARGON2ID.to_owned()));
        }
        if item.find("password_hash").is_none() && item.find("password").is_some() {
            let password = item.text("password")?.as_bytes();
            // Hashed anew it would be another record each time.
            if let Some(user) = self.broker.user(name)
                && self.broker.authenticate(name, password)
            {
                return Ok((user.password_hash, user.hashing_algorithm));
            }
            return Ok((hash_password(password)?, ARGON2ID.to_owned()));
        }
        let hash = item.text_or("password_hash", "")?;
        let algorithm = item.text_or("hashing_algorithm", SHA_256)?;
        item.named(check_hash(hash, algorithm))?;
        Ok((hash.to_owned(), algorithm.to_owned()))
    }

    fn define_vhost(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let metadata = item.object("metadata")?;
        let either = |key: &str| item.find(key).or_else(|| metadata.get(key));
        let text = |key: &str| either(key).and_then(Value::as_str).map(str::to_owned);
        let name = item.text("name")?.to_owned();
        let known = self.vhosts.get(&name);
        let protected = metadata
            .get("protected_from_deletion")
            .and_then(Value::as_bool);
        let vhost = VhostDefinition {
            description: text("description").unwrap_or_default(),
            tags: words(either("tags")),
            default_queue_type: text("default_queue_type")
                .filter(|it| !matches!(it.as_str(), "undefined" | "")),
            protected_from_deletion: protected
                .unwrap_or_else(|| known.is_some_and(|it| it.protected_from_deletion)),
            name,
        };
        item.named(check_vhost(&vhost))?;
        self.put(&vhost)?;
        let (name, known) = (vhost.name.clone(), self.vhosts.contains_key(&vhost.name));
        self.vhosts.insert(name.clone(), vhost);
        match known {
            true => Ok(()),
            false => self.grant_to_maker(&name),
        }
    }

    fn permission(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let pattern = |key: &str| {
            let pattern = item.text(key)?;
            item.named(check_pattern(pattern))?;
            Ok::<_, Error>(pattern.to_owned())
        };
        let permission = PermissionDefinition {
            vhost: self.vhost_name(item)?,
            user: self.check_user(item)?,
            configure: pattern("configure")?,
            write: pattern("write")?,
            read: pattern("read")?,
        };
        self.put(&permission)
    }

    fn topic_permission(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let pattern = |key: &str| {
            let pattern = item.text(key)?;
            item.named(check_topic_pattern(pattern))?;
            Ok::<_, Error>(pattern.to_owned())
        };
        let permission = TopicPermissionDefinition {
            vhost: self.vhost_name(item)?,
            user: self.check_user(item)?,
            exchange: item.name("exchange")?.to_owned(),
            write: pattern("write")?,
            read: pattern("read")?,
        };
        self.put(&permission)
    }

    /// A policy of the section `policies`.
    pub(super) fn policy(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let vhost = self.vhost_name(item)?;
        let name = item.text("name")?;
        let fields = |key: &str| item.find(key).cloned();
        let policy = request(&fields).check(PolicyKind::Policy, &vhost, name);
        let policy: PolicyDefinition = item.named(policy)?;
        self.put(&policy)
    }

    /// A parameter of a component that there is without plugins.
    pub(super) fn parameter(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let vhost = self.vhost_name(item)?;
        let name = item.text("name")?;
        let value = item.object("value")?;
        match item.text("component")? {
            "operator_policy" => {
                let fields = |key: &str| value.get(key).filter(|it| !it.is_null()).cloned();
                let policy = request(&fields).check(PolicyKind::OperatorPolicy, &vhost, name);
                self.put(&OperatorPolicyDefinition(item.named(policy)?))
            }
            "vhost-limits" => {
                let max_connections = limit(item, &value, "max-connections")?;
                let max_queues = limit(item, &value, "max-queues")?;
                match (max_connections, max_queues) {
                    (None, None) => Ok(()),
                    _ => self.put(&VhostLimitsDefinition {
                        vhost,
                        max_connections,
                        max_queues,
                    }),
                }
            }
            other => Err(item.fault(format!("component {other} not found"))),
        }
    }
}

fn request(fields: &dyn Fn(&str) -> Option<Value>) -> PolicyRequest {
    PolicyRequest {
        pattern: fields("pattern").unwrap_or_default(),
        definition: fields("definition").unwrap_or_default(),
        priority: fields("priority"),
        apply_to: fields("apply-to"),
    }
}

fn limit(item: &Item<'_>, limits: &Map<String, Value>, key: &str) -> Result<Option<i64>, Error> {
    let Some(value) = limits.get(key) else {
        return Ok(None);
    };
    let number = value.as_i64();
    let fault = || item.fault(format!("{key} should be a number, actually was {value}"));
    number.map(Some).ok_or_else(fault)
}
