//! Metrics in Prometheus' text format, written by the crate `prometheus`.

use prometheus::{
    Encoder as _, TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// The content type of the format.
pub(super) const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
}

/// Names and values that tell the samples of one metric apart.
pub(super) type Labels = Vec<LabelPair>;

/// Labels of these names and values.
pub(super) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pair = |(name, value): &(&str, &str)| {
        let mut label = LabelPair::default();
        label.set_name((*name).to_owned());
        label.set_value((*value).to_owned());
        label
    };
    pairs.iter().map(pair).collect()
}

/// A page of metrics.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: Vec<u8>,
}

impl Page {
    /// Writes the samples of one metric. One without samples is left out, as the format wants it.
    pub(super) fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: Kind,
        samples: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let samples = samples.into_iter().map(|(labels, value)| {
            let mut metric = Metric::default();
            metric.set_label(labels);
            match kind {
                Kind::Counter => {
                    let mut counter = Counter::default();
                    counter.set_value(value);
                    metric.set_counter(counter);
                }
                Kind::Gauge => {
                    let mut gauge = Gauge::default();
                    gauge.set_value(value);
                    metric.set_gauge(gauge);
                }
            }
            metric
        });
        let kind = match kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
        };
        self.write(name, help, kind, samples.collect());
    }

    /// Writes one metric with a single sample.
    pub(super) fn one(&mut self, name: &str, help: &str, kind: Kind, value: f64) {
        self.family(name, help, kind, [(Labels::new(), value)]);
    }

    /// Writes a histogram. `counts` are those of the buckets that end at `ends`, and of what is beyond; not cumulated.
    pub(super) fn histogram(
        &mut self,
        name: &str,
        help: &str,
        labels: Labels,
        ends: impl Iterator<Item = f64>,
        (counts, sum): (&[u64], f64),
    ) {
        let mut so_far = 0;
        let buckets = ends.zip(counts).map(|(end, count)| {
            so_far += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(end);
            bucket.set_cumulative_count(so_far);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(counts.iter().sum());
        histogram.set_sample_sum(sum);
        let mut metric = Metric::default();
        metric.set_label(labels);
        metric.set_histogram(histogram);
        self.write(name, help, MetricType::HISTOGRAM, vec![metric]);
    }

    fn write(&mut self, name: &str, help: &str, kind: MetricType, samples: Vec<Metric>) {
        if samples.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        family.set_metric(samples);
        if let Err(error) = TextEncoder::new().encode(&[family], &mut self.text) {
            tracing::error!(%error, metric = name, "cannot write a metric");
        }
    }

    /// The page.
    pub(super) fn into_text(self) -> Vec<u8> {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_written_in_the_text_format() {
        let mut page = Page::default();
        let sample = (labels(&[("queue", "a\"b")]), 3.0);
        page.family("x_total", "Some.", Kind::Counter, [sample]);
        page.one("y", "Others.", Kind::Gauge, 12_345_678_901.0);
        page.family("none", "None.", Kind::Gauge, []);
        page.histogram(
            "h",
            "Sizes.",
            Labels::new(),
            [1.0, 2.0].into_iter(),
            (&[1, 2, 3], 9.5),
        );
        let text = String::from_utf8(page.into_text()).unwrap();
        let expected = "# HELP x_total Some.\n# TYPE x_total counter\nx_total{queue=\"a\\\"b\"} 3\n\
            # HELP y Others.\n# TYPE y gauge\ny 12345678901\n\
            # HELP h Sizes.\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 3\n\
            h_bucket{le=\"+Inf\"} 6\nh_sum 9.5\nh_count 6\n";
        assert_eq!(text, expected);
    }
}
