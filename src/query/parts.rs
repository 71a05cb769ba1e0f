//! A query in parts: fragments are evaluated at all places at the same time, and merged here.
//!
//! Only results are worth it. Samples are smaller as chunks, and chunks are read as a stream: a query of which samples would
//! travel, and one of which it turns out that series of different places become one, is evaluated over chunks.
//!
//! What may go wrong: a place fails, like a replica that is read; then the others stop, and the query may begin anew
//! without it. A place cannot be asked, or what it sends makes no sense; then chunks are read, too.

use std::sync::Arc;

use futures_util::future::{pending, try_join, try_join_all};
use gyre_promql::fragment::{Fragment, Merged, PartialResult, Split};
use gyre_promql::storage::{StorageError, StorageErrorKind};
use gyre_promql::{Engine, QueryError as EngineError, QueryErrorKind, QueryOptions};
use gyre_tsdb::block::Ulid;
use gyre_tsdb::window_of;
use tokio::sync::oneshot;

use super::blocks::PlanBlocks;
use super::evaluator::{Evaluator, Failed, Question, Ran, answer, each};
use super::places::Places;
use super::pool::PoolError;
use super::storage::{Culprit, ShardStorage, over};
use crate::node::{Answer, Evaluated};
use crate::replica::read::place::{Asked, Held, PlaceFailed, PlaceResults};
use crate::shard::read::TimeRange;

/// Why there is no answer made of parts.
#[derive(Debug)]
pub(super) enum PartsFailed {
    /// Nor will there be one otherwise, unless another replica is asked.
    Failed(Box<Failed>),
    /// The query is to be evaluated over chunks.
    Unusable,
}

/// What was computed at all places.
struct Computed {
    split: Split,
    /// By fragment, those of all places.
    results: Vec<Vec<PartialResult>>,
    /// Blocks that have what other nodes' replicas have dropped, and their windows.
    released: Vec<(Ulid, i64)>,
}

impl Evaluator {
    /// Evaluates a query at several places, or at one that is elsewhere.
    pub(super) async fn in_parts(
        &self,
        places: Places,
        (blocks, range): (&PlanBlocks, TimeRange),
        question: &Question,
    ) -> Result<Answer<Evaluated>, PartsFailed> {
        let computed = self.compute(places, question).await?;
        let named = &computed.value.released;
        let windows = window_of(range.min_ms)..=window_of(range.max_ms);
        let named = named.iter().filter(|(_, window)| windows.contains(window)).map(|(ulid, _)| *ulid);
        // Whatever is named of this range is not in the list: no block that is overlaps it.
        let unknown = blocks.unknown(named);
        if !unknown.is_empty() {
            let text = format!("the list of blocks lacks block {}", unknown[0]);
            let error = PoolError::Query(StorageError::new(StorageErrorKind::Unavailable, text).into());
            return Err(PartsFailed::Failed(Box::new(Failed {
                error,
                culprit: Some(Culprit::List(unknown)),
            })));
        }
        let Computed { split, results, .. } = computed.value;
        let expr = question.expr.clone();
        let merge = move |engine: &Engine, options: &QueryOptions| {
            Ok(match engine.merge(&split, &results, options)? {
                Merged::Result(result) => Some(answer(result, &expr)),
                Merged::Again(_) => None,
            })
        };
        let merged = match self.run(question, merge).await {
            Ok(merged) => merged,
            // Nothing is read here, so what came is wrong.
            Err(PoolError::Query(error)) if error.kind == QueryErrorKind::Internal => {
                tracing::warn!(%error, "parts of a query do not make a whole; it is evaluated over chunks");
                return Err(PartsFailed::Unusable);
            }
            Err(error) => return Err(PartsFailed::of(error, None)),
        };
        let mut answer = merged.value.ok_or(PartsFailed::Unusable)?;
        answer.value.stats.waiting = computed.waiting + merged.waiting;
        answer.value.stats.running = computed.running + merged.running;
        Ok(answer)
    }

    /// Has the fragments of a query evaluated at all places. The times are those of what is done here.
    async fn compute(&self, places: Places, question: &Question) -> Result<Ran<Computed>, PartsFailed> {
        let Places { here, remote } = places;
        let is_here = !here.groups.is_empty();
        let storage = is_here.then(|| Arc::new(self.storage(here, question.limits, question.deadline)));
        let held = Arc::new(Held::new(self.engine.options().bytes_max));
        let (announce, announced) = oneshot::channel();
        let local = async {
            let (storage_there, held) = (storage.clone(), held.clone());
            let Question { expr, times, deadline, .. } = question.clone();
            let work = move |engine: &Engine, options: &QueryOptions| {
                let split = engine.split(&expr, times, options)?;
                if split.has_samples() {
                    return Ok(None);
                }
                let fragments = split.fragments();
                // If nobody waits any more, nobody waits for this either.
                let _ = announce.send(fragments.iter().map(Fragment::to_bytes).collect());
                let results = match storage_there {
                    Some(storage) => Some(each(engine, &storage, &fragments, options, deadline, &held)?),
                    None => None,
                };
                Ok(Some((split, results)))
            };
            match self.run(question, work).await {
                Ok(Ran { value: Some(value), waiting, running }) => Ok(Ran { value, waiting, running }),
                Ok(Ran { value: None, .. }) => Err(PartsFailed::Unusable),
                Err(error) => Err(PartsFailed::of(error, storage.as_deref())),
            }
        };
        let elsewhere = async {
            let fragments: Vec<Vec<u8>> = match announced.await {
                Ok(fragments) => fragments,
                // There are none; the other future says why.
                Err(_) => pending().await,
            };
            self.metrics.places(true, u64::from(is_here));
            self.metrics.places(false, remote.len() as u64);
            let asked = Asked { fragments, limits: question.limits, deadline: question.deadline };
            let answers = try_join_all(remote.iter().map(|place| place.evaluate(&asked, &held)));
            answers.await.map_err(PartsFailed::from)
        };
        let (ran, elsewhere) = try_join(local, elsewhere).await?;
        let Ran { value: (split, local), waiting, running } = ran;
        let series = storage.map_or(0, |storage| storage.fetched());
        let series = elsewhere.iter().map(|place| place.series).fold(series, u64::saturating_add);
        let checked = question.limits.check_series(series);
        checked.map_err(|text| PartsFailed::from(EngineError::from(over(text))))?;
        let released = elsewhere.iter().flat_map(|place| place.released.iter().copied()).collect();
        let results = by_fragment(local.into_iter().chain(elsewhere.into_iter().map(results_of)));
        Ok(Ran { value: Computed { split, results, released }, waiting, running })
    }
}

fn results_of(place: PlaceResults) -> Vec<PartialResult> {
    place.results
}

/// The results of each fragment, given those of each place.
fn by_fragment(places: impl Iterator<Item = Vec<PartialResult>>) -> Vec<Vec<PartialResult>> {
    let mut all: Vec<Vec<PartialResult>> = Vec::new();
    for results in places {
        all.resize_with(results.len(), Vec::new);
        all.iter_mut().zip(results).for_each(|(all, result)| all.push(result));
    }
    all
}

impl PartsFailed {
    /// What ran here failed, perhaps because of what it read from.
    fn of(error: PoolError, storage: Option<&ShardStorage>) -> Self {
        let culprit = storage.and_then(ShardStorage::culprit);
        PartsFailed::Failed(Box::new(Failed { error, culprit }))
    }
}

impl From<EngineError> for PartsFailed {
    fn from(error: EngineError) -> Self {
        PartsFailed::of(PoolError::Query(error), None)
    }
}

impl From<PlaceFailed> for PartsFailed {
    fn from(failed: PlaceFailed) -> Self {
        match failed {
            PlaceFailed::Query(error) => error.into(),
            PlaceFailed::Lost(replica, lost) => {
                let error = StorageError::new(StorageErrorKind::Unavailable, lost.to_string());
                let error = PoolError::Query(error.into());
                PartsFailed::Failed(Box::new(Failed { error, culprit: Some(Culprit::Replica(replica)) }))
            }
            PlaceFailed::NotKnown(reason) => {
                tracing::debug!(reason, "a query is evaluated over chunks");
                PartsFailed::Unusable
            }
        }
    }
}
