//! Writing a document of what there is (`rabbit_definitions:all_definitions`, `rabbit_mgmt_wm_definitions`).
//!
//! It has the fields of RabbitMQ 4, and RabbitMQ 3.10 can import it too. What belongs to a connection, to the broker
//! itself, or to nobody is left out.

use std::sync::Arc;

use serde_json::{Map, Value, json, to_value};

use super::LEVERET_PASSWORD_HASH;
use crate::{
    arguments::json::table_to_json,
    broker::Broker,
    definitions::{BindingDefinition, DestinationKind, UserDefinition},
    policy::{PolicyDefinition, PolicyKind},
    users::{ARGON2ID, SHA_256},
    vhost::Vhost,
};

/// What is exported.
#[derive(Clone)]
pub enum Scope {
    /// Everything.
    All,
    /// What is in one vhost, without the vhost's name in every item.
    One(Arc<Vhost>),
}

impl Broker {
    /// The document. `version` is the version of RabbitMQ that it is written for, `cluster` the name of this broker.
    pub fn export_definitions(&self, scope: &Scope, version: &str, cluster: &str) -> Value {
        let mut document = match scope {
            Scope::All => self.of_cluster(cluster),
            Scope::One(vhost) => self.of_vhost(vhost),
        };
        let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
        put("rabbit_version", version.into());
        put("rabbitmq_version", version.into());
        put("product_name", "Leveret".into());
        put("product_version", env!("CARGO_PKG_VERSION").into());
        let mut vhosts = match scope {
            Scope::All => self.vhosts(),
            Scope::One(vhost) => vec![Arc::clone(vhost)],
        };
        vhosts.sort_by(|one, other| one.name.cmp(&other.name));
        let inside = |each: &dyn Fn(&Arc<Vhost>) -> Vec<Value>| {
            let items = vhosts.iter().flat_map(each);
            items
                .map(|item| without_vhost(item, scope))
                .collect::<Value>()
        };
        put("parameters", inside(&|vhost| self.parameters_json(vhost)));
        put("policies", inside(&policies_json));
        put("exchanges", inside(&exchanges_json));
        put("queues", inside(&queues_json));
        put("bindings", inside(&bindings_json));
        document.into()
    }

    /// What only the document of everything has.
    fn of_cluster(&self, cluster: &str) -> Map<String, Value> {
        let mut document = Map::new();
        let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
        put("rabbitmq_definition_format", "cluster".into());
        put("original_cluster_name", cluster.into());
        put(
            "explanation",
            format!("Definitions of cluster '{cluster}'").into(),
        );
        let users = self.users();
        put(
            "users",
            users.iter().map(|user| self.user_json(user)).collect(),
        );
        let mut vhosts = self.vhosts();
        vhosts.sort_by(|one, other| one.name.cmp(&other.name));
        put(
            "vhosts",
            vhosts.iter().map(|vhost| self.vhost_json(vhost)).collect(),
        );
        put("permissions", objects(&self.permissions()));
        put("topic_permissions", objects(&self.topic_permissions()));
        let mut globals = self.global_parameters();
        globals.retain(|it| !it.name.starts_with("internal"));
        put("global_parameters", objects(&globals));
        document
    }

    /// What only the document of a vhost has.
    fn of_vhost(&self, vhost: &Vhost) -> Map<String, Value> {
        let mut document = Map::new();
        let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
        let name = &vhost.name;
        put("rabbitmq_definition_format", "single_virtual_host".into());
        put("original_vhost_name", (**name).into());
        put(
            "explanation",
            format!("Definitions of virtual host '{name}'").into(),
        );
        let mut described = self.vhost_json(vhost);
        for key in ["metadata", "description", "limits"] {
            put(
                key,
                described.get_mut(key).map(Value::take).unwrap_or_default(),
            );
        }
        document
    }

    /// A user. RabbitMQ knows no argon2id and would refuse the whole document, so it is told that such a user has no
    /// password, and the hash stands beside that for us.
    fn user_json(&self, user: &UserDefinition) -> Value {
        let limits = self.user_limits(&user.name).unwrap_or_default();
        let limits = limits_json([
            ("max-connections", limits.max_connections),
            ("max-channels", limits.max_channels),
        ]);
        let foreign = user.hashing_algorithm == ARGON2ID;
        let (hash, algorithm) = match foreign {
            true => ("", SHA_256),
            false => (user.password_hash.as_str(), user.hashing_algorithm.as_str()),
        };
        let mut object = json!({
            "name": user.name,
            "password_hash": hash,
            "hashing_algorithm": algorithm,
            "tags": user.tags,
            "limits": limits,
        });
        if foreign && let Some(fields) = object.as_object_mut() {
            let hash = user.password_hash.as_str().into();
            fields.insert(LEVERET_PASSWORD_HASH.to_owned(), hash);
        }
        object
    }

    fn vhost_json(&self, vhost: &Vhost) -> Value {
        let definition = self.vhost_definition(&vhost.name).unwrap_or_default();
        let mut metadata = json!({
            "description": definition.description,
            "tags": definition.tags,
            "default_queue_type": vhost.default_queue_type(),
        });
        if definition.protected_from_deletion
            && let Some(fields) = metadata.as_object_mut()
        {
            fields.insert("protected_from_deletion".to_owned(), true.into());
        }
        json!({
            "name": vhost.name,
            "description": definition.description,
            "tags": definition.tags,
            "default_queue_type": vhost.default_queue_type(),
            "limits": self.vhost_limits_json(vhost),
            "metadata": metadata,
        })
    }

    fn vhost_limits_json(&self, vhost: &Vhost) -> Value {
        let limits = self.vhost_limits(&vhost.name).unwrap_or_default();
        limits_json([
            ("max-connections", limits.max_connections),
            ("max-queues", limits.max_queues),
        ])
    }

    /// Operator policies and limits of a vhost, in the form of parameters.
    pub fn parameters_json(&self, vhost: &Vhost) -> Vec<Value> {
        let parameter = |component: &str, name: &str, value: Value| json!({ "vhost": vhost.name, "component": component, "name": name, "value": value });
        let policies = vhost.policies(PolicyKind::OperatorPolicy);
        let policies = policies.iter().map(|policy| {
            let record = &policy.record;
            let value = json!({
                "pattern": record.pattern,
                "apply-to": record.apply_to.as_str(),
                "definition": record.definition,
                "priority": record.priority,
            });
            parameter("operator_policy", &record.name, value)
        });
        let mut all: Vec<Value> = policies.collect();
        let limits = self.vhost_limits_json(vhost);
        if limits.as_object().is_some_and(|limits| !limits.is_empty()) {
            all.push(parameter("vhost-limits", "limits", limits));
        }
        all
    }
}

fn limits_json<const N: usize>(limits: [(&str, Option<i64>); N]) -> Value {
    let given = limits.into_iter();
    let given = given.filter_map(|(name, limit)| Some((name.to_owned(), limit?.into())));
    Value::Object(given.collect())
}

fn objects<T: serde::Serialize>(records: &[T]) -> Value {
    records
        .iter()
        .map(|it| to_value(it).unwrap_or_default())
        .collect()
}

fn without_vhost(mut item: Value, scope: &Scope) -> Value {
    if let (Scope::One(_), Some(fields)) = (scope, item.as_object_mut()) {
        fields.remove("vhost");
    }
    item
}

fn policies_json(vhost: &Arc<Vhost>) -> Vec<Value> {
    let policies = vhost.policies(PolicyKind::Policy);
    let object = |record: &PolicyDefinition| to_value(record).unwrap_or_default();
    policies
        .iter()
        .map(|policy| object(&policy.record))
        .collect()
}

fn exchanges_json(vhost: &Arc<Vhost>) -> Vec<Value> {
    let mut exchanges = vhost.exchanges();
    exchanges.retain(|it| !it.name.is_empty() && !it.name.starts_with("amq."));
    exchanges.sort_by(|one, other| one.name.cmp(&other.name));
    let object = |exchange: &Arc<crate::vhost::Exchange>| {
        json!({
            "vhost": vhost.name,
            "name": exchange.name,
            "type": exchange.kind.as_str(),
            "durable": exchange.durable,
            "auto_delete": exchange.auto_delete,
            "internal": exchange.internal,
            "arguments": table_to_json(&exchange.arguments),
        })
    };
    exchanges.iter().map(object).collect()
}

fn queues_json(vhost: &Arc<Vhost>) -> Vec<Value> {
    let mut queues = vhost.queues();
    queues.retain(|queue| is_importable(queue));
    queues.sort_by(|one, other| one.name().cmp(other.name()));
    let object = |queue: &Arc<crate::queue::Queue>| {
        let properties = &queue.properties;
        json!({
            "vhost": vhost.name,
            "name": properties.name,
            "type": properties.arguments.queue_type.as_str(),
            "durable": properties.durable,
            "auto_delete": properties.auto_delete,
            "arguments": table_to_json(&properties.table),
        })
    };
    queues.iter().map(object).collect()
}

fn bindings_json(vhost: &Arc<Vhost>) -> Vec<Value> {
    let mut bindings = vhost.bindings();
    bindings.retain(|binding| !binding.source.is_empty() && is_exported(vhost, binding));
    bindings.sort_by(|one, other| sort_key(one).cmp(&sort_key(other)));
    let object = |binding: &BindingDefinition| {
        json!({
            "vhost": vhost.name,
            "source": binding.source,
            "destination": binding.destination,
            "destination_type": binding.destination_kind,
            "routing_key": binding.routing_key,
            "arguments": table_to_json(&binding.arguments),
        })
    };
    bindings.iter().map(object).collect()
}

/// Exclusive queues end with their connection, and names that the broker has made cannot be declared.
fn is_importable(queue: &crate::queue::Queue) -> bool {
    queue.properties.exclusive_owner.is_none() && !queue.name().starts_with("amq.")
}

/// A binding of something that is not exported could not be imported.
fn is_exported(vhost: &Vhost, binding: &BindingDefinition) -> bool {
    match binding.destination_kind {
        DestinationKind::Exchange => true,
        DestinationKind::Queue => {
            let queue = vhost.queue(&binding.destination);
            queue.is_some_and(|queue| is_importable(&queue))
        }
    }
}

fn sort_key(binding: &BindingDefinition) -> (&str, &str, &str) {
    (&binding.source, &binding.destination, &binding.routing_key)
}
