//! Random native histograms: counters with resets, gauges, custom buckets, series of both kinds of sample.

use std::rc::Rc;

use gyre_promql::histogram::{CUSTOM_BUCKETS_SCHEMA, CounterReset};

use crate::data::{self, STALE, Series};
use crate::histogram::{Counts, Histogram};
use crate::naive::Val;
use crate::random::Random;

/// What a series looks like.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Counter,
    Gauge,
    Custom,
}

pub fn generate(random: &mut Random) -> Vec<Series> {
    let mut series = Vec::new();
    for x in ["1", "2"] {
        for y in ["p", "q"] {
            for (name, shape) in [("nh", Shape::Counter), ("ng", Shape::Gauge), ("nc", Shape::Custom)] {
                if random.one_in(5) {
                    continue;
                }
                let samples = samples(random, shape, 0);
                series.push(data::named(&[("__name__", name), ("x", x), ("y", y)], samples));
            }
        }
        // Of both kinds: floats and histograms, exponential and custom ones.
        let shape = if random.one_in(3) { Shape::Custom } else { Shape::Counter };
        let samples = samples(random, shape, 4);
        series.push(data::named(&[("__name__", "mix"), ("x", x)], samples));
    }
    // A native histogram beside the classic one of the same name and labels.
    if random.one_in(2) {
        let samples = samples(random, Shape::Counter, 0);
        series.push(data::named(&[("__name__", "h_bucket"), ("x", "1")], samples));
    }
    series.iter_mut().for_each(|series| set_hints(&mut series.samples));
    series
}

/// One in `floats_one_in` samples is a float, if that is not 0.
fn samples(random: &mut Random, shape: Shape, floats_one_in: usize) -> Vec<(i64, Val)> {
    let mut state = empty(random, shape);
    let mut samples = Vec::new();
    for time in data::times(random) {
        if floats_one_in > 0 && random.one_in(floats_one_in) {
            samples.push((time, Val::Float(random.below(50) as f64)));
            continue;
        }
        match random.below(40) {
            0 => {
                samples.push((time, Val::Float(STALE)));
                continue;
            }
            1 => {
                let mut stale = state.clone();
                stale.sum = STALE;
                samples.push((time, stale.into()));
                continue;
            }
            // A reset, or a new layout.
            2 | 3 => state = empty(random, shape),
            4 if floats_one_in > 0 => {
                state = empty(random, if shape == Shape::Custom { Shape::Counter } else { Shape::Custom })
            }
            _ => {}
        }
        if shape == Shape::Gauge {
            state = empty(random, shape);
        }
        observe(random, &mut state);
        samples.push((time, state.clone().into()));
    }
    samples
}

fn empty(random: &mut Random, shape: Shape) -> Histogram {
    let bounds: &[f64] = match random.below(4) {
        _ if shape != Shape::Custom => &[],
        0 => &[0.5, 1.0, 5.0],
        1 => &[1.0, 5.0, 10.0],
        2 => &[-1.0, 1.0, 2.5],
        _ => &[0.5, 1.0, 5.0, 10.0],
    };
    Histogram {
        hint: if shape == Shape::Gauge { CounterReset::Gauge } else { CounterReset::Unknown },
        schema: if shape == Shape::Custom { CUSTOM_BUCKETS_SCHEMA } else { random.below(5) as i32 - 1 },
        threshold: if shape == Shape::Custom { 0.0 } else { [0.0, 0.001, 0.25, 1.0][random.below(4)] },
        zero: 0.0,
        count: 0.0,
        sum: 0.0,
        positive: Counts::new(),
        negative: Counts::new(),
        bounds: bounds.to_vec(),
    }
}

/// Adds some observations.
fn observe(random: &mut Random, state: &mut Histogram) {
    for _ in 0..random.below(5) {
        let count = (1 + random.below(4)) as f64;
        if state.is_custom() {
            let index = random.below(state.bounds.len() + 1) as i32;
            *state.positive.entry(index).or_insert(0.0) += count;
            state.sum += count * (index as f64 - 1.0);
        } else {
            match random.below(6) {
                0 => {
                    state.zero += count;
                }
                // Buckets inside the zero bucket would be invalid.
                1 => {
                    let index = 1 + random.below(4) as i32;
                    *state.negative.entry(index).or_insert(0.0) += count;
                    state.sum -= count;
                }
                _ => {
                    let index = 1 + random.below(8) as i32;
                    *state.positive.entry(index).or_insert(0.0) += count;
                    state.sum += count * 1.5;
                }
            }
        }
        state.count += count;
    }
    if random.one_in(60) {
        state.count += 1.0;
        state.sum = f64::NAN;
    }
}

/// The hints a storage gives: only the first histogram of a chunk is unknown, and a chunk has no reset inside.
fn set_hints(samples: &mut [(i64, Val)]) {
    for at in 0..samples.len() {
        let Val::Histogram(histogram) = &samples[at].1 else { continue };
        if histogram.hint == CounterReset::Gauge {
            continue;
        }
        let before = match at.checked_sub(1).map(|before| &samples[before].1) {
            Some(Val::Histogram(before)) => Rc::clone(before),
            _ => continue,
        };
        let stale = |histogram: &Histogram| Val::Float(histogram.sum).is_stale();
        let unhinted = Histogram { hint: CounterReset::Unknown, ..(**histogram).clone() };
        let same_layout = histogram.schema == before.schema
            && histogram.threshold == before.threshold
            && histogram.bounds == before.bounds;
        if before.hint != CounterReset::Gauge
            && (stale(histogram) || (!stale(&before) && same_layout && !unhinted.is_reset_since(&before)))
        {
            let hinted = Histogram { hint: CounterReset::NotReset, ..unhinted };
            samples[at].1 = hinted.into();
        }
    }
}
