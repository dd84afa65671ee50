//! Policies as they are set and kept.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::{Definition, PolicyKind, validate};
use crate::{
    Error,
    definitions::{Kind, Record, key},
    queue::arguments::QueueType,
};

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApplyTo {
    /// Queues of every type, and exchanges.
    #[default]
    All,
    /// Queues of every type.
    Queues,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams.
    Streams,
    /// Exchanges.
    Exchanges,
}

impl ApplyTo {
    const ALL: [Self; 6] = [
        Self::All,
        Self::Queues,
        Self::ClassicQueues,
        Self::QuorumQueues,
        Self::Streams,
        Self::Exchanges,
    ];

    /// The word for it in the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
            Self::Exchanges => "exchanges",
        }
    }

    /// What this word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.as_str() == word)
    }

    /// Whether queues of this type are meant.
    pub fn includes(self, queue_type: QueueType) -> bool {
        match self {
            Self::All | Self::Queues => true,
            Self::ClassicQueues => queue_type == QueueType::Classic,
            Self::QuorumQueues => queue_type == QueueType::Quorum,
            Self::Streams | Self::Exchanges => false,
        }
    }

    /// Whether exchanges are meant.
    pub fn includes_exchanges(self) -> bool {
        matches!(self, Self::All | Self::Exchanges)
    }
}

/// A policy, in the words of RabbitMQ's definitions file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDefinition {
    /// The vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// The regular expression that names have to match.
    pub pattern: String,
    /// What it is for.
    #[serde(rename = "apply-to", default)]
    pub apply_to: ApplyTo,
    /// Its settings.
    pub definition: Definition,
    /// The highest one of those that match counts. Any JSON number.
    pub priority: Number,
}

impl PolicyDefinition {
    /// The key of a policy.
    pub fn key_of(vhost: &str, name: &str) -> String {
        key(&[vhost, name])
    }

    /// The priority for comparison.
    pub fn priority(&self) -> f64 {
        self.priority.as_f64().unwrap_or_default()
    }
}

impl Record for PolicyDefinition {
    const KIND: Kind = Kind::Policy;

    fn key(&self) -> String {
        Self::key_of(&self.vhost, &self.name)
    }
}

/// An operator policy: the same under another kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperatorPolicyDefinition(pub PolicyDefinition);

impl Record for OperatorPolicyDefinition {
    const KIND: Kind = Kind::OperatorPolicy;

    fn key(&self) -> String {
        self.0.key()
    }
}

/// What somebody wants a policy to be: JSON as it came, nothing of it checked.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct PolicyRequest {
    /// A regular expression.
    pub pattern: Value,
    /// An object with the settings.
    pub definition: Value,
    /// A number; 0 when it is not given.
    #[serde(default)]
    pub priority: Option<Value>,
    /// What it is for; everything when it is not given.
    #[serde(rename = "apply-to", default)]
    pub apply_to: Option<Value>,
}

impl PolicyRequest {
    /// Makes it a policy.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] with RabbitMQ's text, `Validation failed`, an empty line, and a line for each fault:
    /// the definition's first, then those of `apply-to`, `pattern` and `priority`.
    pub fn check(
        mut self,
        kind: PolicyKind,
        vhost: &str,
        name: &str,
    ) -> Result<PolicyDefinition, Error> {
        let definition = validate::definition(kind, self.definition.take());
        self.with(definition, vhost, name)
    }

    /// The same while somebody still thinks about the settings: there need not be any yet.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn check_unfinished(
        mut self,
        kind: PolicyKind,
        vhost: &str,
        name: &str,
    ) -> Result<PolicyDefinition, Error> {
        let definition = match self.definition.take() {
            Value::Null => Ok(Definition::new()),
            Value::Object(settings) if settings.is_empty() => Ok(settings),
            other => validate::definition(kind, other),
        };
        self.with(definition, vhost, name)
    }

    fn with(
        self,
        definition: Result<Definition, String>,
        vhost: &str,
        name: &str,
    ) -> Result<PolicyDefinition, Error> {
        let priority = self.priority.unwrap_or_else(|| Value::from(0));
        let apply_to = self.apply_to.as_ref().map(validate::apply_to);
        let apply_to = apply_to.unwrap_or(Ok(ApplyTo::All));
        let pattern = validate::pattern(self.pattern);
        let priority = validate::priority(priority);
        match (definition, apply_to, pattern, priority) {
            (Ok(definition), Ok(apply_to), Ok(pattern), Ok(priority)) => Ok(PolicyDefinition {
                vhost: vhost.to_owned(),
                name: name.to_owned(),
                pattern,
                apply_to,
                definition,
                priority,
            }),
            (definition, apply_to, pattern, priority) => {
                let faults = [
                    definition.err(),
                    apply_to.err(),
                    pattern.err(),
                    priority.err(),
                ];
                Err(validate::failed(faults.into_iter().flatten()))
            }
        }
    }
}
