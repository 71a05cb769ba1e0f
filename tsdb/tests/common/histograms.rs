//! Histograms by a seed, so that a test's model needs to keep one number of each.

use gyre_tsdb::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterReset, Histogram, Kind, STALE_NAN, Side, Span};

/// Seeds below are steps of one histogram that grows, and gets more buckets, without a reset.
pub const STEPS: u64 = 1 << 32;

/// Whether a sample of a test is a histogram: in series whose name begins with `h`, and in series whose name
/// begins with `x` if its number is odd.
pub fn is_histogram(name: &str, value: u64) -> bool {
    name.starts_with('h') || (name.starts_with('x') && value % 2 == 1)
}

/// The histogram of a seed. Its sum is the seed, so no two are equal.
pub fn histogram(seed: u64) -> Histogram {
    if seed == STALE_NAN {
        return Histogram::stale(Kind::Integer);
    }
    let mut histogram = if seed < STEPS { step(seed) } else { other(seed) };
    histogram.sum = seed;
    let counts = histogram.positive.counts.iter().chain(&histogram.negative.counts);
    let buckets = counts.map(|word| histogram.kind.value(*word)).sum::<f64>();
    let count = buckets + histogram.kind.value(histogram.zero_count);
    histogram.count = if histogram.kind == Kind::Integer { count as u64 } else { count.to_bits() };
    assert_eq!(histogram.validate(), Ok(()), "{seed:#x}");
    histogram
}

fn step(step: u64) -> Histogram {
    let buckets = 3 + (step / 20).min(20);
    let counts = (0..buckets).map(|bucket| step * (bucket + 1) + step % (bucket + 1)).collect();
    let positive = Side { spans: vec![Span { offset: -3, length: buckets as u32 }], counts };
    Histogram {
        schema: 3,
        zero_threshold: 1e-128,
        zero_count: step,
        positive,
        negative: side([(2, 2), (0, 0)], |_| step),
        ..Histogram::default()
    }
}

/// Anything.
fn other(seed: u64) -> Histogram {
    let bits = |at: u32, count: u32| seed >> at & ((1 << count) - 1);
    let kind = if bits(0, 1) == 0 { Kind::Integer } else { Kind::Float };
    let word = |value: u64| if kind == Kind::Integer { value } else { (value as f64 / 4.0).to_bits() };
    let counter_reset = match bits(1, 3) {
        0 => CounterReset::Gauge,
        1 => CounterReset::Reset,
        _ => CounterReset::Unknown,
    };
    let spans = [(bits(4, 2) as i32 - 1, bits(6, 2) as u32), (bits(8, 2) as i32, bits(10, 2) as u32)];
    let positive = side(spans, |bucket| word(bits(12 + bucket % 7 * 5, 5)));
    if bits(50, 2) == 0 && spans[0].0 >= 0 {
        let bounds = (1..=13).map(|bound| f64::from(bound) / 8.0).collect();
        let schema = CUSTOM_BUCKETS_SCHEMA;
        return Histogram { kind, counter_reset, schema, positive, bounds, ..Histogram::default() };
    }
    Histogram {
        kind,
        counter_reset,
        schema: bits(52, 2) as i32,
        zero_threshold: [0.0, 0.25, 1e-3, 3.0][bits(54, 2) as usize],
        zero_count: word(bits(56, 8)),
        positive,
        negative: side([(bits(40, 3) as i32 - 4, bits(43, 2) as u32), (1, 1)], |b| word(bits(20 + b, 9))),
        ..Histogram::default()
    }
}

fn side(spans: [(i32, u32); 2], count: impl Fn(u32) -> u64) -> Side {
    let buckets = spans[0].1 + spans[1].1;
    let spans = spans.map(|(offset, length)| Span { offset, length }).to_vec();
    Side { spans, counts: (0..buckets).map(count).collect() }
}
