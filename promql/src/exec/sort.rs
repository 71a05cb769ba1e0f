//! `sort` and its relatives: the order of an instant vector.

use std::cmp::Ordering;

use super::executor::{Context, Executor};
use super::grid::Grid;
use super::rows::{Rows, SeriesRow};
use crate::annotations::Annotation;
use crate::engine::QueryError;
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
        if grid.ranged {
            context.annotations.add(Annotation::SortInRangeQuery, sort.span);
        }
        if let Some(labels) = &sort.labels {
            if !grid.ranged {
                rows.series.sort_by(|a, b| {
                    let order = by_labels(labels, a, b);
                    if sort.descending { order.reverse() } else { order }
                });
            }
            return Ok(rows);
        }
        // Histograms have no order and are left out.
        rows.series.retain_mut(|series| {
            series.row.histograms_mut().clear();
            !series.row.is_empty()
        });
        if !grid.ranged {
            rows.series.sort_by(|a, b| by_value(value(a), value(b), sort.descending));
        }
        Ok(rows)
    }
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
    fn nan_is_last_in_both_directions() {
        for descending in [false, true] {
            let mut values = [f64::NAN, 2.0, f64::NEG_INFINITY];
            values.sort_by(|a, b| by_value(*a, *b, descending));
            assert!(values[2].is_nan());
        }
    }
}
