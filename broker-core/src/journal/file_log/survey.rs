//! Reads all files of a log and names every damage, not just the first: for those who look at a log and change nothing.
//!
//! Where groups are missing it goes on behind them, as [`repair`](super::repair) would. Besides the log itself there may be
//! files in front of it that were not given back yet, and behind its end lies what earlier uses of the files left. Nobody
//! reads either of them again, so damage there costs nothing; but it says something about the disk.

use std::{collections::BTreeSet, io};

use super::{files::Files, reader::Reader, replay::Walk};
use crate::{
    error::Error,
    journal::log::{Damage, EachGroup, LogPosition, Replayed},
};

/// What all files of a log hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// What replaying gives if it leaves out what is damaged.
    pub replayed: Replayed,
    /// Where groups are missing.
    pub damage: Vec<Damage>,
    /// The same in what is not needed any more.
    pub garbage: Vec<Damage>,
}

/// Reads the log from file `from` on, whose groups go to `each`, and everything around it.
pub(super) fn survey(files: &Files, from: u64, each: &mut EachGroup<'_>) -> Result<Survey, Error> {
    let numbers = files.numbers()?;
    let first = from.max(1);
    let mut survey = Survey {
        garbage: unneeded(files, &numbers, first)?,
        ..Survey::default()
    };
    if numbers.is_empty() && first == 1 {
        survey.replayed.clean = true;
        return Ok(survey);
    }
    let mut walk = Walk::new(files, &numbers);
    let end = go_through(&mut walk, first, &mut survey.damage, each)?;
    survey.replayed = walk.replayed;
    survey.replayed.clean = walk.chain.closing && survey.damage.is_empty();
    if let Some((end, cut)) = end {
        survey.replayed.cut = cut;
        survey.replayed.clean &= cut.is_none();
        let behind = remains(files, &numbers, end, cut.is_some())?;
        survey.garbage.extend(behind);
    }
    Ok(survey)
}

/// Where a log ends, and what is cut off there. Nothing where all that follows some damage is lost.
type Ended = Option<(LogPosition, Option<crate::journal::log::Cut>)>;

/// Walks from the start of file `first` to the end of the log, over everything that is missing.
fn go_through(
    walk: &mut Walk<'_>,
    first: u64,
    damage: &mut Vec<Damage>,
    each: &mut EachGroup<'_>,
) -> Result<Ended, Error> {
    let mut from = LogPosition {
        file: first,
        offset: 0,
    };
    loop {
        let mut lost = from;
        if walk.numbers.contains(&from.file) {
            let (mut reader, at) = walk.walk(from, each)?;
            let ending = walk.look_behind(&mut reader, at)?;
            if !ending.damaged {
                return Ok(Some((at, walk.cut(&ending))));
            }
            lost = ending.lost;
        }
        let Some((next, header)) = walk.next_behind(lost)? else {
            damage.push(found(walk, lost, 0));
            return Ok(None);
        };
        damage.push(gap(walk, lost, next));
        if next.file != lost.file && next.offset > 0 {
            let start = LogPosition { offset: 0, ..next };
            damage.push(found(walk, start, next.offset));
        }
        walk.chain.go_on_at(&header);
        from = next;
    }
}

/// What is missing between two places.
fn gap(walk: &Walk<'_>, lost: LogPosition, next: LogPosition) -> Damage {
    if next.file == lost.file {
        return found(walk, lost, next.offset - lost.offset);
    }
    // Of a file that ends too early nothing may be missing but the next file.
    let here = next.file == lost.file + 1 || walk.chain.next.is_none();
    let start = LogPosition {
        file: lost.file + 1,
        offset: 0,
    };
    found(walk, if here { lost } else { start }, 0)
}

fn found(walk: &Walk<'_>, at: LogPosition, bytes: u64) -> Damage {
    let missing = !walk.numbers.contains(&at.file);
    Damage { at, bytes, missing }
}

/// Damage in the files in front of the log. That some are gone is as it should be.
fn unneeded(files: &Files, numbers: &BTreeSet<u64>, first: u64) -> Result<Vec<Damage>, Error> {
    let Some(lowest) = numbers.range(..first).next().copied() else {
        return Ok(Vec::new());
    };
    // The log's first file tells how the one before it ended.
    let old: BTreeSet<u64> = numbers.range(..=first).copied().collect();
    let mut walk = Walk::new(files, &old);
    let mut damage = Vec::new();
    go_through(&mut walk, lowest, &mut damage, &mut |_, _| Ok(()))?;
    damage.retain(|damage| damage.at.file < first && !damage.missing);
    Ok(damage)
}

/// Damage in what earlier uses of files left behind the end of the log. Where the log was cut off, half of something may
/// stand over it.
fn remains(
    files: &Files,
    numbers: &BTreeSet<u64>,
    end: LogPosition,
    cut: bool,
) -> Result<Vec<Damage>, Error> {
    let walk = Walk::new(files, numbers);
    let mut damage = Vec::new();
    for file in numbers.range(end.file..).copied() {
        let offset = if file == end.file { end.offset } else { 0 };
        let mut reader = walk.open(file, Vec::new())?;
        let found = changed_group(&mut reader, file, offset);
        let found = found.map_err(|error| files.failed("read", file, &error))?;
        if let Some((offset, bytes)) = found.filter(|_| !cut) {
            let at = LogPosition { file, offset };
            let missing = false;
            damage.push(Damage { at, bytes, missing });
        }
    }
    Ok(damage)
}

/// The first group of an earlier use whose items are not what its header says. Reads all of the file.
fn changed_group(
    reader: &mut Reader,
    file: u64,
    mut offset: u64,
) -> io::Result<Option<(u64, u64)>> {
    let mut changed = None;
    while let Some((place, header)) = reader.search(offset)? {
        let ends = place + header.size();
        let whole = ends <= reader.length() && header.file < file;
        if whole && reader.items(place, &header)?.is_none() {
            changed = changed.or(Some((place, header.size())));
        }
        offset = ends.min(reader.length()).max(place + 1);
    }
    Ok(changed)
}
