//! The content header frame: class, size of the body, and the properties of a message (specification 4.2.6.1).

use crate::{Error, fields::Fields, frame::FrameKind, properties};

/// The only class whose methods carry content.
pub const BASIC_CLASS: u16 = 60;

/// A content header, borrowed from its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method that the content belongs to.
    pub class_id: u16,
    /// Bytes of body that follow.
    pub body_size: u64,
    /// Property flags and fields as they came, checked for shape when the class is basic.
    pub properties: &'a [u8],
}

/// Reads the payload of a header frame.
///
/// # Errors
/// [`Error::UnknownType`] when it is too short to be one, [`Error::Weight`] when the reserved weight is not 0,
/// [`Error::Syntax`] when the properties of class basic are malformed.
#[inline]
pub fn parse_content_header(payload: &[u8]) -> Result<ContentHeader<'_>, Error> {
    let mut fields = Fields(payload);
    let (Some(class_id), Some(weight), Some(body_size)) =
        (fields.short(), fields.short(), fields.long_long())
    else {
        return Err(Error::unknown_type(FrameKind::Header as u8, payload));
    };
    if weight != 0 {
        return Err(Error::Weight { class_id });
    }
    if class_id == BASIC_CLASS {
        properties::validate(fields.0)?;
    }
    Ok(ContentHeader {
        class_id,
        body_size,
        properties: fields.0,
    })
}
