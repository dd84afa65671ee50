//! Metrics for Prometheus: `/metrics` with totals, `/metrics/per-object` with a sample for each object, and
//! `/metrics/detailed` with those that `family`, `vhost` and `queue` choose. Names, types and texts are RabbitMQ's
//! (<https://www.rabbitmq.com/docs/prometheus>), so that its dashboards show Leveret too. What Leveret alone has begins
//! with `leveret_`.

mod families;
mod global;
mod objects;
mod own;
mod text;

use axum::{
    extract::{FromRequestParts, State},
    http::{StatusCode, header::CONTENT_TYPE, request::Parts},
    response::{IntoResponse as _, Response},
};
use broker_core::pattern::Pattern;

use self::{
    families::{FAMILIES, Family},
    objects::{Filter, MISSING, QueueSums, queue_labels, rows},
    text::{CONTENT_TYPE as TEXT, Kind, Labels, Page, labels},
};
use crate::{
    Error, Node, RABBITMQ_VERSION, Shared,
    caller::{Authorized, Monitor},
    openapi::{Methods, Routes, get},
    request::Query,
};

/// The longest regular expression that queues are chosen with (`MAX_QUEUE_FILTER_LENGTH`).
const MAX_QUEUE_FILTER_LENGTH: usize = 1024;

/// The prefix of the metrics of `/metrics` and `/metrics/per-object`.
const PREFIX: &str = "rabbitmq_";

/// The prefix of those of `/metrics/detailed`.
const DETAILED: &str = "rabbitmq_detailed_";

pub(crate) fn routes() -> Routes {
    let text = |methods: Methods, what| methods.says(what).gives_text("text/plain").open();
    let detailed = text(get(detailed), "Some families of metrics, of some objects")
        .asks("family", "a family; may be given several times")
        .asks(
            "vhost",
            "only of this virtual host; may be given several times",
        )
        .asks(
            "queue",
            "only of queues whose name matches this regular expression",
        );
    Routes::about("Metrics")
        .route("/metrics", text(get(aggregated), "Totals"))
        .route(
            "/metrics/per-object",
            text(get(per_object), "A sample for each object"),
        )
        .route("/metrics/detailed", detailed)
        .route(
            "/metrics/memory-breakdown",
            text(get(memory_breakdown), "What memory is used for"),
        )
}

/// Whoever may read metrics: anybody as in RabbitMQ, or monitors if the configuration says so.
struct Reader;

impl FromRequestParts<Shared> for Reader {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, node: &Shared) -> Result<Self, Error> {
        if node.metrics_authentication {
            Authorized::<Monitor>::from_request_parts(parts, node).await?;
        }
        Ok(Self)
    }
}

async fn aggregated(_: Reader, State(node): State<Shared>) -> Result<Response, Error> {
    answer(&node, |node, page| {
        let queues = QueueSums::of(node);
        for family in FAMILIES
            .iter()
            .filter(|it| it.name != "queue_consumer_count")
        {
            put_sums(family, node, &queues, page);
        }
        put_totals(node, (queues.queues, queues.consumers), page);
        put_identity(node, "aggregated", page);
        global::put(node, queues.consumers, page);
        own::put(node, &queues, page);
    })
    .await
}

async fn per_object(_: Reader, State(node): State<Shared>) -> Result<Response, Error> {
    answer(&node, |node, page| {
        let filter = Filter::default();
        for family in FAMILIES
            .iter()
            .filter(|it| it.name != "queue_consumer_count")
        {
            put_each(family, PREFIX, node, &filter, page);
        }
        let totals = node.core.totals();
        put_totals(node, (totals.queues, totals.consumers), page);
        put_queue_info(PREFIX, node, &filter, page);
        own::put_each(node, &filter, page);
        put_identity(node, "per-object", page);
    })
    .await
}

async fn detailed(_: Reader, State(node): State<Shared>, query: Query) -> Result<Response, Error> {
    let filter = match filter(&query) {
        Ok(filter) => filter,
        Err(reason) => return Ok((StatusCode::BAD_REQUEST, reason).into_response()),
    };
    let wanted: Vec<String> = query.all("family").map(str::to_owned).collect();
    answer(&node, move |node, page| {
        let wants = |name: &str| wanted.iter().any(|it| it == name);
        for family in FAMILIES.iter().filter(|it| wants(it.name)) {
            // The smaller of the two is part of the larger one.
            if family.name != "queue_consumer_count" || !wants("queue_metrics") {
                put_each(family, DETAILED, node, &filter, page);
            }
        }
        global::put_cluster(node, &filter, &wants, page);
        if [
            "queue_coarse_metrics",
            "queue_consumer_count",
            "queue_metrics",
        ]
        .iter()
        .any(|it| wants(it))
        {
            put_queue_info(DETAILED, node, &filter, page);
        }
        if wants("leveret_queue_metrics") {
            own::put_each(node, &filter, page);
        }
        put_identity(node, "detailed", page);
    })
    .await
}

/// RabbitMQ divides the memory of the Erlang machine here, which there is none of.
async fn memory_breakdown(_: Reader, State(node): State<Shared>) -> Result<Response, Error> {
    answer(&node, |node, page| {
        put_identity(node, "memory-breakdown", page)
    })
    .await
}

fn filter(query: &Query) -> Result<Filter, String> {
    let vhosts: Vec<String> = query.all("vhost").map(str::to_owned).collect();
    let mut queues = query.all("queue").filter(|it| !it.is_empty());
    let queue = queues.next();
    if queues.next().is_some() {
        return Err("Only one 'queue' query parameter is allowed".to_owned());
    }
    let compile = |pattern: &str| {
        if pattern.len() > MAX_QUEUE_FILTER_LENGTH {
            return Err("'queue' regex too long".to_owned());
        }
        let compiled = Pattern::compile(pattern);
        compiled.map_err(|error| format!("Invalid 'queue' regex: {error}"))
    };
    Ok(Filter {
        vhosts: (!vhosts.is_empty()).then_some(vhosts),
        queues: queue.map(compile).transpose()?,
    })
}

/// Writes a page where nobody waits for the thread: there may be very many objects.
async fn answer(
    node: &Shared,
    write: impl FnOnce(&Node, &mut Page) + Send + 'static,
) -> Result<Response, Error> {
    let text = node.elsewhere(|node| {
        let mut page = Page::default();
        write(node, &mut page);
        page.into_text()
    });
    Ok(([(CONTENT_TYPE, TEXT)], text.await?).into_response())
}

/// Writes the sums of a family over all objects. What is known of protocols is not summed up.
fn put_sums(family: &Family, node: &Node, queues: &QueueSums, page: &mut Page) {
    let filter = Filter::default();
    if family.objects == families::Objects::Logins {
        put_each(family, PREFIX, node, &filter, page);
        return;
    }
    let sums = match queues.get(family.objects) {
        Some(sums) => sums.to_vec(),
        None => {
            let mut sums = vec![0.0; family.metrics.len()];
            rows(family, node, &filter, false, &mut |_, values| {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += value;
                }
            });
            sums
        }
    };
    for (metric, sum) in family.metrics.iter().zip(sums) {
        if !sum.is_nan() && !is_of_one(metric.name) {
            let name = format!("{PREFIX}{}", metric.name);
            page.one(&name, metric.help, metric.kind, sum);
        }
    }
}

/// Whether a sum over several objects would say nothing.
fn is_of_one(name: &str) -> bool {
    ["_capacity", "_utilisation", "_timestamp"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Writes a sample of each object of a family.
fn put_each(family: &Family, prefix: &str, node: &Node, filter: &Filter, page: &mut Page) {
    let mut objects: Vec<(Labels, Vec<f64>)> = Vec::new();
    rows(family, node, filter, true, &mut |labels, values| {
        objects.push((labels(), values.to_vec()));
    });
    let last = family.metrics.len().saturating_sub(1);
    for (index, metric) in family.metrics.iter().enumerate() {
        let samples = objects.iter_mut().filter_map(|(labels, values)| {
            let value = values.get(index).copied().unwrap_or(MISSING);
            let labels = match index == last {
                true => std::mem::take(labels),
                false => labels.clone(),
            };
            (!value.is_nan()).then_some((labels, value))
        });
        let name = format!("{prefix}{}", metric.name);
        page.family(&name, metric.help, metric.kind, samples);
    }
}

/// How many objects of each kind there are.
fn put_totals(node: &Node, (queues, consumers): (usize, usize), page: &mut Page) {
    let connections = node.core.connections();
    let channels: usize = connections.iter().map(|it| it.channel_count()).sum();
    for (name, help, count) in [
        (
            "rabbitmq_connections",
            "Connections currently open",
            connections.len(),
        ),
        ("rabbitmq_channels", "Channels currently open", channels),
        (
            "rabbitmq_consumers",
            "Consumers currently connected",
            consumers,
        ),
        ("rabbitmq_queues", "Queues available", queues),
    ] {
        page.one(name, help, Kind::Gauge, count as f64);
    }
}

fn put_identity(node: &Node, endpoint: &str, page: &mut Page) {
    let build = labels(&[
        ("rabbitmq_version", RABBITMQ_VERSION),
        ("prometheus_plugin_version", RABBITMQ_VERSION),
        ("prometheus_client_version", env!("CARGO_PKG_VERSION")),
        ("erlang_version", "none"),
        ("product_version", env!("CARGO_PKG_VERSION")),
        ("product_name", "Leveret"),
    ]);
    let help = "RabbitMQ & Erlang/OTP version info";
    page.family("rabbitmq_build_info", help, Kind::Gauge, [(build, 1.0)]);
    let identity = labels(&[
        ("rabbitmq_node", &node.name),
        ("rabbitmq_cluster", &node.cluster_name()),
        ("rabbitmq_cluster_permanent_id", &node.name),
        ("rabbitmq_endpoint", endpoint),
    ]);
    let help = "RabbitMQ node & cluster identity info";
    page.family(
        "rabbitmq_identity_info",
        help,
        Kind::Gauge,
        [(identity, 1.0)],
    );
}

fn put_queue_info(prefix: &str, node: &Node, filter: &Filter, page: &mut Page) {
    let mut samples = Vec::new();
    filter.for_each_queue(node, |queue| {
        let kind = global::queue_type(queue.properties.arguments.queue_type);
        let mut labels = queue_labels(queue);
        labels.extend(text::labels(&[
            ("queue_type", kind),
            ("membership", "leader"),
        ]));
        samples.push((labels, 1.0));
    });
    let name = format!("{prefix}queue_info");
    let help = "A metric with a constant '1' value and labels that provide some queue details";
    page.family(&name, help, Kind::Gauge, samples);
}
