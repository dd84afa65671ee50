//! Making up a manifest from the segments that are there.

use std::path::Path;

use super::{
    super::{
        block::{self, BlockHeader},
        file_system::FileSystem,
        index::Index,
        items::BODIES,
        manifest::Edit,
        run::{BlockPlace, Place, Run},
        segment::{self, Segment},
        store,
        trouble::Doing,
    },
    Finding, Known, Report,
    blocks::Stretch,
    first_file,
};
use crate::error::Error;

/// Makes up what a damaged manifest said from the segments that are there. Messages in them that were settled since they
/// were written come back, where the log does not tell.
pub(super) fn rebuild(
    files: &dyn FileSystem,
    directory: &Path,
    report: &mut Report,
) -> Result<Known, Error> {
    let mut index = Index::default();
    for number in store::segments(files, directory)? {
        let path = segment::path(directory, number);
        let mut segment = Segment {
            number,
            length: 0,
            runs: Vec::new(),
            bodies: Vec::new(),
        };
        let file = files.open(&path, false).doing("open", &path)?;
        segment.length = file.length().doing("read", &path)?;
        let stretch = Stretch {
            file: &*file,
            path: &path,
            end: segment.length,
        };
        let mut each = |header: &BlockHeader, offset, bytes: &[u8]| {
            add_block(&mut segment, header, offset, bytes);
        };
        stretch.walk(segment::HEADER as u64, &mut each, &mut |offset, what| {
            report
                .findings
                .push(Finding::at(path.clone(), offset, what));
        })?;
        index.edit(Edit::Add(segment));
    }
    index.count_references();
    report.findings.push(Finding::at(
        directory.join("manifest"),
        0,
        "made anew from the segments: messages that were settled long ago may come back".to_owned(),
    ));
    Ok(Known {
        index,
        log_start: first_file(files, directory)?,
    })
}

fn add_block(segment: &mut Segment, header: &BlockHeader, offset: u64, bytes: &[u8]) {
    if header.queue == BODIES {
        segment.bodies.push(BlockPlace::new(header, offset));
        return;
    }
    let place = Place::Segment(segment.number);
    let number = segment.runs.len() as u32;
    let fits = segment
        .runs
        .last()
        .is_some_and(|(queue, run)| *queue == header.queue && run.takes(place, header));
    if !fits {
        let run = Run::new(place, number, header.first);
        segment.runs.push((header.queue, run));
    }
    let Some((_, run)) = segment.runs.last_mut() else {
        return;
    };
    let records = || block::records(bytes).filter_map(Result::ok);
    run.add(header, offset, records().map(|record| record.position));
    for record in records() {
        if let block::Content::Shared(id) = record.content {
            run.refer(record.position, id);
        }
    }
}
