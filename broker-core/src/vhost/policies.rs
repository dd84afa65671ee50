//! Setting and clearing policies, and giving queues and exchanges theirs.

use std::sync::Arc;

use super::{Exchange, Vhost};
use crate::{
    Error,
    definitions::{Change, Kind},
    policy::{OperatorPolicyDefinition, Policy, PolicyDefinition, PolicyKind, PolicyRequest},
    queue::Queue,
    store::Ticket,
};

impl Vhost {
    /// Sets a policy; one of the same name makes room. Queues and exchanges have it when this returns. The ticket of its
    /// definition is to be awaited before the answer.
    ///
    /// # Errors
    /// 406 with RabbitMQ's text, `Validation failed` and a line for each fault.
    pub fn set_policy(
        &self,
        kind: PolicyKind,
        name: &str,
        request: PolicyRequest,
    ) -> Result<Ticket, Error> {
        let record = request.check(kind, &self.name, name)?;
        let change = match kind {
            PolicyKind::Policy => Change::put(&record)?,
            PolicyKind::OperatorPolicy => Change::put(&OperatorPolicyDefinition(record))?,
        };
        let mut turn = self.turn();
        turn.write(vec![change])?;
        Ok(turn.ticket)
    }

    /// Clears a policy: what it was for has its next one when this returns. The ticket is to be awaited before the
    /// answer.
    ///
    /// # Errors
    /// 404 with RabbitMQ's text when there is no policy of this name.
    pub fn clear_policy(&self, kind: PolicyKind, name: &str) -> Result<Ticket, Error> {
        let key = PolicyDefinition::key_of(&self.name, name);
        let of_records = match kind {
            PolicyKind::Policy => Kind::Policy,
            PolicyKind::OperatorPolicy => Kind::OperatorPolicy,
        };
        let mut turn = self.turn();
        if self.policy(kind, name).is_none() {
            return Err(Error::NotFound("Parameter does not exist".to_owned()));
        }
        turn.write(vec![Change::delete(of_records, key)])?;
        Ok(turn.ticket)
    }

    /// The policy of that name.
    pub fn policy(&self, kind: PolicyKind, name: &str) -> Option<Arc<Policy>> {
        self.policies.read().get(kind, name).cloned()
    }

    /// All policies of one sort, by falling priority.
    pub fn policies(&self, kind: PolicyKind) -> Vec<Arc<Policy>> {
        self.policies.read().list(kind).to_vec()
    }

    /// Puts a policy in force. The caller has the turn, here and below.
    ///
    /// # Errors
    /// Its pattern is no regular expression.
    pub(super) fn put_policy(
        &self,
        kind: PolicyKind,
        record: PolicyDefinition,
    ) -> Result<(), Error> {
        let policy = Arc::new(Policy::new(record)?);
        self.policies.write().set(kind, Arc::clone(&policy));
        self.apply_policy(kind, &policy.record.name, Some(&policy));
        Ok(())
    }

    /// Ends a policy.
    pub(super) fn remove_policy(&self, kind: PolicyKind, name: &str) {
        self.policies.write().remove(kind, name);
        self.apply_policy(kind, name, None);
    }

    /// Looks again at what had the policy of that name, and at what the new one is for: nothing changes for others.
    fn apply_policy(&self, kind: PolicyKind, name: &str, new: Option<&Policy>) {
        for exchange in &self.exchanges {
            let gets = new.is_some_and(|policy| policy.is_for_exchange(&exchange.name));
            if gets || exchange.policies().has(kind, name) {
                self.configure_exchange(&exchange);
            }
        }
        for queue in &self.queues {
            let queue_type = queue.properties.arguments.queue_type;
            let gets = new.is_some_and(|policy| policy.is_for_queue(queue.name(), queue_type));
            if gets || queue.policies().has(kind, name) {
                self.configure_queue(&queue);
            }
        }
        self.changed();
    }

    /// Gives a queue its policies.
    pub(super) fn configure_queue(&self, queue: &Arc<Queue>) {
        let queue_type = queue.properties.arguments.queue_type;
        let matched = self.policies.read().of_queue(queue.name(), queue_type);
        queue.configure(matched);
    }

    /// Gives an exchange its policies.
    pub(super) fn configure_exchange(&self, exchange: &Exchange) {
        let matched = self.policies.read().of_exchange(&exchange.name);
        exchange.configure(matched);
    }
}
