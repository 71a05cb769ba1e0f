//! Whether two answers are the same, and what rounding may do to them.
//!
//! Sums depend on the order of the series, which is nobody's promise: each may be off by [`ROUNDING`], relative to itself
//! and, as what it adds up may cancel, to the sum of what it adds up (a mean or deviation: to the largest of it). What that
//! does to an answer depends on what is computed of the sums: the sines of two large ones have no digit in common. So
//! where two answers differ by more than [`ROUNDING`], the query is evaluated with each sum changed by as much, and the
//! answers may differ by what that changes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use gyre_promql::syntax::ast::AggregateExpr;
use gyre_promql::syntax::{AggregateOp, Expr};
use gyre_promql::value::{SampleValue, Value};

use crate::histogram::{Counts, Histogram};
use crate::naive::Val;

/// Relative error of a sum.
pub const ROUNDING: f64 = 1e-12;

/// Values by labels and time.
pub type Points = BTreeMap<(String, i64), Val>;

/// The values of an answer.
pub fn engine_points(value: &Value) -> Points {
    let mut points = Points::new();
    match value {
        Value::Scalar { timestamp_ms, value } => {
            points.insert((String::new(), *timestamp_ms), Val::Float(*value));
        }
        Value::Vector(samples) => {
            for sample in samples {
                points.insert((sample.labels.to_string(), sample.timestamp_ms), of_engine(&sample.value));
            }
        }
        Value::Matrix(series) => {
            for series in series {
                let labels = series.labels.to_string();
                points
                    .extend(series.floats().map(|(time, value)| ((labels.clone(), time), Val::Float(value))));
                points.extend(series.histograms().iter().map(|(time, histogram)| {
                    ((labels.clone(), *time), Histogram::of_engine(histogram).into())
                }));
            }
        }
        Value::String { .. } => {}
    }
    points
}

pub fn of_engine(value: &SampleValue) -> Val {
    match value {
        SampleValue::Float(value) => Val::Float(*value),
        SampleValue::Histogram(histogram) => Histogram::of_engine(histogram).into(),
    }
}

/// Whether the value depends on the order of series, which is nobody's promise: of `min`, `max` and
/// `quantile` the sign of 0 does.
pub fn adds_up_series(expr: &Expr) -> bool {
    use AggregateOp as A;
    let adds_up = matches!(
        expr,
        Expr::Aggregate(aggregate) if matches!(aggregate.op, A::Sum | A::Avg | A::Stddev | A::Stdvar | A::Min | A::Max | A::Quantile)
    );
    adds_up || expr.children().any(adds_up_series)
}

/// The query with each sum changed by [`ROUNDING`]: relative to itself, and also to what it adds up, up and down.
pub fn with_changed_sums(query: &str, expr: &Expr) -> [String; 4] {
    let mut sums = Vec::new();
    find_sums(expr, &mut sums);
    [(ROUNDING, 0.0), (-ROUNDING, 0.0), (ROUNDING, ROUNDING), (-ROUNDING, -ROUNDING)].map(|(own, all)| {
        // From the back, so that positions in front stay right; of sums in sums the inner end comes first.
        let mut edits: Vec<(usize, String)> = Vec::new();
        for sum in &sums {
            edits.push((sum.span.start as usize, "((".to_owned()));
            let more =
                if all == 0.0 { String::new() } else { format!(" + {all:?} * {}", magnitude(query, sum)) };
            edits.push((sum.span.end as usize, format!(") * {:?}{more})", 1.0 + own)));
        }
        edits.sort_by_key(|(at, _)| Reverse(*at));
        let mut changed = query.to_owned();
        edits.iter().for_each(|(at, text)| changed.insert_str(*at, text));
        changed
    })
}

/// How large the floats are that an aggregation adds up.
fn magnitude(query: &str, sum: &AggregateExpr) -> String {
    let same = |op: &str| {
        let text = &query[sum.span.start as usize..sum.span.end as usize];
        text.replacen(sum.op.as_str(), op, 1)
    };
    let largest = format!("(abs({}) + abs({}))", same("max"), same("min"));
    match sum.op {
        AggregateOp::Sum => format!("({} * {largest})", same("count")),
        AggregateOp::Stdvar => format!("({largest} ^ 2)"),
        _ => largest,
    }
}

fn find_sums<'e>(expr: &'e Expr, sums: &mut Vec<&'e AggregateExpr>) {
    use AggregateOp as A;
    if let Expr::Aggregate(aggregate) = expr
        && matches!(aggregate.op, A::Sum | A::Avg | A::Stddev | A::Stdvar)
    {
        sums.push(aggregate);
    }
    expr.children().for_each(|child| find_sums(child, sums));
}

/// Whether what differs between two answers also differs, and at least as much, from one with changed sums.
pub fn is_rounding(found: &Points, expected: &Points, changed: &[Points]) -> bool {
    let keys: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    keys.into_iter().all(|key| {
        let (found, expected) = (found.get(key), expected.get(key));
        let same = match (found, expected) {
            (Some(found), Some(expected)) => same(found, expected, ROUNDING),
            _ => false,
        };
        same || changed.iter().any(|changed| match (found, expected, changed.get(key)) {
            (Some(Val::Float(found)), Some(Val::Float(expected)), Some(Val::Float(changed))) => {
                (found - expected).abs() <= (changed - expected).abs()
            }
            // A comparison that holds, or not, by the last digit.
            (Some(_), None, Some(_)) | (None, Some(_), None) => true,
            _ => false,
        })
    })
}

/// Bit for bit (NaNs are all alike), or up to a relative error.
fn same_number(a: f64, b: f64, tolerance: f64) -> bool {
    a.to_bits() == b.to_bits()
        || (a.is_nan() && b.is_nan())
        || (tolerance > 0.0 && (a == b || (a - b).abs() <= tolerance * a.abs().max(b.abs())))
}

fn same(a: &Val, b: &Val, tolerance: f64) -> bool {
    let (a, b) = match (a, b) {
        (Val::Float(a), Val::Float(b)) => return same_number(*a, *b, tolerance),
        (Val::Histogram(a), Val::Histogram(b)) => (a, b),
        _ => return false,
    };
    let number = |a: f64, b: f64| same_number(a, b, tolerance);
    let counts = |a: &Counts, b: &Counts| {
        a.len() == b.len() && a.iter().zip(b).all(|((i, a), (j, b))| i == j && number(*a, *b))
    };
    a.hint == b.hint
        && a.schema == b.schema
        && a.bounds == b.bounds
        && a.threshold == b.threshold
        && number(a.zero, b.zero)
        && number(a.count, b.count)
        && number(a.sum, b.sum)
        && counts(&a.positive, &b.positive)
        && counts(&a.negative, &b.negative)
}

/// The first difference, if there is one.
pub fn difference(engine: &Points, naive: &Points, tolerance: f64) -> Option<String> {
    for (key, value) in engine {
        match naive.get(key) {
            None => return Some(format!("{key:?}: {value:?}, which should not be there")),
            Some(expected) if !same(value, expected, tolerance) => {
                return Some(format!("{key:?}: {value:?}, not {expected:?}"));
            }
            Some(_) => {}
        }
    }
    let missing = naive.iter().find(|(key, _)| !engine.contains_key(*key));
    missing.map(|(key, value)| format!("{key:?}: {value:?} is missing"))
}
