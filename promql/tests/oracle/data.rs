//! Random test data: floats. Histograms are in [`histograms`](crate::histogram_data).

use std::collections::BTreeMap;

use crate::histogram_data;
use crate::naive::Val;
use crate::random::Random;

/// Labels of a series, name included.
pub type LabelMap = BTreeMap<String, String>;

/// A series as plain data.
#[derive(Clone, Debug)]
pub struct Series {
    pub labels: LabelMap,
    pub samples: Vec<(i64, Val)>,
}

/// The stale marker.
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

impl Random {
    pub fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }
}

/// Half an hour of counters with resets, gauges with odd values, and classic histograms; with gaps and stale markers.
pub fn generate(random: &mut Random) -> Vec<Series> {
    let mut series = Vec::new();
    for x in ["1", "2", "3"] {
        for y in ["p", "q"] {
            if random.one_in(6) {
                continue;
            }
            for name in ["a_total", "b_total", "g"] {
                let samples = if name == "g" { gauge(random) } else { counter(random, 10.0) };
                series.push(named(&[("__name__", name), ("x", x), ("y", y)], samples));
            }
        }
        let scale = 1.0 + random.below(5) as f64;
        for (i, le) in ["0.5", "1", "5", "+Inf"].iter().enumerate() {
            let samples = counter(random, scale * (i + 1) as f64);
            series.push(named(&[("__name__", "h_bucket"), ("x", x), ("le", le)], samples));
        }
    }
    series.push(named(&[("__name__", "one")], counter(random, 3.0)));
    for (job, value, version) in [("a", "1", "v1"), ("b", "2", "v2")] {
        let samples = gauge(random);
        series.push(named(
            &[("__name__", "target_info"), ("x", value), ("job", job), ("version", version)],
            samples,
        ));
    }
    for job in ["a", "b", "c"] {
        series.push(named(&[("__name__", "j_total"), ("job", job), ("y", "p")], counter(random, 1.0)));
    }
    series.extend(histogram_data::generate(random));
    series.retain(|series| !series.samples.is_empty());
    series
}

pub fn named(labels: &[(&str, &str)], samples: Vec<(i64, impl Into<Val>)>) -> Series {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Series { labels, samples: samples.into_iter().map(|(time, value)| (time, value.into())).collect() }
}

pub fn times(random: &mut Random) -> Vec<i64> {
    let interval = [15_000, 30_000, 60_000, 47_000][random.below(4)];
    let from = random.below(600_000) as i64;
    let to = if random.one_in(4) { from + random.below(1_200_000) as i64 } else { 1_800_000 };
    let mut times = Vec::new();
    let mut time = from;
    while time < to {
        if !random.one_in(12) {
            times.push(time);
        }
        time += interval + if random.one_in(3) { random.below(3000) as i64 } else { 0 };
    }
    times
}

pub fn counter(random: &mut Random, speed: f64) -> Vec<(i64, f64)> {
    let mut value = random.below(100) as f64;
    let mut samples = Vec::new();
    for time in times(random) {
        value =
            if random.one_in(25) { random.below(3) as f64 } else { value + speed * random.below(10) as f64 };
        let stale = random.one_in(40);
        samples.push((time, if stale { STALE } else { value }));
    }
    samples
}

fn gauge(random: &mut Random) -> Vec<(i64, f64)> {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1e300, -1e300, 5e-324];
    let mut samples = Vec::new();
    for time in times(random) {
        let value = match random.below(30) {
            0 => odd[random.below(odd.len())],
            1 => STALE,
            2..=9 => random.below(10) as f64,
            _ => random.below(20_000) as f64 / 100.0 - 100.0,
        };
        samples.push((time, value));
    }
    samples
}
