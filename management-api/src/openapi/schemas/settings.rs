//! Policies, parameters, limits and definitions.

use utoipa::ToSchema;

use super::{Any, Fields};

/// A policy.
#[derive(ToSchema)]
pub(crate) struct Policy {
    vhost: String,
    name: String,
    /// The regular expression that names have to match.
    pattern: String,
    #[schema(rename = "apply-to")]
    apply_to: String,
    definition: Fields,
    /// The highest one of those that match counts.
    priority: f64,
}

/// How a policy is to be.
#[derive(ToSchema)]
pub(crate) struct NewPolicy {
    /// The regular expression that names have to match.
    pattern: String,
    /// `all`, `queues`, `classic_queues`, `quorum_queues`, `streams` or `exchanges`.
    #[schema(rename = "apply-to")]
    apply_to: Option<String>,
    definition: Fields,
    priority: Option<i64>,
}

/// A parameter of a component.
#[derive(ToSchema)]
pub(crate) struct Parameter {
    vhost: String,
    component: String,
    name: String,
    value: Any,
}

/// A parameter of the broker as a whole.
#[derive(ToSchema)]
pub(crate) struct GlobalParameter {
    name: String,
    value: Any,
}

/// A value to be set.
#[derive(ToSchema)]
pub(crate) struct NewValue {
    value: Any,
}

/// What a virtual host may hold.
#[derive(ToSchema)]
pub(crate) struct VhostLimits {
    vhost: String,
    /// `max-connections`, `max-queues`.
    value: Fields,
}

/// What a user may open.
#[derive(ToSchema)]
pub(crate) struct UserLimits {
    user: String,
    /// `max-connections`, `max-channels`.
    value: Fields,
}

/// A limit to be set.
#[derive(ToSchema)]
pub(crate) struct NewLimit {
    /// Negative for none.
    value: i64,
}

/// A definitions file: what was declared, by kind.
#[derive(ToSchema)]
pub(crate) struct Definitions {
    rabbit_version: Option<String>,
    rabbitmq_version: Option<String>,
    rabbitmq_definition_format: Option<String>,
    product_name: Option<String>,
    product_version: Option<String>,
    original_cluster_name: Option<String>,
    /// The virtual host that a file of one virtual host comes from.
    original_vhost_name: Option<String>,
    explanation: Option<String>,
    /// Of a file of one virtual host.
    description: Option<String>,
    /// Of a file of one virtual host.
    metadata: Option<Fields>,
    /// Of a file of one virtual host.
    limits: Option<Any>,
    users: Option<Vec<Fields>>,
    vhosts: Option<Vec<Fields>>,
    permissions: Option<Vec<Fields>>,
    topic_permissions: Option<Vec<Fields>>,
    parameters: Option<Vec<Fields>>,
    global_parameters: Option<Vec<Fields>>,
    policies: Option<Vec<Fields>>,
    queues: Option<Vec<Fields>>,
    exchanges: Option<Vec<Fields>>,
    bindings: Option<Vec<Fields>>,
}

/// A definitions file in a form.
#[derive(ToSchema)]
pub(crate) struct UploadForm {
    /// The file.
    file: Option<String>,
    /// Where the browser is to go then.
    redirect: Option<String>,
}

/// A policy to try.
#[derive(ToSchema)]
pub(crate) struct PreviewedPolicy {
    /// The name that it will have: of two with the same priority the first by name counts.
    name: Option<String>,
    /// The regular expression that names have to match.
    pattern: String,
    /// `all`, `queues`, `classic_queues`, `quorum_queues`, `streams` or `exchanges`.
    #[schema(rename = "apply-to")]
    apply_to: Option<String>,
    definition: Option<Fields>,
    priority: Option<i64>,
    /// How many matches are named, 100 if nothing is said and 1000 at most.
    limit: Option<u64>,
}

/// What a policy would match.
#[derive(ToSchema)]
pub(crate) struct Preview {
    /// How many queues.
    queues: u64,
    /// How many exchanges.
    exchanges: u64,
    /// For how many of both it would be the one that counts.
    takes_effect: u64,
    /// What it would no longer be in force for.
    lost: u64,
    matches: Vec<PreviewMatch>,
    /// Whether there are more.
    truncated: bool,
}

/// A queue or an exchange that would match.
#[derive(ToSchema)]
pub(crate) struct PreviewMatch {
    /// `queue` or `exchange`.
    r#type: String,
    name: String,
    queue_type: Option<String>,
    /// The policy that counts now.
    policy: Option<String>,
    /// The operator policy that counts now.
    operator_policy: Option<String>,
    /// Whether the new one would be the one that counts.
    takes_effect: bool,
}
