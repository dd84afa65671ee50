//! A cursor over the fields of a method or header: takes what is there, and says `None` when there is not enough.

/// The bytes that are still to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    #[inline]
    pub fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    #[inline]
    pub fn octet(&mut self) -> Option<u8> {
        let (&octet, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(octet)
    }

    #[inline]
    pub fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub fn long(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub fn long_long(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A short string: one octet of length, then that many bytes of any kind.
    #[inline]
    pub fn short_string(&mut self) -> Option<&'a [u8]> {
        let length = self.octet()?;
        self.bytes(usize::from(length))
    }

    /// A long string, a table or an array: four octets of length, then that many bytes.
    #[inline]
    pub fn long_string(&mut self) -> Option<&'a [u8]> {
        let length = self.long()?;
        self.bytes(usize::try_from(length).ok()?)
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
