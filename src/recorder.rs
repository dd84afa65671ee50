//! Keeps what operators want to know of the log's lines, for the HTTP API (`GET /api/leveret/events`).
//!
//! A layer of `tracing` beside the one that writes the log: everything under the target `audit`, what our own crates say
//! at the level `info` and above, and warnings of others. What the log's level leaves out is kept here nevertheless.

use std::{
    fmt,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use management_api::{EventKind, EventLog, Severity};
use serde_json::Value;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
    registry::LookupSpan,
};

/// Crates and modules by what their events are about; the first that is a prefix counts.
const KINDS: &[(&str, EventKind)] = &[
    ("leveret::alarms", EventKind::Alarm),
    ("leveret::protocol::handshake", EventKind::Login),
    ("leveret::protocol::inquiry", EventKind::Login),
    ("leveret::protocol::queues", EventKind::Queue),
    ("leveret::protocol::exchanges", EventKind::Exchange),
    ("leveret::protocol", EventKind::Connection),
    ("leveret::net::listen", EventKind::Node),
    ("leveret::net", EventKind::Connection),
    ("leveret::ports", EventKind::Connection),
    ("management_api::login", EventKind::Login),
    ("management_api::session", EventKind::Login),
    ("management_api::caller", EventKind::Login),
    ("management_api::error", EventKind::Login),
    ("management_api::policies", EventKind::Policy),
    ("management_api::parameters", EventKind::Policy),
    ("management_api::queues", EventKind::Queue),
    ("management_api::leveret::session", EventKind::Login),
    ("management_api::leveret::log_level", EventKind::Node),
    ("management_api::leveret", EventKind::Queue),
    ("management_api::exchanges", EventKind::Exchange),
    ("management_api::bindings", EventKind::Binding),
    ("management_api::connections", EventKind::Connection),
    ("auth_backends", EventKind::Login),
    ("broker_core::users", EventKind::User),
    ("broker_core::permissions", EventKind::Permission),
    ("broker_core::broker::vhosts", EventKind::Vhost),
    ("broker_core::broker::limits", EventKind::Limit),
    ("broker_core::broker::parameters", EventKind::Parameter),
    ("broker_core::definitions_file", EventKind::Definitions),
    ("broker_core::moving", EventKind::Queue),
    ("broker_core::queue", EventKind::Queue),
    ("broker_core::vhost", EventKind::Queue),
];

/// Our own crates; their lines of the level `info` are rare and worth keeping.
const OURS: [&str; 5] = [
    "audit",
    "leveret",
    "broker_core",
    "management_api",
    "auth_backends",
];

/// An event log whose ids follow those of the last start.
pub fn event_log() -> Arc<EventLog> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let micros = since_epoch.unwrap_or_default().as_micros();
    Arc::new(EventLog::new(u64::try_from(micros).unwrap_or(1)))
}

/// The layer that keeps events in `log`.
pub fn layer<S>(log: Arc<EventLog>) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let ours = OURS.map(|target| (target, LevelFilter::INFO));
    let wanted = Targets::new()
        .with_targets(ours)
        .with_default(LevelFilter::WARN);
    Recorder(log).with_filter(wanted)
}

struct Recorder(Arc<EventLog>);

impl<S> Layer<S> for Recorder
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(around) = span.extensions().get::<Fields>() {
                fields.add(around);
            }
        }
        let others = fields.others.into_iter();
        let others = others.map(|(name, value)| (name.to_owned(), value));
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let at = since_epoch.unwrap_or_default().as_millis();
        self.0.record(
            u64::try_from(at).unwrap_or_default(),
            kind_of(event.metadata()),
            severity_of(*event.metadata().level()),
            fields.message,
            others.collect(),
        );
    }
}

fn kind_of(metadata: &Metadata<'_>) -> EventKind {
    let module = metadata.module_path().unwrap_or_default();
    kind_of_module(module)
}

fn kind_of_module(module: &str) -> EventKind {
    let lies_in = |prefix: &str| {
        let rest = module.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    let found = KINDS.iter().find(|(prefix, _)| lies_in(prefix));
    found.map_or(EventKind::Node, |(_, kind)| *kind)
}

fn severity_of(level: Level) -> Severity {
    match level {
        Level::ERROR => Severity::Error,
        Level::WARN => Severity::Warning,
        _ => Severity::Info,
    }
}

/// Whether it is a path of the API that has a password in it.
fn is_secret(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.contains("/hash_password/"))
}

/// The fields of an event, or of a span.
#[derive(Default)]
struct Fields {
    message: String,
    /// Names stand once, and there are few.
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    /// Adds what a span around the event says. Who it says the user is stands in `by` often enough: then `user` is somebody
    /// else, or nobody.
    fn add(&mut self, around: &Self) {
        let known = self.has("by");
        for (name, value) in &around.others {
            let left_out = is_secret(value) || (known && *name == "user");
            if !left_out && !self.has(name) {
                self.others.push((name, value.clone()));
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.others.iter().any(|(known, _)| *known == name)
    }

    fn put(&mut self, field: &Field, value: Value) {
        self.others.retain(|(known, _)| *known != field.name());
        self.others.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.put(field, format!("{value:?}").into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.put(field, value.into()),
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use management_api::EventFilter;
    use serde_json::json;
    use tracing::field::Empty;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn kept(say: impl FnOnce()) -> Vec<management_api::Event> {
        let log = Arc::new(EventLog::new(1));
        let subscriber = tracing_subscriber::registry().with(layer(Arc::clone(&log)));
        tracing::subscriber::with_default(subscriber, say);
        let everything = EventFilter {
            kinds: Vec::new(),
            severity: Severity::Info,
            since: None,
            limit: 100,
        };
        log.find(&everything).events
    }

    #[test]
    fn audit_lines_are_kept_with_their_fields() {
        let events = kept(|| {
            let (by, peer) = ("carol", "127.0.0.1");
            tracing::info!(target: "audit", by, %peer, count = 3, protected = true, "vhost {}", "deleted");
        });
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].text, "vhost deleted");
        assert_eq!(
            Value::Object(events[0].fields.clone()),
            json!({ "by": "carol", "peer": "127.0.0.1", "count": 3, "protected": true })
        );
    }

    #[test]
    fn a_request_says_who_made_it_and_no_secret() {
        let events = kept(|| {
            let request = |path: &'static str| tracing::info_span!(target: "audit", "request", peer = "10.0.0.1", user = Empty, path);
            let span = request("/api/users");
            span.record("user", "carol");
            span.in_scope(|| tracing::warn!(target: "audit", reason = "no", "HTTP access denied"));
            span.in_scope(
                || tracing::info!(target: "audit", by = "carol", user = "dave", "user deleted"),
            );
            request("/api/auth/hash_password/x")
                .in_scope(|| tracing::warn!(target: "audit", "HTTP access denied"));
        });
        let fields = events.iter().map(|event| event.fields.clone().into());
        assert_eq!(
            fields.collect::<Vec<Value>>(),
            [
                json!({ "reason": "no", "peer": "10.0.0.1", "user": "carol", "path": "/api/users" }),
                json!({ "by": "carol", "user": "dave", "peer": "10.0.0.1", "path": "/api/users" }),
                json!({ "peer": "10.0.0.1" }),
            ]
        );
    }

    #[test]
    fn others_are_kept_from_warnings_on_and_details_not_at_all() {
        let events = kept(|| {
            tracing::info!(target: "hyper::server", "nothing new");
            tracing::warn!(target: "hyper::server", "a strange request");
            tracing::debug!(target: "audit", "a detail");
        });
        let texts: Vec<_> = events.iter().map(|event| &*event.text).collect();
        assert_eq!(texts, ["a strange request"]);
        assert_eq!(events[0].severity, Severity::Warning);
    }

    #[test]
    fn a_module_says_what_an_event_is_about() {
        assert_eq!(
            kind_of_module("leveret::protocol::handshake"),
            EventKind::Login
        );
        assert_eq!(
            kind_of_module("leveret::protocol::running"),
            EventKind::Connection
        );
        assert_eq!(
            kind_of_module("broker_core::queue::loading"),
            EventKind::Queue
        );
        assert_eq!(kind_of_module("broker_core::queues"), EventKind::Node);
        assert_eq!(kind_of_module("rustls"), EventKind::Node);
    }
}
