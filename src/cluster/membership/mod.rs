//! Who else is there: what nodes tell each other of themselves.
//!
//! Gossip informs, it decides nothing. What it says may be late, different for each reader, or made up by a stranger:
//! it steers whom to ask first and what to look up in the bucket, and never says who holds data. So the facts are few
//! and small, and checked when they are read.
//!
//! - [`facts`]: the facts as short texts, and back.
//! - [`gossip`]: over UDP, with chitchat.
//! - [`scripted`]: views that a test or a simulation sets.

pub mod facts;
pub mod gossip;
pub mod scripted;

use std::sync::Arc;

use gyre_ring::{ClusterId, Epoch, Incarnation, Member, NodeId, Replica};
use tokio::sync::watch;

/// A run of a node, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Node, incarnation, zone, weight and roles: what a document would list.
    pub member: Member,
    /// Grows with every start of the node on the same data directory.
    pub generation: u64,
    /// Where it serves other nodes, host:port.
    pub rpc: String,
    /// Whether it could hold replicas now.
    pub ready: bool,
    /// The cluster it belongs to; `None`: it has not found one yet.
    pub cluster: Option<ClusterId>,
    /// The newest epoch it acts upon; `None`: none yet.
    pub newest_epoch: Option<Epoch>,
    /// Members that it has not heard of for so long that they may be replaced; the first few.
    pub gone: Vec<NodeId>,
    /// Whether it has been heard of lately. A guess.
    pub alive: bool,
}

impl Peer {
    /// The node's name.
    pub fn node(&self) -> &NodeId {
        &self.member.node
    }

    /// Its disk.
    pub fn incarnation(&self) -> Incarnation {
        self.member.incarnation
    }

    /// Of two runs on one data directory the one with the greater rank counts.
    pub fn rank(&self) -> (bool, u64) {
        (self.alive, self.generation)
    }

    /// What it would be as a holder of replicas.
    pub fn replica(&self) -> Replica {
        self.member.replica()
    }
}

/// What a node knows of the others at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Other runs of nodes, dead ones for a while too, in no particular order.
    pub peers: Vec<Peer>,
    /// Those that seem to be alive and know another secret than this node, or none.
    pub strangers: Vec<String>,
    /// Those whose facts make no sense: who, and what is wrong.
    pub garbled: Vec<(String, String)>,
}

impl View {
    /// The peers that seem to be alive.
    pub fn alive(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| peer.alive)
    }
}

/// What a node tells of itself that changes while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Whether it could hold replicas now.
    pub ready: bool,
    /// Its cluster, once known.
    pub cluster: Option<ClusterId>,
    /// The newest epoch it acts upon.
    pub newest_epoch: Option<Epoch>,
    /// Members that it has not heard of for so long that they may be replaced; the first few.
    pub gone: Vec<NodeId>,
}

/// A source of views.
pub trait Membership: Send + Sync {
    /// The newest view, and a way to wait for the next.
    fn views(&self) -> watch::Receiver<Arc<View>>;
    /// Tells the others.
    fn announce(&self, announcement: Announcement);
}

/// What a node that was told of no others knows of them: nothing.
#[derive(Default)]
pub struct Nobody(watch::Sender<Arc<View>>);

impl Membership for Nobody {
    fn views(&self) -> watch::Receiver<Arc<View>> {
        self.0.subscribe()
    }

    fn announce(&self, _: Announcement) {}
}
