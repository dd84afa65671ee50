//! One item of a document, and its fields. Every fault names the item.

use amqp_codec::FieldTable;
use serde_json::{Map, Value};

use super::refused;
use crate::{Error, arguments::json::table_of_json};

/// The longest name that AMQP can carry, in bytes.
const LONGEST_NAME: usize = 255;

/// An item of a section.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    section: &'static str,
    number: usize,
    fields: &'a Map<String, Value>,
}

impl<'a> Item<'a> {
    pub(super) fn of(
        section: &'static str,
        number: usize,
        value: &'a Value,
    ) -> Result<Self, Error> {
        let fields = value
            .as_object()
            .ok_or_else(|| refused(format!("{section}[{number}] is no object")))?;
        Ok(Self {
            section,
            number,
            fields,
        })
    }

    /// The fault with the item's place and name in front.
    pub(super) fn fault(&self, text: impl std::fmt::Display) -> Error {
        let (section, number) = (self.section, self.number);
        let text_of = |key: &str| self.fields.get(key).and_then(Value::as_str);
        let name = text_of("name")
            .or_else(|| text_of("user"))
            .or_else(|| text_of("source"));
        let name = name.map(|name| format!(" '{name}'")).unwrap_or_default();
        let vhost = text_of("vhost").map(|vhost| format!(" in vhost '{vhost}'"));
        refused(format!(
            "{section}[{number}]{name}{}: {text}",
            vhost.unwrap_or_default()
        ))
    }

    /// What the core refuses, with the item's name.
    pub(super) fn named<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        result.map_err(|error| self.fault(error))
    }

    pub(super) fn find(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn value(&self, key: &str) -> Result<&'a Value, Error> {
        let value = self.fields.get(key);
        value.ok_or_else(|| self.fault(format!("{key} is missing")))
    }

    pub(super) fn text(&self, key: &str) -> Result<&'a str, Error> {
        let text = self.value(key)?.as_str();
        text.ok_or_else(|| self.fault(format!("{key} is no text")))
    }

    pub(super) fn text_or(&self, key: &str, other: &'a str) -> Result<&'a str, Error> {
        match self.find(key) {
            None => Ok(other),
            Some(_) => self.text(key),
        }
    }

    /// A text that AMQP can carry as a name or a key.
    pub(super) fn name(&self, key: &str) -> Result<&'a str, Error> {
        let name = self.text(key)?;
        match name.len() <= LONGEST_NAME {
            true => Ok(name),
            false => Err(self.fault(format!("{key} has more than {LONGEST_NAME} bytes"))),
        }
    }

    pub(super) fn flag_or(&self, key: &str, other: bool) -> Result<bool, Error> {
        match self.find(key) {
            None => Ok(other),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.fault(format!("{key} is neither true nor false"))),
        }
    }

    /// A list of words, or a text with commas.
    pub(super) fn words(&self, key: &str) -> Vec<String> {
        words(self.find(key))
    }

    /// An object; an empty list is one too, for that is what RabbitMQ 3.10 writes.
    pub(super) fn object(&self, key: &str) -> Result<Map<String, Value>, Error> {
        match self.find(key) {
            None => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(Value::Array(none)) if none.is_empty() => Ok(Map::new()),
            Some(_) => Err(self.fault(format!("{key} is no object"))),
        }
    }

    pub(super) fn arguments(&self) -> Result<FieldTable, Error> {
        let arguments = table_of_json(&self.object("arguments")?);
        self.named(arguments)
    }
}

/// A list of words, or a text with commas.
pub(super) fn words(value: Option<&Value>) -> Vec<String> {
    let each: Vec<&str> = match value {
        Some(Value::String(text)) => text.split(',').collect(),
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let trimmed = each.into_iter().map(str::trim);
    trimmed
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}
