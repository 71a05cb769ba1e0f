//! Whether two servers gave the same answer, and where not.

use super::api::{Data, Labels, Point};

/// Sums may be taken in another order; nothing else may differ.
pub const RELATIVE_TOLERANCE: f64 = 1e-12;

/// The first difference between what was expected and what was found, None if there is none.
pub fn difference(expected: &Data, found: &Data, relative_tolerance: f64) -> Option<String> {
    match (expected, found) {
        (Data::Series(expected_kind, expected), Data::Series(found_kind, found)) => {
            if expected_kind != found_kind {
                return Some(format!("a {found_kind} instead of a {expected_kind}"));
            }
            if let Some(labels) = expected.keys().find(|labels| !found.contains_key(*labels)) {
                return Some(format!("{} is missing", show(labels)));
            }
            if let Some(labels) = found.keys().find(|labels| !expected.contains_key(*labels)) {
                return Some(format!("{} is too much", show(labels)));
            }
            expected.iter().find_map(|(labels, points)| {
                let difference = points_differ(points, &found[labels], relative_tolerance)?;
                Some(format!("{} {difference}", show(labels)))
            })
        }
        (Data::Strings(expected), Data::Strings(found)) if expected == found => None,
        (Data::LabelSets(expected), Data::LabelSets(found)) if expected == found => None,
        (Data::Strings(expected), Data::Strings(found)) => {
            Some(format!("{} strings instead of {}", found.len(), expected.len()))
        }
        (Data::LabelSets(expected), Data::LabelSets(found)) => {
            Some(format!("{} label sets instead of {}", found.len(), expected.len()))
        }
        _ => Some("another kind of answer".into()),
    }
}

fn points_differ(expected: &[Point], found: &[Point], relative_tolerance: f64) -> Option<String> {
    if expected.len() != found.len() {
        return Some(format!("has {} points instead of {}", found.len(), expected.len()));
    }
    expected.iter().zip(found).find_map(|(expected, found)| {
        if expected.timestamp_ms != found.timestamp_ms {
            let (expected, found) = (expected.timestamp_ms, found.timestamp_ms);
            return Some(format!("has a point at {found} ms instead of {expected} ms"));
        }
        if values_equal(expected.value, found.value, relative_tolerance) {
            return None;
        }
        let (at, expected, found) = (expected.timestamp_ms, expected.value, found.value);
        Some(format!("is {found:?} instead of {expected:?} at {at} ms"))
    })
}

/// Whether two values are as good as equal; any NaN is equal to any other.
pub fn values_equal(expected: f64, found: f64, relative_tolerance: f64) -> bool {
    if expected.is_nan() || found.is_nan() {
        return expected.is_nan() && found.is_nan();
    }
    expected == found || (expected - found).abs() <= relative_tolerance * expected.abs().max(found.abs())
}

/// A label set as a selector.
pub fn show(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::api::parse;

    fn vector(items: &[(&str, &str)]) -> Data {
        let items: Vec<String> = items
            .iter()
            .map(|(label, value)| format!(r#"{{"metric":{{"a":"{label}"}},"value":[1.5,"{value}"]}}"#))
            .collect();
        let items = items.join(",");
        parse(&format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{items}]}}}}"#))
            .unwrap()
    }

    #[test]
    fn order_does_not_matter_and_nan_equals_nan() {
        let left = vector(&[("x", "1"), ("y", "NaN")]);
        let right = vector(&[("y", "NaN"), ("x", "1.0000000000000002")]);
        assert_eq!(difference(&left, &right, RELATIVE_TOLERANCE), None);
        assert!(difference(&left, &right, 0.0).unwrap().contains("instead of 1.0"));
    }

    #[test]
    fn missing_extra_and_different_values_are_named() {
        let both = vector(&[("x", "1"), ("y", "2")]);
        let one = vector(&[("x", "1")]);
        assert_eq!(difference(&both, &one, 0.0).unwrap(), "{a=\"y\"} is missing");
        assert_eq!(difference(&one, &both, 0.0).unwrap(), "{a=\"y\"} is too much");
        let other = vector(&[("x", "1.1")]);
        assert_eq!(difference(&one, &other, 0.0).unwrap(), "{a=\"x\"} is 1.1 instead of 1.0 at 1500 ms");
    }
}
