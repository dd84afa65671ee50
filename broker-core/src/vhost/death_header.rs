//! What a message tells about its deaths: the headers `x-death`, `x-first-death-*` and `x-last-death-*`
//! (<https://www.rabbitmq.com/docs/dlx#effects>).
//!
//! Fields, their order and how deaths are merged are those of RabbitMQ's `mc:record_death` and
//! `mc_amqpl:deaths_to_headers`. An `x-death` that a client has published, well-formed or not, counts for nothing and is
//! replaced: only what the broker itself wrote ([`Flags::DEAD`]) is continued.

use std::collections::BTreeMap;

use amqp_codec::{
    AMQPValue, FieldTable, LongString, Properties, ShortString, encode_table, parse_table,
    properties::with_headers,
};

use super::death_history::Origin;
use crate::{
    arguments::{integer, lookup, text, without},
    message::{Flags, Message},
    queue::{BCC, Dead, DeadReason, Millis},
};

pub(super) const X_DEATH: &str = "x-death";
/// The header with further routing keys.
const CC: &str = "CC";

/// The routing keys in a field, if it is there.
fn keys(table: &FieldTable, name: &str) -> Vec<String> {
    lookup(table, name).map(array_of_keys).unwrap_or_default()
}

fn array_of_keys(value: &AMQPValue) -> Vec<String> {
    match value {
        AMQPValue::FieldArray(keys) => {
            let keys = keys.as_slice().iter().filter_map(text);
            keys.map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// The deaths of one message in one queue for one reason.
#[derive(Debug, Clone, PartialEq)]
struct Death {
    count: i64,
    reason: String,
    queue: String,
    /// When it was the first time, in seconds since 1970.
    time: u64,
    exchange: String,
    routing_keys: Vec<String>,
    original_expiration: Option<String>,
}

/// The headers of a dead message, and what has to be known to route it on.
#[derive(Debug)]
pub(super) struct Deaths {
    headers: FieldTable,
    /// The header `BCC`, which no client may see and which goes on with the message.
    hidden: Option<AMQPValue>,
    expiration: Option<String>,
    flags: Flags,
    /// The latest first.
    deaths: Vec<Death>,
}

impl Deaths {
    /// Reads the message's headers; malformed ones were refused when it was published.
    pub(super) fn of(message: &Message) -> Self {
        let properties = Properties::parse(message.properties()).unwrap_or_default();
        let headers = properties.headers.and_then(|raw| parse_table(raw).ok());
        let mut headers = headers.unwrap_or_default();
        let flags = message.flags();
        let hidden = match flags.contain(Flags::HIDDEN_COPIES) {
            true => lookup(&headers, BCC).cloned(),
            false => None,
        };
        if hidden.is_some() {
            headers = without(&headers, BCC);
        }
        let deaths = match flags.contain(Flags::DEAD) {
            true => read(&headers),
            false => Vec::new(),
        };
        Self {
            headers,
            hidden,
            expiration: properties.expiration.map(normal),
            flags,
            deaths,
        }
    }

    /// Queue and reason of the latest death.
    pub(super) fn last(self) -> Option<(String, String)> {
        let latest = self.deaths.into_iter().next()?;
        Some((latest.queue, latest.reason))
    }

    /// Where the message was before its first death. Deaths that are counted again move to the front, so the headers say
    /// which one came first.
    pub(super) fn first(self) -> Option<Origin> {
        let header = |name| lookup(&self.headers, name).and_then(text);
        let queue = header("x-first-death-queue")?;
        let reason = header("x-first-death-reason")?;
        let mut deaths = self.deaths.iter();
        let first = deaths.find(|death| death.queue == queue && death.reason == reason)?;
        Some(Origin {
            queue: first.queue.clone(),
            exchange: first.exchange.clone(),
            routing_keys: first.routing_keys.clone(),
        })
    }

    /// The keys of the headers CC and BCC, by which the message was routed beside its routing key.
    pub(super) fn copies(&self) -> Vec<String> {
        if self.flags.contain(Flags::NO_COPIES) {
            return Vec::new();
        }
        let mut copies = keys(&self.headers, CC);
        copies.extend(self.hidden_keys());
        copies
    }

    fn hidden_keys(&self) -> Vec<String> {
        self.hidden.as_ref().map(array_of_keys).unwrap_or_default()
    }

    /// The headers as a table, for headers exchanges. The hidden one is not among them.
    pub(super) fn headers(&self) -> &FieldTable {
        &self.headers
    }

    /// The queues that the message died in, the latest first.
    pub(super) fn queues(&self) -> Vec<&str> {
        self.deaths.iter().map(|death| &*death.queue).collect()
    }

    /// Whether the message has already been in this queue and came back to it without any consumer rejecting it: such a
    /// message would go round for ever (RabbitMQ: `mc:is_cycle_v2`).
    pub(super) fn is_cycle(&self, queue: &str) -> bool {
        let rejected = DeadReason::Rejected.as_str();
        let mut newer = self.deaths.iter();
        let last = newer.position(|death| death.queue == queue);
        last.is_some_and(|last| {
            let mut since = self.deaths.iter().take(last + 1);
            since.all(|death| death.reason != rejected)
        })
    }

    /// Adds a death. Deaths of the same queue and reason are one entry; the latest stands first.
    pub(super) fn record(&mut self, dead: &Dead, now: Millis) {
        let queue = &**dead.queue.name();
        let reason = dead.reason.as_str();
        let exchange = dead.entry.message.exchange();
        if self.deaths.is_empty() {
            self.put_triple("first", queue, reason, exchange);
        }
        self.put_triple("last", queue, reason, exchange);
        let known = |death: &Death| death.queue == queue && death.reason == reason;
        let mut death = match self.deaths.iter().position(known) {
            Some(place) => self.deaths.remove(place),
            None => self.first_death(dead, now),
        };
        death.count = death.count.saturating_add(1);
        self.deaths.insert(0, death);
        // Where the header stands among the others; what it says is written by `encode`.
        self.put(X_DEATH, AMQPValue::Void);
    }

    /// What the broker knows of the message from now on. `rerouted` is whether a dead-letter routing key replaced all
    /// its keys.
    pub(super) fn flags(&self, rerouted: bool) -> Flags {
        let flags = self.flags.and_if(true, Flags::DEAD);
        flags.and_if(rerouted, Flags::NO_COPIES)
    }

    /// The dead message's properties: new headers and no expiration, so that it does not expire again at once.
    pub(super) fn properties(&self, message: &Message) -> Vec<u8> {
        let mut raw = Vec::new();
        let written = self
            .encode()
            .and_then(|table| with_headers(message.properties(), Some(&table), &mut raw));
        if written.is_err() {
            return message.properties().to_vec();
        }
        match Properties::parse(&raw) {
            Ok(properties) if properties.expiration.is_some() => {
                let mut without = Vec::with_capacity(raw.len());
                Properties {
                    expiration: None,
                    ..properties
                }
                .encode(&mut without);
                without
            }
            _ => raw,
        }
    }

    /// The headers in wire form, ordered by name as RabbitMQ sends them.
    fn encode(&self) -> Result<Vec<u8>, amqp_codec::Error> {
        let (mut before, after): (BTreeMap<_, _>, BTreeMap<_, _>) = self
            .headers
            .inner()
            .iter()
            .filter(|(name, _)| name.as_str() != X_DEATH)
            .map(|(name, value)| (name.clone(), value.clone()))
            .partition(|(name, _)| name.as_str() < X_DEATH);
        if let (Some(hidden), Ok(name)) = (&self.hidden, ShortString::try_new(BCC)) {
            before.insert(name, hidden.clone());
        }
        let mut table = Vec::new();
        encode_table(&before.into(), &mut table)?;
        put_array(&mut table, X_DEATH, |array| {
            self.deaths.iter().for_each(|death| death.encode(array));
        });
        encode_table(&after.into(), &mut table)?;
        Ok(table)
    }

    fn first_death(&self, dead: &Dead, now: Millis) -> Death {
        let message = &dead.entry.message;
        let mut routing_keys = vec![message.routing_key().to_owned()];
        routing_keys.extend(self.copies());
        // As `mc:record_death` does it: each takes one of its kind away, whichever stands first.
        for hidden in self.hidden_keys() {
            if let Some(place) = routing_keys.iter().position(|key| *key == hidden) {
                routing_keys.remove(place);
            }
        }
        Death {
            count: 0,
            reason: dead.reason.as_str().to_owned(),
            queue: dead.queue.name().to_string(),
            time: now / 1000,
            exchange: message.exchange().to_owned(),
            routing_keys,
            original_expiration: self.expiration.clone(),
        }
    }

    fn put_triple(&mut self, which: &str, queue: &str, reason: &str, exchange: &str) {
        let triple = [("queue", queue), ("reason", reason), ("exchange", exchange)];
        for (name, value) in triple {
            let value = LongString::from(value.as_bytes().to_vec());
            self.put(
                &format!("x-{which}-death-{name}"),
                AMQPValue::LongString(value),
            );
        }
    }

    fn put(&mut self, name: &str, value: AMQPValue) {
        if let Ok(name) = ShortString::try_new(name) {
            self.headers.insert(name, value);
        }
    }
}

impl Death {
    fn of(table: &FieldTable) -> Self {
        let text_of = |name| lookup(table, name).and_then(text).map(str::to_owned);
        let time = match lookup(table, "time") {
            Some(AMQPValue::Timestamp(time)) => *time,
            _ => 0,
        };
        Self {
            count: lookup(table, "count").and_then(integer).unwrap_or_default(),
            reason: text_of("reason").unwrap_or_default(),
            queue: text_of("queue").unwrap_or_default(),
            time,
            exchange: text_of("exchange").unwrap_or_default(),
            routing_keys: keys(table, "routing-keys"),
            original_expiration: text_of("original-expiration"),
        }
    }

    /// Writes it as a table with RabbitMQ's fields in RabbitMQ's order (`mc_amqpl:death_table`).
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(b'F');
        put_sized(out, |out| {
            if let Some(expiration) = &self.original_expiration {
                put_text(out, "original-expiration", expiration);
            }
            put_name(out, "count");
            out.push(b'l');
            out.extend_from_slice(&self.count.to_be_bytes());
            put_text(out, "reason", &self.reason);
            put_text(out, "queue", &self.queue);
            put_name(out, "time");
            out.push(b'T');
            out.extend_from_slice(&self.time.to_be_bytes());
            put_text(out, "exchange", &self.exchange);
            put_array(out, "routing-keys", |out| {
                self.routing_keys
                    .iter()
                    .for_each(|key| put_long_string(out, key));
            });
        });
    }
}

/// Reads the deaths that the broker wrote.
fn read(headers: &FieldTable) -> Vec<Death> {
    let Some(AMQPValue::FieldArray(deaths)) = lookup(headers, X_DEATH) else {
        return Vec::new();
    };
    let tables = deaths.as_slice().iter().filter_map(|death| match death {
        AMQPValue::FieldTable(table) => Some(Death::of(table)),
        _ => None,
    });
    tables.collect()
}

/// An expiration as RabbitMQ writes it once it has read it: `+007` is 7.
fn normal(expiration: &str) -> String {
    let number = expiration.parse::<u64>();
    number.map_or_else(|_| expiration.to_owned(), |number| number.to_string())
}

/// Appends what `write` writes, with its length in four octets in front.
fn put_sized(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut sized = Vec::new();
    write(&mut sized);
    out.extend_from_slice(&(sized.len() as u32).to_be_bytes());
    out.extend_from_slice(&sized);
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    out.push(name.len() as u8);
    out.extend_from_slice(name.as_bytes());
}

fn put_long_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'S');
    put_sized(out, |out| out.extend_from_slice(text.as_bytes()));
}

fn put_text(out: &mut Vec<u8>, name: &str, text: &str) {
    put_name(out, name);
    put_long_string(out, text);
}

fn put_array(out: &mut Vec<u8>, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
    put_name(out, name);
    out.push(b'A');
    put_sized(out, write);
}

#[cfg(test)]
mod tests;
