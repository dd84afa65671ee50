//! Definitions files: everything that was declared, as one JSON document, in the form of RabbitMQ's
//! (<https://www.rabbitmq.com/docs/definitions>, `rabbit_definitions`).
//!
//! An import first looks at every item and makes a plan of it: the changes of the definitions that the document
//! asks for beyond what there is. All of them are made as one, so a document with a fault changes nothing, and one that
//! was imported before changes nothing either. What is not durable cannot be a definition and is declared behind that,
//! when nothing can be wrong with it any more.

mod accounts;
mod export;
mod import;
mod item;
mod plan;
mod topology;

use serde_json::{Map, Value};

pub use self::{export::Scope, import::Imported};
use crate::Error;

/// Under this key a user has the hash of its password if RabbitMQ does not know the algorithm.
const LEVERET_PASSWORD_HASH: &str = "leveret_password_hash";

/// A document that can be imported.
#[derive(Debug, Clone, Default)]
pub struct DefinitionsFile(Map<String, Value>);

impl DefinitionsFile {
    /// Reads a document. An empty one defines nothing.
    ///
    /// # Errors
    /// 406: it is no JSON object; with the place of the fault.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(object)) => Ok(Self(object)),
            Ok(_) => Err(refused("the document is no JSON object")),
            Err(error) => Err(refused(format!("the document is no JSON: {error}"))),
        }
    }

    /// The items of a section; none if there is no such section.
    fn section(&self, name: &'static str) -> Result<Vec<item::Item<'_>>, Error> {
        let Some(section) = self.0.get(name) else {
            return Ok(Vec::new());
        };
        let items = section
            .as_array()
            .ok_or_else(|| refused(format!("{name} is no list")))?;
        let items = items.iter().enumerate();
        items
            .map(|(number, value)| item::Item::of(name, number, value))
            .collect()
    }
}

fn refused(text: impl Into<String>) -> Error {
    Error::PreconditionFailed(text.into())
}

#[cfg(test)]
mod tests;
