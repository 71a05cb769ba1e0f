//! Stored histograms as the engine computes with them.

use gyre_promql::histogram::{Buckets, CounterReset, FloatHistogram, Span};
use gyre_tsdb::histogram::{self as stored, CUSTOM_BUCKETS_SCHEMA, Histogram, Kind, Side};

/// A histogram with float counts.
pub(super) fn float_histogram(histogram: &Histogram) -> FloatHistogram {
    let kind = histogram.kind;
    FloatHistogram {
        counter_reset: match histogram.counter_reset {
            stored::CounterReset::Unknown => CounterReset::Unknown,
            stored::CounterReset::Reset => CounterReset::Reset,
            stored::CounterReset::NotReset => CounterReset::NotReset,
            stored::CounterReset::Gauge => CounterReset::Gauge,
        },
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: kind.value(histogram.zero_count),
        count: kind.value(histogram.count),
        sum: f64::from_bits(histogram.sum),
        positive: buckets(&histogram.positive, kind),
        negative: buckets(&histogram.negative, kind),
        // One allocation for all samples of a chunk.
        custom_values: (histogram.schema == CUSTOM_BUCKETS_SCHEMA).then(|| histogram.bounds.clone()),
    }
}

fn buckets(side: &Side, kind: Kind) -> Buckets {
    let span = |span: &stored::Span| Span { offset: span.offset, length: span.length };
    let spans: Vec<Span> = side.spans.iter().map(span).collect();
    let counts: Vec<f64> = side.counts.iter().map(|word| kind.value(*word)).collect();
    Buckets::from_spans(&spans, &counts)
}
