//! What `leveret perf` can be asked for.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{relay::RelayArgs, soak::SoakArgs};
use crate::error::Error;

/// The largest request: it has to fit into a frame.
const RPC_BYTES: usize = 100_000;

/// Measure a broker: throughput, latency, and what its process pays for them
#[derive(Debug, Clone, Args, Serialize)]
#[command(args_conflicts_with_subcommands = true)]
pub struct PerfArgs {
    /// The broker
    #[arg(
        long,
        value_name = "URI",
        default_value = "amqp://guest:guest@127.0.0.1:5672/%2f"
    )]
    #[serde(skip)]
    pub uri: String,
    /// Publishers, each with a connection and a thread; with --churn and --declare-queues, connections side by side
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub publishers: usize,
    /// Consumers, each with a connection and a thread
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub consumers: usize,
    /// Queues; publishers and consumers are spread over them
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub queues: usize,
    /// Publish to a fanout exchange that all queues are bound to
    #[arg(long)]
    pub fan_out: bool,
    /// Publish to a topic exchange with so many bindings, of which one of each queue matches; the keys change from message
    /// to message
    #[arg(long, value_name = "N", conflicts_with = "fan_out")]
    pub topic_bindings: Option<usize>,
    /// Requests and replies over direct reply-to: publishers ask with so many requests under way each, consumers answer
    #[arg(long, value_name = "N", conflicts_with_all = ["fan_out", "topic_bindings", "persistent", "rate", "messages"])]
    pub rpc: Option<u64>,
    /// Bytes of a message's body; from 8 on it carries the time of publishing, which latencies need
    #[arg(long, value_name = "BYTES", default_value_t = 16)]
    pub size: usize,
    /// Durable queues and persistent messages
    #[arg(long)]
    pub persistent: bool,
    /// Publisher confirms with at most this many outstanding per publisher; 0 is without confirms
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub confirm_window: usize,
    /// Acknowledge every so many deliveries, several at once; 0 is automatic acknowledgement
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub ack_batch: u64,
    /// Unacknowledged deliveries per consumer; 0 is without limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub prefetch: u16,
    /// Messages per second of all publishers together; 0 is without limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rate: u64,
    /// Deliveries that may be under way before publishers wait, when there are consumers; 0 is without limit
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub max_in_flight: u64,
    /// Seconds to measure; with --idle-connections, to hold them
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub duration: f64,
    /// Seconds to run before measuring
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub warm_up: f64,
    /// Publish so many messages (or consume them, with consumers) instead of running for a time
    #[arg(long, value_name = "N")]
    pub messages: Option<u64>,
    /// Queues are named PREFIX-0, PREFIX-1, ...; the exchange PREFIX. Default: leveret-perf-PID
    #[arg(long, value_name = "PREFIX")]
    pub queue_prefix: Option<String>,
    /// Leave the queues and their messages behind
    #[arg(long)]
    pub keep: bool,
    /// Process of the broker, on this machine: report its CPU time and memory; repeatable
    #[arg(long, value_name = "PID")]
    pub broker_pid: Vec<u32>,
    /// Print the report as JSON
    #[arg(long)]
    #[serde(skip)]
    pub json: bool,
    /// Open so many connections with a channel each, hold them, and report memory per connection; with --rate, --messages
    /// or --rpc, hold them beside that load
    #[arg(long, value_name = "N", conflicts_with_all = ["declare_queues", "churn"])]
    pub idle_connections: Option<usize>,
    /// Declare so many transient queues and delete them, without waiting for each, and report rate, CPU and memory
    #[arg(long, value_name = "N", conflicts_with = "churn")]
    pub declare_queues: Option<usize>,
    /// With --declare-queues: wait for each answer, as most clients do
    #[arg(long, requires = "declare_queues")]
    pub synchronous: bool,
    /// With --declare-queues: bind each queue to a direct exchange
    #[arg(long, requires = "declare_queues")]
    pub bound: bool,
    /// With --declare-queues: exclusive queues, which vanish with their connection instead of being deleted one by one
    #[arg(long, requires = "declare_queues", conflicts_with = "keep")]
    pub exclusive: bool,
    /// Open a connection and a channel, publish one message to a queue, and close, so many times
    #[arg(long, value_name = "N")]
    pub churn: Option<usize>,
    /// What to do instead of measuring
    #[command(subcommand)]
    #[serde(skip)]
    pub scenario: Option<Scenario>,
}

/// What else there is to do with load.
#[derive(Debug, Clone, Subcommand)]
pub enum Scenario {
    /// Keep a broker of its own under mixed load, and see that nothing grows
    Soak(SoakArgs),
    /// Copy bytes through two loopback sockets without a broker: what large messages cannot cost less than
    Relay(RelayArgs),
}

impl PerfArgs {
    /// Refuses combinations that would wait forever.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |reason: &str| Err(Error::PerfArguments(reason.to_owned()));
        if self.publishers + self.consumers == 0 {
            return refuse("neither publishers nor consumers: nothing to do");
        }
        if self.queues == 0 {
            return refuse("--queues must be at least 1");
        }
        if self.prefetch != 0 && self.ack_batch == 0 {
            return refuse("--prefetch limits unacknowledged deliveries: it needs --ack-batch");
        }
        if self.prefetch != 0 && self.ack_batch > u64::from(self.prefetch) {
            return refuse("--ack-batch larger than --prefetch would never be reached");
        }
        if self.topic_bindings.is_some_and(|count| count < self.queues) {
            return refuse("--topic-bindings must be at least one for each of the --queues");
        }
        if self.rpc.is_some()
            && (self.consumers == 0 || self.ack_batch + self.confirm_window as u64 > 0)
        {
            return refuse(
                "--rpc needs consumers, and works without acknowledgements and confirms",
            );
        }
        if self.rpc.is_some() && !(1..=RPC_BYTES).contains(&self.size) {
            return refuse("--rpc sends a message in one frame: --size must be 1 to 100000");
        }
        let seconds = |value: f64| value.is_finite() && (0.0..1e9).contains(&value);
        if !seconds(self.duration) || !seconds(self.warm_up) || self.duration == 0.0 {
            return refuse("--duration and --warm-up are seconds, --duration more than 0");
        }
        Ok(())
    }

    /// The name of a queue.
    pub fn queue(&self, index: usize) -> String {
        format!("{}-{index}", self.prefix())
    }

    /// What queues and the exchange are named by.
    pub fn prefix(&self) -> String {
        let own = || format!("leveret-perf-{}", std::process::id());
        self.queue_prefix.clone().unwrap_or_else(own)
    }

    /// The type of the exchange that is published to, if it is not the default exchange.
    pub fn exchange(&self) -> Option<&'static str> {
        match self.topic_bindings {
            Some(_) => Some("topic"),
            None => self.fan_out.then_some("fanout"),
        }
    }

    /// Whether messages are to go beside the idle connections.
    pub fn has_load(&self) -> bool {
        self.rate > 0 || self.messages.is_some() || self.rpc.is_some()
    }

    /// Deliveries that one publish causes.
    pub fn copies(&self) -> u64 {
        self.exchange().map_or(1, |_| self.queues as u64)
    }

    /// The queues that one of `workers` serves: with fewer workers than queues several, else one that others share.
    pub fn share(&self, index: usize, workers: usize) -> Vec<usize> {
        if workers >= self.queues {
            return vec![index % self.queues];
        }
        (index..self.queues).step_by(workers.max(1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        perf: PerfArgs,
    }

    fn parse(line: &[&str]) -> PerfArgs {
        Cli::parse_from([&["perf"], line].concat()).perf
    }

    #[test]
    fn every_queue_is_served_whatever_the_number_of_workers() {
        let arguments = parse(&["--queues", "5"]);
        for workers in 1..9 {
            let mut served: Vec<_> = (0..workers)
                .flat_map(|index| arguments.share(index, workers))
                .collect();
            served.sort();
            served.dedup();
            assert_eq!(served, [0, 1, 2, 3, 4], "{workers} workers");
        }
    }

    #[test]
    fn ack_batch_that_prefetch_never_lets_fill_is_refused() {
        assert!(
            parse(&["--ack-batch", "50", "--prefetch", "100"])
                .check()
                .is_ok()
        );
        assert!(
            parse(&["--ack-batch", "50", "--prefetch", "10"])
                .check()
                .is_err()
        );
        assert!(parse(&["--prefetch", "10"]).check().is_err());
    }

    #[test]
    fn fan_out_delivers_a_copy_to_each_queue() {
        assert_eq!(parse(&["--queues", "50", "--fan-out"]).copies(), 50);
        assert_eq!(parse(&["--queues", "50"]).copies(), 1);
        let topic = parse(&["--queues", "3", "--topic-bindings", "10000"]);
        assert_eq!(topic.copies(), 3);
    }
}
