//! Series descriptions, expanded to samples.

use std::sync::Arc;

use crate::histogram::{Buckets, CounterReset, FloatHistogram, Span};
use crate::labels::Labels;
use crate::syntax::series_desc::{
    HistogramDescription, HistogramStep, ResetHint, SeriesDescription, SeriesItem, StartTimestampItem,
    StartTimestamps,
};
use crate::value::SampleValue;

/// A series to be stored.
#[derive(Clone, Debug)]
pub struct LoadedSeries {
    /// Its labels.
    pub labels: Labels,
    /// Its samples, in time order.
    pub samples: Vec<LoadedSample>,
}

/// A sample to be stored.
#[derive(Clone, Debug)]
pub struct LoadedSample {
    /// Milliseconds.
    pub timestamp_ms: i64,
    /// When the sample's counter started, milliseconds; 0 if unknown.
    pub start_timestamp_ms: i64,
    /// The value.
    pub value: SampleValue,
}

/// A value of a sequence.
#[derive(Clone, Debug)]
pub(super) struct SequenceValue {
    /// `None` for a left-out sample.
    pub value: Option<SampleValue>,
    /// The counter reset hint was written, so it is to be compared.
    pub hint_given: bool,
}

/// The values of a description.
pub(super) fn expand(description: &SeriesDescription) -> Result<Vec<SequenceValue>, String> {
    let mut values = Vec::new();
    for item in &description.items {
        match item {
            SeriesItem::Omitted { count } => {
                values.extend((0..*count).map(|_| SequenceValue { value: None, hint_given: false }));
            }
            SeriesItem::Float { first, step, repeats } => {
                let mut value = *first;
                for _ in 0..=*repeats {
                    values.push(SequenceValue { value: Some(SampleValue::Float(value)), hint_given: false });
                    if let Some(step) = step {
                        value += step;
                    }
                }
            }
            SeriesItem::Histogram { first, step, repeats } => {
                let mut value = histogram(first)?;
                let described = step.as_ref().map_or(first, |(_, step)| step);
                let hint_given = described.reset_hint.is_some();
                let step = match step {
                    Some((direction, step)) => Some((*direction, histogram(step)?)),
                    None => None,
                };
                for i in 0..=*repeats {
                    if let (Some((direction, step)), true) = (&step, i > 0) {
                        let combined = match direction {
                            HistogramStep::Add => value.add(step),
                            HistogramStep::Sub => value.sub(step),
                        };
                        combined.map_err(|error| error.to_string())?;
                    }
                    let value = Some(SampleValue::Histogram(Arc::new(value.clone())));
                    values.push(SequenceValue { value, hint_given });
                }
            }
        }
    }
    Ok(values)
}

fn histogram(description: &HistogramDescription) -> Result<FloatHistogram, String> {
    let small = |value: Option<i64>, what: &str| {
        i32::try_from(value.unwrap_or(0)).map_err(|_| format!("histogram {what} out of range"))
    };
    let buckets = |counts: &Option<Vec<f64>>, offset: i32| {
        let counts = counts.as_deref().unwrap_or(&[]);
        Buckets::from_spans(&[Span { offset, length: counts.len() as u32 }], counts)
    };
    Ok(FloatHistogram {
        counter_reset: match description.reset_hint {
            None | Some(ResetHint::Unknown) => CounterReset::Unknown,
            Some(ResetHint::Reset) => CounterReset::Reset,
            Some(ResetHint::NotReset) => CounterReset::NotReset,
            Some(ResetHint::Gauge) => CounterReset::Gauge,
        },
        schema: small(description.schema, "schema")?,
        zero_threshold: description.zero_threshold.unwrap_or(0.0),
        zero_count: description.zero_count.unwrap_or(0.0),
        count: description.count.unwrap_or(0.0),
        sum: description.sum.unwrap_or(0.0),
        positive: buckets(&description.positive_buckets, small(description.positive_offset, "offset")?),
        negative: buckets(&description.negative_buckets, small(description.negative_offset, "n_offset")?),
        custom_values: description.custom_values.as_deref().map(Into::into),
    })
}

/// The samples of a described series, `step_ms` apart from time 0 on.
pub(super) fn samples(
    description: &SeriesDescription,
    starts: Option<&StartTimestamps>,
    step_ms: i64,
) -> Result<LoadedSeries, String> {
    let values = expand(description)?;
    let starts = starts.map(start_offsets);
    if let Some(starts) = &starts
        && starts.len() != values.len()
    {
        return Err(format!("@st line has {} values but sample line has {}", starts.len(), values.len()));
    }
    let mut samples = Vec::new();
    for (i, value) in values.into_iter().enumerate() {
        let timestamp_ms = i as i64 * step_ms;
        let start = starts.as_ref().and_then(|starts| starts[i]);
        let start_timestamp_ms = start.map_or(0, |offset_ms| timestamp_ms + offset_ms);
        if let Some(value) = value.value {
            samples.push(LoadedSample { timestamp_ms, start_timestamp_ms, value });
        }
    }
    Ok(LoadedSeries { labels: labels(description), samples })
}

/// The labels of a described series.
pub(super) fn labels(description: &SeriesDescription) -> Labels {
    Labels::from_pairs(description.labels.iter().map(|(name, value)| (name, value)))
}

fn start_offsets(starts: &StartTimestamps) -> Vec<Option<i64>> {
    let mut offsets = Vec::new();
    for item in &starts.items {
        match *item {
            StartTimestampItem::Omitted { count } => offsets.extend((0..count).map(|_| None)),
            StartTimestampItem::Offset { first_ms, step_ms, repeats } => {
                offsets.extend((0..=repeats as i64).map(|i| Some(first_ms + i * step_ms)));
            }
        }
    }
    offsets
}
