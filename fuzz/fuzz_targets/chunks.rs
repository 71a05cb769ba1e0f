//! Chunks of any bytes: both ways of decoding a chunk of floats agree, and what is decoded encodes to a chunk of the same
//! samples. Chunks of histograms decode or are refused; what resumes writing one has its samples counted right.
#![no_main]

use gyre_tsdb::chunk::{histogram, xor};
use gyre_tsdb::histogram::Kind;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|chunk: &[u8]| {
    floats(chunk);
    histograms(chunk);
});

fn floats(chunk: &[u8]) {
    let mut samples = Vec::new();
    let one_by_one = xor::decode(chunk, |t_ms, value| samples.push((t_ms, value)));
    let (mut times, mut values) = (Vec::new(), Vec::new());
    let at_once = xor::decode_into(chunk, chunk.len(), &mut times, &mut values);
    assert_eq!(one_by_one.is_ok(), at_once.is_ok());
    if one_by_one.is_err() {
        return;
    }
    let values = values.iter().map(|value: &f64| value.to_bits());
    assert!(times.iter().copied().zip(values).eq(samples.iter().copied()));
    assert_eq!(xor::first_time(chunk), samples.first().map(|(t_ms, _)| *t_ms));
    let mut again = Vec::new();
    xor::decode(&xor::encode(&samples), |t_ms, value| again.push((t_ms, value)))
        .expect("it was just encoded");
    assert_eq!(again, samples);
}

fn histograms(chunk: &[u8]) {
    for kind in [Kind::Integer, Kind::Float] {
        let mut times = Vec::new();
        if histogram::decode(chunk, kind, |t_ms, _| times.push(t_ms)).is_err() {
            continue;
        }
        assert_eq!(histogram::first_time(chunk), times.first().copied());
        if let Ok(encoder) = histogram::Encoder::resume(chunk, kind) {
            assert_eq!((usize::from(encoder.samples()), Some(&encoder.t_ms())), (times.len(), times.last()));
        }
    }
}
