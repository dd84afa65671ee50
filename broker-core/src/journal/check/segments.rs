//! Verifying segments: the blocks that the manifest needs, what lies between them, and segments it does not name.

use std::path::Path;

use super::{
    super::{
        file_system::{File, FileSystem},
        index::Index,
        items::BODIES,
        run::{BlockPlace, Place, Run},
        segment, store,
        trouble::Doing,
    },
    Finding, Report,
    blocks::Stretch,
    messages,
};
use crate::{
    error::Error,
    store::{Position, QueueId},
};

/// What garbage that is damaged is called.
const UNNEEDED: &str = "nobody needs it any more";
/// The same of a segment that a crash may have left half written.
const UNNAMED: &str =
    "damaged or never finished; nobody needs this segment, and the next start removes it";
/// What damage is called where nobody knows what is needed.
const PERHAPS: &str = "whether its messages were needed stood in the manifest";

/// Reads every segment that the manifest names. What cannot be read is reported, and its messages are taken out of the
/// index. Headers are mended if `mend` says so.
pub(super) fn check_all(
    files: &dyn FileSystem,
    directory: &Path,
    index: &mut Index,
    report: &mut Report,
    mend: bool,
) -> Result<(), Error> {
    let places: Vec<Place> = index.files.keys().copied().collect();
    let present = store::segments(files, directory)?;
    for place in places {
        let Place::Segment(number) = place else {
            continue;
        };
        let path = segment::path(directory, number);
        if present.contains(&number) {
            check(files, &path, place, index, report, mend)?;
            continue;
        }
        report.findings.push(Finding::at(
            path,
            0,
            "the file is missing: its messages are lost".to_owned(),
        ));
        index.drop_segment(place);
    }
    index.drop_bodiless();
    Ok(())
}

/// Reads segments that the manifest does not name. The next start removes them, if the manifest is `whole`.
pub(super) fn check_unnamed(
    files: &dyn FileSystem,
    directory: &Path,
    index: &Index,
    whole: bool,
    report: &mut Report,
) -> Result<(), Error> {
    for number in store::segments(files, directory)? {
        if index.files.contains_key(&Place::Segment(number)) {
            continue;
        }
        let path = segment::path(directory, number);
        let file = files.open(&path, false).doing("open", &path)?;
        let end = file.length().doing("read", &path)?;
        report.segments += 1;
        report.segment_bytes += end;
        let stretch = Stretch {
            file: &*file,
            path: &path,
            end,
        };
        let (note, list) = match whole {
            true => (UNNAMED, &mut report.garbage),
            false => (PERHAPS, &mut report.findings),
        };
        read_through(&stretch, segment::HEADER as u64, note, list)?;
    }
    Ok(())
}

fn check(
    files: &dyn FileSystem,
    path: &Path,
    place: Place,
    index: &mut Index,
    report: &mut Report,
    mend: bool,
) -> Result<(), Error> {
    let file = files.open(path, false).doing("open", path)?;
    let length = file.length().doing("read", path)?;
    report.segments += 1;
    report.segment_bytes += length;
    check_header(&*file, path, report, mend)?;
    let stretch = |end| Stretch {
        file: &*file,
        path,
        end,
    };
    let mut offset = segment::HEADER as u64;
    for (queue, block) in index.blocks_in(place) {
        if offset < block.offset {
            let gap = stretch(block.offset.min(length));
            read_through(&gap, offset, UNNEEDED, &mut report.garbage)?;
        }
        offset = offset.max(block.offset + u64::from(block.length));
        let what = match stretch(length).block(block.offset) {
            Ok((header, _)) if BlockPlace::new(&header, block.offset) == block => {
                if header.queue == queue {
                    continue;
                }
                "a block of another queue than the manifest says".to_owned()
            }
            Ok(_) => "another block than the manifest says".to_owned(),
            Err(what) => what,
        };
        let lost = index.lose(queue, &block);
        let what = format!("{what}: {lost} messages are lost");
        let finding = Finding::at(path.to_owned(), block.offset, what);
        report.findings.push(finding);
    }
    read_through(&stretch(length), offset, UNNEEDED, &mut report.garbage)
}

/// Reads all blocks from `offset` on. Damage goes to `list` with a note of what it means.
fn read_through(
    stretch: &Stretch<'_>,
    offset: u64,
    note: &str,
    list: &mut Vec<Finding>,
) -> Result<(), Error> {
    stretch.walk(offset, &mut |_, _, _| (), &mut |offset, what| {
        let what = format!("{what}: {note}");
        list.push(Finding::at(stretch.path.to_owned(), offset, what));
    })
}

/// The header is the same in all segments but for the number, so it is mended by writing it.
fn check_header(
    file: &dyn File,
    path: &Path,
    report: &mut Report,
    mend: bool,
) -> Result<(), Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    let expected = segment::header(name.and_then(segment::number).unwrap_or(0));
    let mut header = [0; segment::HEADER];
    let read = file.read_at(&mut header, 0);
    if read.is_ok() && header == expected {
        return Ok(());
    }
    let finding = Finding::at(
        path.to_owned(),
        0,
        "the header is damaged; nothing is lost by that",
    );
    report.findings.push(finding);
    if mend {
        file.write_at(&[&expected], 0).doing("write", path)?;
        file.sync().doing("sync", path)?;
    }
    Ok(())
}

impl Index {
    /// Every block in a file that holds live messages, and whose it is.
    pub(super) fn blocks_in(&self, place: Place) -> Vec<(QueueId, BlockPlace)> {
        let runs = self.queues.iter().flat_map(|(queue, state)| {
            let runs = state.runs.iter().filter(|run| run.place == place);
            runs.flat_map(|run| {
                let blocks = run.blocks.iter().filter(|block| run.is_alive(block));
                blocks.map(|block| (*queue, *block))
            })
        });
        let bodies = self.bodies.values().filter(|body| body.place == place);
        let bodies = bodies.map(|body| (BODIES, body.block));
        let mut blocks: Vec<_> = runs.chain(bodies).collect();
        blocks.sort_by_key(|(_, block)| block.offset);
        blocks
    }

    /// Takes the messages of a block out that cannot be read, and says how many were alive.
    pub(super) fn lose(&mut self, queue: QueueId, block: &BlockPlace) -> u64 {
        if queue == BODIES {
            let body = self.bodies.remove(&block.first);
            return body.map_or(0, |body| u64::from(body.references));
        }
        let before = messages(self);
        self.settle(queue, block.first, block.last(), None);
        before - messages(self)
    }

    /// Takes the messages out whose shared bodies are gone.
    pub(super) fn drop_bodiless(&mut self) {
        let mut dead: Vec<(QueueId, Position)> = Vec::new();
        for (queue, state) in &self.queues {
            let references = state.runs.iter().flat_map(|run| &run.references);
            let gone = references.filter(|(_, id)| !self.bodies.contains_key(id));
            dead.extend(gone.map(|(position, _)| (*queue, *position)));
        }
        for (queue, position) in dead {
            self.settle(queue, position, position, None);
        }
    }
}

impl Run {
    /// Whether some message of the block is alive.
    fn is_alive(&self, block: &BlockPlace) -> bool {
        let from = block.first.max(self.first);
        self.live.any(from, block.last().min(self.last))
    }
}
