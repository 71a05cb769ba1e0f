//! The remote write decoder never panics, and accepts what prost accepts.
#![no_main]

use gyre::api::push::decode::WriteBatch;
use gyre::api::push::histogram::decode;
use gyre::api::push::pool::BatchPool;
use gyre::tenant::canonical::raw_labels;
use libfuzzer_sys::fuzz_target;
use prost::Message;

#[path = "../../tests/support/remote_write.rs"]
mod remote_write;

fuzz_target!(|message: &[u8]| {
    let pool = BatchPool::new(1, 1 << 20);
    let ours = WriteBatch::decode_plain(&pool, message).ok().filter(|batch| {
        // Labels are left to the validation of new series, which the oracle does at once.
        batch.series.iter().all(|series| raw_labels(batch.label_fields(series)).all(|label| label.is_ok()))
    });
    let oracle = remote_write::WriteRequest::decode(message).ok();
    assert_eq!(ours.is_some(), oracle.is_some());
    if let (Some(ours), Some(oracle)) = (ours, oracle) {
        assert_eq!(ours.series.len(), oracle.timeseries.len());
        let samples = oracle.timeseries.iter().flat_map(|series| &series.samples);
        assert!(
            ours.samples
                .iter()
                .map(|sample| (sample.t_ms, sample.v_bits))
                .eq(samples.map(|sample| (sample.timestamp, sample.value.to_bits())))
        );
        let histograms = oracle.timeseries.iter().flat_map(|series| &series.histograms);
        let ours = ours.histograms.iter().map(|histogram| {
            let (t_ms, histogram) = decode(ours.histogram_message(histogram)).expect("the request was scanned");
            // Neither may panic, whatever the histogram holds.
            if histogram.validate().is_ok() {
                histogram.clone().reduce_to_buckets(8);
            }
            (t_ms, histogram.sum, histogram.schema)
        });
        assert!(ours.eq(histograms.map(|h| (h.timestamp, h.sum.to_bits(), h.schema))));
    }
});
