//! What users may do in a vhost: patterns of the names that they may configure, write to and read from, and of the
//! routing keys that they may use on topic exchanges.
//!
//! RabbitMQ's description: <https://www.rabbitmq.com/docs/access-control>. Which operation needs which permission is
//! its table "How Permissions Work"; the texts are those of `rabbit_access_control`. [`Access`] holds one user's
//! compiled patterns for one vhost. Connections share it and keep it until [`Broker::access_generation`] moves, so a
//! change takes effect on open connections, and nothing is looked up or compiled for a message.

mod cache;
mod grants;
mod names;
mod topic;

use std::{fmt, sync::Arc};

use crate::{
    Error,
    broker::Broker,
    definitions::{Kind, PermissionDefinition, TopicPermissionDefinition},
    users::IMPERSONATOR,
};

pub(crate) use self::cache::AccessCache;
use self::{names::Names, topic::TopicNames};

/// What is done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Make it, change it or delete it.
    Configure,
    /// Put messages into it.
    Write,
    /// Take messages out of it.
    Read,
}

/// RabbitMQ's word for it.
impl fmt::Display for Operation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        })
    }
}

/// Something in a vhost that permissions are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The queue of this name.
    Queue(&'a str),
    /// The exchange of this name.
    Exchange(&'a str),
}

impl<'a> Resource<'a> {
    /// Its type and name, as patterns and texts have them: the default exchange is called `amq.default` there.
    fn kind_and_name(self) -> (&'static str, &'a str) {
        match self {
            Self::Queue(name) => ("queue", name),
            Self::Exchange("") => ("exchange", "amq.default"),
            Self::Exchange(name) => ("exchange", name),
        }
    }
}

/// What a user may do in a vhost, as of one generation.
#[derive(Debug)]
pub struct Access {
    generation: u64,
    user: Arc<str>,
    vhost: Arc<str>,
    impersonates: bool,
    /// `None` without any permission.
    granted: Option<Granted>,
    /// By exchange. An exchange that is missing here is not restricted.
    topics: Vec<(String, TopicNames)>,
}

#[derive(Debug)]
struct Granted {
    configure: Names,
    write: Names,
    read: Names,
}

impl Access {
    /// Access to everything: for the broker itself, which declares what a definitions file says.
    pub fn unlimited(vhost: &Arc<str>) -> Self {
        let everything = || Names::Everything;
        Self {
            generation: u64::MAX,
            user: crate::users::BROKER.into(),
            vhost: Arc::clone(vhost),
            impersonates: true,
            granted: Some(Granted {
                configure: everything(),
                write: everything(),
                read: everything(),
            }),
            topics: Vec::new(),
        }
    }

    fn load(broker: &Broker, user: &Arc<str>, vhost: &Arc<str>, generation: u64) -> Self {
        let definitions = broker.definitions();
        let key = PermissionDefinition::key_of(vhost, user);
        let permission = definitions.get(Kind::Permission, &key);
        let permission = permission.and_then(|d| d.record::<PermissionDefinition>().ok());
        let topics = definitions.list(Kind::TopicPermission);
        let topics = topics
            .iter()
            .filter_map(|definition| definition.record::<TopicPermissionDefinition>().ok())
            .filter(|topic| topic.user == **user && topic.vhost == **vhost);
        let tags = broker.user(user).map(|user| user.tags).unwrap_or_default();
        Self {
            generation,
            user: Arc::clone(user),
            vhost: Arc::clone(vhost),
            impersonates: tags.iter().any(|tag| tag == IMPERSONATOR),
            granted: permission.map(|permission| Granted {
                configure: Names::compile(&permission.configure),
                write: Names::compile(&permission.write),
                read: Names::compile(&permission.read),
            }),
            topics: topics
                .map(|topic| (topic.exchange.clone(), TopicNames::compile(&topic)))
                .collect(),
        }
    }

    /// The state of users and permissions that this is made of.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether there are any permissions in the vhost at all.
    pub fn may_open(&self) -> bool {
        self.granted.is_some()
    }

    /// Whether messages may carry another user's name.
    pub fn impersonates(&self) -> bool {
        self.impersonates
    }

    /// Checks one operation on one resource (RabbitMQ: `check_resource_access`).
    ///
    /// # Errors
    /// 403 with RabbitMQ's text.
    #[inline]
    pub fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), Error> {
        if self.allows(operation, resource) {
            return Ok(());
        }
        Err(self.refused(operation, resource))
    }

    /// Passive declarations need any permission on the resource (RabbitMQ: `check_any_resource_access_permitted`).
    ///
    /// # Errors
    /// 403 with the text of a declaration that is not passive.
    pub fn check_any(&self, resource: Resource<'_>) -> Result<(), Error> {
        let any = self.allows(Operation::Read, resource) || self.allows(Operation::Write, resource);
        match any {
            true => Ok(()),
            false => self.check(Operation::Configure, resource),
        }
    }

    /// Checks a routing key of a topic exchange, to publish ([`Operation::Write`]) or to bind with
    /// ([`Operation::Read`]).
    ///
    /// # Errors
    /// 403 with RabbitMQ's text.
    pub fn check_topic(
        &self,
        operation: Operation,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Error> {
        let restricted = self.topics.iter().find(|(name, _)| name == exchange);
        if restricted.is_none_or(|(_, names)| names.allow(operation, routing_key)) {
            return Ok(());
        }
        let (user, vhost) = (&self.user, &self.vhost);
        Err(Error::AccessRefused(format!(
            "{operation} access to topic '{routing_key}' in exchange topic '{exchange}' in vhost '{vhost}' refused for \
             user '{user}'"
        )))
    }

    fn allows(&self, operation: Operation, resource: Resource<'_>) -> bool {
        let Some(granted) = &self.granted else {
            return false;
        };
        let names = match operation {
            Operation::Configure => &granted.configure,
            Operation::Write => &granted.write,
            Operation::Read => &granted.read,
        };
        names.contain(resource.kind_and_name().1)
    }

    #[cold]
    fn refused(&self, operation: Operation, resource: Resource<'_>) -> Error {
        let (kind, name) = resource.kind_and_name();
        let (user, vhost) = (&self.user, &self.vhost);
        Error::AccessRefused(format!(
            "{operation} access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'"
        ))
    }
}
