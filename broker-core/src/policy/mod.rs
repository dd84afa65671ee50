//! Policies: settings that operators give to queues and exchanges by a pattern of their names, and change at any time
//! (<https://www.rabbitmq.com/docs/policies>).
//!
//! A queue or exchange has at most one policy, the matching one of the highest priority, and beside it at most one
//! *operator policy*, which sets bounds to what the policy says. [`Policies`] finds the two, [`Matched::definition`]
//! makes one of them, and [`effective`] combines that with the arguments that the client gave. What is not
//! valid never gets in: [`PolicyRequest::check`] refuses it with RabbitMQ's texts.

pub mod effective;
mod merge;
mod record;
mod term;
mod validate;

use std::{cmp::Ordering, sync::Arc};

pub use self::{
    effective::{Setting, Source},
    record::{ApplyTo, OperatorPolicyDefinition, PolicyDefinition, PolicyRequest},
};
use crate::{Error, pattern::Pattern, queue::arguments::QueueType};

/// The settings of a policy, by their names without `x-`.
pub type Definition = serde_json::Map<String, serde_json::Value>;

/// Which of the two sorts a policy is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyKind {
    /// What `rabbitmqctl set_policy` sets.
    Policy,
    /// What `rabbitmqctl set_operator_policy` sets: limits for queues, above all policies.
    OperatorPolicy,
}

impl PolicyKind {
    /// RabbitMQ's name of the component that such policies are parameters of.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::OperatorPolicy => "operator_policy",
        }
    }
}

/// A policy with its pattern compiled.
#[derive(Debug)]
pub struct Policy {
    /// The policy as it was set.
    pub record: PolicyDefinition,
    pattern: Pattern,
}

impl Policy {
    /// Prepares a policy for matching.
    ///
    /// # Errors
    /// [`Error::PreconditionFailed`] when the pattern is no regular expression.
    pub fn new(record: PolicyDefinition) -> Result<Self, Error> {
        let pattern = Pattern::compile(&record.pattern)
            .map_err(|error| Error::PreconditionFailed(format!("pattern {error}")))?;
        Ok(Self { record, pattern })
    }

    /// Whether it is for queues of this name and type. A policy with a setting that the type does not know is not for such
    /// queues at all (`rabbit_queue_type:is_policy_applicable`).
    pub(crate) fn is_for_queue(&self, name: &str, queue_type: QueueType) -> bool {
        let unknown = effective::unsupported_by(queue_type);
        self.record.apply_to.includes(queue_type)
            && !unknown
                .iter()
                .any(|key| self.record.definition.contains_key(*key))
            && self.pattern.matches(name)
    }

    /// Whether it is for exchanges of this name.
    pub(crate) fn is_for_exchange(&self, name: &str) -> bool {
        self.record.apply_to.includes_exchanges() && self.pattern.matches(name)
    }
}

/// The policies that one queue or exchange has.
#[derive(Debug, Clone, Default)]
pub struct Matched {
    /// The policy.
    pub policy: Option<Arc<Policy>>,
    /// The operator policy.
    pub operator_policy: Option<Arc<Policy>>,
}

impl Matched {
    /// Whether there is neither.
    pub fn is_empty(&self) -> bool {
        self.policy.is_none() && self.operator_policy.is_none()
    }

    /// Whether the one of this sort has this name.
    pub(crate) fn has(&self, kind: PolicyKind, name: &str) -> bool {
        let policy = match kind {
            PolicyKind::Policy => &self.policy,
            PolicyKind::OperatorPolicy => &self.operator_policy,
        };
        policy
            .as_ref()
            .is_some_and(|policy| policy.record.name == name)
    }

    /// What the two say together: `effective_policy_definition` of RabbitMQ's HTTP API.
    pub fn definition(&self) -> Definition {
        let merged = self.merged().into_iter();
        merged.map(|(key, (value, _))| (key, value)).collect()
    }

    fn merged(&self) -> merge::Merged {
        let definition = |policy: &Option<Arc<Policy>>| {
            let policy = policy.as_ref();
            policy.map(|policy| policy.record.definition.clone())
        };
        merge::merge(definition(&self.policy), definition(&self.operator_policy))
    }

    /// Whether these are the same policies, none of them set anew.
    fn same(&self, other: &Self) -> bool {
        let same = |one: &Option<Arc<Policy>>, other: &Option<Arc<Policy>>| match (one, other) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        same(&self.policy, &other.policy) && same(&self.operator_policy, &other.operator_policy)
    }
}

impl PartialEq for Matched {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}

/// The policies of a vhost, in the order in which they are tried: by falling priority, then by name. (RabbitMQ leaves
/// it open which of several with the same priority counts.)
#[derive(Debug, Default, Clone)]
pub struct Policies {
    policies: Vec<Arc<Policy>>,
    operator_policies: Vec<Arc<Policy>>,
}

impl Policies {
    /// Sets a policy; one of the same name makes room.
    pub fn set(&mut self, kind: PolicyKind, policy: Arc<Policy>) {
        self.remove(kind, &policy.record.name);
        let list = self.list_mut(kind);
        let place = list.partition_point(|other| precedes(&other.record, &policy.record));
        list.insert(place, policy);
    }

    /// Takes a policy out, if there is one of this name.
    pub fn remove(&mut self, kind: PolicyKind, name: &str) {
        self.list_mut(kind)
            .retain(|policy| policy.record.name != name);
    }

    /// All of one sort, the one that is tried first in front.
    pub fn list(&self, kind: PolicyKind) -> &[Arc<Policy>] {
        match kind {
            PolicyKind::Policy => &self.policies,
            PolicyKind::OperatorPolicy => &self.operator_policies,
        }
    }

    /// The policy of that name.
    pub fn get(&self, kind: PolicyKind, name: &str) -> Option<&Arc<Policy>> {
        self.list(kind)
            .iter()
            .find(|policy| policy.record.name == name)
    }

    /// The policies of a queue.
    pub fn of_queue(&self, name: &str, queue_type: QueueType) -> Matched {
        self.first(|policy| policy.is_for_queue(name, queue_type))
    }

    /// The policies of an exchange.
    pub fn of_exchange(&self, name: &str) -> Matched {
        self.first(|policy| policy.is_for_exchange(name))
    }

    fn first(&self, is_for_it: impl Fn(&Policy) -> bool) -> Matched {
        let first =
            |list: &[Arc<Policy>]| list.iter().find(|policy| is_for_it(policy)).map(Arc::clone);
        Matched {
            policy: first(&self.policies),
            operator_policy: first(&self.operator_policies),
        }
    }

    fn list_mut(&mut self, kind: PolicyKind) -> &mut Vec<Arc<Policy>> {
        match kind {
            PolicyKind::Policy => &mut self.policies,
            PolicyKind::OperatorPolicy => &mut self.operator_policies,
        }
    }
}

fn precedes(one: &PolicyDefinition, other: &PolicyDefinition) -> bool {
    let priorities = other.priority().total_cmp(&one.priority());
    priorities.then_with(|| one.name.cmp(&other.name)) == Ordering::Less
}

#[cfg(test)]
mod tests;
