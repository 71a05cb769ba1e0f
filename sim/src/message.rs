//! What nodes tell each other, and what they write: the payload is a handful of points.

use std::collections::BTreeMap;
use std::sync::Arc;

use gyre_protocol::{Refusal, Said};
use gyre_ring::{BatchId, BatchSet, EpochDocument, Replica, Segment};

use crate::blocks::BlockId;
use crate::shelf::Named;

/// A series' key (its place among the shards is decided by the top bits) and a time.
pub type Point = (u128, u64);

/// Points and their values.
pub type Points = BTreeMap<Point, u64>;

/// What a read returns: points in order, each once.
pub type Answer = Vec<(Point, u64)>;

/// A batch: its name and what it holds.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its name within its segment.
    pub id: BatchId,
    /// What it holds.
    pub points: Points,
}

/// Documents, oldest first, from epoch 1.
pub type Documents = Vec<Arc<EpochDocument>>;

/// One message. `op` names the request that an answer belongs to.
#[derive(Clone, Debug)]
pub struct Message {
    /// The documents that the sender goes by; a receiver may learn of newer ones from them.
    pub documents: Arc<Documents>,
    /// Whose request it is, or is an answer to.
    pub op: u64,
    /// The segment it is about.
    pub segment: Segment,
    /// The replica it is for, or from.
    pub replica: Replica,
    /// The rest.
    pub body: Body,
}

/// What became of a client's points.
#[derive(Clone, Debug)]
pub struct Written {
    /// The batch that was made of them.
    pub batch: Arc<Batch>,
    /// Its segment.
    pub segment: Segment,
}

/// What a message says.
#[derive(Clone, Debug)]
pub enum Body {
    /// A client's points: admit them, and see to it that a quorum has them.
    Write(Arc<Points>),
    /// A quorum has those that were admitted; none if all were refused.
    Written(Option<Written>),
    /// Not here, or not on enough replicas.
    NotWritten,
    /// Take this batch.
    Append(Arc<Batch>),
    /// The batch is durable here.
    Acked(BatchId),
    /// It is not taken.
    Refused(BatchId, Refusal),
    /// Which batches do you hold?
    AskVector,
    /// These; and whether the segment is sealed here.
    Vector(BatchSet, bool),
    /// Your data, as of these batches at least; the replica named holds them.
    AskData(BatchSet, Option<Replica>),
    /// The data, if it is as of that; whether the segment is sealed here; the blocks that have what was dropped of it.
    Data(Option<Arc<Answer>>, bool, Vec<BlockId>),
    /// The segment has ended: seal it.
    Seal,
    /// It is sealed here, durably.
    Sealed,
    /// Send me these batches.
    Pull(BatchSet),
    /// Here they are, those I have, and the blocks that have what is left out of them.
    Pulled(Vec<Arc<Batch>>, Vec<Named>),
    /// Up to which epoch do you act, and what do you host of the segments that had ended by then?
    AskSettled,
    /// That.
    Settled(Said),
    /// You mean somebody else.
    NotMember,
}

impl Body {
    /// Whether this is an answer.
    pub fn is_answer(&self) -> bool {
        let is_request = matches!(
            self,
            Body::Append(_)
                | Body::AskVector
                | Body::AskData(..)
                | Body::Seal
                | Body::Pull(_)
                | Body::AskSettled
        );
        !is_request && !matches!(self, Body::Write(_))
    }
}
