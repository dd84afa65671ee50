use std::collections::BTreeSet;

use amqp_codec::AMQPValue;
use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    broker::Broker,
    definitions::MemoryDefinitions,
    queue::ConnectionId,
    store::MemoryStore,
    vhost::{BindingRequest, ExchangeDeclaration, QueueDeclaration},
};

const ME: ConnectionId = ConnectionId(1);
const KINDS: [&str; 4] = ["direct", "fanout", "topic", "headers"];
const QUEUES: usize = 4;

fn vhost() -> (Arc<Broker>, Arc<Vhost>) {
    let store = Arc::new(MemoryStore::new());
    let broker = Broker::start(store, Arc::new(MemoryDefinitions::new()), 0).unwrap();
    let vhost = broker.vhost("/").unwrap();
    for number in 0..QUEUES {
        let queue = QueueDeclaration {
            name: format!("q{number}"),
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::default(),
        };
        vhost.declare_queue(queue, ME).unwrap();
    }
    (broker, vhost)
}

fn table(fields: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    table
}

fn declare(vhost: &Vhost, name: &str, kind: &str, alternate: Option<&str>) {
    let alternate = alternate.map(|name| ("alternate-exchange", name));
    let declaration = ExchangeDeclaration {
        name: name.to_owned(),
        kind: kind.to_owned(),
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: table(alternate.as_slice()),
    };
    vhost.declare_exchange(declaration).unwrap();
}

fn bind(
    vhost: &Vhost,
    source: &str,
    to: (DestinationKind, &str),
    key: &str,
    fields: &[(&str, &str)],
) {
    let request = BindingRequest {
        source: source.to_owned(),
        destination_kind: to.0,
        destination: to.1.to_owned(),
        routing_key: key.to_owned(),
        arguments: table(fields),
    };
    vhost.bind(&request, ME).unwrap();
}

fn queue(name: &str) -> (DestinationKind, &str) {
    (DestinationKind::Queue, name)
}

fn explain(vhost: &Vhost, exchange: &str, key: &str, more_keys: &[&str]) -> Explanation {
    let exchange = vhost.exchange(exchange).unwrap();
    let more_keys: Vec<_> = more_keys.iter().map(|&key| key.to_owned()).collect();
    vhost.explain(&exchange, key, &more_keys, &FieldTable::default())
}

fn reason(explanation: &Explanation) -> String {
    explanation.why_unroutable().unwrap_or_default()
}

#[test]
fn every_binding_that_matches_is_told_with_the_key_that_it_matches() {
    let (_broker, vhost) = vhost();
    declare(&vhost, "x", "topic", None);
    for pattern in ["a.*", "#", "b.*"] {
        bind(&vhost, "x", queue("q0"), pattern, &[]);
    }
    let explanation = explain(&vhost, "x", "a.1", &["b.2"]);
    assert_eq!(explanation.route.queues.len(), 1);
    assert_eq!(explanation.keys, ["a.1", "b.2"]);
    let [visit] = explanation.visits.as_slice() else {
        panic!("one exchange");
    };
    let mut matched: Vec<_> = visit
        .matched
        .iter()
        .map(|it| (&*it.binding_key, &*it.key))
        .collect();
    matched.sort_unstable();
    assert_eq!(
        matched,
        [("#", "a.1"), ("#", "b.2"), ("a.*", "a.1"), ("b.*", "b.2")]
    );
    assert_eq!(explanation.why_unroutable(), None);
}

#[test]
fn exchanges_tell_how_the_message_came_to_them() {
    let (_broker, vhost) = vhost();
    declare(&vhost, "first", "direct", Some("other"));
    declare(&vhost, "other", "fanout", None);
    declare(&vhost, "last", "fanout", None);
    bind(
        &vhost,
        "other",
        (DestinationKind::Exchange, "last"),
        "",
        &[],
    );
    bind(&vhost, "last", queue("q1"), "", &[]);
    let explanation = explain(&vhost, "first", "nothing", &[]);
    let reached: Vec<_> = explanation
        .visits
        .iter()
        .map(|visit| visit.reached.clone())
        .collect();
    let (first, other) = ("first".into(), "other".into());
    assert_eq!(
        reached,
        [
            Reached::Published,
            Reached::Alternate(first),
            Reached::Bound(other)
        ]
    );
    assert_eq!(explanation.route.queues.len(), 1);
}

#[test]
fn unroutable_message_is_told_why() {
    let (_broker, vhost) = vhost();
    assert_eq!(
        reason(&explain(&vhost, "", "nobody", &[])),
        "there is no queue named 'nobody'"
    );
    let reply = reason(&explain(&vhost, "", "amq.rabbitmq.reply-to.x", &[]));
    assert!(reply.contains("direct reply-to"), "{reply}");
    declare(&vhost, "x", "direct", Some("missing"));
    assert_eq!(
        reason(&explain(&vhost, "x", "k", &[])),
        "exchange 'x' has no bindings, and its alternate exchange 'missing' does not exist"
    );
    declare(&vhost, "missing", "headers", None);
    bind(&vhost, "x", queue("q0"), "other", &[]);
    bind(&vhost, "missing", queue("q0"), "", &[("a", "1")]);
    assert_eq!(
        reason(&explain(&vhost, "x", "k", &[])),
        "the one binding of direct exchange 'x' does not match 'k', so it goes on to alternate exchange 'missing'; \
         the one binding of headers exchange 'missing' does not match the headers"
    );
}

/// A binding of the random test: source, whether it leads to an exchange, which, the key, a header.
type Drawn = (usize, bool, usize, String, Option<&'static str>);

fn key() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "*", "#"]), 0..3).prop_map(|words| words.join("."))
}

/// What the search itself says, and what the explanation's bindings say.
fn queues_of(explanation: &Explanation) -> BTreeSet<String> {
    let matched = explanation.visits.iter().flat_map(|visit| &visit.matched);
    let queues = matched.filter(|it| it.destination_kind == DestinationKind::Queue);
    queues.map(|it| it.destination.to_string()).collect()
}

proptest! {
    #[test]
    fn explanation_and_route_always_agree(
        kinds in vec((select(KINDS.to_vec()), proptest::option::of(0..5_usize)), 1..5),
        bindings in vec((0..4_usize, any::<bool>(), 0..4_usize, key(), select(vec![None, Some("1"), Some("2")])), 0..16),
        published in (0..5_usize, key(), vec(key(), 0..3), select(vec![None, Some("1"), Some("2")])),
    ) {
        let (_broker, vhost) = vhost();
        let name = |number: usize| format!("x{}", number % kinds.len());
        for (number, (kind, alternate)) in kinds.iter().enumerate() {
            // Number 4 does not exist.
            let alternate = alternate.map(|number| format!("x{number}"));
            declare(&vhost, &name(number), kind, alternate.as_deref());
        }
        let field = |value: Option<&'static str>| value.map(|value| ("h", value));
        for (source, to_exchange, to, key, header) in &bindings as &[Drawn] {
            let header = field(*header);
            let fields = header.as_slice();
            match to_exchange {
                true => bind(&vhost, &name(*source), (DestinationKind::Exchange, &name(*to)), key, fields),
                false => bind(&vhost, &name(*source), queue(&format!("q{to}")), key, fields),
            }
        }
        let (exchange, key, more_keys, header) = published;
        let exchange = match exchange {
            4 => vhost.exchange("").unwrap(),
            number => vhost.exchange(&name(number)).unwrap(),
        };
        let headers = table(field(header).as_slice());
        let route = vhost.route(&exchange, &key, &more_keys, Some(&headers));
        let explanation = vhost.explain(&exchange, &key, &more_keys, &headers);

        let names = |route: &Route| route.queues.iter().map(|it| it.name().to_string()).collect::<BTreeSet<_>>();
        prop_assert_eq!(names(&route), names(&explanation.route));
        prop_assert_eq!(names(&route), queues_of(&explanation));
        prop_assert_eq!(explanation.why_unroutable().is_some(), route.queues.is_empty());
        let visited: BTreeSet<_> = explanation.visits.iter().map(|it| it.exchange.name.to_string()).collect();
        for visit in &explanation.visits {
            prop_assert!(visit.matched.is_empty() || visit.alternate.is_none());
            for binding in &visit.matched {
                let led_to = binding.destination_kind == DestinationKind::Queue
                    || visited.contains(&*binding.destination);
                prop_assert!(led_to, "{:?} was not followed", binding);
            }
            // Nothing that matches by itself is left out.
            for binding in visit.exchange.table.read().bindings() {
                let alone = BindingKey {
                    source: Arc::clone(&visit.exchange.name),
                    routing_key: (*binding.routing_key).into(),
                    arguments: binding.arguments.clone(),
                };
                for key in &explanation.keys {
                    let told = visit.matched.iter().any(|it| {
                        *it.binding_key == *alone.routing_key
                            && it.arguments == alone.arguments
                            && it.destination == *binding.destination.name()
                            && it.destination_kind == binding.destination.kind()
                            && it.key == *key
                    });
                    let matches = matches_alone(&visit.exchange, &alone, key, Some(&headers));
                    prop_assert_eq!(told, matches, "{:?} with {}", alone, key);
                }
            }
        }
    }
}
