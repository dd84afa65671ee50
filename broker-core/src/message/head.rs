//! The bytes in front of a packed message: how what follows is divided.
//!
//! length of exchange u8 | length of routing key u8 | flags u8 | length of properties u8, or 255 and then as u32 little-endian
//!
//! Four bytes here, and not a header of the allocation that has to be aligned: together with the count and the length that are
//! 20 bytes beside the content. 4 bytes more made a message of 100 bytes take the allocator's next size, 160 bytes for 128
//! (`docs/performance.md`).

use super::{Flags, Layout};

/// Bytes of a head whose properties are short.
const SHORT: usize = 4;

/// The length of properties that says that the real one follows.
const LONG: u8 = u8::MAX;

/// Bytes of a head whose properties are long.
const WITH_LENGTH: usize = SHORT + size_of::<u32>();

/// A head as it is written.
pub(super) struct Head {
    bytes: [u8; WITH_LENGTH],
    length: usize,
}

impl Head {
    /// The head of a message that is divided like this.
    #[inline]
    pub(super) fn new(layout: &Layout) -> Self {
        let [a, b, c, d] = layout.properties.to_le_bytes();
        let (short, length) = match layout.properties < u32::from(LONG) {
            true => (a, SHORT),
            false => (LONG, WITH_LENGTH),
        };
        let (exchange, routing_key) = (layout.exchange, layout.routing_key);
        let bytes = [
            exchange,
            routing_key,
            layout.flags.bits(),
            short,
            a,
            b,
            c,
            d,
        ];
        Self { bytes, length }
    }

    /// What stands in front of the message.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// How a message is divided, and what stands behind the head.
    #[inline]
    pub(super) fn read(whole: &[u8]) -> (Layout, &[u8]) {
        let (exchange, routing_key, flags, properties, packed) = match whole {
            [exchange, key, flags, LONG, a, b, c, d, packed @ ..] => {
                let properties = u32::from_le_bytes([*a, *b, *c, *d]);
                (exchange, key, flags, properties, packed)
            }
            [exchange, key, flags, short, packed @ ..] => {
                (exchange, key, flags, u32::from(*short), packed)
            }
            _ => return (Layout::default(), &[]),
        };
        let layout = Layout {
            exchange: *exchange,
            routing_key: *routing_key,
            properties,
            flags: Flags(*flags),
        };
        (layout, packed)
    }

    /// The flags alone.
    #[inline]
    pub(super) fn flags(whole: &[u8]) -> Flags {
        match whole {
            [_, _, flags, ..] => Flags(*flags),
            _ => Flags::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_gives_back_the_layout_it_was_made_of() {
        for properties in [0, 2, 254, 255, 256, 65_536, u32::MAX] {
            let layout = Layout {
                exchange: 255,
                routing_key: 7,
                properties,
                flags: Flags::DEAD,
            };
            let head = Head::new(&layout);
            let whole = [head.bytes(), b"key"].concat();
            assert_eq!(Head::read(&whole), (layout, b"key".as_slice()));
            assert_eq!(Head::flags(head.bytes()), Flags::DEAD);
            let expected = if properties < 255 { 4 } else { 8 };
            assert_eq!(head.bytes().len(), expected, "{properties}");
        }
    }
}
