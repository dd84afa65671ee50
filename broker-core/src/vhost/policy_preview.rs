//! What a policy would be for, before it is set: an operator who types a pattern sees what it matches.
//!
//! Nothing is changed. The rules are those of setting it: the same check, the same regular expressions, and the same
//! order of policies, so what is shown is what would happen.

use std::sync::Arc;

use super::{Exchange, Vhost};
use crate::{
    Error,
    policy::{Matched, Policies, Policy, PolicyKind, PolicyRequest},
    queue::Queue,
};

/// A queue or an exchange that a policy would match.
#[derive(Debug, Clone)]
pub struct Previewed<T> {
    /// The queue or exchange.
    pub object: Arc<T>,
    /// Whether it would have this policy; otherwise one of a higher priority stands before it.
    pub takes_effect: bool,
}

/// What a policy would be for.
#[derive(Debug)]
pub struct PolicyPreview {
    /// The queues that it matches, by name.
    pub queues: Vec<Previewed<Queue>>,
    /// The exchanges that it matches, by name.
    pub exchanges: Vec<Previewed<Exchange>>,
    /// How many queues and exchanges have the policy of this name now, and would not be matched any more.
    pub lost: usize,
}

impl Vhost {
    /// What a policy would be for, if it were set now under this name. Its settings may be missing.
    ///
    /// # Errors
    /// 406 with the text that setting it would be refused with.
    pub fn preview_policy(
        &self,
        kind: PolicyKind,
        name: &str,
        request: PolicyRequest,
    ) -> Result<PolicyPreview, Error> {
        let record = request.check_unfinished(kind, &self.name, name)?;
        let mut coming = self.policies.read().clone();
        coming.set(kind, Arc::new(Policy::new(record)?));
        let preview = Preview { kind, name, coming };
        Ok(preview.of(self))
    }
}

struct Preview<'a> {
    kind: PolicyKind,
    name: &'a str,
    /// All policies as they would be.
    coming: Policies,
}

impl Preview<'_> {
    fn of(&self, vhost: &Vhost) -> PolicyPreview {
        let Some(policy) = self.coming.get(self.kind, self.name) else {
            return PolicyPreview {
                queues: Vec::new(),
                exchanges: Vec::new(),
                lost: 0,
            };
        };
        let (mut queues, mut exchanges, mut lost) = (Vec::new(), Vec::new(), 0);
        for object in vhost.queues() {
            let (name, of_type) = (object.name(), object.properties.arguments.queue_type);
            if policy.is_for_queue(name, of_type) {
                let takes_effect = self.is_first(&self.coming.of_queue(name, of_type));
                queues.push(Previewed {
                    object,
                    takes_effect,
                });
            } else {
                lost += usize::from(object.policies().has(self.kind, self.name));
            }
        }
        for object in vhost.exchanges() {
            if policy.is_for_exchange(&object.name) {
                let takes_effect = self.is_first(&self.coming.of_exchange(&object.name));
                exchanges.push(Previewed {
                    object,
                    takes_effect,
                });
            } else {
                lost += usize::from(object.policies().has(self.kind, self.name));
            }
        }
        queues.sort_by(|one, other| one.object.name().cmp(other.object.name()));
        exchanges.sort_by(|one, other| one.object.name.cmp(&other.object.name));
        PolicyPreview {
            queues,
            exchanges,
            lost,
        }
    }

    fn is_first(&self, matched: &Matched) -> bool {
        matched.has(self.kind, self.name)
    }
}
