//! What a soak found, and whether that is good.

use serde::Serialize;
use serde_json::json;

use super::broker::are_too_many;
use super::load::Counts;
use super::samples::Most;
use crate::error::Error;
use crate::perf::report::{grouped, mebibytes};

/// Memory that the second half may have more than the first, beside a quarter: what allocators keep.
const MEMORY: u64 = 64 << 20;
/// The same of the disk: files of the log that are made ahead.
const DISK: u64 = 256 << 20;
/// The same of descriptors: connections that happen to be open.
const DESCRIPTORS: u64 = 32;

/// The result of a soak.
pub(super) struct Report {
    pub(super) seconds: f64,
    /// In good order, and by SIGKILL.
    pub(super) restarts: [u64; 2],
    pub(super) counts: Counts,
    pub(super) failures: Vec<String>,
    /// The most of each half.
    pub(super) samples: [Most; 2],
    /// Descriptors without clients, before and after.
    pub(super) quiet: [u64; 2],
}

#[derive(Serialize)]
struct Verdict {
    memory: bool,
    descriptors: bool,
    disk: bool,
    messages: bool,
    failures: bool,
}

/// Whether the second half stayed at the first one's level.
fn is_flat(first: u64, second: u64, more: u64) -> bool {
    second <= first + first / 4 + more
}

impl Report {
    fn verdict(&self) -> Verdict {
        let [first, second] = &self.samples;
        let [before, after] = self.quiet;
        Verdict {
            memory: is_flat(first.memory_bytes, second.memory_bytes, MEMORY),
            descriptors: is_flat(first.descriptors, second.descriptors, DESCRIPTORS)
                && !are_too_many(before, after),
            disk: is_flat(first.disk_bytes, second.disk_bytes, DISK),
            messages: self.counts.lost == 0 && self.counts.confirmed > 0,
            failures: self.failures.is_empty(),
        }
    }

    pub(super) fn is_good(&self) -> bool {
        let it = self.verdict();
        it.memory && it.descriptors && it.disk && it.messages && it.failures
    }

    pub(super) fn json(&self) -> Result<String, Error> {
        let [orderly, killed] = self.restarts;
        let [first, second] = self.samples;
        let [before, after] = self.quiet;
        let report = json!({
            "seconds": self.seconds,
            "restarts": { "orderly": orderly, "killed": killed },
            "counts": self.counts,
            "failures": self.failures,
            "first_half": first,
            "second_half": second,
            "descriptors_without_clients": { "before": before, "after": after },
            "good": self.verdict(),
        });
        serde_json::to_string_pretty(&report)
            .map_err(|error| Error::PerfArguments(error.to_string()))
    }

    pub(super) fn text(&self) -> String {
        let Counts {
            published,
            confirmed,
            delivered,
            lost,
            connections,
            queues,
        } = self.counts;
        let [orderly, killed] = self.restarts;
        let [first, second] = &self.samples;
        let [before, after] = self.quiet;
        let verdict = self.verdict();
        let word = |good: bool| if good { "flat" } else { "GREW" };
        let mut lines = vec![
            format!(
                "soaked       {:.0} s, {orderly} restarts in good order, {killed} after SIGKILL",
                self.seconds
            ),
            format!(
                "messages     {} published, {} delivered; {} of the checked ones confirmed, {} lost",
                grouped(published),
                grouped(delivered),
                grouped(confirmed),
                grouped(lost)
            ),
            format!(
                "churn        {} connections, {} declarations of queues",
                grouped(connections),
                grouped(queues)
            ),
            format!(
                "memory       {}: at most {} in the first half, {} in the second",
                word(verdict.memory),
                mebibytes(first.memory_bytes),
                mebibytes(second.memory_bytes)
            ),
            format!(
                "descriptors  {}: at most {} in the first half, {} in the second; without clients {before} before, \
                 {after} after",
                word(verdict.descriptors),
                first.descriptors,
                second.descriptors
            ),
            format!(
                "disk         {}: at most {} in the first half, {} in the second",
                word(verdict.disk),
                mebibytes(first.disk_bytes),
                mebibytes(second.disk_bytes)
            ),
        ];
        let failures = self.failures.iter();
        lines.extend(failures.map(|failure| format!("FAILURE      {failure}")));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(second_memory: u64, lost: u64, after: u64) -> Report {
        let most = |memory_bytes| Most {
            memory_bytes,
            descriptors: 50,
            disk_bytes: 1 << 30,
        };
        Report {
            seconds: 60.0,
            restarts: [1, 1],
            counts: Counts {
                confirmed: 10,
                lost,
                ..Counts::default()
            },
            failures: Vec::new(),
            samples: [most(100 << 20), most(second_memory << 20)],
            quiet: [20, after],
        }
    }

    #[test]
    fn what_grows_or_is_lost_is_bad() {
        assert!(report(110, 0, 20).is_good());
        assert!(!report(300, 0, 20).is_good());
        assert!(!report(110, 1, 20).is_good());
        assert!(!report(110, 0, 100).is_good());
        assert!(report(300, 0, 20).text().contains("memory       GREW"));
        let failed = Report {
            failures: vec!["why".to_owned()],
            ..report(110, 0, 20)
        };
        assert!(!failed.is_good());
    }
}
