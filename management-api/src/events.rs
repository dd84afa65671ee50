//! What happened lately, for operators: logins and refusals, changes, alarms, connections that ended badly.
//!
//! The program writes such events to its log, and keeps the last ones here as well ([`EventLog`]), so that a page can
//! show them without access to the log. There is room for each [kind](EventKind) of its own: ten thousand logins do not
//! push out the one change of a policy. Nothing of it is on disk.

use std::{collections::VecDeque, sync::Mutex};

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// The most events of one kind that are kept.
pub const EVENTS_OF_A_KIND: usize = 1_000;

/// The most bytes that the events of one kind may take.
pub const BYTES_OF_A_KIND: usize = 256 * 1024;

/// The most characters of a text or a value that are kept.
const LONGEST_VALUE: usize = 1_000;

/// What an event takes besides its texts, in bytes; a rough figure.
const OVERHEAD: usize = 200;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// Logins, and what was refused to somebody.
    Login,
    /// Users made, changed, deleted.
    User,
    /// Permissions and topic permissions.
    Permission,
    /// Policies and operator policies.
    Policy,
    /// Limits of vhosts and users.
    Limit,
    /// Vhosts made, changed, deleted.
    Vhost,
    /// Queues declared, deleted, purged, paused; messages moved; damage.
    Queue,
    /// Exchanges declared and deleted.
    Exchange,
    /// Bindings made and deleted.
    Binding,
    /// Definitions imported.
    Definitions,
    /// Global parameters.
    Parameter,
    /// Connections that were closed by an operator or ended with an error.
    Connection,
    /// Memory or disk space is short, or no longer.
    Alarm,
    /// The broker itself: start, stop, store, certificates.
    Node,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Login,
        Self::User,
        Self::Permission,
        Self::Policy,
        Self::Limit,
        Self::Vhost,
        Self::Queue,
        Self::Exchange,
        Self::Binding,
        Self::Definitions,
        Self::Parameter,
        Self::Connection,
        Self::Alarm,
        Self::Node,
    ];

    /// The word for it in the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::User => "user",
            Self::Permission => "permission",
            Self::Policy => "policy",
            Self::Limit => "limit",
            Self::Vhost => "vhost",
            Self::Queue => "queue",
            Self::Exchange => "exchange",
            Self::Binding => "binding",
            Self::Definitions => "definitions",
            Self::Parameter => "parameter",
            Self::Connection => "connection",
            Self::Alarm => "alarm",
            Self::Node => "node",
        }
    }

    /// What this word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// How bad an event is; the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Info,
    /// Somebody may want to look.
    Warning,
    /// Somebody has to look.
    Error,
}

impl Severity {
    /// What this word of the HTTP API stands for.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "info" => Some(Self::Info),
            "warning" => Some(Self::Warning),
            "error" => Some(Self::Error),
            _ => None,
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Event {
    /// Its place among all events; it grows also over restarts of the broker.
    pub id: u64,
    /// When it happened, in milliseconds since 1970.
    pub at: u64,
    /// What it is about.
    pub kind: EventKind,
    /// How bad it is.
    pub severity: Severity,
    /// What happened, in words.
    pub text: String,
    /// Who and what: `by`, `user`, `vhost`, `queue` and others. Never a secret.
    #[schema(value_type = Object)]
    pub fields: Map<String, Value>,
}

impl Event {
    fn bytes(&self) -> usize {
        let fields = self.fields.iter().map(|(name, value)| {
            let value = value.as_str().map_or(8, str::len);
            name.len() + value
        });
        OVERHEAD + self.text.len() + fields.sum::<usize>()
    }
}

/// What is asked of an [`EventLog`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// Events of these kinds; of all if there are none.
    pub kinds: Vec<EventKind>,
    /// Events that are at least so bad.
    pub severity: Severity,
    /// Events after the one of this id, the oldest first. Without it the latest ones.
    pub since: Option<u64>,
    /// The most events.
    pub limit: usize,
}

/// What is found in an [`EventLog`].
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct Events {
    /// The events, the oldest first.
    pub events: Vec<Event>,
    /// What `since` has to be for those that come after.
    pub next: u64,
    /// Whether events after `since` may be gone already.
    pub missed: bool,
}

/// The last events of each kind.
#[derive(Debug)]
pub struct EventLog(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    next_id: u64,
    kinds: [OneKind; EventKind::ALL.len()],
}

#[derive(Debug, Default)]
struct OneKind {
    events: VecDeque<Event>,
    bytes: usize,
    /// The last one that made room, or 0.
    gone: u64,
}

impl EventLog {
    /// An empty log whose events have ids from `first_id` on. Microseconds since 1970 make ids grow over restarts, and
    /// are still exact in JavaScript.
    pub fn new(first_id: u64) -> Self {
        Self(Mutex::new(Kept {
            next_id: first_id,
            kinds: Default::default(),
        }))
    }

    /// Keeps an event; the oldest ones of its kind make room. Long texts are cut, and a field whose name speaks of a
    /// secret is left out.
    pub fn record(
        &self,
        at: u64,
        kind: EventKind,
        severity: Severity,
        mut text: String,
        mut fields: Map<String, Value>,
    ) {
        cut(&mut text);
        fields.retain(|name, _| !name.contains("password") && !name.contains("secret"));
        for value in fields.values_mut() {
            if let Value::String(text) = value {
                cut(text);
            }
        }
        let mut kept = self.lock();
        let event = Event {
            id: kept.next_id,
            at,
            kind,
            severity,
            text,
            fields,
        };
        kept.next_id += 1;
        if let Some(of_kind) = kept.kinds.get_mut(kind as usize) {
            of_kind.push(event);
        }
    }

    /// The events that a filter admits.
    pub fn find(&self, filter: &EventFilter) -> Events {
        let kept = self.lock();
        let wanted = |kind: &EventKind| filter.kinds.is_empty() || filter.kinds.contains(kind);
        let kinds = EventKind::ALL.iter().zip(&kept.kinds);
        let kinds: Vec<_> = kinds.filter(|(kind, _)| wanted(kind)).collect();
        let since = filter.since.unwrap_or(0);
        let found = kinds.iter().flat_map(|(_, kept)| &kept.events);
        let mut found: Vec<&Event> = found
            .filter(|event| event.id > since && event.severity >= filter.severity)
            .collect();
        found.sort_unstable_by_key(|event| event.id);
        let last = kept.next_id.saturating_sub(1);
        let surplus = found.len().saturating_sub(filter.limit);
        let (found, next) = match filter.since {
            // Who follows goes on where this answer ends.
            Some(_) if surplus > 0 => {
                found.truncate(filter.limit);
                let next = found.last().map_or(since, |event| event.id);
                (found, next)
            }
            _ => (found.split_off(surplus), last),
        };
        Events {
            events: found.into_iter().cloned().collect(),
            next,
            missed: filter.since.is_some() && kinds.iter().any(|(_, kept)| kept.gone > since),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner())
    }
}

impl OneKind {
    fn push(&mut self, event: Event) {
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.len() > EVENTS_OF_A_KIND || self.bytes > BYTES_OF_A_KIND {
            let Some(gone) = self.events.pop_front() else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(gone.bytes());
            self.gone = gone.id;
        }
    }
}

/// Cuts a text that is too long.
fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(LONGEST_VALUE) {
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn log_of(count: usize) -> EventLog {
        let log = EventLog::new(1);
        for _ in 0..count {
            add(&log, EventKind::Login, "login accepted");
        }
        log
    }

    fn add(log: &EventLog, kind: EventKind, text: &str) {
        log.record(0, kind, Severity::Info, text.to_owned(), Map::new());
    }

    fn all() -> EventFilter {
        EventFilter {
            kinds: Vec::new(),
            severity: Severity::Info,
            since: None,
            limit: 100_000,
        }
    }

    fn ids(found: &Events) -> Vec<u64> {
        found.events.iter().map(|event| event.id).collect()
    }

    #[test]
    fn many_events_of_one_kind_leave_those_of_others() {
        let log = EventLog::new(1);
        add(&log, EventKind::Policy, "policy set");
        for _ in 0..2 * EVENTS_OF_A_KIND {
            add(&log, EventKind::Login, "login accepted");
        }
        let found = log.find(&all());
        assert_eq!(found.events.len(), EVENTS_OF_A_KIND + 1);
        assert_eq!(found.events[0].kind, EventKind::Policy);
        assert_eq!(found.next, 2 * EVENTS_OF_A_KIND as u64 + 1);
    }

    #[test]
    fn long_texts_are_cut_and_take_no_more_than_their_room() {
        let log = EventLog::new(1);
        for _ in 0..EVENTS_OF_A_KIND {
            add(&log, EventKind::Node, &"ä".repeat(5_000));
        }
        let found = log.find(&all());
        assert!(found.events.len() < 200);
        assert_eq!(found.events[0].text.chars().count(), LONGEST_VALUE + 1);
    }

    #[test]
    fn who_follows_the_log_sees_every_event_once() {
        let log = log_of(10);
        let mut filter = EventFilter {
            since: Some(4),
            limit: 4,
            ..all()
        };
        let found = log.find(&filter);
        assert_eq!((ids(&found), found.next), (vec![5, 6, 7, 8], 8));
        filter.since = Some(found.next);
        let found = log.find(&filter);
        assert_eq!((ids(&found), found.next), (vec![9, 10], 10));
        assert!(!found.missed);
        filter.since = Some(10);
        assert!(log.find(&filter).events.is_empty());
    }

    #[test]
    fn who_follows_too_slowly_is_told_so() {
        let log = log_of(EVENTS_OF_A_KIND + 5);
        let since = |since| EventFilter {
            since: Some(since),
            ..all()
        };
        assert!(log.find(&since(4)).missed);
        assert!(!log.find(&since(5)).missed);
    }

    #[test]
    fn latest_events_are_those_that_a_filter_admits() {
        let log = log_of(3);
        add(&log, EventKind::Alarm, "memory");
        log.record(
            0,
            EventKind::Login,
            Severity::Warning,
            "login refused".to_owned(),
            Map::new(),
        );
        let filter = EventFilter {
            kinds: vec![EventKind::Login],
            limit: 2,
            ..all()
        };
        assert_eq!(ids(&log.find(&filter)), [3, 5]);
        let filter = EventFilter {
            severity: Severity::Warning,
            ..all()
        };
        assert_eq!(ids(&log.find(&filter)), [5]);
    }

    #[test]
    fn a_field_with_a_secret_is_left_out() {
        let log = EventLog::new(1);
        let fields = json!({ "user": "carol", "password": "x", "client_secret": "y" });
        let fields = fields.as_object().unwrap().clone();
        let (kind, severity) = (EventKind::User, Severity::Info);
        log.record(0, kind, severity, "user created".to_owned(), fields);
        let found = log.find(&all());
        assert_eq!(
            Value::Object(found.events[0].fields.clone()),
            json!({ "user": "carol" })
        );
    }

    #[test]
    fn kinds_stand_in_the_order_of_their_places() {
        for (place, kind) in EventKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        }
    }
}
