//! The naive evaluator's functions of ranges that may hold histograms.

use std::rc::Rc;

use gyre_promql::histogram::CounterReset;
use gyre_promql::syntax::Function;

use crate::histogram::Histogram;
use crate::histogram_sum::HistogramSum;
use crate::naive::{Evaluated, Notes, Val};
use crate::over_time;
use crate::ranges::{FloatWindow, Window};

type Point<'w> = &'w (i64, Val);

/// The value of a function over a window with at least one sample.
pub fn value(
    func: Function,
    window: &Window,
    range: i64,
    time: i64,
    params: &[f64],
    notes: &Notes,
) -> Evaluated<Option<Val>> {
    use Function as F;
    if let Some(extended) = window.extended {
        return Ok(over_time::extended(func, window, range, extended).map(Val::Float));
    }
    let samples = &window.samples;
    let n = samples.len();
    let mut floats = FloatWindow { samples: Vec::new(), start: window.start, end: window.end };
    let mut histograms: Vec<(i64, Rc<Histogram>)> = Vec::new();
    for (time, value) in samples {
        match value {
            Val::Float(value) => floats.samples.push((*time, *value)),
            Val::Histogram(histogram) => histograms.push((*time, Rc::clone(histogram))),
        }
    }
    let mixed = !floats.samples.is_empty() && !histograms.is_empty();
    let seconds = |at: usize| Val::Float(samples[at].0 as f64 / 1000.0);
    let last_pair = || (n >= 2).then(|| (&samples[n - 2], &samples[n - 1]));
    Ok(match func {
        F::CountOverTime => Some(Val::Float(n as f64)),
        F::PresentOverTime | F::AbsentOverTime => Some(Val::Float(1.0)),
        F::FirstOverTime => Some(samples[0].1.clone()),
        F::LastOverTime => Some(samples[n - 1].1.clone()),
        F::TsOfFirstOverTime => Some(seconds(0)),
        // Prometheus compares the last float with the last histogram, 0 if there is none.
        F::TsOfLastOverTime if !mixed && samples[n - 1].0 < 0 => Some(Val::Float(0.0)),
        F::TsOfLastOverTime => Some(seconds(n - 1)),
        F::Changes => Some(Val::Float(pairs(samples, |a, b| !equal(a, b)))),
        F::Resets => Some(Val::Float(pairs(samples, |a, b| match (a, b) {
            (Val::Float(a), Val::Float(b)) => b < a,
            (Val::Histogram(a), Val::Histogram(b)) => b.is_reset_since(a),
            _ => true,
        }))),
        F::Irate | F::Idelta => match last_pair() {
            Some((a, b)) => instant_change(func == F::Irate, a, b, notes),
            None => None,
        },
        F::Rate | F::Increase | F::Delta | F::SumOverTime | F::AvgOverTime if mixed => {
            notes.add("mixed range");
            None
        }
        F::Rate | F::Increase | F::Delta if !histograms.is_empty() => {
            let (counter, per_second) = (func != F::Delta, func == F::Rate);
            rate(&histograms, window, range, counter, per_second, notes).map(Val::from)
        }
        F::SumOverTime | F::AvgOverTime if !histograms.is_empty() => {
            let all: Vec<&Histogram> = histograms.iter().map(|(_, histogram)| &**histogram).collect();
            match sum(&all, func == F::AvgOverTime, notes, false) {
                Some(total) => Some(total.into()),
                None => {
                    notes.add("mixed exponential and custom");
                    None
                }
            }
        }
        func => {
            if floats.samples.is_empty() {
                return Ok(None);
            }
            if func == F::QuantileOverTime && !(0.0..=1.0).contains(&params[0]) {
                notes.add("invalid quantile");
            }
            if mixed {
                notes.add("ignored in range");
            }
            over_time::float_value(func, &floats, range, time, params)?.map(Val::Float)
        }
    })
}

fn pairs(samples: &[(i64, Val)], counts: impl Fn(&Val, &Val) -> bool) -> f64 {
    samples.windows(2).filter(|pair| counts(&pair[0].1, &pair[1].1)).count() as f64
}

fn equal(a: &Val, b: &Val) -> bool {
    match (a, b) {
        (Val::Float(a), Val::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
        (Val::Histogram(a), Val::Histogram(b)) => a.same(b),
        _ => false,
    }
}

fn instant_change(is_rate: bool, a: Point<'_>, b: Point<'_>, notes: &Notes) -> Option<Val> {
    let interval = (b.0 - a.0) as f64 / 1000.0;
    match (&a.1, &b.1) {
        (Val::Float(a), Val::Float(b)) => {
            let change = if is_rate && b < a { *b } else { b - a };
            Some(Val::Float(if is_rate { change / interval } else { change }))
        }
        (Val::Histogram(a), Val::Histogram(b)) => {
            let gauges = [a, b].iter().filter(|histogram| histogram.hint == CounterReset::Gauge).count();
            if is_rate && gauges > 0 {
                notes.add("not a counter");
            }
            if !is_rate && gauges < 2 {
                notes.add("not a gauge");
            }
            let mut change = (**b).clone();
            if !is_rate || !b.is_reset_since(a) {
                let Some((difference, added)) = b.plus(a, -1.0) else {
                    notes.add("mixed exponential and custom");
                    return None;
                };
                if added.reconciled {
                    notes.add("mismatched custom buckets");
                }
                change = difference;
            }
            change.hint = CounterReset::Gauge;
            let change = change.compacted();
            Some(if is_rate { change.divided(interval) } else { change }.into())
        }
        _ => {
            notes.add("mixed range");
            None
        }
    }
}

fn rate(
    points: &[(i64, Rc<Histogram>)],
    window: &Window,
    range: i64,
    counter: bool,
    per_second: bool,
    notes: &Notes,
) -> Option<Histogram> {
    let n = points.len();
    if n < 2 {
        return None;
    }
    let increase = histogram_increase(points, counter, notes)?;
    let (first, last) = (points[0].0, points[n - 1].0);
    let sampled = (last - first) as f64 / 1000.0;
    let average = sampled / (n - 1) as f64;
    let near = average * 1.1;
    let mut to_start = (first - window.start) as f64 / 1000.0;
    let mut to_end = (window.end - last) as f64 / 1000.0;
    if to_start >= near {
        to_start = average / 2.0;
    }
    let first_count = points[0].1.count;
    if counter && increase.count > 0.0 && first_count >= 0.0 {
        let to_zero = sampled * (first_count / increase.count);
        if to_zero < to_start {
            to_start = to_zero;
        }
    }
    if to_end >= near {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= range as f64 / 1000.0;
    }
    Some(increase.times(factor))
}

fn histogram_increase(points: &[(i64, Rc<Histogram>)], counter: bool, notes: &Notes) -> Option<Histogram> {
    let all: Vec<&Histogram> = points.iter().map(|(_, histogram)| &**histogram).collect();
    let (last, second) = (all[all.len() - 1], all[1]);
    let is_gauge = |histogram: &&Histogram| histogram.hint == CounterReset::Gauge;
    let mut before = all[0].clone();
    if counter && second.is_reset_since(&before) {
        // The first is not looked at, its layout neither.
        before = Histogram {
            hint: CounterReset::Unknown,
            schema: second.schema,
            bounds: second.bounds.clone(),
            threshold: 0.0,
            ..before.scaled(|_| 0.0, false)
        };
        before.positive.clear();
        before.negative.clear();
    }
    // A failure takes the other annotations with it, but for those about the ends.
    if counter && (is_gauge(&all[0]) || is_gauge(&last)) {
        notes.add("not a counter");
    }
    let custom = before.is_custom();
    if last.is_custom() != custom {
        notes.add("mixed exponential and custom");
        return None;
    }
    let mut schema = last.schema.min(before.schema);
    let inner = &all[1..all.len() - 1];
    if counter {
        if inner.iter().any(|histogram| histogram.is_custom() != custom) {
            notes.add("mixed exponential and custom");
            notes.forgives("not a counter");
            return None;
        }
        if inner.iter().any(is_gauge) {
            notes.add("not a counter");
        }
        schema = inner.iter().map(|histogram| histogram.schema).fold(schema, i32::min);
    }
    let mut increase = last.at_schema(schema);
    let mut add = |other: &Histogram, sign: f64| {
        let Some((sum, added)) = increase.plus(other, sign) else { return };
        increase = sum;
        if added.reconciled {
            notes.add("mismatched custom buckets");
        }
    };
    add(&before, -1.0);
    if counter {
        for now in &all[1..] {
            if now.is_reset_since(&before) {
                add(&before, 1.0);
            }
            before = (*now).clone();
        }
    } else if !is_gauge(&all[0]) || !is_gauge(&last) {
        notes.add("not a gauge");
    }
    increase.hint = CounterReset::Gauge;
    Some(increase.compacted())
}

/// The compensated sum or mean of histograms; `None` if exponential and custom ones meet, of which nothing else is told
/// but in aggregations. Not yet compacted.
pub fn sum(all: &[&Histogram], mean: bool, notes: &Notes, aggregation: bool) -> Option<Histogram> {
    let mut sum = HistogramSum::new(all[0]);
    let (mut reconciled, mut failed) = (false, false);
    for histogram in &all[1..] {
        match sum.add(histogram) {
            Some(added) => reconciled |= added.reconciled,
            None => {
                failed = true;
                break;
            }
        }
    }
    if reconciled && (aggregation || !failed) {
        notes.add("mismatched custom buckets");
    }
    if failed {
        return None;
    }
    let seen = |hint: CounterReset| all.iter().any(|histogram| histogram.hint == hint);
    if seen(CounterReset::Reset) && seen(CounterReset::NotReset) {
        notes.add("counter reset collision");
    }
    if mean {
        sum = sum.divided(all.len() as f64);
    }
    Some(sum.total())
}
