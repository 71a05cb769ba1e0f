//! Leaving the cluster: others take over this node's shards, what it holds of them goes to blocks, and then it may go.
//!
//! The steps are the cluster's: a document without this node ([`crate::cluster::bootstrap`]), blocks of what has ended
//! ([`crate::archive::ship`]), a document that closes it ([`crate::replica::settled`]). Here is only where it stands.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Node;
use crate::cluster::LiveCluster;
use crate::cluster::bootstrap::Alarm;
use crate::shard::supervisor::Shards;

/// Segments that are named.
const SEGMENTS_SHOWN_MAX: usize = 20;

/// How often it is looked whether a node that leaves may go.
const POLL: Duration = Duration::from_millis(500);

/// How far a node is with leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainState {
    /// It is a member, and stays one.
    Member,
    /// It is to leave, and is a member yet.
    Leaving,
    /// It has left; what it held is on its way to blocks.
    Draining,
    /// It holds nothing that is needed, and stops.
    Drained,
}

/// What `/drain` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    /// The node.
    pub node: String,
    /// How far it is.
    pub state: DrainState,
    /// Why it is a member yet; absent: nothing stands in the way.
    pub problem: Option<String>,
    /// Segments here that are not all in blocks yet.
    pub segments_left: usize,
    /// The first of them.
    pub segments: Vec<String>,
}

impl Node {
    /// Has the node leave the cluster, or stay after all; returns when that is noted durably.
    pub async fn drain(&self, leaving: bool) -> Result<(), String> {
        self.cluster.leave(leaving).await
    }

    /// How far it is with that.
    pub fn drain_status(&self) -> DrainStatus {
        status(&self.cluster, &self.storage.shards)
    }

    /// Returns when the node has left the cluster and is not needed any more.
    pub async fn drained(&self) {
        let mut drained = self.drained.clone();
        if drained.wait_for(|drained| *drained).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn status(cluster: &LiveCluster, shards: &Shards) -> DrainStatus {
    let (state, notices) = (cluster.state(), cluster.notices());
    let all = shards.all();
    let left = all.iter().filter(|shard| !shard.state.is_clear());
    let left: Vec<String> = left.map(|shard| shard.name.to_string()).collect();
    let problem =
        notices.alarms.iter().find(|alarm| matches!(alarm, Alarm::CannotLeave(_) | Alarm::NoBucket));
    DrainStatus {
        node: state.own.node.to_string(),
        state: match (notices.leaving, state.left()) {
            (false, _) => DrainState::Member,
            (true, None) => DrainState::Leaving,
            (true, Some(_)) if state.is_drained() => DrainState::Drained,
            (true, Some(_)) => DrainState::Draining,
        },
        problem: problem.filter(|_| notices.leaving).map(Alarm::to_string),
        segments_left: left.len(),
        segments: left.into_iter().take(SEGMENTS_SHOWN_MAX).collect(),
    }
}

/// Waits until a node that leaves may go, and says so. Runs as long as the node.
pub(super) async fn watch(cluster: Arc<LiveCluster>, drained: watch::Sender<bool>) {
    loop {
        if cluster.notices().leaving && cluster.state().is_drained() {
            tracing::info!("this node has left the cluster, and all that it held is in blocks");
            cluster.has_left().await;
            drained.send_replace(true);
            return;
        }
        tokio::time::sleep(POLL).await;
    }
}
