//! What a run found, as text for people and as JSON for tools.

use serde::Serialize;

use super::arguments::PerfArgs;
use super::counters::Reading;
use super::latency::Percentiles;
use super::process::Usage;
use crate::error::Error;

/// The result of a throughput run.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// What was asked for.
    pub arguments: &'a PerfArgs,
    /// Length of the measured window.
    pub seconds: f64,
    /// Messages published in it.
    pub published: u64,
    /// Messages confirmed in it.
    pub confirmed: u64,
    /// Messages refused in it.
    pub refused: u64,
    /// Deliveries in it.
    pub delivered: u64,
    /// Messages published per second.
    pub published_per_second: f64,
    /// Messages confirmed per second.
    pub confirmed_per_second: f64,
    /// Deliveries per second.
    pub delivered_per_second: f64,
    /// From publish to delivery, in microseconds.
    pub latency_us: Option<Percentiles>,
    /// From publish to confirm, in microseconds.
    pub confirm_latency_us: Option<Percentiles>,
    /// The broker's process in the window; `rss_bytes` is at its end.
    pub broker: Option<Usage>,
    /// The broker's CPU seconds per million deliveries, or per million publishes without consumers.
    pub broker_cpu_seconds_per_million: Option<f64>,
    /// The generator's own process in the window.
    pub generator: Usage,
}

/// What was measured, before it is put into words.
#[derive(Debug)]
pub struct Measured {
    /// The counters' difference over the window.
    pub counted: Reading,
    /// The broker's use.
    pub broker: Option<Usage>,
    /// The generator's use.
    pub generator: Usage,
}

impl<'a> Report<'a> {
    pub fn new(
        arguments: &'a PerfArgs,
        measured: &Measured,
        latency_us: Option<Percentiles>,
        confirm_latency_us: Option<Percentiles>,
    ) -> Self {
        let counted = measured.counted;
        let seconds = counted.seconds();
        let per_second = |count: u64| count as f64 / seconds.max(1e-9);
        let messages = if arguments.consumers == 0 {
            counted.published
        } else {
            counted.delivered
        };
        let per_million = |usage: Usage| usage.cpu_seconds / (messages as f64 / 1e6);
        Self {
            arguments,
            seconds,
            published: counted.published,
            confirmed: counted.confirmed,
            refused: counted.refused,
            delivered: counted.delivered,
            published_per_second: per_second(counted.published),
            confirmed_per_second: per_second(counted.confirmed),
            delivered_per_second: per_second(counted.delivered),
            latency_us,
            confirm_latency_us,
            broker: measured.broker,
            broker_cpu_seconds_per_million: measured
                .broker
                .filter(|_| messages > 0)
                .map(per_million),
            generator: measured.generator,
        }
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut lines = vec![
            format!("measured   {:.2} s", self.seconds),
            format!(
                "published  {} messages, {}/s",
                grouped(self.published),
                rate(self.published_per_second)
            ),
        ];
        if self.arguments.confirm_window > 0 {
            let line = format!(
                "confirmed  {} messages, {}/s",
                grouped(self.confirmed),
                rate(self.confirmed_per_second)
            );
            lines.push(line);
            lines.push(format!("refused    {} messages", grouped(self.refused)));
        }
        if self.arguments.consumers > 0 {
            let line = format!(
                "delivered  {} messages, {}/s",
                grouped(self.delivered),
                rate(self.delivered_per_second)
            );
            lines.push(line);
        }
        lines.extend(self.latency_us.map(|found| format!("latency    {found}")));
        lines.extend(
            self.confirm_latency_us
                .map(|found| format!("confirm    {found}")),
        );
        if let (Some(broker), per_million) = (self.broker, self.broker_cpu_seconds_per_million) {
            let per_million = per_million.map_or(String::new(), |value| {
                format!(", {value:.2} s per million messages")
            });
            lines.push(format!(
                "broker     CPU {:.2} s{per_million}; memory {}",
                broker.cpu_seconds,
                mebibytes(broker.rss_bytes)
            ));
        }
        lines.push(format!(
            "generator  CPU {:.2} s",
            self.generator.cpu_seconds
        ));
        lines.join("\n")
    }
}

/// Prints a report in the form that was asked for.
pub fn print(arguments: &PerfArgs, report: &impl Serialize, text: &str) -> Result<(), Error> {
    show(arguments.json, report, text)
}

/// Prints the report as JSON, or `text`.
pub fn show(as_json: bool, report: &impl Serialize, text: &str) -> Result<(), Error> {
    use std::io::Write as _;
    let json = || {
        serde_json::to_string_pretty(report)
            .map_err(|error| Error::PerfArguments(error.to_string()))
    };
    let shown = if as_json { json()? } else { text.to_owned() };
    // standard output may be a closed pipe: nobody is left to tell
    let _ = writeln!(std::io::stdout(), "{shown}");
    Ok(())
}

/// A memory size for people.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

/// A rate for people.
pub fn rate(per_second: f64) -> String {
    grouped(per_second.round() as u64)
}

/// A number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        let numbers = [0, 999, 1000, 123_456, 1_234_567];
        let texts = numbers.map(grouped);
        assert_eq!(texts, ["0", "999", "1,000", "123,456", "1,234,567"]);
    }
}
