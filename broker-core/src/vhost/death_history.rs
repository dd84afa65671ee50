//! What a dead-lettered message tells of where it comes from, for those who look for messages and send them back.
//!
//! Only what the broker itself has written counts ([`Flags::DEAD`]); see `death_header.rs`.

use amqp_codec::{
    FieldTable, Properties, ShortString, encode_table, parse_table, properties::with_headers,
};

use super::death_header::{Deaths, X_DEATH};
use crate::message::{Flags, Message};

/// Beginnings of the names of the other headers about deaths.
const OTHER_HEADERS: [&str; 2] = ["x-first-death-", "x-last-death-"];

/// Why a message is in a queue of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastDeath {
    /// The queue that it left.
    pub queue: String,
    /// Why.
    pub reason: String,
}

impl LastDeath {
    /// The latest death of a message, `None` if it has not been dead-lettered.
    pub fn of(message: &Message) -> Option<Self> {
        if !message.flags().contain(Flags::DEAD) {
            return None;
        }
        let (queue, reason) = Deaths::of(message).last()?;
        Some(Self { queue, reason })
    }
}

/// Where a dead-lettered message was before it died the first time, and what it was like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The queue in which it died.
    pub queue: String,
    /// The exchange that it was published to.
    pub exchange: String,
    /// The keys that it was routed by: its own, then those of its header `CC`.
    pub routing_keys: Vec<String>,
}

impl Origin {
    /// Where a message comes from, `None` if it has not been dead-lettered.
    pub fn of(message: &Message) -> Option<Self> {
        if !message.flags().contain(Flags::DEAD) {
            return None;
        }
        Deaths::of(message).first()
    }

    /// The key that it was published with.
    pub fn routing_key(&self) -> &str {
        self.routing_keys.first().map_or("", String::as_str)
    }

    /// The message as it was published, but for its expiration, which dead-lettering has taken away so that it does not
    /// expire again. It does not tell of its deaths any more: whoever counts them begins anew.
    pub fn revive(&self, message: &Message) -> Message {
        let properties = without_deaths(message.properties());
        let was = message.flags();
        let kept = [Flags::PERSISTENT, Flags::HIDDEN_COPIES];
        let flags = kept.iter().fold(Flags::default(), |flags, &flag| {
            flags.and_if(was.contain(flag), flag)
        });
        Message::with_flags(
            &self.exchange,
            self.routing_key(),
            properties.as_deref().unwrap_or(message.properties()),
            message.body(),
            flags,
        )
    }
}

/// Raw properties without the headers about deaths. `None` if they cannot be read.
fn without_deaths(raw: &[u8]) -> Option<Vec<u8>> {
    let headers = Properties::parse(raw).ok()?.headers?;
    let headers = parse_table(headers).ok()?;
    let mut kept = FieldTable::default();
    for (name, value) in headers.inner() {
        if !tells_of_deaths(name) {
            kept.insert(name.clone(), value.clone());
        }
    }
    let mut table = Vec::new();
    encode_table(&kept, &mut table).ok()?;
    let table = (!kept.inner().is_empty()).then_some(&*table);
    let mut out = Vec::with_capacity(raw.len());
    with_headers(raw, table, &mut out).ok()?;
    Some(out)
}

fn tells_of_deaths(name: &ShortString) -> bool {
    let name = name.as_str();
    name == X_DEATH || OTHER_HEADERS.iter().any(|start| name.starts_with(start))
}
