//! Reading the blocks of a segment one after another, also where some of them are damaged.

use std::path::Path;

use super::super::{
    block::{self, BlockHeader},
    file_system::File,
    trouble::Doing,
};
use crate::error::Error;

/// Bytes that are searched at once.
const PIECE: u64 = 256 * 1024;

/// A whole block, or what is wrong with it.
pub(super) type Block = Result<(BlockHeader, Vec<u8>), String>;

/// A part of a file that consists of blocks.
pub(super) struct Stretch<'a> {
    /// The file.
    pub(super) file: &'a dyn File,
    /// Where it is, for messages.
    pub(super) path: &'a Path,
    /// Where the part ends.
    pub(super) end: u64,
}

impl Stretch<'_> {
    /// The block at `offset`.
    pub(super) fn block(&self, offset: u64) -> Block {
        let mut start = [0; block::HEADER];
        self.read(&mut start, offset)?;
        let header = BlockHeader::parse(&start)?;
        if offset + u64::from(header.length) > self.end {
            return Err("a block that ends early".to_owned());
        }
        let mut bytes = vec![0; header.length as usize];
        self.read(&mut bytes, offset)?;
        let header = block::inspect(&bytes)?;
        Ok((header, bytes))
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), String> {
        if offset + buffer.len() as u64 > self.end {
            return Err("a block that ends early".to_owned());
        }
        let read = self.file.read_at(buffer, offset);
        read.map_err(|error| format!("it cannot be read: {error}"))
    }

    /// Gives every whole block from `offset` on to `each`, and where damage begins to `damaged`.
    ///
    /// # Errors
    /// What is behind some damage cannot be read.
    pub(super) fn walk(
        &self,
        mut offset: u64,
        each: &mut dyn FnMut(&BlockHeader, u64, &[u8]),
        damaged: &mut dyn FnMut(u64, String),
    ) -> Result<(), Error> {
        while offset < self.end {
            match self.block(offset) {
                Ok((header, bytes)) => {
                    each(&header, offset, &bytes);
                    offset += u64::from(header.length);
                }
                Err(what) => {
                    damaged(offset, what);
                    offset = self.behind(offset)?;
                }
            }
        }
        Ok(())
    }

    /// Where the next whole block stands behind the damaged one at `offset`.
    fn behind(&self, offset: u64) -> Result<u64, Error> {
        // The length is believed if it leads to another block: what looks like a block within a message is none.
        let mut start = [0; block::HEADER];
        if self.read(&mut start, offset).is_ok()
            && let Ok(header) = BlockHeader::parse(&start)
        {
            let next = offset + u64::from(header.length);
            if next == self.end || self.block(next).is_ok() {
                return Ok(next);
            }
        }
        self.search(offset + 1)
    }

    /// The first whole block from `offset`, or the end.
    fn search(&self, mut offset: u64) -> Result<u64, Error> {
        let header = block::HEADER as u64;
        let mut piece = Vec::new();
        while offset + header <= self.end {
            piece.resize((self.end - offset).min(PIECE) as usize, 0);
            let read = self.file.read_at(&mut piece, offset);
            read.doing("read", self.path)?;
            let starts = piece.windows(block::HEADER).zip(offset..);
            let mut starts = starts.filter(|(start, _)| BlockHeader::parse(start).is_ok());
            if let Some((_, at)) = starts.find(|(_, at)| self.block(*at).is_ok()) {
                return Ok(at);
            }
            offset += piece.len() as u64 - header + 1;
        }
        Ok(self.end)
    }
}
