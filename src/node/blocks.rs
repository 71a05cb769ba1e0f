//! The blocks that a question is answered from, and what becomes of it when one of them cannot be read.
//!
//! A block that is not there any more was replaced: the list is looked at again, once, and the question asked anew. One that
//! is damaged or cannot be had fails the question, or is left out with a warning where the tenant wants that
//! (`query_partial_data`). Nothing is left out silently.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gyre_ring::{Epoch, TenantId};
use gyre_tsdb::block::Ulid;
use tokio::time::Instant;

use super::labels::range;
use super::{Node, QueryError, Selection};
use crate::archive::read::BlockRef;
use crate::archive::read::failure::{BlockFailure, Trouble};
use crate::cluster::state::Closing;
use crate::query::blocks::{PlanBlocks, Unlisted};
use crate::shard::read::TimeRange;
use crate::shard::released::RECENT_MS;

/// Clocks of nodes and senders may differ by so much; beside it samples may be as far ahead as the tenant's limit allows.
const AHEAD_MAX_MS: i64 = 60 * 60 * 1000;

/// Blocks that are left out one after the other, each with another try, before the question fails.
const LEFT_OUT_MAX: usize = 16;

/// A question is asked again so often because the list was old.
const NEWER_LISTS_MAX: usize = 4;

/// What became of earlier tries of a question.
#[derive(Debug, Default)]
pub(super) struct BlockTries {
    /// The list was looked at again.
    has_refreshed: bool,
    /// Left out.
    lost: Vec<BlockFailure>,
    /// Because a replica named blocks that were not in it.
    newer_lists: usize,
    /// Blocks that replicas have named, and that a list which was made later does not have.
    removed: BTreeSet<Ulid>,
}

/// The blocks of a tenant.
#[derive(Default)]
pub(super) struct Listed {
    /// They are from after this node had the documents that closed segments.
    pub(super) closing: Closing,
    /// What is known of them.
    pub(super) blocks: PlanBlocks,
    /// That there may be more.
    pub(super) warning: Option<String>,
}

impl Node {
    /// The blocks of a tenant, of all times or of some.
    pub(super) async fn blocks(
        &self,
        tenant: &TenantId,
        range: Option<TimeRange>,
        tries: &BlockTries,
        until: Instant,
    ) -> Result<Listed, QueryError> {
        let is_partial = self.overrides.of(tenant).query_partial_data;
        let TimeRange { min_ms, max_ms } = range.unwrap_or(TimeRange { min_ms: i64::MIN, max_ms: i64::MAX });
        let closing = self.cluster.state().closing;
        let mut listed = Listed { closing, ..Listed::default() };
        listed.blocks.removed.clone_from(&tries.removed);
        match self.archive.list().blocks(tenant, (min_ms, max_ms), closing.at).await {
            Ok(blocks) if blocks.is_empty() => {}
            Ok(blocks) => {
                let mut query = self.archive.query(blocks, until);
                if is_partial {
                    query = query.in_part(tries.lost.clone());
                }
                listed.blocks.query = Some(Arc::new(query));
            }
            Err(reason) => {
                let mut recent_from_ms = self.env.now_ms().saturating_sub(RECENT_MS);
                let is_closed = self.cluster.state().chain.closed_through() > Epoch(0);
                if is_closed && !self.archive.list().had_none(tenant, closing.at) {
                    // Heads name what they have dropped lately, but those that were closed are gone.
                    let ahead_ms =
                        self.overrides.of(tenant).creation_grace_period_ms.saturating_add(AHEAD_MAX_MS);
                    recent_from_ms = recent_from_ms.max(closing.at_ms.saturating_add(ahead_ms));
                }
                if range.is_some() && min_ms < recent_from_ms {
                    let text = format!("blocks cannot be listed: {reason}");
                    if !is_partial {
                        return Err(QueryError::Unavailable(text));
                    }
                    listed.warning = Some(format!("partial answer: blocks left out: {text}"));
                }
                listed.blocks.unlisted = Some(Unlisted { reason, recent_from_ms, is_partial });
            }
        }
        Ok(listed)
    }

    /// Prepares another try after replicas have named blocks that the list lacks.
    pub(super) async fn again_with_newer_list(
        &self,
        tenant: &TenantId,
        lacking: Vec<Ulid>,
        tries: &mut BlockTries,
    ) -> Result<(), QueryError> {
        tries.newer_lists += 1;
        let named = lacking.first().map(Ulid::to_string).unwrap_or_default();
        let failed = |reason: String| {
            QueryError::Unavailable(format!("the list of blocks lacks block {named}, and {reason}"))
        };
        if tries.newer_lists > NEWER_LISTS_MAX {
            return Err(failed("grows faster than it is read".to_owned()));
        }
        let list = self.archive.list();
        let newer = list.refresh(tenant).await;
        newer.map_err(|reason| failed(format!("blocks cannot be listed: {reason}")))?;
        let blocks = list.blocks(tenant, (i64::MIN, i64::MAX), Duration::ZERO).await.map_err(failed)?;
        let holds = |ulid: &Ulid| {
            let in_block =
                |block: &BlockRef| block.meta.ulid == *ulid || block.meta.compaction.sources.contains(ulid);
            blocks.iter().any(in_block)
        };
        // What was listed once and is not now was removed.
        tries.removed.extend(lacking.into_iter().filter(|ulid| !holds(ulid)));
        Ok(())
    }

    /// The blocks that a selection of labels is about.
    pub(super) async fn blocks_of(
        &self,
        tenant: &TenantId,
        selection: &Selection,
        tries: &BlockTries,
        until: Instant,
    ) -> Result<Listed, QueryError> {
        self.blocks(tenant, Some(range(selection)), tries, until).await
    }

    /// Prepares another try after a block failed; the error says why there is none.
    pub(super) async fn again_without(
        &self,
        tenant: &TenantId,
        failure: BlockFailure,
        tries: &mut BlockTries,
    ) -> Result<(), QueryError> {
        let unavailable = |reason: String| QueryError::Unavailable(reason);
        if matches!(failure.trouble, Trouble::Gone(_)) && !tries.has_refreshed {
            tries.has_refreshed = true;
            return match self.archive.list().refresh(tenant).await {
                Ok(()) => Ok(()),
                Err(reason) => Err(unavailable(format!("{failure}, and blocks cannot be listed: {reason}"))),
            };
        }
        let is_known = tries.lost.iter().any(|lost| lost.ulid == failure.ulid);
        if is_known || tries.lost.len() >= LEFT_OUT_MAX || !self.overrides.of(tenant).query_partial_data {
            return Err(unavailable(failure.to_string()));
        }
        tries.lost.push(failure);
        Ok(())
    }
}
