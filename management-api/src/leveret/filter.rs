//! A filter of messages as JSON.

use broker_core::{
    arguments::{AMQPValue, FieldTable, ShortString, json::table_of_json, json::table_to_json},
    moving::Filter,
};
use serde_json::{Map, Value, json};

use super::{check_keys, number, optional_text};
use crate::{Error, body::JsonBody};

/// What a filter may say.
const KEYS: [&str; 7] = [
    "routing_key",
    "exchange",
    "headers",
    "older_than_ms",
    "younger_than_ms",
    "death_reason",
    "death_queue",
];

/// The filter under the key `filter`; every message if there is none.
///
/// # Errors
/// 400: it says something that no filter can say.
pub(super) fn filter_of(body: &JsonBody) -> Result<Filter, Error> {
    let object = match body.find("filter") {
        None | Some(Value::Null) => return Ok(Filter::default()),
        Some(Value::Object(object)) => JsonBody(object.clone()),
        Some(_) => return Err(Error::BadRequest("filter has to be an object".to_owned())),
    };
    check_keys(&object, &KEYS)?;
    Ok(Filter {
        routing_key: optional_text(&object, "routing_key")?,
        exchange: optional_text(&object, "exchange")?,
        headers: headers_of(&object)?,
        older_than_ms: number(&object, "older_than_ms")?,
        younger_than_ms: number(&object, "younger_than_ms")?,
        death_reason: optional_text(&object, "death_reason")?,
        death_queue: optional_text(&object, "death_queue")?,
    })
}

/// Headers that a message must have. `null` asks for the header with any value.
fn headers_of(object: &JsonBody) -> Result<FieldTable, Error> {
    let headers = match object.find("headers") {
        None | Some(Value::Null) => return Ok(FieldTable::default()),
        Some(Value::Object(headers)) => headers,
        Some(_) => return Err(Error::BadRequest("headers have to be an object".to_owned())),
    };
    let (any, equal): (Map<_, _>, Map<_, _>) = headers
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .partition(|(_, value)| value.is_null());
    let mut table = table_of_json(&equal)?;
    for name in any.keys() {
        let name = ShortString::try_new(name.as_str());
        let name = name
            .map_err(|_| Error::BadRequest("a header's name has at most 255 bytes".to_owned()))?;
        table.insert(name, AMQPValue::Void);
    }
    Ok(table)
}

/// The filter as it was given.
pub(super) fn filter_json(filter: &Filter) -> Value {
    let mut headers = table_to_json(&filter.headers);
    for (name, value) in filter.headers.inner() {
        if let (AMQPValue::Void, Some(shown)) = (value, headers.get_mut(name.as_str())) {
            *shown = Value::Null;
        }
    }
    let mut object = json!({
        "routing_key": filter.routing_key,
        "exchange": filter.exchange,
        "older_than_ms": filter.older_than_ms,
        "younger_than_ms": filter.younger_than_ms,
        "death_reason": filter.death_reason,
        "death_queue": filter.death_queue,
    });
    if let Some(object) = object.as_object_mut() {
        object.retain(|_, value| !value.is_null());
        if !filter.headers.inner().is_empty() {
            object.insert("headers".to_owned(), headers);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(value: Value) -> Result<Filter, Error> {
        let body = json!({ "filter": value });
        filter_of(&JsonBody(body.as_object().unwrap().clone()))
    }

    #[test]
    fn filter_is_shown_as_it_was_given() {
        let given = json!({
            "routing_key": "order.#",
            "headers": { "tenant": "a", "x-retry": null, "n": 5 },
            "older_than_ms": 60_000,
            "death_reason": "rejected",
        });
        assert_eq!(filter_json(&filter(given.clone()).unwrap()), given);
        assert_eq!(filter(Value::Null).unwrap(), Filter::default());
    }

    #[test]
    fn misspelled_condition_is_refused_and_not_left_out() {
        for wrong in [
            json!({ "routing-key": "order.#" }),
            json!({ "older_than_ms": "1h" }),
            json!({ "older_than_ms": -1 }),
            json!({ "headers": ["tenant"] }),
            json!("order.#"),
        ] {
            assert!(filter(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
