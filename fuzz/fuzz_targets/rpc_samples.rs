//! Samples between nodes: a decoder survives any sequence of batches, within bounded memory.
#![no_main]

use gyre::rpc::samples::{Decoder, SAMPLES_PER_BATCH_MAX, SampleBatch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|batches: Vec<&[u8]>| {
    let (mut decoder, mut batch) = (Decoder::new(1000), SampleBatch::default());
    for bytes in batches {
        if decoder.decode(bytes, &mut batch).is_err() {
            return;
        }
        assert!(decoder.series_ids() <= 1000);
        assert!(batch.samples.len() <= SAMPLES_PER_BATCH_MAX);
        let is_in_batch = |place: u32| (place as usize) < batch.series.len();
        assert!(batch.samples.iter().all(|sample| is_in_batch(sample.series)));
        for sample in &batch.histograms {
            assert!(is_in_batch(sample.series));
            batch.histogram(sample);
        }
        for series in &batch.series {
            batch.labels(series);
        }
    }
});
