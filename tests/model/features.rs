//! What queues of the model may be declared with. Limits are so low that a few messages reach them.

/// What a queue does beyond keeping messages in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `x-max-length`.
    pub max_length: Option<usize>,
    /// `x-max-length-bytes`. Bodies are numbers in decimal digits.
    pub max_bytes: Option<usize>,
    /// `x-overflow`, if it is not `drop-head`.
    pub overflow: Option<&'static str>,
    /// `x-message-ttl` in milliseconds: nothing or an hour.
    pub ttl: Option<u64>,
    /// `x-max-priority`.
    pub max_priority: Option<u8>,
    /// `x-delivery-limit`.
    pub delivery_limit: Option<u32>,
    /// Dead letters go to the next queue, by way of the default exchange.
    pub dead_letters: bool,
}

const PLAIN: Features = Features {
    max_length: None,
    max_bytes: None,
    overflow: None,
    ttl: None,
    max_priority: None,
    delivery_limit: None,
    dead_letters: false,
};

const DEAD_LETTERS: Features = Features {
    dead_letters: true,
    ..PLAIN
};

/// The queues that are declared. The first is the most frequent one.
pub const FEATURES: [Features; 12] = [
    PLAIN,
    DEAD_LETTERS,
    Features {
        max_length: Some(2),
        ..DEAD_LETTERS
    },
    Features {
        max_length: Some(2),
        max_bytes: Some(3),
        ..DEAD_LETTERS
    },
    Features {
        max_bytes: Some(2),
        ..PLAIN
    },
    Features {
        max_length: Some(2),
        overflow: Some("reject-publish"),
        ..DEAD_LETTERS
    },
    Features {
        max_length: Some(1),
        overflow: Some("reject-publish-dlx"),
        ..DEAD_LETTERS
    },
    Features {
        ttl: Some(0),
        ..DEAD_LETTERS
    },
    Features {
        ttl: Some(3_600_000),
        ..PLAIN
    },
    Features {
        max_priority: Some(3),
        ..DEAD_LETTERS
    },
    Features {
        max_priority: Some(2),
        max_length: Some(3),
        delivery_limit: Some(0),
        ..DEAD_LETTERS
    },
    Features {
        delivery_limit: Some(1),
        ..DEAD_LETTERS
    },
];
