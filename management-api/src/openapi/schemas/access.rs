//! Virtual hosts, users and what they may do.

use std::collections::BTreeMap;

use utoipa::ToSchema;

use super::{Any, Details, Fields, MessageStats};

/// A virtual host.
#[derive(ToSchema)]
pub(crate) struct Vhost {
    name: String,
    description: String,
    tags: Vec<String>,
    default_queue_type: String,
    metadata: Metadata,
    tracing: bool,
    protected_from_deletion: bool,
    /// The state on each node.
    cluster_state: BTreeMap<String, String>,
    messages: Option<u64>,
    messages_details: Option<Details>,
    messages_ready: Option<u64>,
    messages_ready_details: Option<Details>,
    messages_unacknowledged: Option<u64>,
    messages_unacknowledged_details: Option<Details>,
    recv_oct: Option<u64>,
    recv_oct_details: Option<Details>,
    send_oct: Option<u64>,
    send_oct_details: Option<Details>,
    message_stats: Option<MessageStats>,
}

/// What was said of a virtual host when it was made.
#[derive(ToSchema)]
pub(crate) struct Metadata {
    description: String,
    tags: Vec<String>,
    default_queue_type: String,
}

/// How a virtual host is to be.
#[derive(ToSchema)]
pub(crate) struct NewVhost {
    description: Option<String>,
    /// A list, or a text with commas.
    tags: Option<Any>,
    /// `classic` or `quorum`.
    default_queue_type: Option<String>,
}

/// A user.
#[derive(ToSchema)]
pub(crate) struct User {
    name: String,
    /// Empty if there is no password.
    password_hash: String,
    hashing_algorithm: String,
    tags: Vec<String>,
    limits: Fields,
}

/// How a user is to be.
#[derive(ToSchema)]
pub(crate) struct NewUser {
    password: Option<String>,
    /// Instead of the password.
    password_hash: Option<String>,
    hashing_algorithm: Option<String>,
    /// A text with commas, or a list.
    tags: Any,
    limits: Option<Fields>,
    /// Permissions of a new user, by virtual host.
    permissions: Option<BTreeMap<String, NewPermission>>,
}

/// Users to delete.
#[derive(ToSchema)]
pub(crate) struct Users {
    users: Vec<String>,
}

/// What a user may do in a virtual host: regular expressions for names.
#[derive(ToSchema)]
pub(crate) struct Permission {
    user: String,
    vhost: String,
    configure: String,
    write: String,
    read: String,
}

/// The same, to be set.
#[derive(ToSchema)]
pub(crate) struct NewPermission {
    configure: String,
    write: String,
    read: String,
}

/// Which routing keys a user may use with a topic exchange.
#[derive(ToSchema)]
pub(crate) struct TopicPermission {
    user: String,
    vhost: String,
    exchange: String,
    write: String,
    read: String,
}

/// The same, to be set.
#[derive(ToSchema)]
pub(crate) struct NewTopicPermission {
    exchange: String,
    write: String,
    read: String,
}

/// Who sends a request.
#[derive(ToSchema)]
pub(crate) struct Whoami {
    name: String,
    tags: Vec<String>,
    is_internal_user: bool,
}

/// User and password of a form.
#[derive(ToSchema)]
pub(crate) struct Login {
    username: String,
    password: String,
}

/// What to send from now on, in the header `Authorization`.
#[derive(ToSchema)]
pub(crate) struct LoggedIn {
    token: Token,
    user: Whoami,
}

/// What to send.
#[derive(ToSchema)]
pub(crate) struct Token {
    r#type: String,
    value: String,
}

/// A hash of a password.
#[derive(ToSchema)]
pub(crate) struct Hash {
    ok: String,
}

/// Who begins a session.
#[derive(ToSchema)]
pub(crate) struct NewSession {
    user: String,
    password: String,
}

/// Who is logged in, and what does not change while the broker runs.
#[derive(ToSchema)]
pub(crate) struct Session {
    name: String,
    tags: Vec<String>,
    is_internal_user: bool,
    node: String,
    cluster_name: String,
    product_version: String,
    /// Milliseconds since 1970.
    started_at: u64,
}
