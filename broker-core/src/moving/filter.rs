//! Which messages of a queue are meant.
//!
//! Routing keys and headers are compared by the exchanges' own tables: a pattern means what it means in a binding.

use std::fmt;

use amqp_codec::{AMQPValue, FieldTable, Properties, parse_table};

use crate::{
    Error,
    arguments::json::table_to_json,
    exchange::{ExchangeKind, RoutingTable},
    message::Message,
    queue::{Entry, Millis},
    vhost::LastDeath,
};

/// What a message must be like, all of it. The default means every message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// A pattern of its routing key, as a binding of a topic exchange has it: words, `*` and `#`.
    pub routing_key: Option<String>,
    /// The name of the exchange that it was published to.
    pub exchange: Option<String>,
    /// Headers that it must have with equal values; a void value asks for the header with any value. As a binding of a
    /// headers exchange with `x-match` `all-with-x`.
    pub headers: FieldTable,
    /// It has been in the queue for at least so many milliseconds.
    pub older_than_ms: Option<u64>,
    /// It has been in the queue for less than so many milliseconds.
    pub younger_than_ms: Option<u64>,
    /// Why it was dead-lettered the last time, in the words of `x-death`: `rejected`, `expired`, `maxlen`,
    /// `delivery_limit`.
    pub death_reason: Option<String>,
    /// The queue that it left when it was dead-lettered the last time.
    pub death_queue: Option<String>,
}

/// Its conditions, as the log has them: `routing_key=order.# older_than_ms=60000`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            ("routing_key", &self.routing_key),
            ("exchange", &self.exchange),
            ("death_reason", &self.death_reason),
            ("death_queue", &self.death_queue),
        ];
        let ages = [
            ("older_than_ms", self.older_than_ms),
            ("younger_than_ms", self.younger_than_ms),
        ];
        let texts = texts.map(|(name, text)| Some(format!("{name}={}", text.as_ref()?)));
        let ages = ages.map(|(name, age)| Some(format!("{name}={}", age?)));
        let headers = (!self.headers.inner().is_empty())
            .then(|| format!("headers={}", table_to_json(&self.headers)));
        let said = texts.into_iter().chain(ages).chain([headers]).flatten();
        let said: Vec<String> = said.collect();
        match said.as_slice() {
            [] => f.write_str("none"),
            said => f.write_str(&said.join(" ")),
        }
    }
}

/// A filter that is ready to be used.
#[derive(Debug)]
pub struct Matcher {
    filter: Filter,
    routing_key: Option<RoutingTable<()>>,
    headers: Option<RoutingTable<()>>,
}

impl Filter {
    /// Prepares the filter.
    ///
    /// # Errors
    /// 406 when the headers cannot be compared: `x-match` belongs to bindings.
    pub fn compile(self) -> Result<Matcher, Error> {
        if self.headers.inner().contains_key("x-match") {
            let text = "a filter's headers are all compared: 'x-match' is not allowed there";
            return Err(Error::PreconditionFailed(text.to_owned()));
        }
        let routing_key = self.routing_key.as_ref();
        let routing_key = routing_key
            .map(|pattern| table(ExchangeKind::Topic, pattern, &FieldTable::default()))
            .transpose()?;
        let headers = match self.headers.inner().is_empty() {
            true => None,
            false => {
                let mut wanted = self.headers.clone();
                let all = AMQPValue::LongString("all-with-x".into());
                wanted.insert("x-match".into(), all);
                Some(table(ExchangeKind::Headers, "", &wanted)?)
            }
        };
        Ok(Matcher {
            filter: self,
            routing_key,
            headers,
        })
    }
}

impl Matcher {
    /// Whether a message is meant.
    pub fn matches(&self, entry: &Entry, now: Millis) -> bool {
        let age = now.saturating_sub(entry.entered);
        let message = &entry.message;
        let filter = &self.filter;
        filter.older_than_ms.is_none_or(|least| age >= least)
            && filter.younger_than_ms.is_none_or(|bound| age < bound)
            && is_none_or_equals(&filter.exchange, message.exchange())
            && routes(&self.routing_key, message.routing_key(), None)
            && self.headers_match(message)
            && self.death_matches(message)
    }

    fn headers_match(&self, message: &Message) -> bool {
        if self.headers.is_none() {
            return true;
        }
        let visible = message.visible_properties();
        let properties = Properties::parse(&visible).unwrap_or_default();
        let headers = properties.headers.and_then(|raw| parse_table(raw).ok());
        routes(&self.headers, "", headers.as_ref())
    }

    fn death_matches(&self, message: &Message) -> bool {
        let filter = &self.filter;
        if filter.death_reason.is_none() && filter.death_queue.is_none() {
            return true;
        }
        LastDeath::of(message).is_some_and(|death| {
            is_none_or_equals(&filter.death_reason, &death.reason)
                && is_none_or_equals(&filter.death_queue, &death.queue)
        })
    }
}

fn is_none_or_equals(wanted: &Option<String>, found: &str) -> bool {
    wanted.as_deref().is_none_or(|wanted| wanted == found)
}

/// A table with one binding.
fn table(
    kind: ExchangeKind,
    routing_key: &str,
    arguments: &FieldTable,
) -> Result<RoutingTable<()>, Error> {
    let mut table = RoutingTable::new(kind);
    table.bind(routing_key, arguments, ())?;
    Ok(table)
}

/// Whether there is no table, or its binding matches.
fn routes(table: &Option<RoutingTable<()>>, key: &str, headers: Option<&FieldTable>) -> bool {
    let Some(table) = table else { return true };
    let mut found = false;
    table.route(key, headers, &mut |()| found = true);
    found
}

#[cfg(test)]
mod tests {
    use amqp_codec::encode_table;

    use super::*;

    fn fields(fields: &[(&str, AMQPValue)]) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in fields {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn entry(headers: &FieldTable) -> Entry {
        let (mut table, mut raw) = (Vec::new(), Vec::new());
        encode_table(headers, &mut table).unwrap();
        let headers = Some(&*table);
        Properties {
            headers,
            ..Properties::default()
        }
        .encode(&mut raw);
        Entry::new(1, Message::new("x", "order.eu.new", &raw, b"", false), 1000)
    }

    fn matches(filter: Filter, headers: &FieldTable) -> bool {
        filter.compile().unwrap().matches(&entry(headers), 3000)
    }

    #[test]
    fn the_log_has_the_conditions_that_there_are() {
        assert_eq!(Filter::default().to_string(), "none");
        let filter = Filter {
            routing_key: Some("order.#".to_owned()),
            older_than_ms: Some(60_000),
            ..Filter::default()
        };
        let said = "routing_key=order.# older_than_ms=60000";
        assert_eq!(filter.to_string(), said);
    }

    #[test]
    fn filter_without_conditions_means_every_message() {
        assert!(matches(Filter::default(), &FieldTable::default()));
    }

    #[test]
    fn routing_key_is_a_pattern_of_a_topic_exchange() {
        let by_key = |pattern: &str| {
            let routing_key = Some(pattern.to_owned());
            let filter = Filter {
                routing_key,
                ..Filter::default()
            };
            matches(filter, &FieldTable::default())
        };
        assert!(by_key("order.#") && by_key("order.*.new") && by_key("order.eu.new"));
        assert!(!by_key("order.*") && !by_key("order"));
    }

    #[test]
    fn headers_must_all_be_there_and_void_asks_for_presence() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let by_headers = |wanted: &[(&str, AMQPValue)], has: &[(&str, AMQPValue)]| {
            let filter = Filter {
                headers: fields(wanted),
                ..Filter::default()
            };
            matches(filter, &fields(has))
        };
        let message = [("a", text("1")), ("x-b", AMQPValue::LongInt(7))];
        assert!(by_headers(&[("a", text("1"))], &message));
        assert!(by_headers(&[("x-b", AMQPValue::LongLongInt(7))], &message));
        assert!(by_headers(
            &[("a", AMQPValue::Void), ("x-b", AMQPValue::Void)],
            &message
        ));
        assert!(!by_headers(&[("a", text("2"))], &message));
        assert!(!by_headers(
            &[("a", text("1")), ("c", AMQPValue::Void)],
            &message
        ));
        assert!(!by_headers(&[("a", text("1"))], &[]));
    }

    #[test]
    fn age_is_that_in_the_queue() {
        let by_age = |older_than_ms, younger_than_ms| {
            let filter = Filter {
                older_than_ms,
                younger_than_ms,
                ..Filter::default()
            };
            matches(filter, &FieldTable::default())
        };
        assert!(by_age(Some(2000), None) && !by_age(Some(2001), None));
        assert!(by_age(None, Some(2001)) && !by_age(None, Some(2000)));
    }

    #[test]
    fn death_that_a_client_has_written_counts_for_nothing() {
        let filter = Filter {
            death_reason: Some("rejected".to_owned()),
            ..Filter::default()
        };
        let headers = fields(&[(
            "x-last-death-reason",
            AMQPValue::LongString("rejected".into()),
        )]);
        assert!(!matches(filter, &headers));
    }

    #[test]
    fn x_match_in_a_filter_is_refused() {
        let filter = Filter {
            headers: fields(&[("x-match", AMQPValue::LongString("any".into()))]),
            ..Filter::default()
        };
        assert!(filter.compile().is_err());
    }
}
