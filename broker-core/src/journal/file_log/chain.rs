//! What the groups of a log must say to follow each other.

use std::collections::BTreeSet;

use super::group::{Header, Kind};
use crate::journal::log::LogPosition;

/// Where a log goes on.
#[derive(Debug, Default)]
pub(super) struct End {
    /// All files that are there.
    pub numbers: BTreeSet<u64>,
    /// The first file that is needed.
    pub first: u64,
    /// Behind the last group.
    pub at: LogPosition,
    /// What the groups in front of it lead to.
    pub chain: Chain,
    /// Whether something behind it was given up.
    pub cut: bool,
}

/// What a group must say to continue those in front of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chain {
    /// The number of the log; unknown before the first group.
    pub log: Option<u64>,
    /// The sequence of the next group; unknown before the first.
    pub next: Option<u64>,
    /// The epoch of the last group: later ones have no lower one.
    pub epoch: u32,
    /// Groups so far in the file.
    pub index: u32,
    /// The last group was written by a close.
    pub closing: bool,
}

impl Chain {
    /// Whether it is the next one.
    pub(super) fn continues(&self, header: &Header, file: u64) -> bool {
        let gap = header.kind == Kind::Gap;
        let follows = |next| header.sequence == next || (gap && header.sequence > next);
        self.next.is_none_or(follows) && self.belongs(header, file)
    }

    /// Whether it comes later in the same log.
    pub(super) fn comes_later(&self, header: &Header, file: u64) -> bool {
        let sequence = self.next.is_none_or(|next| header.sequence > next);
        sequence && self.belongs(header, file)
    }

    /// Whether this log, as far as it is known, can hold it.
    pub(super) fn belongs(&self, header: &Header, file: u64) -> bool {
        let log = self.log.is_none_or(|log| header.log == log);
        log && header.file == file && header.epoch >= self.epoch
    }

    /// Notes that it is the last one now.
    pub(super) fn follow(&mut self, header: &Header) {
        self.log = Some(header.log);
        self.next = Some(header.sequence.saturating_add(1));
        self.epoch = header.epoch;
        self.index = header.index.saturating_add(1);
        self.closing = header.kind == Kind::Closing;
    }

    /// Lets `header` be the next one, whatever is missing in front of it.
    pub(super) fn go_on_at(&mut self, header: &Header) {
        self.log = Some(header.log);
        self.next = Some(header.sequence);
        self.epoch = header.epoch;
        self.index = header.index;
    }

    /// Whether a group of this log was begun where `header` is what is left of it.
    pub(super) fn was_begun(&self, header: &Header, magic: bool, file: u64) -> bool {
        let signs = [
            magic,
            header.file == file,
            self.log == Some(header.log),
            self.next == Some(header.sequence),
        ];
        signs.into_iter().filter(|sign| *sign).count() >= 2
    }

    /// The sequence of the group that is missing in file `end`, where the log ends, when `later` is there.
    pub(super) fn lost(&self, later: &Header, end: u64) -> u64 {
        let first = later.sequence.saturating_sub(later.index.into());
        let before = u64::from(later.file != end);
        self.next.unwrap_or(first.saturating_sub(before))
    }
}
