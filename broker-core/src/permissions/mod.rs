//! What users may do in a vhost: patterns of the names that they may configure, write to and read from, and of the
//! routing keys that they may use on topic exchanges.
//!
//! RabbitMQ's description: <https://www.rabbitmq.com/docs/access-control>. Which operation needs which permission is
//! its table "How Permissions Work"; the texts are those of `rabbit_access_control`. [`Access`] holds one user's
//! compiled patterns for one vhost. Connections share it and keep it until [`Broker::access_generation`] moves, so a
//! change takes effect on open connections, and nothing is looked up or compiled for a message. What users may do who
//! come from elsewhere, with a token for example, an [`Authoriser`] says.

mod authoriser;
mod cache;
mod external;
mod grants;
mod names;
mod topic;

use std::{fmt, net::IpAddr, sync::Arc};

use crate::{
    Error,
    authentication::{Authority, Identity},
    broker::Broker,
    definitions::{Kind, PermissionDefinition, TopicPermissionDefinition},
    users::IMPERSONATOR,
};

pub use self::{
    authoriser::{About, Answer, Authoriser, Question, Renewal},
    external::{Answered, Inquiry},
};
pub(crate) use self::{
    cache::AccessCache,
    grants::{check_pattern, check_topic_pattern},
};
use self::{external::External, names::Names, topic::TopicNames};

/// What is done with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
    rules: Rules,
}

/// Who decides.
#[derive(Debug)]
enum Rules {
    /// The broker's own permissions.
    Internal(Patterns),
    /// Somebody outside.
    External(External),
}

/// The broker's own permissions of a user in a vhost.
#[derive(Debug)]
struct Patterns {
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
            rules: Rules::Internal(Patterns {
                granted: Some(Granted {
                    configure: everything(),
                    write: everything(),
                    read: everything(),
                }),
                topics: Vec::new(),
            }),
        }
    }

    fn load(broker: &Broker, user: &Arc<str>, vhost: &Arc<str>, generation: u64) -> Self {
        let tags = broker.user(user).map(|user| user.tags).unwrap_or_default();
        Self {
            generation,
            user: Arc::clone(user),
            vhost: Arc::clone(vhost),
            impersonates: tags.iter().any(|tag| tag == IMPERSONATOR),
            rules: Rules::Internal(Patterns::load(broker, user, vhost)),
        }
    }

    /// What somebody may do for whom others decide, or whose tags come from elsewhere.
    fn of(broker: &Broker, identity: &Arc<Identity>, vhost: &Arc<str>, generation: u64) -> Self {
        let user = identity.name();
        let rules = match identity.authority() {
            Authority::Internal => Rules::Internal(Patterns::load(broker, user, vhost)),
            Authority::External(authoriser) => Rules::External(External::new(identity, authoriser)),
        };
        Self {
            generation,
            user: Arc::clone(user),
            vhost: Arc::clone(vhost),
            impersonates: identity.impersonates(),
            rules,
        }
    }

    /// The state of users and permissions that this is made of.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether messages may carry another user's name.
    pub fn impersonates(&self) -> bool {
        self.impersonates
    }

    fn external(&self) -> Option<&External> {
        match &self.rules {
            Rules::Internal(_) => None,
            Rules::External(external) => Some(external),
        }
    }

    /// Checks that the vhost may be opened from this address (RabbitMQ: `check_vhost_access`).
    ///
    /// # Errors
    /// 530 with RabbitMQ's text.
    pub fn check_vhost(&self, peer: Option<IpAddr>) -> Result<(), Error> {
        let answer = match &self.rules {
            Rules::Internal(patterns) => yes_or_no(patterns.granted.is_some()),
            Rules::External(external) => external.answer(&self.vhost, About::Vhost(peer)),
        };
        let what = || format!("access to vhost '{}' refused", self.vhost);
        self.settle(answer, what).map_err(Error::NotAllowed)
    }

    /// Checks one operation on one resource (RabbitMQ: `check_resource_access`).
    ///
    /// # Errors
    /// 403 with RabbitMQ's text.
    #[inline]
    pub fn check(&self, operation: Operation, resource: Resource<'_>) -> Result<(), Error> {
        let answer = match &self.rules {
            Rules::Internal(patterns) if patterns.allow(operation, resource) => return Ok(()),
            Rules::Internal(_) => Answer::Refused,
            Rules::External(external) => {
                let (kind, name) = resource.kind_and_name();
                let name = name.to_owned();
                let about = About::Resource {
                    kind,
                    name,
                    operation,
                };
                external.answer(&self.vhost, about)
            }
        };
        self.settle_resource(answer, operation, resource)
    }

    /// Passive declarations need any permission on the resource (RabbitMQ: `check_any_resource_access_permitted`).
    ///
    /// # Errors
    /// 403 with the text of a declaration that is not passive.
    pub fn check_any(&self, resource: Resource<'_>) -> Result<(), Error> {
        let read = self.check(Operation::Read, resource);
        if read.is_ok() || self.has_open_question() {
            return read;
        }
        let write = self.check(Operation::Write, resource);
        if write.is_ok() || self.has_open_question() {
            return write;
        }
        self.check(Operation::Configure, resource)
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
        let answer = match &self.rules {
            Rules::Internal(patterns) => {
                yes_or_no(patterns.allow_topic(operation, exchange, routing_key))
            }
            Rules::External(external) => {
                let about = About::Topic {
                    exchange: exchange.to_owned(),
                    routing_key: routing_key.to_owned(),
                    operation,
                };
                external.answer(&self.vhost, about)
            }
        };
        let what = || {
            let vhost = &self.vhost;
            format!(
                "{operation} access to topic '{routing_key}' in exchange topic '{exchange}' in vhost '{vhost}' refused"
            )
        };
        self.settle(answer, what).map_err(Error::AccessRefused)
    }

    #[cold]
    fn settle_resource(
        &self,
        answer: Answer,
        operation: Operation,
        resource: Resource<'_>,
    ) -> Result<(), Error> {
        let (kind, name) = resource.kind_and_name();
        let what = || {
            let vhost = &self.vhost;
            format!("{operation} access to {kind} '{name}' in vhost '{vhost}' refused")
        };
        self.settle(answer, what).map_err(Error::AccessRefused)
    }

    /// RabbitMQ: `rabbit_access_control:check_access`.
    fn settle(&self, answer: Answer, what: impl Fn() -> String) -> Result<(), String> {
        let backend = self.external().map_or("", External::backend);
        let refused = || format!("{} for user '{}'", what(), self.user);
        match answer {
            Answer::Allowed => Ok(()),
            Answer::Refused => Err(refused()),
            Answer::RefusedBecause(reason) => {
                Err(format!("{} by backend {backend}: {reason}", refused()))
            }
            Answer::Failed(problem) => {
                let text = format!(
                    "{}, backend {backend} returned an error: {problem}",
                    refused()
                );
                tracing::error!("{text}");
                Err(text)
            }
        }
    }
}

fn yes_or_no(yes: bool) -> Answer {
    match yes {
        true => Answer::Allowed,
        false => Answer::Refused,
    }
}

impl Patterns {
    fn load(broker: &Broker, user: &Arc<str>, vhost: &Arc<str>) -> Self {
        let definitions = broker.definitions();
        let key = PermissionDefinition::key_of(vhost, user);
        let permission = definitions.get(Kind::Permission, &key);
        let permission = permission.and_then(|d| d.record::<PermissionDefinition>().ok());
        let topics = definitions.list(Kind::TopicPermission);
        let topics = topics
            .iter()
            .filter_map(|definition| definition.record::<TopicPermissionDefinition>().ok())
            .filter(|topic| topic.user == **user && topic.vhost == **vhost);
        Self {
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

    fn allow(&self, operation: Operation, resource: Resource<'_>) -> bool {
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

    fn allow_topic(&self, operation: Operation, exchange: &str, routing_key: &str) -> bool {
        let restricted = self.topics.iter().find(|(name, _)| name == exchange);
        restricted.is_none_or(|(_, names)| names.allow(operation, routing_key))
    }
}
