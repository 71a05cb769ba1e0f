//! Whether two servers' `topk` differ only where values are as good as equal.
//!
//! Sums of the same numbers in another order, or with another way of rounding, differ in their last digits. Where that
//! decides which of two series is the last of `topk`, neither server is wrong. Everything else is a difference.

use std::collections::{BTreeMap, BTreeSet};

use super::api::{Data, Labels, Point};
use super::compare::{RELATIVE_TOLERANCE, difference, show, values_equal};

/// How far from the last value that is in, relative to it, a value may be and yet be the other server's choice.
const TIE_TOLERANCE: f64 = 1e-9;

/// A server's `topk`, and what it was taken of.
pub struct Ranking {
    /// The answer with `topk`.
    pub top: Data,
    /// The answer without.
    pub of: Data,
}

type Series = BTreeMap<Labels, Vec<Point>>;

/// The ties that explain the difference between two `topk(k, ..)`, or the first difference that is none.
pub fn ties(k: usize, expected: &Ranking, found: &Ranking) -> Result<Vec<String>, String> {
    if let Some(difference) = difference(&expected.of, &found.of, RELATIVE_TOLERANCE) {
        return Err(format!("before topk: {difference}"));
    }
    let all = [series(&expected.of)?, series(&found.of)?];
    let chosen = [chosen(series(&expected.top)?, all[0])?, chosen(series(&found.top)?, all[1])?];
    let times: BTreeSet<i64> = chosen.iter().flat_map(BTreeMap::keys).copied().collect();
    let mut ties = Vec::new();
    for t_ms in times {
        let none = BTreeSet::new();
        let [expected, found] = [0, 1].map(|server| chosen[server].get(&t_ms).unwrap_or(&none));
        if expected.len() != found.len() {
            return Err(format!("{} series instead of {} at {t_ms} ms", found.len(), expected.len()));
        }
        let mut values: Vec<f64> = all[0].values().filter_map(|points| value_at(points, t_ms)).collect();
        values.sort_by(|a, b| b.total_cmp(a));
        let Some(&last) = values.get(k.min(values.len()).saturating_sub(1)) else { continue };
        for labels in expected.symmetric_difference(found) {
            let both = [0, 1].map(|server| value_at(&all[server][*labels], t_ms));
            let [Some(expected), Some(found)] = both else {
                return Err(format!("{} has no value at {t_ms} ms", show(labels)));
            };
            let text = format!("{} is {expected:?} and {found:?} at {t_ms} ms", show(labels));
            if !values_equal(expected, last, TIE_TOLERANCE) {
                return Err(format!("{text}, while the last of topk is {last:?}"));
            }
            ties.push(text);
        }
    }
    Ok(ties)
}

fn series(data: &Data) -> Result<&Series, String> {
    match data {
        Data::Series(_, series) => Ok(series),
        other => Err(format!("no series: {other:?}")),
    }
}

fn value_at(points: &[Point], t_ms: i64) -> Option<f64> {
    points.iter().find(|point| point.timestamp_ms == t_ms).map(|point| point.value)
}

/// Which series are in at each time; an error if one of their values is none of those that were chosen from.
fn chosen<'a>(top: &'a Series, all: &Series) -> Result<BTreeMap<i64, BTreeSet<&'a Labels>>, String> {
    let mut chosen: BTreeMap<i64, BTreeSet<&Labels>> = BTreeMap::new();
    for (labels, points) in top {
        for &Point { timestamp_ms, value } in points {
            let original = all.get(labels).and_then(|points| value_at(points, timestamp_ms));
            if !original.is_some_and(|original| values_equal(original, value, RELATIVE_TOLERANCE)) {
                return Err(format!("topk made {value:?} of {original:?} at {timestamp_ms} ms"));
            }
            chosen.entry(timestamp_ms).or_default().insert(labels);
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(values: &[(&str, f64)]) -> Data {
        let of = |(name, value): &(&str, f64)| {
            let labels = Labels::from([("pod".to_owned(), (*name).to_owned())]);
            (labels, vec![Point { timestamp_ms: 60_000, value: *value }])
        };
        Data::Series("matrix".to_owned(), values.iter().map(of).collect())
    }

    fn ranking(top: &str, all: &[(&str, f64)]) -> Ranking {
        let top: Vec<_> = all.iter().filter(|(name, _)| top.contains(name)).copied().collect();
        Ranking { top: data(&top), of: data(all) }
    }

    #[test]
    fn values_that_differ_in_their_last_digits_are_a_tie() {
        let expected = ranking("ab", &[("a", 3.0), ("b", 2.0), ("c", 1.9999999999999998)]);
        let found = ranking("ac", &[("a", 3.0), ("b", 1.9999999999999998), ("c", 2.0)]);
        let ties = ties(2, &expected, &found).unwrap();
        let texts = [
            "{pod=\"b\"} is 2.0 and 1.9999999999999998 at 60000 ms",
            "{pod=\"c\"} is 1.9999999999999998 and 2.0 at 60000 ms",
        ];
        assert_eq!(ties, texts);
    }

    #[test]
    fn a_wrong_choice_a_wrong_value_and_a_wrong_number_are_no_ties() {
        let all = [("a", 3.0), ("b", 2.0), ("c", 1.999)];
        let expected = ranking("ab", &all);
        let wrong = ties(2, &expected, &ranking("ac", &all)).unwrap_err();
        assert!(
            wrong.contains("{pod=\"c\"} is 1.999") && wrong.contains("the last of topk is 2.0"),
            "{wrong}"
        );
        assert!(ties(2, &expected, &ranking("a", &all)).unwrap_err().contains("1 series instead of 2"));
        let made = Ranking { top: data(&[("a", 3.0), ("b", 2.5)]), of: data(&all) };
        assert!(ties(2, &expected, &made).unwrap_err().contains("topk made 2.5 of Some(2.0)"));
        let other = ranking("ab", &[("a", 3.0), ("b", 2.1), ("c", 1.999)]);
        assert!(ties(2, &expected, &other).unwrap_err().starts_with("before topk: "));
    }
}
