//! Ways to other nodes: who is where by gossip, and a [`Peer`] for each one that was called.
//!
//! Gossip is not authenticated. A wrong address costs a failed call and no more: in the handshake both sides prove that
//! they are who the other one expects.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use gyre_ring::Replica;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::membership::View;
use crate::rpc::{LocalNode, Peer, PeerConfig, RpcMetrics};

/// How this node calls others.
#[derive(Clone)]
pub struct Calls {
    /// As whom.
    pub local: Arc<LocalNode>,
    /// Bounds and times.
    pub config: PeerConfig,
    /// The runtime of the connections.
    pub io: Handle,
    /// What is counted.
    pub metrics: RpcMetrics,
}

/// What gossip says of a replica.
#[derive(Clone, Copy)]
struct Place {
    address: Option<SocketAddr>,
    rank: (bool, u64),
}

/// The newest view as a table, and the peers that have been asked for.
pub(super) struct Ways {
    views: watch::Receiver<Arc<View>>,
    /// The view that the table was made from.
    seen: Arc<View>,
    calls: Option<Calls>,
    places: HashMap<Replica, Place>,
    peers: HashMap<Replica, Arc<Peer>>,
}

impl Ways {
    /// Follows these views. Without `calls` nobody can be called.
    pub(super) fn new(views: watch::Receiver<Arc<View>>, calls: Option<Calls>) -> Self {
        Ways { views, seen: Arc::default(), calls, places: HashMap::new(), peers: HashMap::new() }
    }

    /// The way to a replica; the same one while its address stays.
    pub(super) fn peer(&mut self, replica: &Replica) -> Option<Arc<Peer>> {
        self.look();
        if let Some(peer) = self.peers.get(replica) {
            return Some(Arc::clone(peer));
        }
        let address = self.places.get(replica)?.address?;
        let Calls { local, config, io, metrics } = self.calls.clone()?;
        let peer = Arc::new(Peer::new(replica.clone(), address, local, config, io, &metrics));
        self.peers.insert(replica.clone(), Arc::clone(&peer));
        Some(peer)
    }

    /// Whether gossip takes a replica to be alive.
    pub(super) fn is_alive(&mut self, replica: &Replica) -> bool {
        self.look();
        self.places.get(replica).is_some_and(|place| place.rank.0)
    }

    /// The newest view.
    pub(super) fn view(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    /// Takes the newest view, and drops the peers that left or moved.
    fn look(&mut self) {
        let view = self.view();
        if Arc::ptr_eq(&view, &self.seen) {
            return;
        }
        self.seen = view;
        self.places.clear();
        for peer in &self.seen.peers {
            let place = Place { address: peer.rpc.parse().ok(), rank: peer.rank() };
            // Earlier runs on the same disk are remembered for a while.
            let known = self.places.entry(peer.replica()).or_insert(place);
            if place.rank > known.rank {
                *known = place;
            }
        }
        let places = &self.places;
        self.peers.retain(|replica, peer| {
            places.get(replica).is_some_and(|place| place.address == Some(peer.address()))
        });
    }
}
