//! `leveret journal`: verifies, repairs and counts the journal of a broker that is not running.

use std::{fmt::Write as _, ops::RangeInclusive, process::ExitCode, sync::Arc};

use broker_core::{
    definitions::{Definitions, Kind, QueueDefinition, SledDefinitions},
    journal::{
        FileLog,
        check::{self, Report, Statistics},
        file_system::{Disk, FileSystem},
        log::LogOptions,
    },
    store::{QueueId, SledDatabase},
};
use clap::Subcommand;

use crate::{config::Config, data_dir::DataDir, error::Error, stores};

/// What can be done with the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum JournalCommand {
    /// Read all of it and report what is damaged; code 1 if something is
    Verify,
    /// Leave out what is damaged, keep the rest, and report what is lost
    Repair,
    /// Show what it occupies, what of it is alive, and which queues hold the most
    Stats,
}

/// Queues that are listed.
const LISTED: usize = 20;

/// Does what was asked, and gives what to print.
///
/// # Errors
/// A broker runs in the data directory, or the system refuses to read or write.
pub fn run(command: JournalCommand, config: &Config) -> Result<(String, ExitCode), Error> {
    let data_dir = DataDir::open(&config.data_dir)?;
    let files: Arc<dyn FileSystem> = Arc::new(Disk);
    let directory = data_dir.path().join(stores::JOURNAL);
    // It makes the directory, and to verify changes nothing.
    let log = || FileLog::open(Arc::clone(&files), &directory, LogOptions::default());
    match command {
        JournalCommand::Verify => {
            let report = check::verify(&files, &directory)?;
            let code = match report.findings.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            };
            Ok((reported(&report, "damaged"), code))
        }
        JournalCommand::Repair => {
            let report = check::repair(&*files, &directory, &log()?)?;
            Ok((reported(&report, "repaired"), ExitCode::SUCCESS))
        }
        JournalCommand::Stats => {
            let statistics = check::statistics(&*files, &directory, &log()?)?;
            let database = SledDatabase::open(&data_dir.path().join(stores::SLED))?;
            let names = names(&database)?;
            Ok((counted(&statistics, &names), ExitCode::SUCCESS))
        }
    }
}

fn reported(report: &Report, verb: &str) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let _ = writeln!(text, "{verb}: {finding}");
    }
    for finding in &report.garbage {
        let _ = writeln!(text, "harmless: {finding}");
    }
    if let Some(log) = &report.log {
        let how = if log.clean {
            "closed properly"
        } else {
            "not closed properly"
        };
        let _ = writeln!(
            text,
            "log: {} groups, {} bytes, {how}",
            log.groups, log.bytes
        );
        if let Some(cut) = log.cut {
            let _ = writeln!(
                text,
                "log: {} bytes at the end, file {} from byte {}, were never finished and never confirmed",
                cut.bytes, cut.at.file, cut.at.offset
            );
        }
    }
    let _ = writeln!(
        text,
        "segments: {}, {} bytes",
        report.segments, report.segment_bytes
    );
    let _ = writeln!(text, "messages: {}", report.messages);
    let _ = match report.findings.len() {
        0 => writeln!(text, "the journal is whole"),
        count => writeln!(text, "{count} places were {verb}"),
    };
    if !report.garbage.is_empty() {
        let count = report.garbage.len();
        let _ = writeln!(
            text,
            "{count} places are damaged that nobody needs any more: nothing is lost by that, but look after the disk"
        );
    }
    text
}

fn counted(statistics: &Statistics, names: &[(RangeInclusive<u64>, String)]) -> String {
    let mut text = String::new();
    let log = &statistics.log;
    let _ = writeln!(
        text,
        "log: files {} to {}, {} bytes",
        log.first.max(1),
        log.active,
        log.bytes
    );
    let garbage = statistics
        .segment_bytes
        .saturating_sub(statistics.segment_live);
    let _ = writeln!(
        text,
        "segments: {}, {} bytes, of which about {} alive and {garbage} garbage",
        statistics.segments, statistics.segment_bytes, statistics.segment_live
    );
    let _ = writeln!(text, "queues with messages: {}", statistics.queues.len());
    for (queue, count, bytes) in statistics.queues.iter().take(LISTED) {
        let name = names.iter().find(|(ids, _)| ids.contains(&queue.0));
        let name = name.map_or_else(
            || "(deleted)".to_owned(),
            |(ids, name)| of_lane(ids, *queue, name),
        );
        let _ = writeln!(text, "  {count} messages, {bytes} bytes: {name}");
    }
    text
}

/// A queue with priorities is a stream for each of them.
fn of_lane(ids: &RangeInclusive<u64>, id: QueueId, name: &str) -> String {
    match ids.start() == ids.end() {
        true => name.to_owned(),
        false => format!("{name}, priority {}", id.0.saturating_sub(*ids.start())),
    }
}

/// The queues as people call them, with the ids of all their lanes.
fn names(database: &SledDatabase) -> Result<Vec<(RangeInclusive<u64>, String)>, Error> {
    let hook = Box::new(|error| tracing::error!("{error}"));
    let definitions = SledDefinitions::open(database, hook)?;
    let queues = definitions.list(Kind::Queue);
    definitions.close();
    let named = queues.iter().map(|found| {
        let queue: QueueDefinition = found.record()?;
        let name = format!("queue '{}' in vhost '{}'", queue.name, queue.vhost);
        let last = queue.id.lane(queue.higher_lanes);
        Ok((queue.id.0..=last.0, name))
    });
    named.collect()
}
