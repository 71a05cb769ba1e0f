//! What a plan knows of a tenant's blocks.
//!
//! What may go wrong: there is no list, since the bucket does not answer. Then ranges of time that began lately are read all
//! the same: what heads have dropped of them they name, and it is nothing if all goes well. Or the list is old: a replica
//! names a block that is not in it, and the reader has it refreshed. A block that a fresh list does not have either was
//! removed, and is missed by nobody.

use std::collections::BTreeSet;
use std::sync::Arc;

use gyre_tsdb::block::Ulid;

use crate::archive::read::select::BlockQuery;
use crate::shard::read::TimeRange;

/// The blocks that a query may read.
#[derive(Clone, Debug, Default)]
pub struct PlanBlocks {
    /// A reader of them; `None`: there are none.
    pub query: Option<Arc<BlockQuery>>,
    /// That there may be more.
    pub unlisted: Option<Unlisted>,
    /// Blocks that replicas have named, and that a list which was made later does not have.
    pub removed: BTreeSet<Ulid>,
}

/// Why blocks are not known.
#[derive(Clone, Debug)]
pub struct Unlisted {
    /// A text.
    pub reason: String,
    /// Ranges that begin at this time or later can be read without, milliseconds since 1970.
    pub recent_from_ms: i64,
    /// Whether older ones are to be read in part, with a warning.
    pub is_partial: bool,
}

impl PlanBlocks {
    /// Whether a block may have samples in a range of time, as far as is known.
    pub fn overlaps(&self, range: TimeRange) -> bool {
        self.query.as_ref().is_some_and(|query| query.overlaps(range))
    }

    /// Those of some blocks that the list should have and does not.
    pub fn unknown(&self, named: impl IntoIterator<Item = Ulid>) -> Vec<Ulid> {
        let holds = |ulid| self.query.as_ref().is_some_and(|query| query.holds(ulid));
        let is_unknown = |ulid: &Ulid| !self.removed.contains(ulid) && !holds(*ulid);
        named.into_iter().filter(is_unknown).collect()
    }
}
