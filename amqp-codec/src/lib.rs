//! AMQP 0-9-1 bytes to frames and back.
//!
//! The crate knows the wire and nothing else: no sockets, no state of a connection. A caller reads bytes into a buffer,
//! [`parse_frame`] yields frames that borrow from it, and [`parse_method`], [`parse_content_header`] and
//! [`Properties::parse`] look inside. [`encode`] appends frames to a buffer that the caller writes out. The methods that
//! travel once per message are sliced by hand and never allocate; all others go through the `amq-protocol` crate, after
//! a check that their bytes are harmless ([`layout`]). The grammar is section 4.2 of the AMQP 0-9-1 specification; where
//! RabbitMQ departs from it (field value types, tolerated frame sizes, reply texts), RabbitMQ is followed.

pub mod codec;
pub mod encode;
mod error;
mod exercise;
mod fields;
mod frame;
mod header;
pub mod layout;
mod method;
pub mod properties;
mod table;

/// URIs of brokers: `amqp://user:password@host:port/vhost`.
pub use amq_protocol::uri;
pub use amq_protocol::{
    protocol::{self, AMQPClass},
    types::{
        self, AMQPType, AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString,
        ShortString,
    },
};
pub use encode::PROTOCOL_HEADER;
pub use error::Error;
#[doc(hidden)]
pub use exercise::exercise;
pub use frame::{
    BodyStart, ENVELOPE, FRAME_END, Frame, FrameKind, ProtocolHeader, parse_body_start,
    parse_frame, parse_protocol_header,
};
pub use header::{BASIC_CLASS, ContentHeader, parse_content_header};
pub use method::{
    Ack, Deliver, GetOk, Method, Nack, Publish, Reject, parse_method, qos_prefetch_size,
};
pub use properties::{Properties, delivery_mode};
pub use table::{MAX_TABLE_DEPTH, encode_table, parse_table, validate_table};
