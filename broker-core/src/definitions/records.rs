//! The typed records behind the JSON of a definition, and their keys.

use std::sync::Arc;

use amqp_codec::FieldTable;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Kind, arguments};
use crate::{error::Error, store::QueueId};

/// A typed definition.
pub trait Record: Serialize + DeserializeOwned {
    /// The kind that it is kept under.
    const KIND: Kind;

    /// Its key, from its identifying fields.
    fn key(&self) -> String;
}

/// Joins the parts of a key so that no two lists of parts give the same one: as a JSON array. Keys with the same first
/// parts stand together.
pub fn key(parts: &[&str]) -> String {
    // Texts can always be written as JSON.
    serde_json::to_string(parts).unwrap_or_default()
}

/// The parts that [`key`] joined; none if it is no such key.
pub fn key_parts(key: &str) -> Vec<String> {
    serde_json::from_str(key).unwrap_or_default()
}

pub(super) fn encode<R: Record>(record: &R) -> Result<Arc<[u8]>, Error> {
    let json = serde_json::to_vec(record);
    json.map(Arc::from).map_err(|error| {
        Error::Internal(format!(
            "cannot write {:?} {}: {error}",
            R::KIND,
            record.key()
        ))
    })
}

pub(super) fn decode<R: Record>(kind: Kind, key: &str, value: &[u8]) -> Result<R, Error> {
    if kind != R::KIND {
        return Err(Error::Internal(format!(
            "{kind:?} {key} read as {:?}",
            R::KIND
        )));
    }
    serde_json::from_slice(value)
        .map_err(|error| Error::Internal(format!("cannot read {kind:?} {key}: {error}")))
}

/// A virtual host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VhostDefinition {
    /// Its name.
    pub name: String,
    /// Shown to operators.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Shown to operators.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The queue type of declarations without `x-queue-type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_queue_type: Option<String>,
    /// Whether it cannot be deleted until that is taken back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub protected_from_deletion: bool,
}

impl VhostDefinition {
    /// The key of a vhost.
    pub fn key_of(name: &str) -> String {
        key(&[name])
    }
}

/// A user of the internal database, in the words of RabbitMQ's definitions file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct UserDefinition {
    /// The login.
    pub name: String,
    /// Base64 of salt and digest; empty if the user cannot log in with a password.
    pub password_hash: String,
    /// `rabbit_password_hashing_sha256` or `..._sha512`.
    pub hashing_algorithm: String,
    /// `administrator`, `monitoring`, `policymaker`, `management`, or free words.
    #[serde(default)]
    pub tags: Vec<String>,
}

impl UserDefinition {
    /// The key of a user.
    pub fn key_of(name: &str) -> String {
        key(&[name])
    }
}

/// What a user may do in a vhost: patterns of resource names (RabbitMQ: "Access Control").
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct PermissionDefinition {
    /// The user.
    pub user: String,
    /// The vhost.
    pub vhost: String,
    /// Names that may be declared and deleted.
    pub configure: String,
    /// Names that may be written to.
    pub write: String,
    /// Names that may be read from.
    pub read: String,
}

impl PermissionDefinition {
    /// Everything may be done.
    pub fn everything(user: &str, vhost: &str) -> Self {
        let everything = ".*".to_owned();
        Self {
            user: user.to_owned(),
            vhost: vhost.to_owned(),
            configure: everything.clone(),
            write: everything.clone(),
            read: everything,
        }
    }

    /// The key of a user's permissions in a vhost.
    pub fn key_of(vhost: &str, user: &str) -> String {
        key(&[vhost, user])
    }
}

/// Which routing keys of a topic exchange a user may use.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TopicPermissionDefinition {
    /// The user.
    pub user: String,
    /// The vhost.
    pub vhost: String,
    /// The exchange.
    pub exchange: String,
    /// Routing keys that may be published.
    pub write: String,
    /// Routing keys that may be bound.
    pub read: String,
}

impl TopicPermissionDefinition {
    /// The key of a user's permissions for an exchange of a vhost.
    pub fn key_of(vhost: &str, user: &str, exchange: &str) -> String {
        key(&[vhost, user, exchange])
    }
}

/// A parameter of the whole broker.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GlobalParameterDefinition {
    /// Its name.
    pub name: String,
    /// Any JSON.
    pub value: serde_json::Value,
}

impl GlobalParameterDefinition {
    /// The key of a global parameter.
    pub fn key_of(name: &str) -> String {
        key(&[name])
    }
}

/// A durable exchange.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ExchangeDefinition {
    /// The vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// `direct`, `fanout`, `topic`, `headers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it outlives a restart.
    pub durable: bool,
    /// Whether it goes with its last binding.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto_delete: bool,
    /// Whether only other exchanges may publish to it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub internal: bool,
    /// The arguments of its declaration.
    #[serde(default, skip_serializing_if = "is_empty", with = "arguments")]
    pub arguments: FieldTable,
}

impl ExchangeDefinition {
    /// The key of an exchange.
    pub fn key_of(vhost: &str, name: &str) -> String {
        key(&[vhost, name])
    }
}

/// A durable queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueueDefinition {
    /// What the message store knows it by.
    pub id: QueueId,
    /// How many of the ids that follow belong to its lanes of higher priorities.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub higher_lanes: u8,
    /// The vhost.
    pub vhost: String,
    /// Its name.
    pub name: String,
    /// Whether it outlives a restart.
    pub durable: bool,
    /// Whether it belongs to one connection.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exclusive: bool,
    /// Whether it goes with its last consumer.
    #[serde(default, skip_serializing_if = "is_false")]
    pub auto_delete: bool,
    /// The arguments of its declaration.
    #[serde(default, skip_serializing_if = "is_empty", with = "arguments")]
    pub arguments: FieldTable,
    /// An operator has stopped its deliveries.
    #[serde(default, skip_serializing_if = "is_false")]
    pub paused: bool,
    /// When it was declared, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<u64>,
}

impl QueueDefinition {
    /// The key of a queue.
    pub fn key_of(vhost: &str, name: &str) -> String {
        key(&[vhost, name])
    }
}

/// What a binding leads to.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum DestinationKind {
    /// A queue.
    #[default]
    Queue,
    /// Another exchange (RabbitMQ: "Exchange to Exchange Bindings").
    Exchange,
}

/// What a binding's key says of its destination.
const QUEUE: &str = "queue";
const EXCHANGE: &str = "exchange";

/// A binding whose source and destination are durable. All of it is its identity.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BindingDefinition {
    /// The vhost.
    pub vhost: String,
    /// The exchange.
    pub source: String,
    /// The queue or exchange.
    pub destination: String,
    /// Which of the two.
    #[serde(rename = "destination_type")]
    pub destination_kind: DestinationKind,
    /// The routing key or pattern.
    pub routing_key: String,
    /// The arguments, which a headers exchange matches.
    #[serde(default, skip_serializing_if = "is_empty", with = "arguments")]
    pub arguments: FieldTable,
}

impl BindingDefinition {
    /// The binding with this key, which says all of it; `None` if no binding has such a key.
    pub fn of_key(key: &str) -> Option<Self> {
        let parts: [String; 6] = key_parts(key).try_into().ok()?;
        let [vhost, source, kind, destination, routing_key, arguments] = parts;
        let destination_kind = match kind.as_str() {
            QUEUE => DestinationKind::Queue,
            EXCHANGE => DestinationKind::Exchange,
            _ => return None,
        };
        let arguments = match arguments.as_str() {
            "" => FieldTable::default(),
            text => arguments::of_text(text)?,
        };
        Some(Self {
            vhost,
            source,
            destination,
            destination_kind,
            routing_key,
            arguments,
        })
    }

    fn own_key(&self) -> String {
        let kind = match self.destination_kind {
            DestinationKind::Queue => QUEUE,
            DestinationKind::Exchange => EXCHANGE,
        };
        let arguments = match is_empty(&self.arguments) {
            true => String::new(),
            false => arguments::text(&self.arguments),
        };
        let (source, key) = (&self.source, &self.routing_key);
        self::key(&[
            &self.vhost,
            source,
            kind,
            &self.destination,
            key,
            &arguments,
        ])
    }
}

impl Record for VhostDefinition {
    const KIND: Kind = Kind::Vhost;

    fn key(&self) -> String {
        Self::key_of(&self.name)
    }
}

impl Record for UserDefinition {
    const KIND: Kind = Kind::User;

    fn key(&self) -> String {
        Self::key_of(&self.name)
    }
}

impl Record for PermissionDefinition {
    const KIND: Kind = Kind::Permission;

    fn key(&self) -> String {
        Self::key_of(&self.vhost, &self.user)
    }
}

impl Record for TopicPermissionDefinition {
    const KIND: Kind = Kind::TopicPermission;

    fn key(&self) -> String {
        Self::key_of(&self.vhost, &self.user, &self.exchange)
    }
}

impl Record for GlobalParameterDefinition {
    const KIND: Kind = Kind::GlobalParameter;

    fn key(&self) -> String {
        Self::key_of(&self.name)
    }
}

impl Record for ExchangeDefinition {
    const KIND: Kind = Kind::Exchange;

    fn key(&self) -> String {
        Self::key_of(&self.vhost, &self.name)
    }
}

impl Record for QueueDefinition {
    const KIND: Kind = Kind::Queue;

    fn key(&self) -> String {
        Self::key_of(&self.vhost, &self.name)
    }
}

impl Record for BindingDefinition {
    const KIND: Kind = Kind::Binding;

    fn key(&self) -> String {
        self.own_key()
    }
}

fn is_zero(number: &u8) -> bool {
    *number == 0
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn is_empty(table: &FieldTable) -> bool {
    table.inner().is_empty()
}
