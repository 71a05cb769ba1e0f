//! Computes parts of queries for nodes that have not the data.
//!
//! The data is that which was found complete when the query was planned, checked as for a segment that is read
//! (`serve.rs`). Evaluation takes its turn among this node's own queries. What may go wrong: this node's doing is a
//! failure of the call, so that the caller asks another replica; the query's own doing is a reply.

use std::sync::Arc;

use bytes::Bytes;
use gyre_promql::QueryErrorKind;
use gyre_promql::fragment::{Fragment, PartialResult};
use gyre_ring::{BootId, TenantId};
use tokio::time::Instant;

use super::messages::{EvaluateFailure, EvaluateReply, EvaluateRequest};
use super::plan::{ReadPlan, SegmentSource};
use super::serve::{failed, find};
use crate::query::evaluator::{Evaluator, Failed};
use crate::query::limits::QueryLimits;
use crate::query::pool::PoolError;
use crate::replica::local::Replicas;
use crate::rpc::frame::CHUNK_BYTES_MAX;
use crate::rpc::{Failure, Outcome, ReplySink, codec};

/// Evaluates fragments and sends their results.
pub async fn evaluate(
    replicas: &Replicas,
    boot: BootId,
    evaluator: &Evaluator,
    request: EvaluateRequest,
    deadline: Instant,
    sink: ReplySink,
) -> Result<Bytes, Failure> {
    let fragments: Result<Vec<Fragment>, _> =
        request.fragments.iter().map(|bytes| Fragment::from_bytes(bytes)).collect();
    let Ok(fragments) = fragments else { return whole(&EvaluateReply::OtherVersion) };
    // Before it is looked what was dropped: what is dropped from here on waits for this.
    let _pin = replicas.shards.pins.pin();
    let plan = plan(replicas, boot, &request)?;
    let released = released(&plan);
    let limits = QueryLimits { series_max: request.series_max, length_ms_max: request.length_ms_max };
    match evaluator.fragments(plan, fragments, limits, request.bytes_max, deadline).await {
        Ok((results, series)) => send(&results, series, released, sink).await,
        Err(failed) => explain(failed),
    }
}

/// The shards that are meant, if this run has the data and all are one tenant's.
fn plan(replicas: &Replicas, boot: BootId, request: &EvaluateRequest) -> Result<ReadPlan, Failure> {
    let mut tenant: Option<TenantId> = None;
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in &request.groups {
        let mut sources = Vec::with_capacity(group.len());
        for place in group {
            let Some(shard) = find(replicas, boot, place)? else { continue };
            let owner = &shard.segment.shard.tenant;
            if tenant.get_or_insert_with(|| owner.clone()) != owner {
                let text = "a query reads the segments of one tenant".to_owned();
                return Err(Failure::Failed { text, is_retryable: false, outcome: Outcome::NotExecuted });
            }
            sources.push(SegmentSource::Local(Arc::clone(&shard)));
        }
        if !sources.is_empty() {
            groups.push(sources);
        }
    }
    Ok(ReadPlan { groups, has_choice: true, ..ReadPlan::default() })
}

/// Blocks that have what was dropped from these shards.
fn released(plan: &ReadPlan) -> Vec<(u128, i64)> {
    let of = |source: &SegmentSource| match source {
        SegmentSource::Local(shard) => shard.released.all(),
        SegmentSource::Remote(_) => Vec::new(),
    };
    let all = plan.groups.iter().flatten().flat_map(of);
    all.map(|to| (to.ulid.0, to.window)).collect()
}

fn whole(reply: &EvaluateReply) -> Result<Bytes, Failure> {
    codec::encode(reply).map(Bytes::from).map_err(failed)
}

async fn send(
    results: &[PartialResult],
    series: u64,
    released: Vec<(u128, i64)>,
    mut sink: ReplySink,
) -> Result<Bytes, Failure> {
    let result_bytes = results.iter().map(|result| result.as_bytes().len() as u64).collect();
    let first = whole(&EvaluateReply::Results { result_bytes, series, released })?;
    sink.send(first).await.map_err(failed)?;
    for part in results.iter().flat_map(|result| result.as_bytes().chunks(CHUNK_BYTES_MAX)) {
        sink.send(Bytes::copy_from_slice(part)).await.map_err(failed)?;
    }
    Ok(Bytes::new())
}

fn explain(Failed { error, culprit }: Failed) -> Result<Bytes, Failure> {
    let error = match error {
        PoolError::Full => return Err(Failure::Overloaded("too many outstanding queries".to_owned())),
        PoolError::Panicked => return Err(failed("the query failed unexpectedly; see its log")),
        PoolError::Waited => {
            let text = "query timed out in query queue".to_owned();
            return whole(&EvaluateReply::Failed { kind: EvaluateFailure::Timeout, text });
        }
        PoolError::Query(error) => error,
    };
    let kind = match error.kind {
        _ if culprit.is_some() => return Err(failed(error)),
        QueryErrorKind::BadData => EvaluateFailure::BadData,
        QueryErrorKind::Execution => EvaluateFailure::Execution,
        QueryErrorKind::Timeout => EvaluateFailure::Timeout,
        QueryErrorKind::Canceled | QueryErrorKind::Internal => return Err(failed(error)),
    };
    whole(&EvaluateReply::Failed { kind, text: error.message })
}
