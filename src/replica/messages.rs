//! What replicas say to each other: methods and control messages (`docs/format/rpc.md` describes how they travel).
//!
//! Every request names the incarnation that it means and the newest epoch that the sender acts upon: a node that is not
//! the one meant refuses everything, and one that is behind looks for the documents first. A message whose shape changes
//! is a new method.

use gyre_protocol::Refusal;
use gyre_ring::{BatchNumber, BatchSet, BootId, Chain, EpochDocument};

use crate::rpc::codec::{Decode, Encode};
use crate::rpc::{Lane, Method};

/// A batch that the caller has admitted, for the other replicas of its segment.
pub const APPEND: Method = Method { number: 1, name: "append", lane: Lane::Append };
/// A client's samples, for a replica that admits them and sees to the others.
pub const ADMIT: Method = Method { number: 2, name: "admit", lane: Lane::Append };
/// Which batches the callee holds.
pub const VECTORS: Method = Method { number: 3, name: "vectors", lane: Lane::Control };
/// Whether the callee's data contains some batches.
pub const SHOWS: Method = Method { number: 14, name: "shows", lane: Lane::Control };
/// Seal segments that have ended.
pub const SEAL: Method = Method { number: 5, name: "seal", lane: Lane::Control };
/// Batches that the caller lacks.
pub const PULL: Method = Method { number: 21, name: "pull", lane: Lane::Bulk };

/// Up to which epoch the callee acts, and which segments it hosts.
pub const SETTLED: Method = Method { number: 16, name: "settled", lane: Lane::Control };

// Numbers from 10 on: `super::read::messages`; 20: `crate::api::handing::messages`.

/// What the callee knows of a tenant's metrics.
pub const METADATA: Method = Method { number: 7, name: "metadata", lane: Lane::Control };

/// Stands in front of every request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Head {
    /// The incarnation of the callee that is meant.
    pub incarnation: u128,
    /// The newest epoch that the caller acts upon.
    pub epoch: u64,
}

/// Why the callee does not do it, and the documents that the caller seems to lack.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Refused {
    /// Why.
    pub reason: RefusedBecause,
    /// Epoch documents, oldest first, as they are stored.
    pub documents: Vec<Vec<u8>>,
}

/// [`Refusal`] on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum RefusedBecause {
    /// The segment has ended.
    Sealed,
    /// The segments before are not sealed yet.
    NotActive,
    /// The callee does not hold the segment, or is not who was meant.
    NotMember,
}

impl From<Refusal> for RefusedBecause {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Sealed => RefusedBecause::Sealed,
            Refusal::NotActive => RefusedBecause::NotActive,
            Refusal::NotMember => RefusedBecause::NotMember,
        }
    }
}

/// Request of [`APPEND`]. The samples and the segment's name travel beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AppendRequest {
    /// Whom it is for.
    pub head: Head,
    /// The run that numbered the batch.
    pub boot: u128,
    /// Its number.
    pub number: u64,
    /// The limit on histogram buckets under which it was admitted; 0: none.
    pub histogram_buckets_max: u32,
}

/// Reply to [`APPEND`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AppendReply {
    /// It is on the callee's disk.
    Durable,
    /// A series is new to the callee; send it again with labels.
    LabelsMissing,
    /// It was not taken.
    Refused(Refused),
}

/// Request of [`ADMIT`]. The samples and the segment's name travel beside it, all with labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AdmitRequest {
    /// Whom it is for.
    pub head: Head,
}

/// Reply to [`ADMIT`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AdmitReply {
    /// What could be stored is durable on a quorum.
    Done(AdmittedCounts),
    /// Nothing was admitted.
    Refused(Refused),
    /// It may be stored on some replicas, but too few for now.
    Failed(String),
}

/// What became of a client's samples. Fields as in [`crate::shard::append::Admission`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct AdmittedCounts {
    /// Samples stored now.
    pub stored: u64,
    /// Samples that were there already.
    pub repeated: u64,
    /// How many of those two are native histograms.
    pub histograms: u64,
    /// Histograms stored with fewer buckets than were sent.
    pub reduced_histograms: u64,
    /// Samples refused, by reason.
    pub refused: Vec<(String, u64)>,
    /// The first refusal: the series' place in the message, and what to tell the sender.
    pub first: Option<(u32, String)>,
    /// Series, by place, whose labels must be brought into canonical form first.
    pub not_canonical: Vec<u32>,
}

/// Request of [`VECTORS`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VectorsRequest {
    /// Whom it is for.
    pub head: Head,
    /// The segments' names.
    pub segments: Vec<String>,
}

/// Reply to [`VECTORS`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum VectorsReply {
    /// For the first of the segments that were asked for, one at least: as many as a reply has room for.
    Vectors(Vec<VectorOnWire>),
    /// The callee is not who was meant, or does not hold one of them.
    Refused(Refused),
}

/// What a replica says of a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct VectorOnWire {
    /// The batches that are durable.
    pub held: SetOnWire,
    /// Whether the segment is durably sealed.
    pub is_sealed: bool,
}

/// Request of [`SHOWS`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ShowsRequest {
    /// Whom it is for.
    pub head: Head,
    /// The segment's name.
    pub segment: String,
    /// The batches.
    pub batches: SetOnWire,
    /// The node that holds them, from which missing ones can be pulled.
    pub holder: String,
}

/// Reply to [`SHOWS`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ShowsReply {
    /// The callee's run, whether its data contains all of them, and whether the segment is sealed there.
    Shows {
        /// Data that is read must come from the same run: another one may have lost what was not durable yet.
        boot: u128,
        /// Whether the data contains them.
        all: bool,
        /// Whether the segment is durably sealed.
        is_sealed: bool,
        /// Whether data may be missing: the callee is the only replica, and its log was damaged.
        is_damaged: bool,
    },
    /// The callee is not who was meant, or does not hold it.
    Refused(Refused),
}

/// Request of [`SEAL`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SealRequest {
    /// Whom it is for.
    pub head: Head,
    /// The newest documents, oldest first: they say that the segments have ended.
    pub documents: Vec<Vec<u8>>,
    /// The segments' names.
    pub segments: Vec<String>,
}

/// Reply to [`SEAL`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SealReply {
    /// For each segment, whether it is durably sealed now.
    Sealed(Vec<bool>),
    /// The callee is not who was meant.
    Refused(Refused),
}

/// Request of [`SETTLED`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SettledRequest {
    /// Whom it is for.
    pub head: Head,
    /// The newest documents, oldest first.
    pub documents: Vec<Vec<u8>>,
}

/// Reply to [`SETTLED`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SettledReply {
    /// Every segment that had ended by this epoch and is not named is sealed here, and holds nothing, unless it is closed.
    Settled {
        /// The epoch that the callee acts upon.
        epoch: u64,
        /// Segments that have ended.
        ended: Vec<EndedOnWire>,
        /// Names of the others: if the caller is a replica of one, it may lack what the callee holds.
        open: Vec<String>,
        /// All that had ended by this epoch are sealed here, and all that the callee ever held of them is in blocks.
        clear: u64,
        /// Those that had ended by this epoch are closed, by the callee's documents.
        closed: u64,
    },
    /// The callee cannot say: its log was damaged, or it hosts too many.
    CannotSay,
    /// The callee is not who was meant.
    Refused(Refused),
}

/// A segment that has ended, as a replica of it sees it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EndedOnWire {
    /// Its name.
    pub segment: String,
    /// It is sealed, and all that the callee ever held of it is in listed blocks: others of its replicas may look whether
    /// these have what they hold, too.
    pub is_clear: bool,
}

/// What stands at the end of the reply to [`PULL`], behind the batches.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PullReply {
    /// All that was wanted and is held was given, unless some of it is not in the log any more; then nothing was.
    Gave {
        /// What is held and not in the log, or not whole.
        not_in_log: SetOnWire,
    },
    /// The callee is not who was meant, or does not hold the segment.
    Refused(Refused),
}

/// Request of [`PULL`]. The batches are streamed: see [`super::pull`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PullRequest {
    /// Whom it is for.
    pub head: Head,
    /// The segment's name.
    pub segment: String,
    /// The batches that the caller lacks.
    pub wanted: SetOnWire,
}

/// Request of [`METADATA`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MetadataRequest {
    /// Whom it is for.
    pub head: Head,
    /// The tenant.
    pub tenant: String,
    /// The metric; absent: all.
    pub metric: Option<String>,
}

/// Reply to [`METADATA`]: what is known, by metric.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MetadataReply(pub Vec<(String, Vec<MetadataOnWire>)>);

/// What is known of a metric: type, help, unit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MetadataOnWire(pub String, pub String, pub String);

/// A set of batches: runs with first and last numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SetOnWire(pub Vec<(u128, u64, u64)>);

impl From<&BatchSet> for SetOnWire {
    fn from(set: &BatchSet) -> Self {
        SetOnWire(set.intervals().map(|(boot, first, last)| (boot.0, first.0, last.0)).collect())
    }
}

impl From<&SetOnWire> for BatchSet {
    fn from(wire: &SetOnWire) -> Self {
        let mut set = BatchSet::default();
        for &(boot, first, last) in wire.0.iter().filter(|(_, first, last)| first <= last) {
            set.insert_interval(BootId(boot), BatchNumber(first), BatchNumber(last));
        }
        set
    }
}

/// Documents that go along with a message: whoever is further behind looks in the bucket.
pub const DOCUMENTS_MAX: usize = 16;

/// The newest documents for the wire, oldest first.
pub fn newest_on_wire(chain: &Chain) -> Vec<Vec<u8>> {
    let skipped = chain.documents().count().saturating_sub(DOCUMENTS_MAX);
    documents_on_wire(chain.documents().skip(skipped))
}

/// Documents as they travel.
pub fn documents_on_wire<'a>(documents: impl IntoIterator<Item = &'a EpochDocument>) -> Vec<Vec<u8>> {
    documents.into_iter().map(EpochDocument::to_bytes).collect()
}

/// Documents that came; those that make no sense are left out with a warning.
pub fn documents_from_wire(documents: &[Vec<u8>]) -> Vec<EpochDocument> {
    let parse = |bytes: &Vec<u8>| {
        let parsed = EpochDocument::parse(bytes);
        parsed.inspect_err(|error| tracing::warn!(%error, "a peer sent an epoch document that is none")).ok()
    };
    documents.iter().filter_map(parse).collect()
}
