//! Queries computed in parts, over series that lie in several places.

use gyre_promql::fragment::{Fragment, Merged, PartialResult, QueryTimes, Split};
use gyre_promql::memory::MemoryStorage;
use gyre_promql::{Engine, QueryError, QueryOptions, QueryResult};

/// How often each way to an answer was taken.
#[derive(Debug, Default)]
pub struct Ways {
    /// Queries asked.
    pub queries: usize,
    /// Fragments of these.
    pub fragments: usize,
    /// Merged only once the samples were there.
    pub again: usize,
    /// Bytes of partial results.
    pub bytes: usize,
}

/// Evaluates a query in parts; fragments and partial results go through their bytes.
pub fn evaluate(
    engine: &Engine,
    places: &[MemoryStorage],
    query: &str,
    times: QueryTimes,
    ways: &mut Ways,
) -> Result<QueryResult, QueryError> {
    let options = QueryOptions::default();
    ways.queries += 1;
    let mut split = engine.split(query, times, &options)?;
    loop {
        let parts = parts(engine, places, &split, ways)?;
        match engine.merge(&split, &parts, &options)? {
            Merged::Result(result) => return Ok(result),
            Merged::Again(next) => {
                ways.again += 1;
                split = next;
            }
        }
    }
}

/// The partial results of all places, for each fragment.
pub fn parts(
    engine: &Engine,
    places: &[MemoryStorage],
    split: &Split,
    ways: &mut Ways,
) -> Result<Vec<Vec<PartialResult>>, QueryError> {
    let mut parts = Vec::new();
    for fragment in split.fragments() {
        ways.fragments += 1;
        let sent = Fragment::from_bytes(&fragment.to_bytes()).expect("its own bytes");
        assert_eq!(sent, fragment);
        let mut results = Vec::new();
        for place in places {
            let result = engine.evaluate_fragment(place, &sent, &QueryOptions::default())?;
            ways.bytes += result.as_bytes().len();
            results.push(PartialResult::from_bytes(result.as_bytes().to_vec()).expect("its own bytes"));
        }
        parts.push(results);
    }
    Ok(parts)
}
