//! The blocks that a question is answered from, and what becomes of it when one of them cannot be read.
//!
//! A block that is not there any more was replaced: the list is looked at again, once, and the question asked anew. One that
//! is damaged or cannot be had fails the question, or is left out with a warning where the tenant wants that
//! (`query_partial_data`). Nothing is left out silently.

use std::collections::BTreeSet;

use gyre_ring::TenantId;
use tokio::time::Instant;

use super::labels::range;
use super::{Node, QueryError, Selection};
use crate::archive::read::failure::{BlockFailure, Trouble};
use crate::archive::read::select::BlockQuery;
use crate::shard::read::TimeRange;

/// Blocks that are left out one after the other, each with another try, before the question fails.
const LEFT_OUT_MAX: usize = 16;

/// Blocks that a warning names; the rest is counted.
const NAMED_MAX: usize = 5;

/// What became of earlier tries of a question.
#[derive(Debug, Default)]
pub(super) struct BlockTries {
    /// The list was looked at again.
    has_refreshed: bool,
    /// Left out.
    lost: Vec<BlockFailure>,
}

/// The blocks of a tenant.
#[derive(Default)]
pub(super) struct Listed {
    /// A reader of them; `None`: there are none.
    pub(super) query: Option<BlockQuery>,
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
        match self.archive.list().blocks(tenant, min_ms, max_ms).await {
            Ok(blocks) if blocks.is_empty() => Ok(Listed::default()),
            Ok(blocks) => {
                let mut query = self.archive.query(blocks, until);
                if is_partial {
                    query = query.in_part(tries.lost.clone());
                }
                Ok(Listed { query: Some(query), warning: None })
            }
            Err(reason) if is_partial => {
                let warning = format!("partial answer: blocks left out, they cannot be listed ({reason})");
                Ok(Listed { query: None, warning: Some(warning) })
            }
            Err(reason) => Err(QueryError::Unavailable(format!("blocks cannot be listed: {reason}"))),
        }
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

/// What is to be said of an answer without some blocks.
pub(super) fn warning(lost: &[BlockFailure]) -> Option<String> {
    // A query with several selectors misses a block several times.
    let lost: BTreeSet<String> = lost.iter().map(BlockFailure::to_string).collect();
    let named = lost.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    match lost.len() {
        0 => None,
        count if count > NAMED_MAX => {
            Some(format!("partial answer: blocks left out: {named} and {} more", count - NAMED_MAX))
        }
        _ => Some(format!("partial answer: blocks left out: {named}")),
    }
}
