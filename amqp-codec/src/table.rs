//! Field tables: the typed maps in arguments, client properties and message headers (specification 4.2.5.5, with
//! RabbitMQ's value types, <https://www.rabbitmq.com/amqp-0-9-1-errata>).
//!
//! A table may hold tables and arrays, and `amq-protocol` parses them by recursion. [`validate_table`] therefore comes
//! first, everywhere: it allocates nothing and refuses what is nested too deeply. The bytes here never include the four
//! octets of length in front of a table.

use amq_protocol::{
    frame::WriteContext,
    types::{FieldTable, generation::gen_field_table, parsing::parse_field_table},
};

use crate::{Error, fields::Fields};

/// How deep tables and arrays may be nested; the outermost table counts as one.
///
/// Real headers need few levels (`x-death` needs three); the limit bounds the stack that hostile ones can claim.
pub const MAX_TABLE_DEPTH: usize = 32;

/// Checks a table: known value types, lengths that fit, UTF-8 names, bounded depth.
///
/// # Errors
/// [`Error::Syntax`]. What passes, [`parse_table`] can parse.
pub fn validate_table(bytes: &[u8]) -> Result<(), Error> {
    entries(bytes, MAX_TABLE_DEPTH)
}

/// Parses a table. Long strings may hold any bytes; of entries with the same name the last counts.
///
/// # Errors
/// [`Error::Syntax`] when [`validate_table`] refuses the bytes.
pub fn parse_table(bytes: &[u8]) -> Result<FieldTable, Error> {
    validate_table(bytes)?;
    let length = u32::try_from(bytes.len()).map_err(|_| malformed())?;
    // rare, so a copy that puts the length back in front is cheaper than a second parser
    let mut prefixed = Vec::with_capacity(bytes.len() + 4);
    prefixed.extend_from_slice(&length.to_be_bytes());
    prefixed.extend_from_slice(bytes);
    match parse_field_table(prefixed.as_slice()) {
        Ok((_, table)) => Ok(table),
        Err(_) => Err(malformed()),
    }
}

/// Appends a table's entries, in the order of their names.
///
/// # Errors
/// [`Error::Encode`] when a value cannot be carried; `out` is then unchanged.
pub fn encode_table(table: &FieldTable, out: &mut Vec<u8>) -> Result<(), Error> {
    let written = gen_field_table(table)(WriteContext::from(Vec::new()))
        .map_err(|error| Error::Encode(error.to_string().into()))?;
    out.extend_from_slice(written.write.get(4..).unwrap_or_default());
    Ok(())
}

fn entries(bytes: &[u8], depth: usize) -> Result<(), Error> {
    let depth = deeper(depth)?;
    let mut rest = Fields(bytes);
    while !rest.is_empty() {
        let name = rest.short_string().ok_or_else(malformed)?;
        if std::str::from_utf8(name).is_err() {
            return Err(Error::syntax(
                "malformed UTF-8 in the name of a table field",
            ));
        }
        value(&mut rest, depth)?;
    }
    Ok(())
}

fn array(bytes: &[u8], depth: usize) -> Result<(), Error> {
    let depth = deeper(depth)?;
    let mut rest = Fields(bytes);
    while !rest.is_empty() {
        value(&mut rest, depth)?;
    }
    Ok(())
}

fn deeper(depth: usize) -> Result<usize, Error> {
    depth
        .checked_sub(1)
        .ok_or_else(|| Error::syntax("field table nested too deeply"))
}

fn value(rest: &mut Fields<'_>, depth: usize) -> Result<(), Error> {
    let length = match rest.octet() {
        Some(b't' | b'b' | b'B') => 1,
        Some(b's' | b'U' | b'u') => 2,
        Some(b'I' | b'i' | b'f') => 4,
        Some(b'D') => 5,
        Some(b'l' | b'L' | b'd' | b'T') => 8,
        Some(b'V') => 0,
        Some(b'S' | b'x') => return rest.long_string().map(drop).ok_or_else(malformed),
        Some(b'F') => return entries(rest.long_string().ok_or_else(malformed)?, depth),
        Some(b'A') => return array(rest.long_string().ok_or_else(malformed)?, depth),
        Some(_) => return Err(Error::syntax("unknown type of a table field")),
        None => return Err(malformed()),
    };
    rest.bytes(length).map(drop).ok_or_else(malformed)
}

#[cold]
fn malformed() -> Error {
    Error::syntax("malformed field table")
}
