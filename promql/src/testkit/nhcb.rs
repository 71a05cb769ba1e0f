//! `load_with_nhcb`: classic histograms loaded once more as native ones with custom buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::load::{LoadedSample, LoadedSeries};
use crate::gostd::parse_float;
use crate::histogram::{Buckets, CUSTOM_BUCKETS_SCHEMA, FloatHistogram};
use crate::labels::{BUCKET_LABEL, Labels, LabelsBuilder, METRIC_NAME_LABEL};
use crate::value::SampleValue;

/// The parts of a classic histogram at one time.
#[derive(Default)]
struct Classic {
    /// By upper bound, as ordered bits.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

/// The native histograms of all classic ones among the series.
pub(super) fn native_series(series: &[LoadedSeries]) -> Result<Vec<LoadedSeries>, String> {
    let mut by_labels: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for series in series {
        let name = series.labels.metric_name();
        let Some((base, kind)) =
            ["_bucket", "_sum", "_count"].iter().find_map(|kind| Some((name.strip_suffix(kind)?, *kind)))
        else {
            continue;
        };
        let bound = match (kind, parse_float(series.labels.get(BUCKET_LABEL))) {
            ("_bucket", Ok(bound)) if !bound.is_nan() => bound,
            ("_bucket", _) => continue,
            _ => 0.0,
        };
        let labels =
            LabelsBuilder::new(&series.labels).set(METRIC_NAME_LABEL, base).delete(BUCKET_LABEL).build();
        let by_time = by_labels.entry(labels).or_default();
        for sample in &series.samples {
            let SampleValue::Float(value) = sample.value else { continue };
            let classic = by_time.entry(sample.timestamp_ms).or_default();
            match kind {
                "_bucket" => classic.buckets.push((bound, value)),
                "_sum" => classic.sum = value,
                _ => classic.count = Some(value),
            }
        }
    }
    let mut native = Vec::new();
    for (labels, by_time) in by_labels {
        let mut samples = Vec::new();
        for (timestamp_ms, classic) in by_time {
            let histogram =
                classic.convert().map_err(|error| format!("{labels} at {timestamp_ms}: {error}"))?;
            let value = SampleValue::Histogram(Arc::new(histogram));
            samples.push(LoadedSample { timestamp_ms, start_timestamp_ms: 0, value });
        }
        native.push(LoadedSeries { labels, samples });
    }
    Ok(native)
}

impl Classic {
    fn convert(mut self) -> Result<FloatHistogram, String> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|next, kept| next.0 == kept.0);
        if self.buckets.windows(2).any(|pair| pair[1].1 < pair[0].1) {
            return Err("count is not cumulative".to_owned());
        }
        let count = self.count.or_else(|| self.buckets.last().map(|(_, count)| *count)).unwrap_or(0.0);
        if self.buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        if self.buckets.last().is_some_and(|(_, last)| *last != count) {
            return Err("count mismatch".to_owned());
        }
        let mut positive = Buckets::default();
        let mut previous = 0.0;
        for (index, &(_, cumulative)) in (0..).zip(&self.buckets) {
            positive.push(index, cumulative - previous);
            previous = cumulative;
        }
        positive.compact(None);
        let bounds: Vec<f64> =
            self.buckets.iter().map(|(bound, _)| *bound).filter(|&bound| bound != f64::INFINITY).collect();
        let histogram = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive,
            custom_values: Some(bounds.into()),
            ..FloatHistogram::default()
        };
        histogram.validate().map_err(|error| error.to_string())?;
        Ok(histogram)
    }
}
