//! What a group looks like in a file: a header of 56 bytes, the items, and zeros up to the next multiple of 8.
//!
//! All numbers are little-endian. The header has a checksum of its own, so that a group is recognised, and skipped,
//! though its items are damaged. Files are used again without being cleared, so that a header counts only if it names
//! the file it stands in; it counts only if it names the log too, by a number that nobody outside can guess, so that
//! no message body is ever taken for a group.

/// Bytes of a header.
pub(in crate::journal) const HEADER: usize = 56;

/// Groups begin at multiples of this many bytes.
pub(in crate::journal) const ALIGNMENT: usize = 8;

/// How a header begins: `LVL` and the version of the format.
pub(in crate::journal) const MAGIC: [u8; 4] = *b"LVL\x01";

/// No log gets as far as this: a group every nanosecond would take centuries.
const LAST_SEQUENCE: u64 = u64::MAX / 2;

/// What a group is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::journal) enum Kind {
    /// Its items are those of batches.
    #[default]
    Items = 0,
    /// An orderly close wrote it last. It has no items.
    Closing = 1,
    /// A repair put it where groups were lost, so that the next one follows; or a start, behind the group of a close. Its
    /// items mean nothing.
    Gap = 2,
}

impl Kind {
    fn from_number(number: u32) -> Option<Self> {
        [Self::Items, Self::Closing, Self::Gap]
            .into_iter()
            .find(|kind| *kind as u32 == number)
    }
}

/// What stands in front of a group's items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::journal) struct Header {
    /// CRC-32C of the items.
    pub items_crc: u32,
    /// Bytes of the items.
    pub length: u32,
    /// The start of the broker that wrote it.
    pub epoch: u32,
    /// What it is for.
    pub kind: Kind,
    /// Groups in front of it in its file.
    pub index: u32,
    /// Groups in front of it that were not known to be synced when it was written.
    pub unsynced: u32,
    /// Its number, one more than that of the group before it, across files. That of a gap may be more.
    pub sequence: u64,
    /// The number of the file.
    pub file: u64,
    /// The number of the log, chosen at random.
    pub log: u64,
}

impl Header {
    /// As it stands in the file.
    pub(in crate::journal) fn encode(&self) -> [u8; HEADER] {
        let words = [
            self.items_crc,
            self.length,
            self.epoch,
            self.kind as u32,
            self.index,
            self.unsynced,
        ];
        let numbers = [self.sequence, self.file, self.log];
        let rest = words.iter().flat_map(|word| word.to_le_bytes());
        let rest = rest.chain(numbers.iter().flat_map(|number| number.to_le_bytes()));
        let mut bytes = [0; HEADER];
        let (magic, tail) = bytes.split_at_mut(MAGIC.len());
        magic.copy_from_slice(&MAGIC);
        let (crc, tail) = tail.split_at_mut(size_of::<u32>());
        for (place, byte) in tail.iter_mut().zip(rest) {
            *place = byte;
        }
        crc.copy_from_slice(&crc32c::crc32c(tail).to_le_bytes());
        bytes
    }

    /// Reads one from the start of `bytes`, if a whole one stands there.
    pub(in crate::journal) fn decode(bytes: &[u8]) -> Option<Self> {
        if !bytes.starts_with(&MAGIC) {
            return None;
        }
        let header = Self::guess(bytes)?;
        let whole = bytes.starts_with(&header.encode());
        (whole && header.sequence <= LAST_SEQUENCE).then_some(header)
    }

    /// Reads what stands there without asking whether it is whole: to tell what was once begun from what never was.
    pub(in crate::journal) fn guess(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.first_chunk()?;
        let mut rest = bytes.get(MAGIC.len() + size_of::<u32>()..)?;
        Some(Self {
            items_crc: word(&mut rest)?,
            length: word(&mut rest)?,
            epoch: word(&mut rest)?,
            kind: Kind::from_number(word(&mut rest)?).unwrap_or_default(),
            index: word(&mut rest)?,
            unsynced: word(&mut rest)?,
            sequence: number(&mut rest)?,
            file: number(&mut rest)?,
            log: number(&mut rest)?,
        })
    }

    /// Bytes of the whole group in the file.
    pub(in crate::journal) fn size(&self) -> u64 {
        size(self.length as usize)
    }

    /// The last group that was known to be synced when this one was written.
    pub(in crate::journal) fn synced(&self) -> u64 {
        let before = self.sequence.saturating_sub(1);
        before.saturating_sub(self.unsynced.into())
    }
}

/// Bytes in the file of a group with `length` bytes of items.
pub(in crate::journal) fn size(length: usize) -> u64 {
    (HEADER + length).next_multiple_of(ALIGNMENT) as u64
}

fn word(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(u32::from_le_bytes(*bytes))
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            items_crc: 0x0102_0304,
            length: 13,
            epoch: 5,
            kind: Kind::Closing,
            index: 6,
            unsynced: 2,
            sequence: 70,
            file: 8,
            log: u64::MAX - 9,
        }
    }

    #[test]
    fn header_reads_back() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Some(header()));
        assert_eq!(Header::guess(&bytes), Some(header()));
        assert_eq!(Header::decode(&bytes[..HEADER - 1]), None);
    }

    #[test]
    fn header_with_any_bit_changed_is_none() {
        for bit in 0..HEADER * 8 {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes), None, "bit {bit}");
        }
    }

    #[test]
    fn groups_are_aligned() {
        assert_eq!(size(0), 56);
        assert_eq!(size(1), 64);
        assert_eq!(header().size(), 72);
    }

    #[test]
    fn header_tells_what_was_synced_before_it() {
        assert_eq!(header().synced(), 67);
    }
}
