//! The fields of every method, as data: what the hand-sliced methods do in code, and what makes the others harmless.
//!
//! `amq-protocol` parses tables by recursion without a limit and knows one kind of error. So a payload is walked by its
//! layout first: it must fill its fields exactly, names must be UTF-8 and tables shallow. What passes, `amq-protocol`
//! can parse, and what does not gets RabbitMQ's reply. The layouts are those of `amqp0-9-1.stripped.extended.xml`.

use crate::{Error, fields::Fields, validate_table};

/// The wire type of one field of a method (specification 4.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// One octet.
    Octet,
    /// Two octets.
    Short,
    /// Four octets.
    Long,
    /// Eight octets.
    LongLong,
    /// Up to 255 bytes after an octet of length.
    ShortString,
    /// Any bytes after four octets of length.
    LongString,
    /// A field table after four octets of length.
    Table,
    /// Up to eight consecutive bits, packed into an octet.
    Bits,
}

use Field::{Bits, Long, LongLong, LongString, Octet, Short, ShortString, Table};

/// The fields of a method; `None` when there is no such method.
pub fn fields(class_id: u16, method_id: u16) -> Option<&'static [Field]> {
    match class_id {
        10 => connection(method_id),
        20 => channel(method_id),
        30 => access(method_id),
        40 => exchange(method_id),
        50 => queue(method_id),
        60 => basic(method_id),
        85 => confirm(method_id),
        90 => tx(method_id),
        _ => None,
    }
}

fn connection(method_id: u16) -> Option<&'static [Field]> {
    Some(match method_id {
        10 => &[Octet, Octet, Table, LongString, LongString],
        11 => &[Table, ShortString, LongString, ShortString],
        20 | 21 => &[LongString],
        30 | 31 => &[Short, Long, Short],
        40 => &[ShortString, ShortString, Bits],
        41 | 60 => &[ShortString],
        50 => &[Short, ShortString, Short, Short],
        51 | 61 | 71 => &[],
        70 => &[LongString, ShortString],
        _ => return None,
    })
}

fn channel(method_id: u16) -> Option<&'static [Field]> {
    Some(match method_id {
        10 => &[ShortString],
        11 => &[LongString],
        20 | 21 => &[Bits],
        40 => &[Short, ShortString, Short, Short],
        41 => &[],
        _ => return None,
    })
}

fn access(method_id: u16) -> Option<&'static [Field]> {
    Some(match method_id {
        10 => &[ShortString, Bits],
        11 => &[Short],
        _ => return None,
    })
}

fn exchange(method_id: u16) -> Option<&'static [Field]> {
    Some(match method_id {
        10 => &[Short, ShortString, ShortString, Bits, Table],
        20 => &[Short, ShortString, Bits],
        30 | 40 => &[Short, ShortString, ShortString, ShortString, Bits, Table],
        11 | 21 | 31 | 51 => &[],
        _ => return None,
    })
}

fn queue(method_id: u16) -> Option<&'static [Field]> {
    Some(match method_id {
        10 => &[Short, ShortString, Bits, Table],
        11 => &[ShortString, Long, Long],
        20 => &[Short, ShortString, ShortString, ShortString, Bits, Table],
        30 | 40 => &[Short, ShortString, Bits],
        31 | 41 => &[Long],
        50 => &[Short, ShortString, ShortString, ShortString, Table],
        21 | 51 => &[],
        _ => return None,
    })
}

fn basic(method_id: u16) -> Option<&'static [Field]> {
    Some(match method_id {
        10 => &[Long, Short, Bits],
        20 => &[Short, ShortString, ShortString, Bits, Table],
        30 => &[ShortString, Bits],
        21 | 31 | 72 => &[ShortString],
        40 => &[Short, ShortString, ShortString, Bits],
        50 => &[Short, ShortString, ShortString, ShortString],
        60 => &[ShortString, LongLong, Bits, ShortString, ShortString],
        70 => &[Short, ShortString, Bits],
        71 => &[LongLong, Bits, ShortString, ShortString, Long],
        80 | 90 | 120 => &[LongLong, Bits],
        100 | 110 => &[Bits],
        11 | 111 => &[],
        _ => return None,
    })
}

fn confirm(method_id: u16) -> Option<&'static [Field]> {
    Some(match method_id {
        10 => &[Bits],
        11 => &[],
        _ => return None,
    })
}

fn tx(method_id: u16) -> Option<&'static [Field]> {
    matches!(method_id, 10 | 11 | 20 | 21 | 30 | 31).then_some(&[])
}

/// Checks that `arguments` (a method's payload after class and method) fill the method's fields exactly, that short
/// strings are UTF-8 and that tables are well formed.
///
/// # Errors
/// [`Error::UnknownMethod`], [`Error::Undecodable`], [`Error::MalformedUtf8`] or [`Error::Syntax`], in this order of
/// precedence, as RabbitMQ finds them.
pub fn validate(class_id: u16, method_id: u16, arguments: &[u8]) -> Result<(), Error> {
    let layout = fields(class_id, method_id).ok_or(Error::UnknownMethod {
        class_id,
        method_id,
    })?;
    // first the shape of the whole, then the contents of its fields
    walk(layout, arguments, |_, _| Ok(()))
        .and_then(|fits| fits.ok_or_else(|| Error::undecodable(class_id, method_id, arguments)))?;
    walk(layout, arguments, check_contents).map_err(|error| error.of(class_id, method_id))?;
    Ok(())
}

/// Visits the variable fields; `None` when the bytes do not fit the layout.
fn walk(
    layout: &[Field],
    arguments: &[u8],
    visit: impl Fn(Field, &[u8]) -> Result<(), Error>,
) -> Result<Option<()>, Error> {
    let mut rest = Fields(arguments);
    for &field in layout {
        let taken = match field {
            Octet | Bits => rest.bytes(1),
            Short => rest.bytes(2),
            Long => rest.bytes(4),
            LongLong => rest.bytes(8),
            ShortString => rest.short_string(),
            LongString | Table => rest.long_string(),
        };
        let Some(bytes) = taken else {
            return Ok(None);
        };
        visit(field, bytes)?;
    }
    Ok(rest.is_empty().then_some(()))
}

fn check_contents(field: Field, bytes: &[u8]) -> Result<(), Error> {
    match field {
        ShortString if std::str::from_utf8(bytes).is_err() => Err(Error::MalformedUtf8 {
            class_id: 0,
            method_id: 0,
        }),
        Table => validate_table(bytes),
        _ => Ok(()),
    }
}
