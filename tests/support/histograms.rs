//! Native histograms to write.

use crate::remote_write::{BucketSpan, Count, Histogram, Label, TimeSeries, ZeroCount};

/// A series of histograms with these labels.
pub fn histogram_series(labels: &[(&str, &str)], histograms: Vec<Histogram>) -> TimeSeries {
    let label = |(name, value): &(&str, &str)| Label { name: (*name).into(), value: (*value).into() };
    TimeSeries { labels: labels.iter().map(label).collect(), histograms, ..Default::default() }
}

/// An integer histogram of schema 0 with buckets from an index on, by their counts.
pub fn integers(timestamp: i64, first_bucket: i32, counts: &[u64], sum: f64) -> Histogram {
    let mut left = 0;
    let delta = |count: &u64| {
        let delta = *count as i64 - left;
        left = *count as i64;
        delta
    };
    Histogram {
        count: Some(Count::Int(counts.iter().sum())),
        sum,
        zero_threshold: 1e-3,
        zero_count: Some(ZeroCount::Int(0)),
        positive_deltas: counts.iter().map(delta).collect(),
        positive_spans: vec![BucketSpan { offset: first_bucket, length: counts.len() as u32 }],
        timestamp,
        ..Default::default()
    }
}

/// The same with float counts.
pub fn floats(timestamp: i64, first_bucket: i32, counts: &[f64], sum: f64) -> Histogram {
    Histogram {
        count: Some(Count::Float(counts.iter().sum())),
        sum,
        zero_threshold: 1e-3,
        zero_count: Some(ZeroCount::Float(0.0)),
        positive_counts: counts.to_vec(),
        positive_spans: vec![BucketSpan { offset: first_bucket, length: counts.len() as u32 }],
        timestamp,
        ..Default::default()
    }
}
