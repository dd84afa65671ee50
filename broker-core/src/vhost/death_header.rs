//! The `x-death` header: where a message has died, how often and why (<https://www.rabbitmq.com/docs/dlx>).

use amqp_codec::{
    AMQPValue, FieldArray, FieldTable, LongString, Properties, ShortString, encode_table,
    parse_table, properties::with_headers,
};

use crate::{
    message::Message,
    queue::{Dead, DeadReason, Millis},
};

/// The headers of a dead message, and what has to be known to route it on.
#[derive(Debug)]
pub(super) struct Deaths {
    headers: FieldTable,
    expiration: Option<String>,
}

impl Deaths {
    /// Reads the message's headers; malformed ones were refused when it was published.
    pub(super) fn of(message: &Message) -> Self {
        let properties = Properties::parse(message.properties()).unwrap_or_default();
        let headers = properties.headers.and_then(|raw| parse_table(raw).ok());
        Self {
            headers: headers.unwrap_or_default(),
            expiration: properties.expiration.map(str::to_owned),
        }
    }

    /// The keys of the CC header, by which the message was routed beside its routing key.
    pub(super) fn carbon_copies(&self) -> Vec<String> {
        match self.headers.inner().get("CC") {
            Some(AMQPValue::FieldArray(keys)) => keys.as_slice().iter().filter_map(text).collect(),
            _ => Vec::new(),
        }
    }

    /// The headers as a table, for headers exchanges.
    pub(super) fn headers(&self) -> &FieldTable {
        &self.headers
    }

    /// Whether the message has already been in this queue and came back to it without any consumer rejecting it: such a
    /// message would go round for ever (RabbitMQ: `mc:is_death_cycle`).
    pub(super) fn is_cycle(&self, queue: &str) -> bool {
        let deaths = self.entries();
        let Some(last) = deaths.iter().position(|d| field(d, "queue") == queue) else {
            return false;
        };
        deaths
            .iter()
            .take(last + 1)
            .all(|death| field(death, "reason") != DeadReason::Rejected.as_str())
    }

    /// Adds a death. Deaths of the same queue and reason are one entry; the latest stands first.
    pub(super) fn record(&mut self, dead: &Dead, now: Millis) {
        let queue = dead.queue.name();
        let reason = dead.reason.as_str();
        let exchange = dead.entry.message.exchange();
        let mut deaths = self.entries();
        let known = deaths
            .iter()
            .position(|d| field(d, "queue") == **queue && field(d, "reason") == reason);
        let death = match known {
            Some(place) => counted(deaths.remove(place)),
            None => self.first_death(dead, now),
        };
        deaths.insert(0, death);
        let deaths: Vec<_> = deaths.into_iter().map(AMQPValue::FieldTable).collect();
        self.put("x-death", AMQPValue::FieldArray(deaths.into()));
        if !self.headers.contains_key("x-first-death-queue") {
            self.put_triple("first", queue, reason, exchange);
        }
        self.put_triple("last", queue, reason, exchange);
    }

    /// The dead message's properties: new headers and no expiration, so that it does not expire again at once.
    pub(super) fn properties(&mut self, message: &Message, drop_copies: bool) -> Vec<u8> {
        if drop_copies {
            let kept = self
                .headers
                .inner()
                .iter()
                .filter(|(k, _)| k.as_str() != "CC");
            let kept: std::collections::BTreeMap<_, _> =
                kept.map(|(k, v)| (k.clone(), v.clone())).collect();
            self.headers = kept.into();
        }
        let mut table = Vec::new();
        let mut raw = Vec::new();
        let written = encode_table(&self.headers, &mut table)
            .and_then(|()| with_headers(message.properties(), Some(&table), &mut raw));
        if written.is_err() {
            return message.properties().to_vec();
        }
        if self.expiration.is_none() {
            return raw;
        }
        match Properties::parse(&raw) {
            Ok(properties) => {
                let mut without = Vec::with_capacity(raw.len());
                Properties {
                    expiration: None,
                    ..properties
                }
                .encode(&mut without);
                without
            }
            Err(_) => raw,
        }
    }

    fn entries(&self) -> Vec<FieldTable> {
        let Some(AMQPValue::FieldArray(deaths)) = self.headers.inner().get("x-death") else {
            return Vec::new();
        };
        let tables = deaths.as_slice().iter().filter_map(|death| match death {
            AMQPValue::FieldTable(table) => Some(table.clone()),
            _ => None,
        });
        tables.collect()
    }

    fn first_death(&self, dead: &Dead, now: Millis) -> FieldTable {
        let message = &dead.entry.message;
        let mut keys = vec![long_string(message.routing_key())];
        keys.extend(self.carbon_copies().iter().map(|key| long_string(key)));
        let mut death = FieldTable::default();
        let fields = [
            ("count", AMQPValue::LongLongInt(1)),
            ("reason", long_string(dead.reason.as_str())),
            ("queue", long_string(dead.queue.name())),
            ("time", AMQPValue::Timestamp(now / 1000)),
            ("exchange", long_string(message.exchange())),
            (
                "routing-keys",
                AMQPValue::FieldArray(FieldArray::from(keys)),
            ),
        ];
        for (name, value) in fields {
            death.insert(name.into(), value);
        }
        if let Some(expiration) = &self.expiration {
            death.insert("original-expiration".into(), long_string(expiration));
        }
        death
    }

    fn put_triple(&mut self, which: &str, queue: &str, reason: &str, exchange: &str) {
        let triple = [("queue", queue), ("reason", reason), ("exchange", exchange)];
        for (name, value) in triple {
            self.put(&format!("x-{which}-death-{name}"), long_string(value));
        }
    }

    fn put(&mut self, name: &str, value: AMQPValue) {
        if let Ok(name) = ShortString::try_new(name) {
            self.headers.insert(name, value);
        }
    }
}

fn counted(mut death: FieldTable) -> FieldTable {
    let count = match death.inner().get("count") {
        Some(AMQPValue::LongLongInt(count)) => *count,
        _ => 0,
    };
    death.insert(
        "count".into(),
        AMQPValue::LongLongInt(count.saturating_add(1)),
    );
    death
}

fn field(death: &FieldTable, name: &str) -> String {
    death.inner().get(name).and_then(text).unwrap_or_default()
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        _ => None,
    }
}

fn long_string(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text.as_bytes().to_vec()))
}
