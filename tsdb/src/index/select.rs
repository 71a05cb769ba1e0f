//! Which series satisfy a list of label matchers.
//!
//! A label that a series lacks counts as empty, as in Prometheus. So a matcher that accepts the empty string
//! cannot name its series from posting lists; it names the ones to take away.

use std::fmt;
use std::sync::Arc;

use super::postings::Pair;
use super::{Index, SeriesRef};

/// A condition on one label's value.
#[derive(Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// Whether a value (empty: the series lacks the label) satisfies it.
    pub accepts: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    /// If known: the only values that can satisfy it, none of them empty. Saves asking about every value.
    pub candidates: Option<Vec<String>>,
}

impl Matcher {
    /// The label has this value (or is missing, if it is empty).
    pub fn equal(name: &str, value: &str) -> Self {
        let wanted = value.to_owned();
        let candidates = (!value.is_empty()).then(|| vec![value.to_owned()]);
        Matcher { name: name.to_owned(), accepts: Arc::new(move |v| v == wanted), candidates }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher").field("name", &self.name).field("candidates", &self.candidates).finish()
    }
}

/// A set of series as one bit each.
struct Bits(Vec<u64>);

impl Bits {
    fn of(index: &Index, pairs: &[Pair]) -> Self {
        let mut words = vec![0u64; (index.end() as usize).div_ceil(64)];
        for pair in pairs {
            for series in index.postings.series(*pair) {
                words[series as usize / 64] |= 1 << (series % 64);
            }
        }
        Bits(words)
    }

    fn has(&self, series: u32) -> bool {
        self.0[series as usize / 64] >> (series % 64) & 1 == 1
    }
}

/// The pairs whose series a matcher selects (it refuses the empty value), or takes away (it accepts it).
enum Wanted {
    Only(Vec<Pair>),
    Not(Vec<Pair>),
}

fn wanted(index: &Index, matcher: &Matcher) -> Wanted {
    let Some(name) = index.symbols.find(&matcher.name) else {
        return if (matcher.accepts)("") { Wanted::Not(Vec::new()) } else { Wanted::Only(Vec::new()) };
    };
    if let Some(candidates) = &matcher.candidates {
        let symbols = candidates.iter().filter_map(|value| index.symbols.find(value));
        let mut pairs: Vec<Pair> = symbols.filter_map(|value| index.postings.find(name, value)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        return Wanted::Only(pairs);
    }
    let takes_away = (matcher.accepts)("");
    let pairs = index.postings.pairs_of(name).iter().copied();
    let value = |pair: &Pair| index.symbols.get(index.postings.value(*pair));
    let chosen = pairs.filter(|pair| (matcher.accepts)(value(pair)) != takes_away).collect();
    if takes_away { Wanted::Not(chosen) } else { Wanted::Only(chosen) }
}

pub(super) fn select(index: &Index, matchers: &[Matcher]) -> Vec<SeriesRef> {
    let (mut only, mut not) = (Vec::new(), Vec::new());
    for matcher in matchers {
        match wanted(index, matcher) {
            Wanted::Only(pairs) if pairs.is_empty() => return Vec::new(),
            Wanted::Only(pairs) => only.push(pairs),
            Wanted::Not(pairs) if pairs.is_empty() => {}
            Wanted::Not(pairs) => not.push(pairs),
        }
    }
    // The matcher with the fewest series goes first: the others only have to confirm those.
    only.sort_by_key(|pairs| pairs.iter().map(|pair| index.postings.series_count(*pair)).sum::<usize>());
    let mut only = only.into_iter();
    let mut series: Vec<u32> = match only.next() {
        None => index.from(SeriesRef(0)).map(|series| series.0).collect(),
        Some(pairs) if pairs.len() == 1 => index.postings.series(pairs[0]).collect(),
        Some(pairs) => {
            let mut all: Vec<u32> = pairs.iter().flat_map(|pair| index.postings.series(*pair)).collect();
            all.sort_unstable();
            all
        }
    };
    for pairs in only {
        if let [pair] = pairs[..] {
            let mut list = index.postings.series(pair).peekable();
            series.retain(|s| {
                while list.next_if(|l| l < s).is_some() {}
                list.peek() == Some(s)
            });
        } else {
            let bits = Bits::of(index, &pairs);
            series.retain(|s| bits.has(*s));
        }
    }
    for pairs in not {
        let bits = Bits::of(index, &pairs);
        series.retain(|s| !bits.has(*s));
    }
    series.into_iter().map(SeriesRef).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::labels::{self, Labels};

    /// What a matcher means, said once more and independently of lists.
    fn satisfies(labels: &[(String, String)], matcher: &Matcher) -> bool {
        let value = labels.iter().find(|(n, _)| *n == matcher.name).map_or("", |(_, v)| v);
        (matcher.accepts)(value)
    }

    fn matcher() -> impl Strategy<Value = Matcher> {
        let set = proptest::collection::vec(0u8..4, 0..3);
        ("[a-d]", set, any::<bool>(), any::<bool>()).prop_map(|(name, set, negate, hint)| {
            // Value number 0 stands for the empty string.
            let values: Vec<String> =
                set.iter().map(|v| if *v == 0 { String::new() } else { format!("v{v}") }).collect();
            let can_hint = hint && !negate && !values.contains(&String::new());
            let candidates = can_hint.then(|| values.clone());
            let accepts = Arc::new(move |v: &str| values.iter().any(|x| x == v) != negate);
            Matcher { name, accepts, candidates }
        })
    }

    proptest! {
        #[test]
        fn selection_finds_exactly_the_series_that_satisfy_all_matchers(
            sets in proptest::collection::vec(proptest::collection::btree_map("[a-c]", "v[1-3]", 0..4), 1..80),
            matchers in proptest::collection::vec(matcher(), 0..4),
        ) {
            let mut index = Index::default();
            for set in &sets {
                let bytes = labels::encode(set.iter().map(|(n, v)| (n.as_str(), v.as_str())));
                index.add(Labels::parse(&bytes).unwrap()).unwrap();
            }
            let sets: Vec<Vec<(String, String)>> = sets.into_iter().map(|s| s.into_iter().collect()).collect();
            let expected: Vec<SeriesRef> = (0..sets.len())
                .filter(|i| matchers.iter().all(|m| satisfies(&sets[*i], m)))
                .map(|i| SeriesRef(i as u32))
                .collect();
            prop_assert_eq!(index.select(&matchers), expected);
        }
    }

    #[test]
    fn label_sets_names_and_values_come_back() {
        let mut index = Index::default();
        for i in 0..1000 {
            let (pod, metric) = (format!("pod-{i}"), format!("m{}", i % 3));
            let bytes = labels::encode([("__name__", metric.as_str()), ("pod", &pod)]);
            let series = index.add(Labels::parse(&bytes).unwrap()).unwrap();
            let mut own = Vec::new();
            index.put_labels(series, &mut own);
            assert_eq!(own, bytes);
            assert!(index.has_labels(series, Labels::parse(&bytes).unwrap()));
        }
        let mut names: Vec<_> = index.label_names(|_| true).collect();
        names.sort_unstable();
        assert_eq!(names, ["__name__", "pod"]);
        assert_eq!(index.label_values("pod", |_| true).count(), 1000);
        assert_eq!(index.label_values("pod", |series| series.0 % 2 == 0).count(), 500);
        assert_eq!(index.label_values("absent", |_| true).count(), 0);
        assert_eq!(index.label_names(|_| false).count(), 0);
        assert_eq!(index.metric_series("m0"), 334);
    }
}
