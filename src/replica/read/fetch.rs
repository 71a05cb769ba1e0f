//! Getting what this node's data lacks for a read, its own or another node's, from the replica that named it.
//!
//! The read may be answered elsewhere before that is done: it goes on all the same, so that the next read finds it. One
//! pull of a segment goes on at a time, however many reads need it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gyre_ring::{BatchSet, Replica, Segment};
use tokio::time::timeout;

use crate::replica::local::Replicas;
use crate::shard::supervisor::ShardHandle;

/// How long batches that another replica has may take to arrive by themselves: they were sent here, too.
const ARRIVAL_MAX: Duration = Duration::from_millis(30);

/// How long a read waits for a pull of those that did not.
const PULL_MAX: Duration = Duration::from_secs(1);

/// Who lacks more is not waited for: repair gets it.
const BATCHES_MAX: u64 = 10_000;

/// The segments that are being pulled for reads.
#[derive(Clone, Debug, Default)]
pub struct Fetching(Arc<Mutex<HashSet<Segment>>>);

struct Guard {
    all: Fetching,
    segment: Segment,
}

impl Fetching {
    fn lock(&self) -> MutexGuard<'_, HashSet<Segment>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, segment: &Segment) -> Option<Guard> {
        let is_new = self.lock().insert(segment.clone());
        is_new.then(|| Guard { all: self.clone(), segment: segment.clone() })
    }

    /// Waits until the data here shows all batches of a set, and gets those that `holder` has and that do not come. Whether
    /// it does.
    pub async fn wait_for(
        &self,
        replicas: &Arc<Replicas>,
        shard: &Arc<ShardHandle>,
        as_of: &BatchSet,
        holder: Option<&Replica>,
    ) -> bool {
        if shard.state.wait_until_shown(as_of, ARRIVAL_MAX).await {
            return true;
        }
        let missing = shard.state.missing(as_of);
        let peer = holder.and_then(|holder| Some((holder.clone(), replicas.cluster.peer(holder)?)));
        let (Some((holder, peer)), true) = (peer, missing.len() <= BATCHES_MAX) else { return false };
        let Some(guard) = self.begin(&shard.segment) else {
            return shard.state.wait_until_shown(as_of, PULL_MAX).await;
        };
        let (replicas, shard_there) = (replicas.clone(), shard.clone());
        let pulling = tokio::spawn(async move {
            let _guard = guard;
            if let Err(error) = replicas.pull(&shard_there, &holder, &peer, &missing).await {
                tracing::debug!(segment = %shard_there.segment, peer = %holder, %error, "cannot pull for a read");
            }
        });
        // Whatever became of it, the state says what there is.
        let _ = timeout(PULL_MAX, pulling).await;
        shard.state.shows(as_of)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.all.lock().remove(&self.segment);
    }
}
