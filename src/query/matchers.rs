//! Label matchers of a query as the storage engine takes them.

use std::sync::Arc;

use gyre_promql::storage::LabelMatcher;
use gyre_promql::syntax::{MatchOp, Matcher};
use gyre_tsdb::Matcher as StorageMatcher;

use crate::node::QueryError;

/// Alternatives of a regular expression are looked up one by one if they are no more than these.
const CANDIDATES_MAX: usize = 256;

/// Matchers of a parsed selector, ready to be applied.
pub fn compile(matchers: &[Matcher]) -> Result<Vec<LabelMatcher>, QueryError> {
    let compile = |matcher: &Matcher| {
        let (name, value) = (matcher.name.to_str_lossy(), matcher.value.to_str_lossy());
        LabelMatcher::new(matcher.op, &name, &value).map_err(|error| QueryError::Parse(error.to_string()))
    };
    matchers.iter().map(compile).collect()
}

/// A compiled matcher as the storage engine takes it.
pub fn one(matcher: &LabelMatcher) -> StorageMatcher {
    let candidates = match matcher.op {
        MatchOp::Equal => Some(vec![matcher.value.clone()]),
        MatchOp::Regexp => matcher.regex().and_then(|regex| regex.set_matches()).map(<[String]>::to_vec),
        MatchOp::NotEqual | MatchOp::NotRegexp => None,
    };
    // An empty alternative also stands for series without the label, which no lookup finds.
    let candidates =
        candidates.filter(|all| all.len() <= CANDIDATES_MAX && all.iter().all(|v| !v.is_empty()));
    let own = matcher.clone();
    StorageMatcher { name: matcher.name.clone(), accepts: Arc::new(move |v| own.matches(v)), candidates }
}
