//! Members that this node has not heard of for long.
//!
//! What may go wrong: this node is the one that hears nobody. So its word alone counts for nothing: most members must say
//! the same ([`super::bootstrap`]), and those that could tell are not heard by it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gyre_ring::{EpochDocument, NodeId, Replica};

use super::membership::View;

/// Since when members have not been heard of.
#[derive(Clone, Debug)]
pub struct Absent {
    /// How long a member may be away; `None`: for ever.
    limit: Option<Duration>,
    since: BTreeMap<Replica, Duration>,
    gone: BTreeSet<NodeId>,
}

impl Absent {
    /// Nobody has been missed yet.
    pub fn new(limit: Option<Duration>) -> Self {
        Absent { limit, since: BTreeMap::new(), gone: BTreeSet::new() }
    }

    /// Looks who is there, at this time since some fixed moment.
    pub fn look(&mut self, newest: Option<&EpochDocument>, own: &Replica, view: &View, now: Duration) {
        let Some(limit) = self.limit else { return };
        let alive: BTreeSet<Replica> = view.alive().map(|peer| peer.replica()).collect();
        let members = newest.into_iter().flat_map(|document| &document.members);
        let away: BTreeSet<Replica> = members
            .map(|member| member.replica())
            .filter(|replica| replica != own && !alive.contains(replica))
            .collect();
        self.since.retain(|replica, _| away.contains(replica));
        for replica in away {
            self.since.entry(replica).or_insert(now);
        }
        let long = self.since.iter().filter(|(_, since)| now.saturating_sub(**since) >= limit);
        self.gone = long.map(|(replica, _)| replica.node.clone()).collect();
    }

    /// Those that have been away for longer than the limit.
    pub fn gone(&self) -> &BTreeSet<NodeId> {
        &self.gone
    }
}
