//! `sort` and its relatives: the order of an instant vector.

use std::cmp::Ordering;

use super::executor::{Context, Executor};
use super::grid::Grid;
use super::rows::{Rows, SeriesRow};
use crate::annotations::Annotation;
use crate::engine::{Pace, QueryError};
use crate::plan::Sort;

impl Executor<'_> {
    /// The series in the order asked for. Over a range there is none, and the user is told.
    pub(super) fn sort<'p>(
        &'p self,
        sort: &'p Sort,
        grid: Grid,
        context: &mut Context,
    ) -> Result<Rows<'p>, QueryError> {
        let mut rows = self.rows(&sort.input, grid, context)?;
        let pace = &mut rows.pace();
        if grid.ranged {
            context.annotations.add(Annotation::SortInRangeQuery, sort.span);
        }
        if let Some(labels) = &sort.labels {
            if !grid.ranged {
                rows.series = sorted(rows.series, pace, |a, b| {
                    let order = by_labels(labels, a, b);
                    if sort.descending { order.reverse() } else { order }
                })?;
            }
            return Ok(rows);
        }
        // Histograms have no order and are left out.
        rows.series.retain_mut(|series| {
            series.row.histograms_mut().clear();
            !series.row.is_empty()
        });
        if !grid.ranged {
            rows.series = sorted(rows.series, pace, |a, b| by_value(value(a), value(b), sort.descending))?;
        }
        Ok(rows)
    }
}

/// Items sorted at a time without a look at the clock.
const RUN: usize = 1024;
/// What a comparison of label sets costs, in units of [`Pace`].
const UNITS_PER_COMPARISON: u64 = 50;

/// Sorts, keeping the order of equals, and stops when the query has to.
pub(super) fn sorted<T>(
    items: Vec<T>,
    pace: &mut Pace<'_>,
    order: impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, QueryError> {
    let mut items = items.into_iter();
    let mut runs: Vec<Vec<T>> = Vec::new();
    loop {
        let mut run: Vec<T> = items.by_ref().take(RUN).collect();
        if run.is_empty() {
            break;
        }
        pace.spend(run.len() as u64 * 10 * UNITS_PER_COMPARISON)?;
        run.sort_by(&order);
        runs.push(run);
    }
    while runs.len() > 1 {
        let mut longer = Vec::with_capacity(runs.len().div_ceil(2));
        let mut pairs = runs.into_iter();
        while let Some(left) = pairs.next() {
            longer.push(match pairs.next() {
                Some(right) => merged(left, right, pace, &order)?,
                None => left,
            });
        }
        runs = longer;
    }
    Ok(runs.pop().unwrap_or_default())
}

fn merged<T>(
    left: Vec<T>,
    right: Vec<T>,
    pace: &mut Pace<'_>,
    order: &impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, QueryError> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let mut right = right.into_iter().peekable();
    for item in left {
        while let Some(earlier) = right.next_if(|other| order(other, &item) == Ordering::Less) {
            pace.spend(UNITS_PER_COMPARISON)?;
            merged.push(earlier);
        }
        pace.spend(UNITS_PER_COMPARISON)?;
        merged.push(item);
    }
    merged.extend(right);
    Ok(merged)
}

fn value(series: &SeriesRow) -> f64 {
    series.row.float(0).unwrap_or(f64::NAN)
}

/// NaN comes last either way.
fn by_value(a: f64, b: f64, descending: bool) -> Ordering {
    let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
    a.is_nan().cmp(&b.is_nan()).then(if descending { order.reverse() } else { order })
}

fn by_labels(names: &[String], a: &SeriesRow, b: &SeriesRow) -> Ordering {
    for name in names {
        let (left, right) = (a.labels.get(name), b.labels.get(name));
        if left != right {
            return if natural_less(left, right) { Ordering::Less } else { Ordering::Greater };
        }
    }
    a.labels.cmp(&b.labels)
}

/// The natural order that Prometheus uses: digits within the texts compare as numbers.
fn natural_less(a: &str, b: &str) -> bool {
    let (a, b) = (natural_chunks(a), natural_chunks(b));
    for (left, right) in a.iter().zip(&b) {
        if left == right {
            continue;
        }
        let number = |chunk: &str| {
            chunk.bytes().all(|byte| byte.is_ascii_digit()).then(|| chunk.parse::<i64>().ok()).flatten()
        };
        match (number(left), number(right)) {
            (Some(x), Some(y)) if x != y => return x < y,
            // The same number written differently: the shorter first.
            (Some(_), Some(_)) => return left.len() < right.len(),
            _ => return left < right,
        }
    }
    a.len() < b.len()
}

/// Runs of digits and runs of anything else.
fn natural_chunks(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut chunks = Vec::new();
    let mut start = 0;
    for at in 1..=bytes.len() {
        if at == bytes.len() || bytes[at].is_ascii_digit() != bytes[at - 1].is_ascii_digit() {
            chunks.push(&text[start..at]);
            start = at;
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_compare_as_numbers() {
        let mut names = ["cpu10", "cpu2", "cpu", "1", "10", "9", "cpu2x"];
        names.sort_by(|a, b| if natural_less(a, b) { Ordering::Less } else { Ordering::Greater });
        assert_eq!(names, ["1", "9", "10", "cpu", "cpu2", "cpu2x", "cpu10"]);
    }

    #[test]
    fn long_lists_are_sorted_as_the_standard_library_does() {
        let tracker = crate::engine::Tracker::new(0, 0, None, crate::CancelToken::default());
        for length in [0, 1, RUN - 1, RUN, RUN + 1, 5 * RUN + 7] {
            let items: Vec<(usize, usize)> = (0..length).map(|at| (at * 7919 % 97, at)).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|(key, _)| *key);
            let found = sorted(items, &mut Pace::new(&tracker), |a, b| a.0.cmp(&b.0)).expect("no deadline");
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn nan_is_last_in_both_directions() {
        for descending in [false, true] {
            let mut values = [f64::NAN, 2.0, f64::NEG_INFINITY];
            values.sort_by(|a, b| by_value(*a, *b, descending));
            assert!(values[2].is_nan());
        }
    }
}
