//! The naive evaluator's arithmetic.

use gyre_promql::syntax::ast::ExtendedRange;
use gyre_promql::syntax::{AggregateOp, Function};

use crate::dates::date;
use crate::ranges::{FloatWindow, Window};

/// Neumaier's sum, with the compensation dropped when the sum overflows.
#[derive(Default)]
pub struct Sum {
    pub total: f64,
    pub lost: f64,
}

impl Sum {
    pub fn add(&mut self, value: f64) {
        let next = self.total + value;
        self.lost = if next.is_infinite() {
            0.0
        } else if self.total.abs() >= value.abs() {
            self.lost + ((self.total - next) + value)
        } else {
            self.lost + ((value - next) + self.total)
        };
        self.total = next;
    }

    fn get(&self) -> f64 {
        self.total + self.lost
    }
}

fn average(values: &[f64]) -> f64 {
    let mut sum = Sum { total: values[0], lost: 0.0 };
    let mut count = 1.0;
    let mut running = false;
    for &value in &values[1..] {
        count += 1.0;
        if !running {
            let mut next = Sum { total: sum.total, lost: sum.lost };
            next.add(value);
            if !next.total.is_infinite() {
                sum = next;
                continue;
            }
            running = true;
            sum.total /= count - 1.0;
            sum.lost /= count - 1.0;
        }
        let share = (count - 1.0) / count;
        sum.total *= share;
        sum.lost *= share;
        sum.add(value / count);
    }
    if running { sum.get() } else { sum.total / count + sum.lost / count }
}

fn quantile(q: f64, values: &[f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_nan()).collect();
    let mut numbers: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    numbers.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    sorted.extend(numbers);
    let rank = q * (sorted.len() as f64 - 1.0);
    let low = rank.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    let weight = rank - rank.floor();
    sorted[low] * (1.0 - weight) + sorted[high] * weight
}

fn best(values: &[f64], better: impl Fn(f64, f64) -> bool) -> usize {
    let mut best = 0;
    for (i, &value) in values.iter().enumerate() {
        if better(value, values[best]) || values[best].is_nan() {
            best = i;
        }
    }
    best
}

fn regression(window: &FloatWindow, intercept: i64) -> (f64, f64) {
    let first = window.samples[0].1;
    if window.samples.iter().all(|(_, value)| *value == first) || (window.samples.len() == 1) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x, mut y, mut xy, mut xx) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for &(time, value) in &window.samples {
        let seconds = (time - intercept) as f64 / 1000.0;
        x.add(seconds);
        y.add(value);
        xy.add(seconds * value);
        xx.add(seconds * seconds);
    }
    let n = window.samples.len() as f64;
    let slope = (xy.get() - x.get() * y.get() / n) / (xx.get() - x.get() * x.get() / n);
    (slope, y.get() / n - slope * x.get() / n)
}

fn rate(window: &FloatWindow, range: i64, is_counter: bool, is_rate: bool) -> Option<f64> {
    let samples = &window.samples;
    let n = samples.len();
    if n < 2 {
        return None;
    }
    let (first, last) = (samples[0], samples[n - 1]);
    let mut change = last.1 - first.1;
    if is_counter {
        for i in 1..n {
            if samples[i].1 < samples[i - 1].1 {
                change += samples[i - 1].1;
            }
        }
    }
    let mut to_start = (first.0 - window.start) as f64 / 1000.0;
    let mut to_end = (window.end - last.0) as f64 / 1000.0;
    let sampled = (last.0 - first.0) as f64 / 1000.0;
    let average = sampled / (n - 1) as f64;
    let near = average * 1.1;
    if to_start >= near {
        to_start = average / 2.0;
    }
    if is_counter && change > 0.0 && first.1 >= 0.0 {
        to_start = to_start.min(sampled * (first.1 / change));
    }
    if to_end >= near {
        to_end = average / 2.0;
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if is_rate {
        factor /= range as f64 / 1000.0;
    }
    Some(change * factor)
}

/// The value of a function over the floats of a window, of which there is at least one.
pub fn float_value(
    func: Function,
    window: &FloatWindow,
    range: i64,
    time: i64,
    params: &[f64],
) -> Result<Option<f64>, String> {
    use Function as F;
    let samples = &window.samples;
    let values: Vec<f64> = samples.iter().map(|(_, value)| *value).collect();
    let seconds = |i: usize| samples[i].0 as f64 / 1000.0;
    let n = values.len();
    Ok(Some(match func {
        F::Rate => return Ok(rate(window, range, true, true)),
        F::Increase => return Ok(rate(window, range, true, false)),
        F::Delta => return Ok(rate(window, range, false, false)),
        F::SumOverTime => {
            let mut sum = Sum::default();
            values.iter().for_each(|value| sum.add(*value));
            if sum.total.is_infinite() { sum.total } else { sum.get() }
        }
        F::AvgOverTime => average(&values),
        F::MinOverTime => values[best(&values, |a, b| a < b)],
        F::MaxOverTime => values[best(&values, |a, b| a > b)],
        F::TsOfMinOverTime => seconds(best(&values, |a, b| a <= b)),
        F::TsOfMaxOverTime => seconds(best(&values, |a, b| a >= b)),
        F::StddevOverTime | F::StdvarOverTime => {
            let (mut mean, mut squares) = (Sum::default(), Sum::default());
            for (i, value) in values.iter().enumerate() {
                let delta = value - mean.get();
                mean.add(delta / (i + 1) as f64);
                squares.add(delta * (value - mean.get()));
            }
            let variance = squares.get() / n as f64;
            if func == F::StddevOverTime { variance.sqrt() } else { variance }
        }
        F::QuantileOverTime => quantile(params[0], &values),
        F::MadOverTime => {
            if values.iter().any(|value| value.is_nan()) {
                f64::NAN
            } else {
                let median = quantile(0.5, &values);
                let distances: Vec<f64> = values.iter().map(|value| (value - median).abs()).collect();
                quantile(0.5, &distances)
            }
        }
        F::Deriv if n < 2 => return Ok(None),
        F::PredictLinear if n < 2 => return Ok(None),
        F::Deriv => regression(window, samples[0].0).0,
        F::PredictLinear => {
            let (slope, intercept) = regression(window, time);
            slope * params[0] + intercept
        }
        F::DoubleExponentialSmoothing => {
            let (sf, tf) = (params[0], params[1]);
            if !(sf > 0.0 && sf < 1.0 && tf > 0.0 && tf < 1.0) {
                return Err("invalid factor".to_owned());
            }
            if n < 2 {
                return Ok(None);
            }
            let (mut previous, mut level) = (0.0, values[0]);
            let mut trend = values[1] - values[0];
            for (i, value) in values.iter().enumerate().skip(1) {
                if i > 1 {
                    trend = tf * (level - previous) + (1.0 - tf) * trend;
                }
                let next = sf * value + (1.0 - sf) * (level + trend);
                previous = level;
                level = next;
            }
            level
        }
        other => return Err(format!("{} is not known here", other.name())),
    }))
}

/// An aggregation of the values of a group.
pub fn aggregate(op: AggregateOp, values: &[f64], param: f64) -> Result<f64, String> {
    use AggregateOp as A;
    Ok(match op {
        A::Sum => {
            let mut sum = Sum::default();
            values.iter().for_each(|value| sum.add(*value));
            sum.get()
        }
        A::Avg => average(values),
        A::Count => values.len() as f64,
        A::Group => 1.0,
        A::Min => values[best(values, |a, b| a < b)],
        A::Max => values[best(values, |a, b| a > b)],
        A::Quantile => quantile(param, values),
        A::Stddev | A::Stdvar => {
            let mut mean = values[0];
            let mut squares = if values[0].is_finite() { 0.0 } else { f64::NAN };
            for (i, value) in values.iter().enumerate().skip(1) {
                let delta = value - mean;
                mean += delta / (i + 1) as f64;
                squares += delta * (value - mean);
            }
            let variance = squares / values.len() as f64;
            if op == A::Stddev { variance.sqrt() } else { variance }
        }
        other => return Err(format!("{} is not known here", other.as_str())),
    })
}

/// A function of one number.
pub fn float_function(func: Function) -> Option<fn(f64) -> f64> {
    use Function as F;
    Some(match func {
        F::Abs => f64::abs,
        F::Ceil => f64::ceil,
        F::Floor => f64::floor,
        F::Exp => f64::exp,
        F::Sqrt => f64::sqrt,
        F::Ln => f64::ln,
        F::Log2 => f64::log2,
        F::Log10 => f64::log10,
        F::Sgn => |value| if value == 0.0 || value.is_nan() { value } else { value.signum() },
        F::Deg => |value| value * 180.0 / std::f64::consts::PI,
        F::Rad => |value| value * std::f64::consts::PI / 180.0,
        F::Sin => f64::sin,
        F::Cos => f64::cos,
        F::Tan => f64::tan,
        F::Asin => f64::asin,
        F::Acos => f64::acos,
        F::Atan => f64::atan,
        F::Sinh => f64::sinh,
        F::Cosh => f64::cosh,
        F::Tanh => f64::tanh,
        F::Asinh => f64::asinh,
        F::Acosh => f64::acosh,
        F::Atanh => f64::atanh,
        F::DayOfWeek => |value| date(value).weekday,
        F::DayOfMonth => |value| date(value).day,
        F::DayOfYear => |value| date(value).day_of_year,
        F::DaysInMonth => |value| date(value).days_in_month,
        F::Month => |value| date(value).month,
        F::Year => |value| date(value).year,
        F::Minute => |value| {
            if value.is_finite() { (value as i64).rem_euclid(3600).div_euclid(60) as f64 } else { 0.0 }
        },
        F::Hour => |value| {
            if value.is_finite() { (value as i64).rem_euclid(86400).div_euclid(3600) as f64 } else { 0.0 }
        },
        _ => return None,
    })
}

/// A function of an `anchored` or `smoothed` range of floats.
pub fn extended(func: Function, window: &Window, range: i64, extended: ExtendedRange) -> Option<f64> {
    let all: Vec<(i64, f64)> =
        window.samples.iter().filter_map(|(time, value)| Some((*time, value.float()?))).collect();
    let (start, end) = (window.start, window.end);
    let before = all.iter().rfind(|(time, _)| *time <= start);
    let inside: Vec<(i64, f64)> =
        all.iter().copied().filter(|(time, _)| *time > start && *time <= end).collect();
    let is_counter = func != Function::Delta;
    if matches!(func, Function::Changes | Function::Resets) {
        if inside.is_empty() {
            return None;
        }
        let values: Vec<f64> = before.into_iter().chain(&inside).map(|(_, value)| *value).collect();
        let counted = values.windows(2).filter(|pair| match func {
            Function::Resets => pair[1] < pair[0],
            _ => pair[0] != pair[1] && !(pair[0].is_nan() && pair[1].is_nan()),
        });
        return Some(counted.count() as f64);
    }
    let between = |a: (i64, f64), b: (i64, f64), at: i64| {
        let low = if is_counter && b.1 < a.1 { 0.0 } else { a.1 };
        low + (b.1 - low) * (at - a.0) as f64 / (b.0 - a.0) as f64
    };
    let after = all.iter().find(|(time, _)| *time > start);
    let (left, right, middle) = match extended {
        ExtendedRange::Anchored => {
            let last = *inside.last()?;
            let left = before.copied().unwrap_or(inside[0]);
            // The first sample is its own left end; the last is the right one if it stands at the end.
            let upto = inside.len() - usize::from(last.0 >= end);
            (left.1, last.1, inside[..upto].to_vec())
        }
        ExtendedRange::Smoothed => {
            let after = *after?;
            if before.is_none() && after.0 > end {
                return None;
            }
            let left = match before {
                Some(&before) if before.0 < start => between(before, after, start),
                Some(before) => before.1,
                None => after.1,
            };
            let upto = all.iter().position(|(time, _)| *time >= end);
            let right = match upto {
                Some(at) if all[at].0 > end && at > 0 => between(all[at - 1], all[at], end),
                Some(at) => all[at].1,
                None => all.last()?.1,
            };
            let middle = all.iter().copied().filter(|(time, _)| *time > start && *time < end).collect();
            (left, right, middle)
        }
    };
    let mut change = right - left;
    if is_counter {
        let (mut previous, mut lost) = (left, 0.0);
        for value in middle.iter().map(|(_, value)| *value).chain([right]) {
            if value < previous {
                lost += previous;
            }
            previous = value;
        }
        change += lost;
    }
    Some(if func == Function::Rate { change / (range as f64 / 1000.0) } else { change })
}
