//! The headers exchange: a message goes where its headers table fits the arguments of the binding.
//!
//! `x-match` chooses how: `all` (the default) or `any` of the other arguments must be in the message's headers with
//! an equal value, where a void value asks for the key's presence only. Arguments whose names begin with `x-` do not
//! take part, unless it is `all-with-x` or `any-with-x`; `x-match` itself never does. With nothing to compare, `all`
//! fits every message and `any` none. (RabbitMQ's `rabbit_exchange_type_headers`.)

use std::{borrow::Cow, hash::Hash};

use super::{Binding, HashMap};
use crate::{
    Error,
    arguments::{
        AMQPValue, FieldTable, ShortString, Term, equivalent_tables, header_equals, lookup, text,
        type_name,
    },
};

/// Bindings by destination, so that the first one that fits settles it.
#[derive(Debug)]
pub(super) struct Headers<D> {
    by_destination: HashMap<D, Vec<Pattern>>,
    bindings: usize,
}

#[derive(Debug)]
struct Pattern {
    routing_key: Box<str>,
    arguments: FieldTable,
    how: Match,
}

/// Whether a binding can have these arguments.
pub(super) fn check(arguments: &FieldTable) -> Result<(), Error> {
    Match::parse(arguments).map(drop)
}

/// The value of `x-match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    All,
    Any,
    AllWithX,
    AnyWithX,
}

impl<D: Clone + Eq + Hash> Headers<D> {
    pub(super) fn new() -> Self {
        Self {
            by_destination: HashMap::default(),
            bindings: 0,
        }
    }

    pub(super) fn bind(
        &mut self,
        routing_key: &str,
        arguments: &FieldTable,
        destination: D,
    ) -> Result<bool, Error> {
        let how = Match::parse(arguments)?;
        let patterns = self.by_destination.entry(destination).or_default();
        let new = !patterns
            .iter()
            .any(|pattern| pattern.is(routing_key, arguments));
        if new {
            let arguments = arguments.clone();
            patterns.push(Pattern {
                routing_key: routing_key.into(),
                arguments,
                how,
            });
            self.bindings += 1;
        }
        Ok(new)
    }

    pub(super) fn unbind(
        &mut self,
        routing_key: &str,
        arguments: &FieldTable,
        destination: &D,
    ) -> bool {
        let Some(patterns) = self.by_destination.get_mut(destination) else {
            return false;
        };
        let Some(position) = patterns.iter().position(|it| it.is(routing_key, arguments)) else {
            return false;
        };
        patterns.swap_remove(position);
        if patterns.is_empty() {
            self.by_destination.remove(destination);
        }
        self.bindings -= 1;
        true
    }

    pub(super) fn unbind_destination(&mut self, destination: &D) -> usize {
        let removed = self
            .by_destination
            .remove(destination)
            .map_or(0, |patterns| patterns.len());
        self.bindings -= removed;
        removed
    }

    pub(super) fn len(&self) -> usize {
        self.bindings
    }

    pub(super) fn route<'a>(&'a self, headers: Option<&FieldTable>, each: &mut dyn FnMut(&'a D)) {
        for (destination, patterns) in &self.by_destination {
            if patterns.iter().any(|pattern| pattern.fits(headers)) {
                each(destination);
            }
        }
    }

    pub(super) fn bindings(&self) -> impl Iterator<Item = Binding<'_, D>> {
        self.by_destination
            .iter()
            .flat_map(|(destination, patterns)| {
                patterns.iter().map(move |pattern| Binding {
                    routing_key: Cow::Borrowed(&*pattern.routing_key),
                    arguments: &pattern.arguments,
                    destination,
                })
            })
    }
}

impl Pattern {
    fn is(&self, routing_key: &str, arguments: &FieldTable) -> bool {
        *self.routing_key == *routing_key && equivalent_tables(&self.arguments, arguments)
    }

    fn fits(&self, headers: Option<&FieldTable>) -> bool {
        let mut wanted = self
            .arguments
            .inner()
            .iter()
            .filter(|(key, _)| self.compares(key.as_str()));
        let has = |(key, value): (&ShortString, &AMQPValue)| has(headers, key.as_str(), value);
        match self.how {
            Match::All | Match::AllWithX => wanted.all(has),
            Match::Any | Match::AnyWithX => wanted.any(has),
        }
    }

    /// Whether an argument of this name takes part in the comparison.
    fn compares(&self, key: &str) -> bool {
        match self.how {
            Match::All | Match::Any => !key.starts_with("x-"),
            Match::AllWithX | Match::AnyWithX => key != "x-match",
        }
    }
}

fn has(headers: Option<&FieldTable>, key: &str, wanted: &AMQPValue) -> bool {
    headers
        .and_then(|headers| lookup(headers, key))
        .is_some_and(|header| *wanted == AMQPValue::Void || header_equals(header, wanted))
}

impl Match {
    fn parse(arguments: &FieldTable) -> Result<Self, Error> {
        let Some(value) = lookup(arguments, "x-match") else {
            return Ok(Self::All);
        };
        let (AMQPValue::LongString(_) | AMQPValue::ShortString(_)) = value else {
            return Err(Error::PreconditionFailed(format!(
                "Invalid x-match field type {} (value {}); expected longstr",
                type_name(value),
                Term(value)
            )));
        };
        match text(value) {
            Some("all") => Ok(Self::All),
            Some("any") => Ok(Self::Any),
            Some("all-with-x") => Ok(Self::AllWithX),
            Some("any-with-x") => Ok(Self::AnyWithX),
            _ => Err(Error::PreconditionFailed(format!(
                "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
                Term(value)
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = &'a [(&'a str, AMQPValue)];

    fn table(fields: Fields<'_>) -> FieldTable {
        let mut table = FieldTable::default();
        for (key, value) in fields {
            table.insert((*key).into(), value.clone());
        }
        table
    }

    fn text(value: &str) -> AMQPValue {
        AMQPValue::LongString(value.into())
    }

    fn fits(arguments: Fields<'_>, headers: Fields<'_>) -> bool {
        let mut exchange = Headers::new();
        exchange
            .bind("", &table(arguments), ())
            .expect("valid x-match");
        let mut found = false;
        exchange.route(Some(&table(headers)), &mut |()| found = true);
        found
    }

    #[test]
    fn all_is_the_default_and_wants_every_argument() {
        for how in [None, Some("all")] {
            let mut arguments = vec![("a", text("1")), ("b", text("2"))];
            arguments.extend(how.map(|how| ("x-match", text(how))));
            assert!(fits(
                &arguments,
                &[("a", text("1")), ("b", text("2")), ("c", text("3"))]
            ));
            assert!(!fits(&arguments, &[("a", text("1")), ("b", text("3"))]));
            assert!(!fits(&arguments, &[("a", text("1"))]));
        }
    }

    #[test]
    fn any_wants_one_argument() {
        let arguments = [("x-match", text("any")), ("a", text("1")), ("b", text("2"))];
        assert!(fits(&arguments, &[("b", text("2")), ("a", text("other"))]));
        assert!(!fits(&arguments, &[("a", text("2")), ("b", text("1"))]));
        assert!(!fits(&arguments, &[]));
    }

    #[test]
    fn nothing_to_compare_fits_all_and_never_any() {
        assert!(fits(&[], &[("a", text("1"))]));
        assert!(fits(
            &[("x-match", text("all")), ("x-other", text("1"))],
            &[]
        ));
        assert!(!fits(&[("x-match", text("any"))], &[("a", text("1"))]));
        assert!(!fits(
            &[("x-match", text("any")), ("x-a", text("1"))],
            &[("x-a", text("1"))]
        ));
        assert!(fits(&[("x-match", text("all-with-x"))], &[]));
        assert!(!fits(
            &[("x-match", text("any-with-x"))],
            &[("x-match", text("any-with-x"))]
        ));
    }

    #[test]
    fn message_without_headers_counts_as_one_with_none() {
        let mut exchange = Headers::new();
        exchange.bind("", &table(&[]), "everything").expect("valid");
        exchange
            .bind("", &table(&[("a", AMQPValue::Void)]), "some")
            .expect("valid");
        let mut found = Vec::new();
        exchange.route(None, &mut |destination| found.push(*destination));
        assert_eq!(found, ["everything"]);
    }

    #[test]
    fn x_headers_take_part_only_with_x() {
        let wrong = [("x-tenant", text("2"))];
        let right = [("x-tenant", text("1"))];
        let with = |how| [("x-match", text(how)), ("x-tenant", text("1"))];
        assert!(fits(&with("all"), &wrong));
        assert!(!fits(&with("all-with-x"), &wrong));
        assert!(fits(&with("all-with-x"), &right));
        assert!(!fits(&with("any"), &right));
        assert!(fits(&with("any-with-x"), &right));
    }

    #[test]
    fn void_argument_wants_the_key_with_any_value() {
        let arguments = [("a", AMQPValue::Void)];
        assert!(fits(&arguments, &[("a", AMQPValue::LongInt(7))]));
        assert!(fits(
            &arguments,
            &[("a", AMQPValue::FieldTable(FieldTable::default()))]
        ));
        assert!(!fits(&arguments, &[("b", AMQPValue::LongInt(7))]));
    }

    #[test]
    fn values_compare_without_their_wire_type_but_not_across_kinds() {
        let arguments = [("n", AMQPValue::ShortShortInt(1))];
        assert!(fits(&arguments, &[("n", AMQPValue::LongLongInt(1))]));
        assert!(!fits(&arguments, &[("n", AMQPValue::Double(1.0))]));
        assert!(!fits(&arguments, &[("n", text("1"))]));
        assert!(!fits(&arguments, &[("n", AMQPValue::Boolean(true))]));
        assert!(!fits(&arguments, &[("n", AMQPValue::Void)]));
    }

    #[test]
    fn other_x_match_is_refused_with_rabbitmqs_text() {
        let refused = |value| {
            Headers::new()
                .bind("", &table(&[("x-match", value)]), ())
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(
            refused(text("some")),
            r#"Invalid x-match field value <<"some">>; expected all, any, all-with-x, or any-with-x"#
        );
        assert_eq!(
            refused(AMQPValue::LongLongInt(1)),
            "Invalid x-match field type long (value 1); expected longstr"
        );
    }
}
