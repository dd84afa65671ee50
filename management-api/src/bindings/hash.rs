//! Erlang's `phash2` of a table of arguments, because RabbitMQ's API names bindings by it.
//!
//! A table is a list of triples there, `{<<"key">>, type, value}`, and the hash is that of the Erlang runtime
//! (`make_hash2` in `erl_utils.c`): Bob Jenkins' `lookup2` over the parts of a term, from the left to the right.

use broker_core::arguments::{AMQPValue, FieldTable, integer, type_name};

const HCONST: u32 = 0x9e37_79b9;
/// What `[]` mixes in.
const NIL: u32 = 2;

/// The constant of one kind of term: a multiple of the golden ratio.
const fn constant(number: u32) -> u32 {
    HCONST.wrapping_mul(number)
}

/// The hash of a table, all 32 bits of it.
pub(super) fn of_table(table: &FieldTable) -> u32 {
    let mut hash = Hash(0);
    hash.table(table);
    hash.0
}

struct Hash(u32);

impl Hash {
    fn mix(&mut self, one: u32, other: u32, constant: u32) {
        let (a, b) = (constant.wrapping_add(one), constant.wrapping_add(other));
        self.0 = mixed(a, b, self.0).2;
    }

    /// A list ends with `[]`, which is the last thing of it that is mixed in.
    fn nil(&mut self) {
        self.mix(NIL, 0, constant(2));
    }

    fn tuple(&mut self, arity: u32) {
        self.mix(arity, 0, constant(9));
    }

    fn atom(&mut self, name: &str) {
        let value = atom_value(name);
        match self.0 {
            0 => self.0 = value,
            _ => self.mix(value, 0, constant(3)),
        }
    }

    fn binary(&mut self, bytes: &[u8]) {
        let start = constant(13).wrapping_add(self.0);
        self.0 = match bytes.is_empty() {
            true => start,
            false => block(bytes, start),
        };
    }

    fn integer(&mut self, number: i128) {
        if (-(1 << 27)..1 << 27).contains(&number) {
            let magnitude = number.unsigned_abs() as u32;
            if number < 0 {
                // Negative numbers are mixed in twice, first without their sign.
                self.mix(magnitude, 0, HCONST);
                self.mix(magnitude.wrapping_neg(), 0, HCONST);
            } else {
                self.mix(magnitude, 0, HCONST);
            }
            return;
        }
        let sign = if number < 0 { 10 } else { 11 };
        let digit = number.unsigned_abs() as u64;
        self.mix(digit as u32, (digit >> 32) as u32, constant(sign));
    }

    fn float(&mut self, number: f64) {
        // Both zeros are one.
        let bits = if number == 0.0 { 0 } else { number.to_bits() };
        self.mix((bits >> 32) as u32, bits as u32, constant(12));
    }

    fn table(&mut self, table: &FieldTable) {
        for (key, value) in table.inner() {
            self.tuple(3);
            self.binary(key.as_str().as_bytes());
            self.atom(type_name(value));
            self.value(value);
        }
        self.nil();
    }

    fn value(&mut self, value: &AMQPValue) {
        if let Some(number) = integer(value) {
            return self.integer(number.into());
        }
        match value {
            AMQPValue::Boolean(flag) => self.atom(if *flag { "true" } else { "false" }),
            AMQPValue::LongString(text) => self.binary(text.as_bytes()),
            AMQPValue::ShortString(text) => self.binary(text.as_str().as_bytes()),
            AMQPValue::ByteArray(bytes) => self.binary(bytes.as_slice()),
            AMQPValue::Float(number) => self.float((*number).into()),
            AMQPValue::Double(number) => self.float(*number),
            AMQPValue::Timestamp(seconds) => self.integer((*seconds).into()),
            AMQPValue::DecimalValue(decimal) => {
                self.tuple(2);
                self.integer(decimal.scale.into());
                self.integer(decimal.value.into());
            }
            AMQPValue::FieldArray(values) => {
                for value in values.as_slice() {
                    self.tuple(2);
                    self.atom(type_name(value));
                    self.value(value);
                }
                self.nil();
            }
            AMQPValue::FieldTable(table) => self.table(table),
            _ => self.atom("undefined"),
        }
    }
}

/// The hash of an atom's name, after P. J. Weinberger.
fn atom_value(name: &str) -> u32 {
    name.bytes().fold(0, |hash: u32, letter| {
        let hash = (hash << 4).wrapping_add(letter.into());
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) ^ high
    })
}

fn block(bytes: &[u8], start: u32) -> u32 {
    let (mut a, mut b, mut c) = (HCONST, HCONST, start);
    let mut blocks = bytes.chunks_exact(12);
    for block in &mut blocks {
        let word = |number: usize| word(block, number * 4, 0);
        (a, b, c) = mixed(
            a.wrapping_add(word(0)),
            b.wrapping_add(word(1)),
            c.wrapping_add(word(2)),
        );
    }
    let rest = blocks.remainder();
    a = a.wrapping_add(word(rest, 0, 0));
    b = b.wrapping_add(word(rest, 4, 0));
    // The lowest byte of the third word is kept for the length.
    c = c
        .wrapping_add(bytes.len() as u32)
        .wrapping_add(word(rest, 8, 1));
    mixed(a, b, c).2
}

/// Up to four bytes from `start` on, the lowest first, moved up by `shift` bytes; bytes that are missing are zeros.
fn word(bytes: &[u8], start: usize, shift: usize) -> u32 {
    let bytes = bytes.iter().skip(start).take(4 - shift);
    let each = bytes.enumerate();
    each.map(|(position, byte)| u32::from(*byte) << (8 * (position + shift)))
        .sum()
}

fn mixed(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for [right, left, last] in [[13, 8, 13], [12, 16, 5], [3, 10, 15]] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> right);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << left);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> last);
    }
    (a, b, c)
}

#[cfg(test)]
mod tests {
    use broker_core::arguments::json::table_of_json;
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_have_the_hash_that_erlang_gives_them() {
        // erlang:phash2([{<<"k">>, longstr, <<"v">>}, ...], 1 bsl 32)
        for (table, hash) in KNOWN {
            let table: serde_json::Value = serde_json::from_str(table).unwrap();
            let table = table_of_json(table.as_object().unwrap()).unwrap();
            assert_eq!(of_table(&table), *hash, "{table:?}");
        }
        let empty = table_of_json(json!({}).as_object().unwrap()).unwrap();
        assert_eq!(of_table(&empty), 3_468_870_702);
    }

    include!("known_hashes.rs");
}
