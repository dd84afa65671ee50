//! What is in force on a queue or exchange: its arguments, its policy and its operator policy put together, each value
//! with the place that it comes from.
//!
//! RabbitMQ decides by setting whether the lower value, the argument or the policy counts where both are given
//! (`rabbit_amqqueue_process:process_args_policy`, `rabbit_quorum_queue:gather_policy_config`).

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{Matched, merge};
use crate::{
    arguments::{AMQPValue, FieldTable, Term, integer, lookup, text},
    queue::arguments::{
        DEFAULT_DELIVERY_LIMIT, DeadLetterStrategy, DelayedRetryType, Overflow, QueueArguments,
        QueueType,
    },
};

/// The setting with which an exchange names another one for what it cannot route.
pub(crate) const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

/// Where the value of a setting comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The `x-` argument of the declaration.
    Argument,
    /// The policy.
    Policy,
    /// The operator policy.
    OperatorPolicy,
}

/// One setting in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its name in a policy: the argument's without `x-`.
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Who set it.
    pub source: Source,
}

/// Which value counts when a policy and an argument have one.
enum Precedence {
    Lower,
    DeliveryLimit,
    Timeout,
    Argument,
    Policy,
}

impl Precedence {
    fn of(queue_type: QueueType, key: &str) -> Self {
        match (key, queue_type) {
            (
                "expires"
                | "message-ttl"
                | "max-length"
                | "max-length-bytes"
                | "consumer-disconnected-timeout"
                | "delayed-retry-min"
                | "delayed-retry-max",
                _,
            ) => Self::Lower,
            ("delivery-limit", _) => Self::DeliveryLimit,
            ("consumer-timeout", _) => Self::Timeout,
            ("overflow" | "delayed-retry-type", QueueType::Quorum) => Self::Policy,
            _ => Self::Argument,
        }
    }

    /// Whether the argument counts.
    fn prefers(&self, argument: &Value, policy: &Value) -> bool {
        let numbers = argument.as_i64().zip(policy.as_i64());
        match (self, numbers) {
            (Self::Lower, Some((argument, policy))) => argument <= policy,
            (Self::DeliveryLimit, Some((argument, policy))) => {
                merge::lower_delivery_limit(argument, policy) == argument
            }
            (Self::Timeout, Some((argument, policy))) => {
                merge::lower_timeout(argument, policy) == argument
            }
            (Self::Policy, _) => false,
            _ => true,
        }
    }
}

/// Settings that queues of this type do not know: a policy with one of them is not for such queues
/// (`unsupported_policies` of `rabbit_classic_queue` and `rabbit_quorum_queue`). Unlike RabbitMQ's, classic queues have
/// delivery limits here.
pub(super) fn unsupported_by(queue_type: QueueType) -> &'static [&'static str] {
    match queue_type {
        QueueType::Classic => &[
            "max-age",
            "stream-max-segment-size-bytes",
            "initial-cluster-size",
            "dead-letter-strategy",
            "max-in-memory-length",
            "max-in-memory-bytes",
            "target-group-size",
        ],
        QueueType::Quorum => &[
            "queue-mode",
            "queue-master-locator",
            "max-age",
            "stream-max-segment-size-bytes",
            "initial-cluster-size",
        ],
    }
}

/// Every setting of a queue, by name. `table` has the arguments of its declaration.
pub fn queue_settings(
    table: &FieldTable,
    queue_type: QueueType,
    matched: &Matched,
) -> Vec<Setting> {
    let mut settings = defaults(queue_type);
    for (key, value) in table.inner() {
        if let Some(key) = key.as_str().strip_prefix("x-") {
            settings.insert(key.to_owned(), (json(value), Source::Argument));
        }
    }
    for (key, (value, source)) in matched.merged() {
        let argument = settings
            .get(&key)
            .filter(|(_, source)| *source == Source::Argument);
        let keep = argument.is_some_and(|(argument, _)| {
            Precedence::of(queue_type, &key).prefers(argument, &value)
        });
        if !keep && key != ALTERNATE_EXCHANGE {
            settings.insert(key, (value, source));
        }
    }
    settings
        .into_iter()
        .map(|(key, (value, source))| Setting { key, value, source })
        .collect()
}

fn defaults(queue_type: QueueType) -> BTreeMap<String, (Value, Source)> {
    let mut defaults = vec![
        ("overflow", Value::from("drop-head")),
        ("queue-type", Value::from(queue_type.as_str())),
    ];
    if queue_type == QueueType::Quorum {
        defaults.push(("delivery-limit", DEFAULT_DELIVERY_LIMIT.into()));
    }
    let defaults = defaults.into_iter();
    defaults
        .map(|(key, value)| (key.to_owned(), (value, Source::Default)))
        .collect()
}

/// The arguments in force on a queue that was declared with `declared`, parsed from `table`.
pub fn queue_arguments(
    declared: &Arc<QueueArguments>,
    table: &FieldTable,
    matched: &Matched,
) -> Arc<QueueArguments> {
    if matched.is_empty() {
        return Arc::clone(declared);
    }
    let mut arguments = QueueArguments::clone(declared);
    for setting in queue_settings(table, declared.queue_type, matched) {
        if matches!(setting.source, Source::Policy | Source::OperatorPolicy) {
            arguments.put(&setting.key, &setting.value);
        }
    }
    Arc::new(arguments)
}

impl QueueArguments {
    /// Takes over one setting of a policy. Those of features that do not exist here leave no trace.
    fn put(&mut self, key: &str, value: &Value) {
        let name = || value.as_str().map(Into::into);
        match key {
            "expires" => self.expires_ms = value.as_u64(),
            "message-ttl" => self.message_ttl_ms = value.as_u64(),
            "max-length" => self.max_length = value.as_u64(),
            "max-length-bytes" => self.max_length_bytes = value.as_u64(),
            "overflow" => {
                let overflow = Overflow::named(value.as_str().unwrap_or_default());
                self.overflow = overflow.on(self.queue_type);
            }
            "dead-letter-exchange" => self.dead_letter_exchange = name(),
            "dead-letter-routing-key" => self.dead_letter_routing_key = name(),
            "dead-letter-strategy" => {
                let strategy = value.as_str().unwrap_or_default();
                self.dead_letter_strategy = DeadLetterStrategy::named(strategy);
            }
            "delivery-limit" => self.delivery_limit = value.as_i64(),
            "consumer-timeout" => self.consumer_timeout_ms = value.as_u64(),
            "delayed-retry-type" => {
                let retry_type = value.as_str().unwrap_or_default();
                self.delayed_retry_type = DelayedRetryType::named(retry_type);
            }
            "delayed-retry-min" => self.delayed_retry_min_ms = value.as_u64(),
            "delayed-retry-max" => self.delayed_retry_max_ms = value.as_u64(),
            _ => {}
        }
    }
}

/// The alternate exchange of an exchange: that of its arguments before that of its policy (`rabbit_policy:get_arg`).
pub fn alternate_exchange(table: &FieldTable, matched: &Matched) -> Option<(Arc<str>, Source)> {
    match lookup(table, ALTERNATE_EXCHANGE) {
        Some(value) => Some((text(value)?.into(), Source::Argument)),
        None => {
            let (value, source) = matched.merged().remove(ALTERNATE_EXCHANGE)?;
            Some((value.as_str()?.into(), source))
        }
    }
}

/// An argument as a value of JSON. What JSON has no word for is shown as RabbitMQ's texts show it.
fn json(value: &AMQPValue) -> Value {
    if let Some(number) = integer(value) {
        return number.into();
    }
    match (value, text(value)) {
        (AMQPValue::Boolean(value), _) => (*value).into(),
        (_, Some(text)) => text.into(),
        _ => Term(value).to_string().into(),
    }
}
