//! Makes a damaged log whole again, without what was lost.
//!
//! Where groups are missing a [gap](Kind::Gap) is put that says which: one header, written over the first bytes of what
//! was damaged. What follows is a part of the log again. Nothing else is changed.

use std::collections::BTreeSet;

use super::{
    chain::Chain,
    files::Files,
    group::{HEADER, Header, Kind},
    replay::Walk,
};
use crate::{
    error::Error,
    journal::log::{Damage, LogPosition},
};

/// Puts gaps where groups are missing, in the files from `from`, and says where that was.
pub(super) fn repair(files: &Files, from: u64) -> Result<Vec<Damage>, Error> {
    let first = from.max(1);
    let mut found: Vec<Damage> = Vec::new();
    loop {
        let numbers = files.numbers()?;
        if numbers.is_empty() && first == 1 {
            return Ok(found);
        }
        let Some(patch) = Patch::find(files, &numbers, first)? else {
            return Ok(found);
        };
        let damage = patch.apply()?;
        if found.last().is_some_and(|last| last.at >= damage.at) {
            return Err(patch.hopeless());
        }
        found.push(damage);
    }
}

/// What is to be bridged.
struct Patch<'a> {
    files: &'a Files,
    numbers: &'a BTreeSet<u64>,
    chain: Chain,
    /// Where the log ends too early.
    lost: LogPosition,
}

impl<'a> Patch<'a> {
    fn find(
        files: &'a Files,
        numbers: &'a BTreeSet<u64>,
        first: u64,
    ) -> Result<Option<Self>, Error> {
        let mut walk = Walk::new(files, numbers);
        let mut lost = LogPosition {
            file: first,
            offset: 0,
        };
        if numbers.contains(&first) {
            let (mut reader, at) = walk.walk(lost, &mut |_, _| Ok(()))?;
            let ending = walk.look_behind(&mut reader, at)?;
            if !ending.damaged {
                return Ok(None);
            }
            lost = ending.lost;
        }
        Ok(Some(Self {
            files,
            numbers,
            chain: walk.chain,
            lost,
        }))
    }

    /// Puts gaps up to the next group that is there.
    fn apply(&self) -> Result<Damage, Error> {
        let LogPosition { file, offset } = self.lost;
        let Some((place, later)) = self.next()? else {
            return self.begin_anew();
        };
        if later.file == file {
            let index = later.index.saturating_sub(1);
            let bytes = place - offset;
            self.put(
                self.lost,
                bytes,
                later.sequence.saturating_sub(1),
                index,
                &later,
            )?;
            return Ok(self.damage(self.lost, bytes));
        }
        // Nobody knows how the end of the last file that is there looked, but at least one group stood in each between.
        let here = later.file == file + 1 || self.chain.next.is_none();
        let first = if here { file } else { file + 1 };
        let before = later.sequence.saturating_sub(later.index.into());
        for missing in first..later.file {
            let sequence = before.saturating_sub(later.file - missing);
            self.put(self.start(missing), HEADER as u64, sequence, 0, &later)?;
        }
        Ok(self.damage(self.start(first), 0))
    }

    /// Where groups are missing in a file.
    fn start(&self, file: u64) -> LogPosition {
        let here = file == self.lost.file;
        let offset = if here { self.lost.offset } else { 0 };
        LogPosition { file, offset }
    }

    /// The first group behind the damage, and where it is in its file.
    fn next(&self) -> Result<Option<(u64, Header)>, Error> {
        let mut walk = Walk::new(self.files, self.numbers);
        walk.chain = self.chain;
        let next = walk.next_behind(self.lost)?;
        Ok(next.map(|(at, header)| (at.offset, header)))
    }

    /// Writes a gap over `bytes` bytes.
    fn put(
        &self,
        at: LogPosition,
        bytes: u64,
        sequence: u64,
        index: u32,
        later: &Header,
    ) -> Result<(), Error> {
        let failed = |error| self.files.failed("repair", at.file, &error);
        let file = self.files.open_or_create(at.file).map_err(failed)?;
        let mut items = vec![0; (bytes as usize).saturating_sub(HEADER)];
        file.read_at(&mut items, at.offset + HEADER as u64)
            .map_err(failed)?;
        let length = u32::try_from(items.len()).map_err(|_| self.hopeless())?;
        let header = Header {
            items_crc: crc32c::crc32c(&items),
            length,
            epoch: self.chain.epoch,
            kind: Kind::Gap,
            index,
            unsynced: 0,
            sequence,
            file: at.file,
            log: later.log,
        };
        file.write_at(&[&header.encode()], at.offset)
            .and_then(|()| file.sync())
            .map_err(failed)
    }

    /// Nothing is left behind the damage: the log begins anew.
    fn begin_anew(&self) -> Result<Damage, Error> {
        let file = self.lost.file;
        let created = self.files.open_or_create(file);
        created.map_err(|error| self.files.failed("repair", file, &error))?;
        Ok(self.damage(self.lost, 0))
    }

    fn damage(&self, at: LogPosition, bytes: u64) -> Damage {
        Damage {
            at,
            bytes,
            missing: !self.numbers.contains(&at.file),
        }
    }

    fn hopeless(&self) -> Error {
        let path = self.files.path(self.lost.file);
        Error::Internal(format!(
            "{} cannot be repaired at byte {}",
            path.display(),
            self.lost.offset
        ))
    }
}
