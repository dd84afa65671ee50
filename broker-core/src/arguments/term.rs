//! Field values written as Erlang writes its terms (`~tp`), since RabbitMQ's reply texts contain them.
//!
//! Erlang breaks long terms over several lines; here they stay on one.

use std::fmt::{self, Write as _};

use super::{AMQPValue, FieldTable, bytes, integer, type_name};

/// Displays a value as RabbitMQ's Erlang term: `10`, `<<"text">>`, `true`, `[{<<"key">>,long,1}]`.
#[derive(Debug, Clone, Copy)]
pub struct Term<'a>(pub &'a AMQPValue);

impl fmt::Display for Term<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(number) = integer(self.0) {
            return write!(out, "{number}");
        }
        if let Some(bytes) = bytes(self.0) {
            return binary(out, bytes);
        }
        match self.0 {
            AMQPValue::Boolean(value) => write!(out, "{value}"),
            AMQPValue::Float(number) => float(out, f64::from(*number)),
            AMQPValue::Double(number) => float(out, *number),
            AMQPValue::DecimalValue(decimal) => {
                write!(out, "{{{},{}}}", decimal.scale, decimal.value)
            }
            AMQPValue::Timestamp(seconds) => write!(out, "{seconds}"),
            AMQPValue::FieldArray(array) => list(out, array.as_slice(), |out, value| {
                write!(out, "{{{},{}}}", type_name(value), Term(value))
            }),
            AMQPValue::FieldTable(fields) => table(out, fields),
            _ => out.write_str("undefined"),
        }
    }
}

/// Displays bytes as an Erlang binary: `<<"text">>`, or the bytes in numbers when Erlang would not print one of them.
pub(crate) struct Binary<'a>(pub &'a [u8]);

impl fmt::Display for Binary<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        binary(out, self.0)
    }
}

/// Displays a number as an Erlang float.
pub(crate) struct Float(pub f64);

impl fmt::Display for Float {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        float(out, self.0)
    }
}

/// Displays text as an Erlang string: in quotes, or as a list of code points when Erlang would not print one of them.
pub(crate) struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.chars().all(printable) {
            return list(out, self.0.chars(), |out, it| {
                write!(out, "{}", u32::from(it))
            });
        }
        out.write_char('"')?;
        escaped(out, self.0.chars())?;
        out.write_char('"')
    }
}

fn table(out: &mut fmt::Formatter<'_>, fields: &FieldTable) -> fmt::Result {
    list(out, fields.inner(), |out, (key, value)| {
        out.write_char('{')?;
        binary(out, key.as_str().as_bytes())?;
        write!(out, ",{},{}}}", type_name(value), Term(value))
    })
}

fn list<'f, T>(
    out: &mut fmt::Formatter<'f>,
    items: impl IntoIterator<Item = T>,
    each: impl Fn(&mut fmt::Formatter<'f>, T) -> fmt::Result,
) -> fmt::Result {
    out.write_char('[')?;
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.write_char(',')?;
        }
        each(out, item)?;
    }
    out.write_char(']')
}

/// Erlang always writes a fraction: `1.0e22`, where Rust writes `1e22`.
fn float(out: &mut fmt::Formatter<'_>, number: f64) -> fmt::Result {
    let text = format!("{number:?}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => {
            write!(out, "{mantissa}.0e{exponent}")
        }
        _ => out.write_str(&text),
    }
}

fn binary(out: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    if bytes.is_empty() {
        return out.write_str("<<>>");
    }
    let unicode = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| text.chars().all(printable));
    if let Some(text) = unicode {
        let kind = if text.is_ascii() { "" } else { "/utf8" };
        return quoted(out, text.chars(), kind);
    }
    let latin1 = || bytes.iter().map(|byte| char::from(*byte));
    if latin1().all(printable) {
        return quoted(out, latin1(), "");
    }
    out.write_str("<<")?;
    for (position, byte) in bytes.iter().enumerate() {
        write!(out, "{}{byte}", if position > 0 { "," } else { "" })?;
    }
    out.write_str(">>")
}

fn quoted(
    out: &mut fmt::Formatter<'_>,
    text: impl Iterator<Item = char>,
    kind: &str,
) -> fmt::Result {
    out.write_str("<<\"")?;
    escaped(out, text)?;
    write!(out, "\"{kind}>>")
}

/// Writes the inside of an Erlang string literal.
fn escaped(out: &mut impl fmt::Write, text: impl Iterator<Item = char>) -> fmt::Result {
    for character in text {
        match character {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\u{8}' => out.write_str("\\b")?,
            '\u{b}' => out.write_str("\\v")?,
            '\u{c}' => out.write_str("\\f")?,
            '\u{1b}' => out.write_str("\\e")?,
            _ => out.write_char(character)?,
        }
    }
    Ok(())
}

/// What Erlang, with its default character range, prints as it is rather than as a number.
fn printable(character: char) -> bool {
    matches!(character, ' '..='~' | '\u{a0}'..='\u{ff}' | '\u{8}'..='\u{d}' | '\u{1b}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(value: AMQPValue) -> String {
        Term(&value).to_string()
    }

    #[test]
    fn binaries_are_shown_as_text_when_erlang_would() {
        assert_eq!(shown(AMQPValue::LongString("foo".into())), r#"<<"foo">>"#);
        assert_eq!(
            shown(AMQPValue::LongString("a\"b\n\\".into())),
            r#"<<"a\"b\n\\">>"#
        );
        assert_eq!(shown(AMQPValue::LongString("é".into())), r#"<<"é"/utf8>>"#);
        assert_eq!(
            shown(AMQPValue::LongString("日本".into())),
            "<<230,151,165,230,156,172>>"
        );
        assert_eq!(
            shown(AMQPValue::LongString(vec![255, 254, 65].into())),
            r#"<<"ÿþA">>"#
        );
        assert_eq!(
            shown(AMQPValue::ByteArray(vec![1, 2, 3].into())),
            "<<1,2,3>>"
        );
        assert_eq!(shown(AMQPValue::LongString("".into())), "<<>>");
    }

    #[test]
    fn numbers_and_atoms_are_shown_as_erlang_would() {
        assert_eq!(shown(AMQPValue::LongInt(-1)), "-1");
        assert_eq!(shown(AMQPValue::Boolean(true)), "true");
        assert_eq!(shown(AMQPValue::Void), "undefined");
        assert_eq!(shown(AMQPValue::Double(1.0)), "1.0");
        assert_eq!(shown(AMQPValue::Double(1e22)), "1.0e22");
        assert_eq!(shown(AMQPValue::Double(0.1)), "0.1");
    }

    #[test]
    fn nested_values_carry_their_types() {
        let mut fields = FieldTable::default();
        fields.insert("a".into(), AMQPValue::LongLongInt(1));
        let array = vec![AMQPValue::LongString("x".into())];
        fields.insert("b".into(), AMQPValue::FieldArray(array.into()));
        assert_eq!(
            shown(AMQPValue::FieldTable(fields)),
            r#"[{<<"a">>,long,1},{<<"b">>,array,[{longstr,<<"x">>}]}]"#
        );
    }
}
