//! Whether a redeclaration asks for what is there already, with RabbitMQ's texts where it does not.

use std::fmt;

use super::{AMQPValue, FieldTable, Term, bytes, equivalent, lookup, type_name};
use crate::Error;

/// Compares an attribute (`durable`, `auto_delete`, `type`, ...) of something declared again.
///
/// `resource` names it as in `queue 'x' in vhost '/'`.
///
/// # Errors
/// [`Error::PreconditionFailed`] when they differ: `inequivalent arg 'durable' for queue 'x' in vhost '/': received
/// 'false' but current is 'true'`.
pub fn inequivalent_attribute<T: PartialEq + fmt::Display>(
    resource: &str,
    attribute: &str,
    received: T,
    current: T,
) -> Result<(), Error> {
    if received == current {
        return Ok(());
    }
    let (received, current) = (format_args!("'{received}'"), format_args!("'{current}'"));
    Err(inequivalent(resource, attribute, received, current))
}

/// Compares those arguments of something declared again that `keys` names, in that order.
///
/// # Errors
/// [`Error::PreconditionFailed`] for the first that differs: `inequivalent arg 'x-max-length' for queue 'x' in vhost
/// '/': received the value '10' of type 'long' but current is none`.
pub fn assert_arguments_equivalent(
    resource: &str,
    current: &FieldTable,
    received: &FieldTable,
    keys: &[&str],
) -> Result<(), Error> {
    keys.iter().try_for_each(|key| {
        assert_argument_equivalent(resource, key, lookup(current, key), lookup(received, key))
    })
}

/// Compares one argument, which either side may lack.
pub(crate) fn assert_argument_equivalent(
    resource: &str,
    key: &str,
    current: Option<&AMQPValue>,
    received: Option<&AMQPValue>,
) -> Result<(), Error> {
    match (current, received) {
        (None, None) => Ok(()),
        (Some(current), Some(received)) if equivalent(current, received) => Ok(()),
        (Some(current), Some(received)) => {
            let (received, current) = (Untyped(received), Untyped(current));
            Err(inequivalent(resource, key, received, current))
        }
        _ => Err(inequivalent(resource, key, Typed(received), Typed(current))),
    }
}

fn inequivalent(
    resource: &str,
    argument: &str,
    received: impl fmt::Display,
    current: impl fmt::Display,
) -> Error {
    Error::PreconditionFailed(format!(
        "inequivalent arg '{argument}' for {resource}: received {received} but current is {current}"
    ))
}

/// The form of a value where both sides have one.
struct Untyped<'a>(&'a AMQPValue);

impl fmt::Display for Untyped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, bytes(self.0)) {
            (AMQPValue::Void, _) => out.write_str("none"),
            (_, Some(text)) => write!(out, "'{}'", String::from_utf8_lossy(text)),
            (value, None) => write!(out, "'{}'", Term(value)),
        }
    }
}

/// The form of a value where one side has none.
struct Typed<'a>(Option<&'a AMQPValue>);

impl fmt::Display for Typed<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = self.0 else {
            return out.write_str("none");
        };
        match bytes(value) {
            Some(text) => write!(out, "the value '{}'", String::from_utf8_lossy(text))?,
            None => write!(out, "the value '{}'", Term(value))?,
        }
        write!(out, " of type '{}'", type_name(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "queue 'x' in vhost '/'";

    fn compared(current: Option<AMQPValue>, received: Option<AMQPValue>) -> String {
        let table = |value: Option<AMQPValue>| {
            let mut table = FieldTable::default();
            if let Some(value) = value {
                table.insert("x-a".into(), value);
            }
            table
        };
        match assert_arguments_equivalent(QUEUE, &table(current), &table(received), &["x-a"]) {
            Ok(()) => "equivalent".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn attribute_that_differs_is_named_with_both_values() {
        assert_eq!(inequivalent_attribute(QUEUE, "durable", true, true), Ok(()));
        assert_eq!(
            inequivalent_attribute(QUEUE, "durable", false, true),
            Err(Error::PreconditionFailed(
                "inequivalent arg 'durable' for queue 'x' in vhost '/': received 'false' but current is 'true'"
                    .into()
            ))
        );
    }

    #[test]
    fn arguments_of_equal_value_and_other_wire_type_are_equivalent() {
        let (byte, long) = (AMQPValue::ShortShortInt(10), AMQPValue::LongLongInt(10));
        assert_eq!(compared(Some(byte), Some(long)), "equivalent");
        assert_eq!(compared(None, None), "equivalent");
    }

    #[test]
    fn two_different_values_are_shown_without_their_types() {
        assert_eq!(
            compared(Some(AMQPValue::LongInt(20)), Some(AMQPValue::LongInt(10))),
            "inequivalent arg 'x-a' for queue 'x' in vhost '/': received '10' but current is '20'"
        );
        let text = |text: &str| Some(AMQPValue::LongString(text.into()));
        assert_eq!(
            compared(text("b"), text("a")),
            "inequivalent arg 'x-a' for queue 'x' in vhost '/': received 'a' but current is 'b'"
        );
    }

    #[test]
    fn value_against_none_is_shown_with_its_type() {
        assert_eq!(
            compared(None, Some(AMQPValue::LongInt(10))),
            "inequivalent arg 'x-a' for queue 'x' in vhost '/': received the value '10' of type 'signedint' \
             but current is none"
        );
        assert_eq!(
            compared(Some(AMQPValue::LongString("dlx".into())), None),
            "inequivalent arg 'x-a' for queue 'x' in vhost '/': received none but current is the value 'dlx' \
             of type 'longstr'"
        );
    }
}
