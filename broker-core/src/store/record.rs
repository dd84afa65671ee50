//! A message as bytes on disk, and back with every length checked.
//!
//! ```text
//! version u8 = 2 | flags u8 (those of the message) | length of the whole record u64
//! | enqueued at, milliseconds since the Unix epoch u64 | exchange length u16 | routing key length u8 | properties length u32
//! | exchange | routing key | properties | body (the rest)
//! ```
//! Numbers are big-endian. The record's own length comes early, so that a record whose pieces are missing is noticed.

use crate::{
    message::{Flags, Message},
    queue::Millis,
};

const VERSION: u8 = 2;
/// Bytes of version, flags, time and the four lengths.
const FIXED: usize = 2 + 8 + 8 + 2 + 1 + 4;

/// Appends the record of `message`, which entered its queue at `enqueued_at`, to `out`.
pub(crate) fn encode(message: &Message, enqueued_at: Millis, out: &mut Vec<u8>) {
    let exchange = message.exchange_bytes();
    let key = message.routing_key_bytes();
    let length = FIXED + message.size();
    out.reserve(length);
    out.push(VERSION);
    out.push(message.flags().bits());
    out.extend_from_slice(&(length as u64).to_be_bytes());
    out.extend_from_slice(&enqueued_at.to_be_bytes());
    out.extend_from_slice(&(exchange.len() as u16).to_be_bytes());
    out.push(key.len() as u8);
    out.extend_from_slice(&(message.properties().len() as u32).to_be_bytes());
    out.extend_from_slice(exchange);
    out.extend_from_slice(key);
    out.extend_from_slice(message.properties());
    out.extend_from_slice(message.body());
}

/// Reads one whole record, or tells what is wrong with it.
pub(crate) fn decode(record: &[u8]) -> Result<(Millis, Message), &'static str> {
    let total = record.len() as u64;
    let ([version, flags], rest) = array::<2>(record)?;
    if version != VERSION {
        return Err("a record version that this release does not know");
    }
    let (length, rest) = array::<8>(rest)?;
    if u64::from_be_bytes(length) != total {
        return Err("a record that is not whole");
    }
    let (enqueued_at, rest) = array::<8>(rest)?;
    let (exchange_length, rest) = array::<2>(rest)?;
    let ([key_length], rest) = array::<1>(rest)?;
    let (properties_length, rest) = array::<4>(rest)?;
    let (exchange, rest) = text(rest, usize::from(u16::from_be_bytes(exchange_length)))?;
    let (key, rest) = text(rest, usize::from(key_length))?;
    let (properties, body) = part(rest, u32::from_be_bytes(properties_length) as usize)?;
    let flags = Flags::from_bits(flags);
    let message = Message::with_flags(exchange, key, properties, body, flags);
    Ok((u64::from_be_bytes(enqueued_at), message))
}

fn part(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8]), &'static str> {
    bytes
        .split_at_checked(length)
        .ok_or("a record that ends early")
}

fn array<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), &'static str> {
    let (taken, rest) = bytes
        .split_first_chunk()
        .ok_or("a record that ends early")?;
    Ok((*taken, rest))
}

fn text(bytes: &[u8], length: usize) -> Result<(&str, &[u8]), &'static str> {
    let (taken, rest) = part(bytes, length)?;
    let taken = std::str::from_utf8(taken).map_err(|_| "a name that is not UTF-8")?;
    Ok((taken, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let flags = Flags::PERSISTENT.and_if(true, Flags::DEAD);
        let message = Message::with_flags("logs", "a.b", &[0x10, 0, 2], b"body", flags);
        let mut record = Vec::new();
        encode(&message, 1_234, &mut record);
        record
    }

    #[test]
    fn record_gives_back_the_message_it_was_made_from() {
        let (enqueued_at, message) = decode(&record()).unwrap();
        assert_eq!(enqueued_at, 1_234);
        assert_eq!(message.exchange(), "logs");
        assert_eq!(message.routing_key(), "a.b");
        assert_eq!(message.properties(), [0x10, 0, 2]);
        assert_eq!(message.body(), b"body");
        assert!(message.persistent());
        assert!(message.flags().contain(Flags::DEAD));
    }

    #[test]
    fn record_cut_anywhere_is_refused() {
        let record = record();
        for end in 0..record.len() {
            assert!(decode(&record[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn record_with_any_byte_changed_never_panics() {
        let record = record();
        for at in 0..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 0xff;
            let _ = decode(&damaged);
        }
    }

    #[test]
    fn record_of_another_version_is_refused() {
        let mut record = record();
        record[0] = 9;
        assert!(decode(&record).is_err());
    }
}
