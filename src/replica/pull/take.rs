//! The other side of a pull: asks for batches, applies them whole, and waits until they are durable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gyre_ring::{BatchSet, Replica, Segment};
use tokio::time::Instant;

use super::wire::{self, BatchStream, StreamError};
use crate::actor::Gone;
use crate::replica::call::head_for;
use crate::replica::local::Replicas;
use crate::replica::messages::{PULL, PullReply, PullRequest};
use crate::rpc::codec::{self, CodecError};
use crate::rpc::samples::{BatchPool, SERIES_IDS_MAX};
use crate::rpc::{Peer, Reply, RpcError};
use crate::shard::actor::{Durable, Replicate, ShardError};
use crate::shard::released::ReleasedTo;
use crate::shard::supervisor::ShardHandle;

/// The longest that a pull may take; what has come by then is kept, and the next one goes on from there.
const PULL_MAX: Duration = Duration::from_secs(60);

/// A peer that could not give all that is missing is asked for it again after so long.
const HOPELESS_FOR: Duration = Duration::from_secs(60);

/// Each time that it still cannot, it is left alone for twice as long, up to this.
const HOPELESS_FOR_MAX: Duration = Duration::from_secs(3600);

/// Batches that are missing here and that a peer's log does not have any more, though the peer holds them.
#[derive(Default)]
pub struct Hopeless(Mutex<HashMap<(Replica, Segment), NotInLog>>);

struct NotInLog {
    batches: BatchSet,
    asked: Instant,
    wait: Duration,
}

impl Hopeless {
    fn lock(&self) -> MutexGuard<'_, HashMap<(Replica, Segment), NotInLog>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of some batches that a peer's log does not have, as far as is known.
    pub fn of(&self, peer: &Replica, segment: &Segment, batches: &BatchSet) -> BatchSet {
        let all = self.lock();
        let known = all.get(&(peer.clone(), segment.clone()));
        known.map(|known| batches.intersection(&known.batches)).unwrap_or_default()
    }

    /// Whether it is too early to ask a peer for these batches. Those that came from elsewhere meanwhile are not waited
    /// for.
    fn is(&self, peer: &Replica, segment: &Segment, wanted: &BatchSet) -> bool {
        let all = self.lock();
        all.get(&(peer.clone(), segment.clone())).is_some_and(|known| {
            known.asked.elapsed() < known.wait && !wanted.intersection(&known.batches).is_empty()
        })
    }

    /// Notes what a peer said that its log does not have.
    fn note(&self, peer: &Replica, segment: &Segment, batches: BatchSet) {
        let (key, asked) = ((peer.clone(), segment.clone()), Instant::now());
        let mut all = self.lock();
        if batches.is_empty() {
            all.remove(&key);
            return;
        }
        let before = all.get(&key).filter(|before| !before.batches.intersection(&batches).is_empty());
        let wait = before.map_or(HOPELESS_FOR, |before| (before.wait * 2).min(HOPELESS_FOR_MAX));
        all.insert(key, NotInLog { batches, asked, wait });
    }
}

/// Why a pull broke off.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// The peer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// What it sent.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// What it said.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// It does not give them.
    #[error("{0}")]
    Refused(String),
    /// It does not have them all in its log any more, as of a short while ago.
    #[error("its log does not reach back to them")]
    Hopeless,
    /// This node.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The shard is being rebuilt.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// This node's log.
    #[error("what came is not durable: {0}")]
    NotDurable(String),
}

/// What a pull brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Batches that are durable here now.
    pub batches: u64,
    /// Batches that the peer holds and does not have in its log any more, or not whole.
    pub not_in_log: BatchSet,
}

impl Replicas {
    /// Gets batches from a peer that holds them: all that it holds and this replica lacks.
    pub async fn pull(
        &self,
        shard: &Arc<ShardHandle>,
        from: &Replica,
        peer: &Peer,
        wanted: &BatchSet,
    ) -> Result<Pulled, PullError> {
        if self.hopeless.is(from, &shard.segment, wanted) {
            return Err(PullError::Hopeless);
        }
        let request = PullRequest {
            head: head_for(&self.cluster.state(), from),
            segment: shard.name.to_string(),
            wanted: wanted.into(),
        };
        let deadline = Instant::now() + PULL_MAX;
        let reply = peer.call(PULL, codec::encode(&request)?, deadline).await?;
        let mut pulled = Pulled::default();
        let (trailer, durable) = match reply {
            Reply::Whole(trailer) => (trailer, None),
            Reply::Stream(mut parts) => {
                let mut stream = BatchStream::new(SERIES_IDS_MAX);
                let mut durable = None;
                let pool = BatchPool::default();
                while let Some(part) = parts.next().await? {
                    stream.push(&part);
                    self.pulls.count(shard.state.is_ending(), part.len());
                    loop {
                        let mut batch = pool.take();
                        let id = match stream.next(&mut batch)? {
                            Some(wire::Pulled::Batch(id)) => id,
                            Some(wire::Pulled::Released(blocks)) => {
                                self.note_released(shard, blocks).await?;
                                continue;
                            }
                            None => break,
                        };
                        let replicate = Replicate { id, batch, histogram_buckets_max: 0, is_pulled: true };
                        // Later ones are behind it in the log, so the last one's answer is everybody's.
                        durable = Some(shard.actor.ask(replicate).await??);
                        pulled.batches += 1;
                    }
                }
                if !stream.is_empty() {
                    return Err(PullError::Refused("the reply ends within a batch".to_owned()));
                }
                (parts.trailer().cloned().unwrap_or_default(), durable)
            }
        };
        if let Some(durable) = durable {
            wait(durable).await?;
        }
        match codec::decode(&trailer)? {
            PullReply::Gave { not_in_log } => {
                pulled.not_in_log = (&not_in_log).into();
                self.hopeless.note(from, &shard.segment, pulled.not_in_log.clone());
            }
            PullReply::Refused(refused) => return Err(PullError::Refused(format!("{:?}", refused.reason))),
        }
        Ok(pulled)
    }
}

impl Replicas {
    /// Blocks have what is left out of the batches that come next: whoever reads them here is to know, also after a restart.
    async fn note_released(
        &self,
        shard: &Arc<ShardHandle>,
        blocks: Vec<ReleasedTo>,
    ) -> Result<(), PullError> {
        let (shards, shard) = (self.shards.clone(), shard.clone());
        let written = tokio::task::spawn_blocking(move || shards.note_released(&shard, &blocks)).await;
        let problem = match written {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        Err(PullError::NotDurable(problem))
    }
}

async fn wait(durable: Durable) -> Result<(), PullError> {
    let durable = durable.await.map_err(|_| PullError::NotDurable("the node is shutting down".to_owned()))?;
    durable.map_err(|error| PullError::NotDurable(error.to_string()))
}
