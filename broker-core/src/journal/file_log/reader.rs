//! Reads one file of a log from front to back, in large pieces into a buffer that goes from file to file.

use std::{io, sync::Arc};

use super::group::{ALIGNMENT, HEADER, Header, MAGIC};
use crate::journal::file_system::File;

/// Bytes that are read at once, unless a group is larger.
const PIECE: u64 = 4 * 1024 * 1024;

/// Bytes that are read at once from the start of a file: often just a look at whether it is used.
const FIRST_PIECE: u64 = 64 * 1024;

/// A file that is being read.
pub(super) struct Reader {
    file: Arc<dyn File>,
    length: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer's contents begin, and how many bytes of it are contents.
    start: u64,
    filled: usize,
}

impl Reader {
    /// Reads `file` through `buffer`, whose contents do not matter.
    pub(super) fn new(file: Arc<dyn File>, buffer: Vec<u8>) -> io::Result<Self> {
        Ok(Self {
            length: file.length()?,
            file,
            buffer,
            start: 0,
            filled: 0,
        })
    }

    /// Takes the buffer away, for the next file. Reading on gets a new one.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        self.filled = 0;
        std::mem::take(&mut self.buffer)
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// `count` bytes from `offset`; nothing if the file ends before.
    pub(super) fn bytes(&mut self, offset: u64, count: u64) -> io::Result<Option<&[u8]>> {
        let left = self.length.saturating_sub(offset);
        if count > left {
            return Ok(None);
        }
        if offset < self.start || offset + count > self.held() {
            let piece = if offset == 0 { FIRST_PIECE } else { PIECE };
            self.load(offset, count.max(piece).min(left))?;
        }
        let from = (offset - self.start) as usize;
        Ok(self.buffer.get(from..from + count as usize))
    }

    /// Where the buffer's contents end in the file.
    fn held(&self) -> u64 {
        self.start + self.filled as u64
    }

    fn load(&mut self, offset: u64, count: u64) -> io::Result<()> {
        let count = count as usize;
        self.filled = 0;
        if self.buffer.len() < count {
            self.buffer.resize(count, 0);
        }
        if let Some(place) = self.buffer.get_mut(..count) {
            self.file.read_at(place, offset)?;
        }
        (self.start, self.filled) = (offset, count);
        Ok(())
    }

    /// The header at `offset`, if a whole one stands there.
    pub(super) fn header(&mut self, offset: u64) -> io::Result<Option<Header>> {
        let bytes = self.bytes(offset, HEADER as u64)?;
        Ok(bytes.and_then(Header::decode))
    }

    /// What stands at `offset`, whole or not, and whether it begins as a group does.
    pub(super) fn guess(&mut self, offset: u64) -> io::Result<Option<(Header, bool)>> {
        let bytes = self.bytes(offset, HEADER as u64)?;
        Ok(bytes.and_then(|bytes| Some((Header::guess(bytes)?, bytes.starts_with(&MAGIC)))))
    }

    /// The items behind `header`, which stands at `offset`, if they are whole.
    pub(super) fn items(&mut self, offset: u64, header: &Header) -> io::Result<Option<&[u8]>> {
        let bytes = self.bytes(offset, HEADER as u64 + u64::from(header.length))?;
        let items = bytes.and_then(|bytes| bytes.get(HEADER..));
        Ok(items.filter(|items| crc32c::crc32c(items) == header.items_crc))
    }

    /// The first whole header from `offset`, and where it is.
    pub(super) fn search(&mut self, offset: u64) -> io::Result<Option<(u64, Header)>> {
        let mut offset = offset.next_multiple_of(ALIGNMENT as u64);
        while let Some(found) = self.search_magic(offset)? {
            if let Some(header) = self.header(found)? {
                return Ok(Some((found, header)));
            }
            offset = found + ALIGNMENT as u64;
        }
        Ok(None)
    }

    /// The first place from `offset` that begins as a header does and has room for one.
    fn search_magic(&mut self, mut offset: u64) -> io::Result<Option<u64>> {
        loop {
            let left = self.length.saturating_sub(offset);
            if left < HEADER as u64 {
                return Ok(None);
            }
            let held = self.held().saturating_sub(offset);
            let count = if offset >= self.start && held >= HEADER as u64 {
                held
            } else {
                left.min(PIECE)
            };
            let Some(bytes) = self.bytes(offset, count)? else {
                return Ok(None);
            };
            let mut places = bytes.chunks_exact(ALIGNMENT);
            if let Some(place) = places.position(|place| place.starts_with(&MAGIC)) {
                return Ok(Some(offset + (place * ALIGNMENT) as u64));
            }
            if count < HEADER as u64 || count == left {
                return Ok(None);
            }
            offset += count - count % ALIGNMENT as u64;
        }
    }
}
