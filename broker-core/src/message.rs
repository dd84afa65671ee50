//! A message as the broker keeps it: one allocation that any number of queues share.
//!
//! Exchange, routing key, raw properties and body are packed behind a small head, so a queued message costs one pointer per
//! queue and never pins the read buffer that it arrived in. Properties stay in their wire form and are parsed only by
//! those who need a field. The exchange's name is a copy and not a shared pointer: its count would be changed for every
//! message by publishers on one core and consumers on another.

mod gathering;
mod head;

use triomphe::ThinArc;

use self::head::Head;

pub use self::gathering::Gathering;

/// What the broker notes about a message beside its parts. Stores keep it with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u8);

impl Flags {
    /// The publisher asked for delivery mode 2.
    pub const PERSISTENT: Self = Self(1);
    /// The header `x-death` was written by a queue that the message has left. Without this it came from a client, and
    /// says nothing.
    pub const DEAD: Self = Self(2);
    /// The header `CC` is not followed any more: a dead-letter routing key took the place of all keys.
    pub const NO_COPIES: Self = Self(4);
    /// The header `BCC` stands among the properties, for dead letters to follow; no client may see it
    /// ([`Message::visible_properties`]).
    pub const HIDDEN_COPIES: Self = Self(8);

    /// All flags as one byte, for stores.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The flags of such a byte.
    pub fn from_bits(bits: u8) -> Self {
        let known = [
            Self::PERSISTENT,
            Self::DEAD,
            Self::NO_COPIES,
            Self::HIDDEN_COPIES,
        ];
        Self(bits & known.iter().fold(0, |all, flag| all | flag.0))
    }

    /// Whether all of `flags` are set.
    pub fn contain(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These flags and `flags`, if `condition` holds.
    #[must_use]
    pub fn and_if(self, condition: bool, flags: Self) -> Self {
        match condition {
            true => Self(self.0 | flags.0),
            false => self,
        }
    }
}

/// How the bytes of a packed message are divided, and what is noted beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    /// Bytes of the exchange's name, which comes first.
    pub exchange: u8,
    /// Bytes of the routing key, which follows.
    pub routing_key: u8,
    /// Bytes of the raw properties, which follow; the rest is the body.
    pub properties: u32,
    /// What the broker notes.
    pub flags: Flags,
}

/// The property flag of `expiration` in the first byte of the flags (AMQP 0-9-1, 4.2.6.1).
const EXPIRATION: u8 = 0x01;

impl Layout {
    /// Whether a message of `length` bytes can be divided like this.
    pub fn fits(&self, length: usize) -> bool {
        self.properties_end() <= length
    }

    /// Bytes of the body of a message of `length` bytes.
    pub fn body(&self, length: usize) -> usize {
        length.saturating_sub(self.properties_end())
    }

    /// Whether the packed message has an expiration of its own.
    pub fn may_expire(&self, packed: &[u8]) -> bool {
        self.properties >= 2
            && packed
                .get(self.names_end())
                .is_some_and(|high| high & EXPIRATION != 0)
    }

    #[inline]
    fn names_end(&self) -> usize {
        self.exchange as usize + self.routing_key as usize
    }

    #[inline]
    fn properties_end(&self) -> usize {
        self.names_end() + self.properties as usize
    }
}

/// A published message: immutable, shared by reference count, eight bytes wide.
#[derive(Debug, Clone)]
pub struct Message(ThinArc<(), u8>);

impl Message {
    /// Packs a message.
    ///
    /// `exchange` and `routing_key` are short strings of at most 255 bytes (AMQP 0-9-1, 4.2.5.3), longer ones are cut;
    /// `properties` are the raw property flags and fields of the content header.
    pub fn new(
        exchange: &str,
        routing_key: &str,
        properties: &[u8],
        body: &[u8],
        persistent: bool,
    ) -> Self {
        let flags = Flags::default().and_if(persistent, Flags::PERSISTENT);
        Self::with_flags(exchange, routing_key, properties, body, flags)
    }

    /// Packs a message about which more is known than what a publisher says.
    pub fn with_flags(
        exchange: &str,
        routing_key: &str,
        properties: &[u8],
        body: &[u8],
        flags: Flags,
    ) -> Self {
        let room = (body.len(), body.len());
        let mut whole = Gathering::with_room(exchange, routing_key, properties, room, flags);
        whole.push(body);
        whole.finish()
    }

    /// Takes a message that [`Self::packed`] gave, `None` if the lengths do not fit.
    pub fn from_packed(layout: Layout, packed: &[u8]) -> Option<Self> {
        if !layout.fits(packed.len()) {
            return None;
        }
        let mut whole = Gathering::divided(&layout, packed.len(), packed.len());
        whole.push(packed);
        Some(whole.finish())
    }

    /// Exchange, routing key, properties and body, one behind the other.
    pub fn packed(&self) -> &[u8] {
        let (_, packed) = self.divided();
        packed
    }

    /// How [`Self::packed`] is divided.
    pub fn layout(&self) -> Layout {
        let (layout, _) = self.divided();
        layout
    }

    /// Tells apart messages that are alive at the same time.
    pub fn address(&self) -> usize {
        self.0.slice.as_ptr() as usize
    }

    /// The exchange it was published to (empty for the default exchange).
    pub fn exchange(&self) -> &str {
        std::str::from_utf8(self.exchange_bytes()).unwrap_or_default()
    }

    /// The same as bytes, for encoders that need no second UTF-8 check.
    #[inline]
    pub fn exchange_bytes(&self) -> &[u8] {
        let (layout, packed) = self.divided();
        part(packed, 0, layout.exchange as usize)
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> &str {
        std::str::from_utf8(self.routing_key_bytes()).unwrap_or_default()
    }

    /// The same as bytes, for encoders that need no second UTF-8 check.
    #[inline]
    pub fn routing_key_bytes(&self) -> &[u8] {
        let (layout, packed) = self.divided();
        part(packed, layout.exchange as usize, layout.names_end())
    }

    /// The content header's property flags and fields, as they came. A client is shown
    /// [`Self::visible_properties`].
    #[inline]
    pub fn properties(&self) -> &[u8] {
        let (layout, packed) = self.divided();
        part(packed, layout.names_end(), layout.properties_end())
    }

    /// Whether it has an expiration of its own: the bit in the property flags (AMQP 0-9-1, 4.2.6.1 and class `basic`).
    #[inline]
    pub fn may_expire(&self) -> bool {
        let (layout, packed) = self.divided();
        layout.may_expire(packed)
    }

    /// The content.
    #[inline]
    pub fn body(&self) -> &[u8] {
        let (layout, packed) = self.divided();
        part(packed, layout.properties_end(), packed.len())
    }

    /// Bytes of the content: what is asked most often, without a look at it.
    #[inline]
    pub fn body_length(&self) -> usize {
        let (layout, packed) = self.divided();
        layout.body(packed.len())
    }

    /// Whether the publisher asked for delivery mode 2.
    #[inline]
    pub fn persistent(&self) -> bool {
        self.flags().contain(Flags::PERSISTENT)
    }

    /// What the broker notes about it.
    #[inline]
    pub fn flags(&self) -> Flags {
        Head::flags(&self.0.slice)
    }

    /// Bytes of names, properties and body: what the message weighs in queues and outboxes.
    #[inline]
    pub fn size(&self) -> usize {
        self.packed().len()
    }

    #[inline]
    fn divided(&self) -> (Layout, &[u8]) {
        Head::read(&self.0.slice)
    }
}

#[inline]
fn part(packed: &[u8], from: usize, to: usize) -> &[u8] {
    packed.get(from..to).unwrap_or_default()
}

fn short(text: &str) -> &[u8] {
    let bytes = text.as_bytes();
    bytes.get(..255).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_gives_back_the_parts_it_was_packed_from() {
        let message = Message::new("logs", "a.b", &[0, 0], b"body", true);
        assert_eq!(message.exchange(), "logs");
        assert_eq!(message.routing_key(), "a.b");
        assert_eq!(message.properties(), [0, 0]);
        assert_eq!(message.body(), b"body");
        assert_eq!(message.body_length(), 4);
        assert!(message.persistent());
    }

    #[test]
    fn flags_come_back_from_their_byte_and_unknown_ones_are_left_out() {
        let flags = Flags::PERSISTENT.and_if(true, Flags::NO_COPIES);
        let message = Message::with_flags("", "", &[0, 0], b"", flags);
        assert_eq!(Flags::from_bits(message.flags().bits() | 0x80), flags);
        assert!(!flags.contain(Flags::DEAD));
    }

    #[test]
    fn message_handle_is_eight_bytes_wide() {
        assert_eq!(size_of::<Message>(), 8);
    }

    #[test]
    fn message_costs_20_bytes_beside_its_content() {
        // Its reference count and its length are a word each, the head is the rest.
        let message = Message::new("", "key", &[0, 0], b"body", false);
        assert_eq!(message.0.slice.len() - message.size(), 4);
        let fixed = size_of::<triomphe::HeaderSlice<triomphe::HeaderWithLength<()>, [u8; 0]>>();
        assert_eq!(size_of::<usize>() + fixed, 16);
    }

    #[test]
    fn long_properties_come_back_whole() {
        for length in [254, 255, 256, 100_000] {
            let properties = vec![7; length];
            let message = Message::new("logs", "a.b", &properties, b"body", false);
            assert_eq!(message.properties(), properties);
            assert_eq!(message.body(), b"body");
            assert_eq!(message.size(), length + 11);
            let again = Message::from_packed(message.layout(), message.packed()).unwrap();
            assert_eq!(again.layout(), message.layout());
            assert_eq!(again.packed(), message.packed());
        }
    }
}
