//! Counts, rates and samples in the form of RabbitMQ's `message_stats` (`rabbit_mgmt_stats:format_rate`).
//!
//! Every count comes with an object `..._details`: the rate of the last seconds, and the samples of a range if the client
//! asks for one (`lengths_age` and `lengths_incr`, and so on).

use broker_core::{
    queue::{Inspection, Queue},
    statistics::{
        Column, Counts, ExchangeColumn, History, OF_NODE, OF_QUEUE_HISTORY, Range, Resource, second,
    },
    vhost::{Exchange, Vhost},
};
use serde_json::{Map, Value, json};

use crate::{Error, Node, request::Query};

/// The most samples of a range (`MAX_RANGE`).
const MAX_RANGE: u32 = 500;

/// An object of the API.
pub(crate) type Object = Map<String, Value>;

/// Which samples a client wants to see.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ranges {
    /// Of queue lengths.
    pub(crate) lengths: Option<Range>,
    /// Of messages.
    pub(crate) msg_rates: Option<Range>,
    /// Of bytes of connections.
    pub(crate) data_rates: Option<Range>,
    /// Of the node.
    pub(crate) node_stats: Option<Range>,
}

impl Ranges {
    /// Those that a query names.
    ///
    /// # Errors
    /// 400 with RabbitMQ's reason: they make no sense.
    pub(crate) fn of(query: &Query) -> Result<Self, Error> {
        Ok(Self {
            lengths: range(query, "lengths")?,
            msg_rates: range(query, "msg_rates")?,
            data_rates: range(query, "data_rates")?,
            node_stats: range(query, "node_stats")?,
        })
    }
}

/// The range whose keys in the query begin with `name`.
///
/// # Errors
/// 400 with RabbitMQ's reason: it makes no sense.
pub(crate) fn range(query: &Query, name: &str) -> Result<Option<Range>, Error> {
    let number = |suffix: &str| query.get(&format!("{name}_{suffix}"))?.parse::<i64>().ok();
    let (Some(age), Some(incr)) = (number("age"), number("incr")) else {
        return Ok(None);
    };
    let positive = |number: i64| u32::try_from(number).ok().filter(|it| *it > 0);
    match (positive(age), positive(incr)) {
        (Some(age), Some(step)) if age / step <= MAX_RANGE => Ok(Some(Range { age, step })),
        _ => Err(Error::BadRequest(format!(
            "Invalid range parameters: age {age}, incr {incr}"
        ))),
    }
}

/// A name, and the columns whose sum it stands for.
type Field = (&'static str, &'static [usize]);

macro_rules! columns {
    ($($name:literal: $($column:ident)+),+ $(,)?) => {
        [$(($name, &[$(Column::$column as usize),+] as &[usize])),+]
    };
}

const PUBLISH: [Field; 4] = columns![
    "publish": Publish,
    "confirm": Confirm,
    "return_unroutable": ReturnUnroutable,
    "drop_unroutable": DropUnroutable,
];

const DELIVER: [Field; 8] = columns![
    "get": Get,
    "get_no_ack": GetNoAck,
    "deliver": Deliver,
    "deliver_no_ack": DeliverNoAck,
    "redeliver": Redeliver,
    "ack": Ack,
    "deliver_get": Deliver DeliverNoAck Get GetNoAck,
    "get_empty": GetEmpty,
];

const DISK: [Field; 2] = columns!["disk_reads": DiskReads, "disk_writes": DiskWrites];

const LENGTHS: [Field; 3] = columns![
    "messages_ready": Ready,
    "messages_unacknowledged": Unacknowledged,
    "messages": Ready Unacknowledged Delayed,
];

const OCTETS: [Field; 2] = columns!["send_oct": SentOctets, "recv_oct": ReceivedOctets];

const CHURN: [Field; 7] = columns![
    "connection_created": ConnectionCreated,
    "connection_closed": ConnectionClosed,
    "channel_created": ChannelCreated,
    "channel_closed": ChannelClosed,
    "queue_declared": QueueDeclared,
    "queue_created": QueueCreated,
    "queue_deleted": QueueDeleted,
];

const EXCHANGE: [Field; 2] = [
    ("publish_in", &[ExchangeColumn::PublishIn as usize]),
    ("publish_out", &[ExchangeColumn::PublishOut as usize]),
];

const SOCKET: [Field; 2] = [("recv_oct", &[0]), ("send_oct", &[2])];

const RESOURCES: [Field; 5] = [
    ("mem_used", &[Resource::MemUsed as usize]),
    ("fd_used", &[Resource::FdUsed as usize]),
    ("sockets_used", &[Resource::SocketsUsed as usize]),
    ("proc_used", &[Resource::ProcUsed as usize]),
    ("disk_free", &[Resource::DiskFree as usize]),
];

/// What an object counts, and what it counted before.
pub(crate) struct Figures<'a, const N: usize> {
    counts: Counts<N>,
    history: Option<&'a History<N>>,
    rates: [f64; N],
    now: u32,
}

impl<'a, const N: usize> Figures<'a, N> {
    pub(crate) fn new(counts: Counts<N>, history: Option<&'a History<N>>, node: &Node) -> Self {
        let now = second(node.now());
        Self {
            counts,
            history,
            rates: history.map_or([0.0; N], |history| history.rates(now)),
            now,
        }
    }

    /// The same with other rates.
    pub(crate) fn with_rates(self, rates: [f64; N]) -> Self {
        Self { rates, ..self }
    }

    /// By how much each column changes in a second.
    pub(crate) fn rates(&self) -> [f64; N] {
        self.rates
    }

    /// Writes the fields and their details.
    pub(crate) fn put(&self, fields: &[Field], range: Option<Range>, object: &mut Object) {
        let samples = match (self.history, range) {
            (Some(history), Some(range)) => Some(history.samples(range, self.now)),
            (None, Some(_)) => Some(Vec::new()),
            (_, None) => None,
        };
        for (name, columns) in fields {
            let sum = |counts: &Counts<N>| -> u64 {
                let of = |column: &usize| counts.0.get(*column).copied().unwrap_or(0);
                columns.iter().map(of).fold(0, u64::wrapping_add)
            };
            let rate: f64 = columns.iter().filter_map(|it| self.rates.get(*it)).sum();
            let mut details = Object::new();
            details.insert("rate".to_owned(), rate.into());
            if let Some(samples) = &samples {
                let values = samples.iter().map(|it| (it.second, sum(&it.counts)));
                put_samples(&values.collect::<Vec<_>>(), &mut details);
            }
            object.insert((*name).to_owned(), sum(&self.counts).into());
            object.insert(format!("{name}_details"), details.into());
        }
    }
}

/// Writes samples, latest first, and what they are on average.
fn put_samples(values: &[(u32, u64)], details: &mut Object) {
    let sample = |(second, value): &(u32, u64)| json!({ "sample": value, "timestamp": u64::from(*second) * 1000 });
    details.insert("samples".to_owned(), values.iter().map(sample).collect());
    let (Some((last, latest)), Some((first, oldest))) = (values.first(), values.last()) else {
        return;
    };
    let seconds = f64::from(last.saturating_sub(*first).max(1));
    let change = latest.wrapping_sub(*oldest).cast_signed() as f64;
    let sum: f64 = values.iter().map(|(_, value)| *value as f64).sum();
    details.insert("avg_rate".to_owned(), (change / seconds).into());
    details.insert("avg".to_owned(), (sum / values.len() as f64).into());
}

/// Writes what has gone through a vhost or the node: `message_stats`.
fn message_stats(figures: &Figures<'_, OF_NODE>, disk: bool, ranges: &Ranges) -> Value {
    let mut stats = Object::new();
    figures.put(&PUBLISH, ranges.msg_rates, &mut stats);
    if disk {
        figures.put(&DISK, ranges.msg_rates, &mut stats);
    }
    figures.put(&DELIVER, ranges.msg_rates, &mut stats);
    stats.into()
}

/// The totals of the node, or of some vhosts alone, as the overview shows them.
pub(crate) fn put_overview(figures: &Figures<'_, OF_NODE>, ranges: &Ranges, object: &mut Object) {
    let stats = message_stats(figures, true, ranges);
    object.insert("message_stats".to_owned(), stats);
    let mut churn = Object::new();
    figures.put(&CHURN, ranges.lengths, &mut churn);
    object.insert("churn_rates".to_owned(), churn.into());
    let mut lengths = Object::new();
    figures.put(&LENGTHS, ranges.lengths, &mut lengths);
    object.insert("queue_totals".to_owned(), lengths.into());
}

/// Writes the churn of the node, as `/api/nodes` shows it.
pub(crate) fn put_churn(node: &Node, ranges: &Ranges, object: &mut Object) {
    let statistics = node.core.statistics();
    let counts = statistics.counts();
    statistics.with_history(|history| {
        Figures::new(counts, history, node).put(&CHURN, ranges.lengths, object);
    });
}

/// Writes what the process uses.
pub(crate) fn put_resources(node: &Node, ranges: &Ranges, object: &mut Object) {
    let statistics = node.core.statistics();
    let counts = statistics.resources();
    statistics.with_resources(|history| {
        Figures::new(counts, history, node).put(&RESOURCES, ranges.node_stats, object);
    });
}

/// Writes the statistics of a vhost.
pub(crate) fn put_vhost(node: &Node, vhost: &Vhost, ranges: &Ranges, object: &mut Object) {
    let counts = vhost.statistics.counts();
    vhost.statistics.with_history(|history| {
        let figures = Figures::new(counts, history, node);
        figures.put(&LENGTHS, ranges.lengths, object);
        figures.put(&OCTETS, ranges.data_rates, object);
        let counted = PUBLISH
            .iter()
            .chain(&DELIVER)
            .flat_map(|(_, columns)| *columns);
        if counted
            .filter_map(|it| counts.0.get(*it))
            .any(|count| *count > 0)
        {
            let stats = message_stats(&figures, false, ranges);
            object.insert("message_stats".to_owned(), stats);
        }
    });
}

/// Writes the statistics of an exchange: those fields alone that ever counted anything.
pub(crate) fn put_exchange(node: &Node, exchange: &Exchange, ranges: &Ranges, object: &mut Object) {
    let counts = exchange.statistics.counts();
    if counts == Counts::default() {
        return;
    }
    exchange.statistics.with_history(|history| {
        let figures = Figures::new(counts, history, node);
        let mut stats = Object::new();
        for (field, count) in EXCHANGE.iter().zip(counts.0) {
            if count > 0 {
                figures.put(std::slice::from_ref(field), ranges.msg_rates, &mut stats);
            }
        }
        object.insert("message_stats".to_owned(), stats.into());
    });
}

/// Writes the lengths of a queue, and what has gone through it.
pub(crate) fn put_queue(
    node: &Node,
    queue: &Queue,
    inspection: &Inspection,
    ranges: &Ranges,
    object: &mut Object,
) {
    let counts = inspection.statistics;
    queue.statistics.with_history(|history| {
        let figures = Figures::new(counts, history, node);
        figures.put(&LENGTHS, ranges.lengths, object);
        if counts
            .0
            .iter()
            .take(Column::Confirm as usize)
            .any(|it| *it > 0)
        {
            let mut stats = Object::new();
            figures.put(&PUBLISH[..1], ranges.msg_rates, &mut stats);
            figures.put(&DELIVER, ranges.msg_rates, &mut stats);
            object.insert("message_stats".to_owned(), stats.into());
        }
    });
}

/// The rate of one column of a queue, for sorting by it.
pub(crate) fn queue_rate(node: &Node, queue: &Queue, columns: &[usize]) -> f64 {
    let now = second(node.now());
    let rates = queue.statistics.with_history(|history| {
        history.map_or([0.0; OF_QUEUE_HISTORY], |history| history.rates(now))
    });
    columns.iter().filter_map(|column| rates.get(*column)).sum()
}

/// What has gone through a channel.
pub(crate) fn channel_stats<const N: usize>(figures: &Figures<'_, N>, ranges: &Ranges) -> Value {
    let mut stats = Object::new();
    figures.put(&PUBLISH, ranges.msg_rates, &mut stats);
    figures.put(&DELIVER, ranges.msg_rates, &mut stats);
    stats.into()
}

/// Writes what has gone over a connection's socket.
pub(crate) fn put_socket(figures: &Figures<'_, 4>, ranges: &Ranges, object: &mut Object) {
    figures.put(&SOCKET, ranges.data_rates, object);
    let Counts([_, receives, _, sends]) = figures.counts;
    object.insert("recv_cnt".to_owned(), receives.into());
    object.insert("send_cnt".to_owned(), sends.into());
}

/// A moment as RabbitMQ writes it: `2026-11-21T08:47:52.656+00:00`.
pub(crate) fn time_text(millis: u64) -> String {
    let (days, rest) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = date(days);
    let (hours, minutes) = (rest / 3_600_000, rest / 60_000 % 60);
    let (seconds, millis) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}+00:00")
}

/// The date of a day since 1970-01-01, in the Gregorian calendar (H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_rabbitmq_writes_it() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000+00:00"),
            (951_827_696_789, "2000-02-29T12:34:56.789+00:00"),
            (1_795_250_872_656, "2026-11-21T08:47:52.656+00:00"),
        ] {
            assert_eq!(time_text(millis), text);
        }
    }

    #[test]
    fn a_range_that_makes_no_sense_is_refused_in_rabbitmqs_words() {
        let of = |query: &str| Ranges::of(&Query::parse(query));
        let range = of("lengths_age=60&lengths_incr=5").unwrap().lengths;
        assert_eq!(range, Some(Range { age: 60, step: 5 }));
        assert_eq!(of("lengths_age=60").unwrap().lengths, None);
        assert_eq!(of("lengths_age=x&lengths_incr=5").unwrap().lengths, None);
        let text = "Invalid range parameters: age 6000, incr 5";
        let refused = of("msg_rates_age=6000&msg_rates_incr=5").unwrap_err();
        assert_eq!(refused, Error::BadRequest(text.to_owned()));
    }

    #[test]
    fn averages_are_over_the_samples() {
        let mut details = Object::new();
        put_samples(&[(30, 50), (20, 20), (10, 20)], &mut details);
        assert_eq!(details["avg"], 30.0);
        assert_eq!(details["avg_rate"], 1.5);
        let first = json!({ "sample": 50, "timestamp": 30_000 });
        assert_eq!(details["samples"][0], first);
    }
}
