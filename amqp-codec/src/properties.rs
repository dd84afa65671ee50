//! The fourteen properties of a message: a word of flags, then the fields whose flag is set (specification 4.2.6.1).
//!
//! They travel through the broker as raw bytes. [`Properties::parse`] reads them in one pass, borrowing; [`delivery_mode`]
//! and [`priority`] find the fields that publishing needs; [`with_headers`] exchanges the headers and leaves every other byte as
//! it came. A short string need not be UTF-8 for RabbitMQ. The three that the broker itself reads (reply-to,
//! expiration, user-id) must be here; any other reads as `None` then, and still travels unharmed in the raw form.

use crate::{Error, fields::Fields, header::BASIC_CLASS, validate_table};

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const KIND: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;

/// The properties of a message. Every field is optional and borrows from the raw bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Properties<'a> {
    /// MIME type of the body.
    pub content_type: Option<&'a str>,
    /// MIME encoding of the body.
    pub content_encoding: Option<&'a str>,
    /// The headers table's entries, without its four octets of length; [`crate::parse_table`] reads them.
    pub headers: Option<&'a [u8]>,
    /// 1 is transient, 2 is persistent.
    pub delivery_mode: Option<u8>,
    /// The message's priority; queues with `x-max-priority` order by it.
    pub priority: Option<u8>,
    /// For the application: which request a reply belongs to.
    pub correlation_id: Option<&'a str>,
    /// The queue that a reply should go to, or `amq.rabbitmq.reply-to`.
    pub reply_to: Option<&'a str>,
    /// How long the message may wait in a queue: milliseconds, in decimal digits.
    pub expiration: Option<&'a str>,
    /// For the application: the message's identity.
    pub message_id: Option<&'a str>,
    /// When it was made, in seconds since 1970.
    pub timestamp: Option<u64>,
    /// For the application: the message's type.
    pub kind: Option<&'a str>,
    /// Who published it; the broker checks it against the connection's user.
    pub user_id: Option<&'a str>,
    /// For the application: which one made it.
    pub app_id: Option<&'a str>,
    /// Deprecated by the specification.
    pub cluster_id: Option<&'a str>,
}

impl<'a> Properties<'a> {
    /// Reads raw properties (flags and fields). Empty bytes are no properties.
    ///
    /// # Errors
    /// [`Error::Syntax`] when they are malformed, [`Error::MalformedUtf8`] when a field that the broker reads is not
    /// UTF-8. The headers table is returned unchecked.
    pub fn parse(raw: &'a [u8]) -> Result<Self, Error> {
        if raw.is_empty() {
            return Ok(Self::default());
        }
        let mut fields = Reader::new(raw)?;
        let properties = Self {
            content_type: fields.text(CONTENT_TYPE)?,
            content_encoding: fields.text(CONTENT_ENCODING)?,
            headers: fields.table(HEADERS)?,
            delivery_mode: fields.octet(DELIVERY_MODE)?,
            priority: fields.octet(PRIORITY)?,
            correlation_id: fields.text(CORRELATION_ID)?,
            reply_to: fields.name(REPLY_TO)?,
            expiration: fields.name(EXPIRATION)?,
            message_id: fields.text(MESSAGE_ID)?,
            timestamp: fields.timestamp(TIMESTAMP)?,
            kind: fields.text(KIND)?,
            user_id: fields.name(USER_ID)?,
            app_id: fields.text(APP_ID)?,
            cluster_id: fields.text(CLUSTER_ID)?,
        };
        fields.finish()?;
        Ok(properties)
    }

    /// Appends flags and fields. Strings longer than 255 bytes are cut there.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.flags().to_be_bytes());
        put_text(out, self.content_type);
        put_text(out, self.content_encoding);
        if let Some(headers) = self.headers {
            put_table(out, headers);
        }
        out.extend(self.delivery_mode);
        out.extend(self.priority);
        put_text(out, self.correlation_id);
        put_text(out, self.reply_to);
        put_text(out, self.expiration);
        put_text(out, self.message_id);
        if let Some(timestamp) = self.timestamp {
            out.extend_from_slice(&timestamp.to_be_bytes());
        }
        put_text(out, self.kind);
        put_text(out, self.user_id);
        put_text(out, self.app_id);
        put_text(out, self.cluster_id);
    }

    fn flags(&self) -> u16 {
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        flag(self.content_type.is_some(), CONTENT_TYPE)
            | flag(self.content_encoding.is_some(), CONTENT_ENCODING)
            | flag(self.headers.is_some(), HEADERS)
            | flag(self.delivery_mode.is_some(), DELIVERY_MODE)
            | flag(self.priority.is_some(), PRIORITY)
            | flag(self.correlation_id.is_some(), CORRELATION_ID)
            | flag(self.reply_to.is_some(), REPLY_TO)
            | flag(self.expiration.is_some(), EXPIRATION)
            | flag(self.message_id.is_some(), MESSAGE_ID)
            | flag(self.timestamp.is_some(), TIMESTAMP)
            | flag(self.kind.is_some(), KIND)
            | flag(self.user_id.is_some(), USER_ID)
            | flag(self.app_id.is_some(), APP_ID)
            | flag(self.cluster_id.is_some(), CLUSTER_ID)
    }
}

/// The delivery mode in raw properties, without reading the rest; `None` when absent or malformed.
#[inline]
pub fn delivery_mode(raw: &[u8]) -> Option<u8> {
    let mut fields = Reader::new(raw).ok()?;
    if fields.flags & DELIVERY_MODE == 0 {
        return None;
    }
    fields.skip_to_headers().ok()?;
    fields.table(HEADERS).ok()?;
    fields.octet(DELIVERY_MODE).ok()?
}

/// The priority in raw properties, without reading the rest; `None` when absent or malformed.
#[inline]
pub fn priority(raw: &[u8]) -> Option<u8> {
    let mut fields = Reader::new(raw).ok()?;
    if fields.flags & PRIORITY == 0 {
        return None;
    }
    fields.skip_to_headers().ok()?;
    fields.table(HEADERS).ok()?;
    fields.octet(DELIVERY_MODE).ok()?;
    fields.octet(PRIORITY).ok()?
}

/// Whether raw properties hold none of the fields that routing or a queue looks at beside the delivery mode: headers
/// (CC, BCC, headers exchange), priority, reply-to, expiration, user-id. Then a publish needs no [`Properties::parse`].
#[inline]
pub fn is_plain(raw: &[u8]) -> bool {
    const LOOKED_AT: u16 = HEADERS | PRIORITY | REPLY_TO | EXPIRATION | USER_ID;
    Fields(raw)
        .short()
        .is_none_or(|flags| flags & LOOKED_AT == 0)
}

/// Appends the raw properties with their headers exchanged (`None` removes them) and every other byte as it was.
///
/// # Errors
/// [`Error::Syntax`] when `raw` is malformed; `out` is then unchanged.
pub fn with_headers(raw: &[u8], headers: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Error> {
    let raw = if raw.is_empty() { &[0, 0] } else { raw };
    let mut fields = Reader::new(raw)?;
    let flags = match headers {
        Some(_) => fields.flags | HEADERS,
        None => fields.flags & !HEADERS,
    };
    let strings = fields.rest.0;
    fields.skip_to_headers()?;
    let strings = strings.len() - fields.rest.0.len();
    fields.table(HEADERS)?;
    out.extend_from_slice(&flags.to_be_bytes());
    out.extend_from_slice(raw.get(2..2 + strings).unwrap_or_default());
    if let Some(headers) = headers {
        put_table(out, headers);
    }
    out.extend_from_slice(fields.rest.0);
    Ok(())
}

/// Checks the shape of raw properties: every flagged field is there, nothing follows, the headers are a sound table.
#[inline]
pub(crate) fn validate(raw: &[u8]) -> Result<(), Error> {
    // what most publishers send: no property, or the delivery mode alone
    if matches!(raw, [0, 0] | [0x10, 0, _]) {
        return Ok(());
    }
    validate_fields(raw).map_err(|error| error.of(BASIC_CLASS, 0))
}

fn validate_fields(raw: &[u8]) -> Result<(), Error> {
    let mut fields = Reader::new(raw)?;
    fields.skip_to_headers()?;
    if let Some(headers) = fields.table(HEADERS)? {
        validate_table(headers)?;
    }
    fields.octet(DELIVERY_MODE)?;
    fields.octet(PRIORITY)?;
    for flag in [CORRELATION_ID, REPLY_TO, EXPIRATION, MESSAGE_ID] {
        fields.string(flag)?;
    }
    fields.timestamp(TIMESTAMP)?;
    for flag in [KIND, USER_ID, APP_ID, CLUSTER_ID] {
        fields.string(flag)?;
    }
    fields.finish()
}

/// Takes the fields whose flags are set, in order.
struct Reader<'a> {
    flags: u16,
    rest: Fields<'a>,
}

impl<'a> Reader<'a> {
    #[inline]
    fn new(raw: &'a [u8]) -> Result<Self, Error> {
        let mut rest = Fields(raw);
        let flags = rest.short().ok_or_else(truncated)?;
        Ok(Self { flags, rest })
    }

    #[inline]
    fn take<T>(
        &mut self,
        flag: u16,
        take: impl FnOnce(&mut Fields<'a>) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        if self.flags & flag == 0 {
            return Ok(None);
        }
        take(&mut self.rest).map(Some).ok_or_else(truncated)
    }

    #[inline]
    fn string(&mut self, flag: u16) -> Result<Option<&'a [u8]>, Error> {
        self.take(flag, Fields::short_string)
    }

    /// A string for applications: bytes that are not UTF-8 read as none.
    #[inline]
    fn text(&mut self, flag: u16) -> Result<Option<&'a str>, Error> {
        let bytes = self.string(flag)?;
        Ok(bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()))
    }

    /// A string that the broker acts on: it must be UTF-8.
    #[inline]
    fn name(&mut self, flag: u16) -> Result<Option<&'a str>, Error> {
        let Some(bytes) = self.string(flag)? else {
            return Ok(None);
        };
        match std::str::from_utf8(bytes) {
            Ok(name) => Ok(Some(name)),
            Err(_) => Err(Error::MalformedUtf8 {
                class_id: BASIC_CLASS,
                method_id: 0,
            }),
        }
    }

    #[inline]
    fn table(&mut self, flag: u16) -> Result<Option<&'a [u8]>, Error> {
        self.take(flag, Fields::long_string)
    }

    #[inline]
    fn octet(&mut self, flag: u16) -> Result<Option<u8>, Error> {
        self.take(flag, Fields::octet)
    }

    #[inline]
    fn timestamp(&mut self, flag: u16) -> Result<Option<u64>, Error> {
        self.take(flag, Fields::long_long)
    }

    #[inline]
    fn skip_to_headers(&mut self) -> Result<(), Error> {
        self.string(CONTENT_TYPE)?;
        self.string(CONTENT_ENCODING)?;
        Ok(())
    }

    fn finish(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::syntax("bytes after the last message property"))
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: Option<&str>) {
    if let Some(text) = text {
        crate::encode::put_short_string(out, text.as_bytes());
    }
}

fn put_table(out: &mut Vec<u8>, entries: &[u8]) {
    let length = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(entries);
}

#[cold]
fn truncated() -> Error {
    Error::syntax("truncated message properties")
}
