//! What keeps a node from serving, in words for its operator. Each names both sides.

use std::fmt;

use gyre_ring::{ClusterId, Epoch, Incarnation, NodeId};

use super::{NotReady, Refused, Situation};
use crate::cluster::identity::ClusterFacts;

/// Why a node must not serve. Nothing it could do by itself would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bucket is another cluster's than the data directory.
    #[error(
        "bucket {bucket} belongs to cluster {found}, the data directory to cluster {local}: one of --storage.url and \
         --data-dir is wrong"
    )]
    OtherCluster {
        /// The bucket.
        bucket: String,
        /// Its cluster.
        found: ClusterFacts,
        /// The data directory's.
        local: ClusterFacts,
    },
    /// The bucket has no cluster where there is one already.
    #[error(
        "bucket {bucket} belongs to no cluster, but cluster {expected} exists: --storage.url is wrong, or the bucket \
         was emptied"
    )]
    NoClusterInBucket {
        /// The bucket.
        bucket: String,
        /// The cluster of the data directory or of the peers.
        expected: ClusterId,
    },
    /// Nobody knows the seed of the data any more.
    #[error(
        "bucket {bucket} belongs to no cluster, and the data directory holds data but has lost its folder \"cluster\": \
         without the cluster's seed the data cannot be read; put either of them back"
    )]
    ForgottenCluster {
        /// The bucket.
        bucket: String,
    },
    /// The data is older than its cluster, and was made for another one.
    #[error(
        "bucket {bucket} belongs to cluster {found}, but the data directory holds data that was made before it joined \
         any cluster: use another --storage.url, or an empty --data-dir"
    )]
    OtherData {
        /// The bucket.
        bucket: String,
        /// Its cluster.
        found: ClusterFacts,
    },
    /// The peers are in another cluster than the bucket.
    #[error(
        "{peer} is in cluster {other}, but bucket {bucket} belongs to cluster {found}: one of --gossip.join and \
         --storage.url is wrong"
    )]
    PeerOfOtherCluster {
        /// Who.
        peer: String,
        /// Its cluster.
        other: ClusterId,
        /// This node's bucket.
        bucket: String,
        /// Its cluster.
        found: ClusterId,
    },
    /// The bucket is of other nodes, and this one was told of none.
    #[error(
        "bucket {bucket} belongs to cluster {cluster} of {}, this node is {own}: use another --storage.url, or \
         --node.id {} if this is that node with a new disk",
        list(members), members[0]
    )]
    OthersBucket {
        /// The bucket.
        bucket: String,
        /// Its cluster.
        cluster: ClusterId,
        /// Its members.
        members: Vec<NodeId>,
        /// This node.
        own: NodeId,
    },
    /// The node is a member among others, and was told of none.
    #[error("epoch {} lists other members too, {}, and this node was started without any to talk to", epoch.0, list(others))]
    NotAlone {
        /// The document.
        epoch: Epoch,
        /// The others.
        others: Vec<NodeId>,
    },
    /// Another node has the incarnation of this data directory.
    #[error(
        "epoch {} in bucket {bucket} lists this data directory as node {listed}, this node is {own}: the data directory \
         is a copy, or --node.id has changed",
        epoch.0
    )]
    CopiedData {
        /// The bucket.
        bucket: String,
        /// The document.
        epoch: Epoch,
        /// The node it lists.
        listed: NodeId,
        /// This node.
        own: NodeId,
    },
    /// The node has come back with another data directory since.
    #[error(
        "epoch {} lists node {node} with data directory {by}, this one is {own} and was replaced: it must not serve \
         any more",
        epoch.0
    )]
    Replaced {
        /// The document.
        epoch: Epoch,
        /// The node.
        node: NodeId,
        /// Its data directory now.
        by: Incarnation,
        /// This data directory.
        own: Incarnation,
    },
    /// The bucket has another document than the one that was acted upon.
    #[error(
        "epoch {} in bucket {bucket} is another document than the copy in the data directory: the bucket was emptied and \
         filled again, or --storage.url is wrong",
        epoch.0
    )]
    OtherDocument {
        /// The bucket.
        bucket: String,
        /// The document.
        epoch: Epoch,
    },
    /// Another node with this id is alive, and is a member.
    #[error(
        "node id {node} is taken: {rpc} has it, with data directory {incarnation}; use another --node.id"
    )]
    DuplicateNode {
        /// The id.
        node: NodeId,
        /// Where the other one is.
        rpc: String,
        /// Its data directory.
        incarnation: Incarnation,
    },
    /// The others have another secret.
    #[error(
        "the others, {who} for one, know another secret than this node: all nodes of a cluster need the same \
         --cluster.secret-file, or --gossip.join is wrong"
    )]
    OtherSecret {
        /// One of them.
        who: String,
    },
    /// What gossip says about this node.
    #[error(transparent)]
    Told(Alarm),
}

/// What gossip says and an operator should know. It stops a node only before it serves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Alarm {
    /// A later run of this data directory has been seen.
    #[error(
        "this data directory has been started {theirs} times, as {rpc} says, but knows of {ours}: it was put back from a \
         backup or copied, and may lack what was acknowledged since; use an empty --data-dir"
    )]
    StaleGeneration {
        /// The other run's number.
        theirs: u64,
        /// This run's.
        ours: u64,
        /// Where the other run is or was.
        rpc: String,
    },
    /// Another process runs on a copy of this data directory.
    #[error(
        "{rpc} is node {node} on a copy of this data directory; use an empty --data-dir and another --node.id"
    )]
    SameData {
        /// The node.
        node: NodeId,
        /// Where the other one is.
        rpc: String,
    },
    /// Another node has this node's id.
    #[error("{rpc} calls itself node {node} too, with data directory {incarnation}")]
    SameNode {
        /// The id.
        node: NodeId,
        /// Where the other one is.
        rpc: String,
        /// Its data directory.
        incarnation: Incarnation,
    },
    /// A node of another cluster gossips here.
    #[error(
        "{peer} is in cluster {other}, this node in cluster {own}: its --gossip.join or --storage.url is wrong"
    )]
    OtherCluster {
        /// Who.
        peer: String,
        /// Its cluster.
        other: ClusterId,
        /// This node's.
        own: ClusterId,
    },
    /// A node with another secret gossips here.
    #[error("{who} does not know this cluster's secret: its --cluster.secret-file or --gossip.join is wrong")]
    OtherSecret {
        /// Who.
        who: String,
    },
    /// The object store does not answer.
    #[error(
        "the object store does not answer: no node can join or leave, and nothing else changes; writes and reads go on"
    )]
    NoBucket,
    /// The node is to leave, and must not yet.
    #[error("this node cannot leave: {0}")]
    CannotLeave(Refused),
    /// A member has been away for long, and must not be replaced yet.
    #[error("node {node} has been away for long and cannot be replaced: {why}")]
    CannotReplace {
        /// Who.
        node: NodeId,
        /// Why not.
        why: Refused,
    },
    /// Somebody says what makes no sense.
    #[error("{who} gossips nonsense: {problem}")]
    Garbled {
        /// Who.
        who: String,
        /// What is wrong.
        problem: String,
    },
}

impl Alarm {
    /// Whether this node is the one that should not start.
    pub(super) fn is_about_this_node(&self, s: &Situation<'_>) -> bool {
        match self {
            Alarm::StaleGeneration { .. } | Alarm::SameData { .. } => true,
            // Members outvote a newcomer; among members the document decides.
            Alarm::OtherCluster { .. } => {
                s.chain.newest().is_none_or(|newest| newest.member(&s.own.member.node).is_none())
            }
            // The documents decide which of the two it is.
            Alarm::SameNode { .. }
            | Alarm::OtherSecret { .. }
            | Alarm::Garbled { .. }
            | Alarm::CannotLeave(_)
            | Alarm::CannotReplace { .. }
            | Alarm::NoBucket => false,
        }
    }
}

/// What a node waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The bucket to answer.
    Bucket,
    /// To hear of others.
    Others,
    /// To hear whether a member with this node's id lives.
    Namesake,
    /// An earlier run of this node to be forgotten, or to turn out to be another node.
    EarlierRun {
        /// Where it is or was.
        rpc: String,
    },
    /// More replicas to be ready.
    Replicas(NotReady),
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::Bucket => f.write_str("waiting for the object store"),
            Waiting::Others => f.write_str("waiting to hear of other nodes"),
            Waiting::Namesake => f.write_str("waiting to hear whether another node has this node's id"),
            Waiting::EarlierRun { rpc } => {
                write!(f, "waiting until {rpc}, which has this node's id, is taken for dead")
            }
            Waiting::Replicas(not_ready) => write!(f, "waiting to join: {not_ready}"),
        }
    }
}

fn list(nodes: &[NodeId]) -> String {
    let names: Vec<&str> = nodes.iter().map(NodeId::as_str).collect();
    let kind = if names.len() == 1 { "node" } else { "nodes" };
    format!("{kind} {}", names.join(", "))
}
