//! A queue's entry as bytes in a spill file, and back.
//!
//! ```text
//! position u64 | entered at u64 | delivery counts u32 | flags u8 (1 stored, 2 redelivered) | the message's flags u8
//! | exchange length u8 | routing key length u8 | properties length u32 | body length u32
//! | exchange | routing key | properties | body
//! ```
//! Numbers are little-endian. The block around it has a checksum.

use crate::{
    message::{Flags, Message},
    queue::{DeliveryCounts, Entry},
};

const STORED: u8 = 1;
const REDELIVERED: u8 = 2;

/// What is told of a record that ends before its time.
const CUT: &str = "a message that ends early";

/// Appends the record of `entry`.
pub(super) fn encode(entry: &Entry, out: &mut Vec<u8>) {
    let message = &entry.message;
    let flag = |on: bool, flag: u8| if on { flag } else { 0 };
    let flags = flag(entry.stored, STORED) | flag(entry.redelivered, REDELIVERED);
    let (exchange, key) = (message.exchange_bytes(), message.routing_key_bytes());
    out.extend_from_slice(&entry.position.to_le_bytes());
    out.extend_from_slice(&entry.entered.to_le_bytes());
    out.extend_from_slice(&entry.counts.bits().to_le_bytes());
    out.extend_from_slice(&[flags, message.flags().bits()]);
    out.extend_from_slice(&[exchange.len() as u8, key.len() as u8]);
    out.extend_from_slice(&(message.properties().len() as u32).to_le_bytes());
    out.extend_from_slice(&(message.body_length() as u32).to_le_bytes());
    out.extend_from_slice(exchange);
    out.extend_from_slice(key);
    out.extend_from_slice(message.properties());
    out.extend_from_slice(message.body());
}

/// Reads one record; gives what follows it too.
pub(super) fn decode(bytes: &[u8]) -> Result<(Entry, &[u8]), &'static str> {
    let (position, rest) = array(bytes)?;
    let (entered, rest) = array(rest)?;
    let (counts, rest) = array(rest)?;
    let ([flags, of_message, exchange, key], rest) = array(rest)?;
    let (properties, rest) = array(rest)?;
    let (body, rest) = array(rest)?;
    let (exchange, rest) = text(rest, usize::from(exchange))?;
    let (key, rest) = text(rest, usize::from(key))?;
    let (properties, rest) = part(rest, u32::from_le_bytes(properties) as usize)?;
    let (body, rest) = part(rest, u32::from_le_bytes(body) as usize)?;
    let message_flags = Flags::from_bits(of_message);
    let message = Message::with_flags(exchange, key, properties, body, message_flags);
    let (position, entered) = (u64::from_le_bytes(position), u64::from_le_bytes(entered));
    let entry = Entry {
        counts: DeliveryCounts::from_bits(u32::from_le_bytes(counts)),
        stored: flags & STORED != 0,
        redelivered: flags & REDELIVERED != 0,
        ..Entry::new(position, message, entered)
    };
    Ok((entry, rest))
}

fn part(bytes: &[u8], length: usize) -> Result<(&[u8], &[u8]), &'static str> {
    bytes.split_at_checked(length).ok_or(CUT)
}

fn array<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), &'static str> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(CUT)?;
    Ok((*taken, rest))
}

fn text(bytes: &[u8], length: usize) -> Result<(&str, &[u8]), &'static str> {
    let (taken, rest) = part(bytes, length)?;
    let taken = std::str::from_utf8(taken).map_err(|_| "a name that is not UTF-8")?;
    Ok((taken, rest))
}
