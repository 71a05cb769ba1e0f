//! The first replica's part of a write: it admits the samples, numbers what is left as a batch, and sees to it that a
//! quorum has the batch on disk before anybody is told so.
//!
//! What may go wrong: another replica is away or slow: the batch is durable without it, and it will pull it later. Too
//! few answer: the batch stays where it is, nobody was told that it is safe, and the same samples sent again are a batch
//! of their own. One of them may just have come back, and this node does not know yet that it can be reached: so before that
//! is the end of it, those that cannot be reached are tried again for a moment. Another replica says that the segment has ended: then this one learns of it too, and the samples go to
//! the segment that follows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use gyre_protocol::{QuorumWrite, Refusal, Rules, WriteState};
use gyre_ring::{BatchId, Quorum, Replica, Span};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::call::{self, CallError, head_for};
use super::local::Replicas;
use super::messages::{self, AppendReply, AppendRequest, RefusedBecause, documents_from_wire};
use super::outgoing::OutgoingBatch;
use crate::actor::Gone;
use crate::rpc::{Outgoing, Peer, RpcError, codec};
use crate::shard::actor::{Admit, Admitted, Durable, ShardError};
use crate::shard::append::{Admission, RequestPart, Stripped};
use crate::shard::lane::LaneError;
use crate::shard::supervisor::ShardHandle;

/// A replica that has not answered after so long has failed, for this batch.
pub const REPLICA_MAX: Duration = Duration::from_secs(20);

/// Where too few replicas can be reached, it is tried again for so long, with pauses.
const RECONNECT_FOR: Duration = Duration::from_secs(1);
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);

/// Why samples were not stored, or not on enough replicas.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FirstError {
    /// The segment has ended, or is not held here: nothing was admitted. The documents say where to go.
    #[error("the shard has moved on to another epoch")]
    Stale,
    /// Nothing was admitted, and another replica may do better.
    #[error("{0}")]
    NotHere(String),
    /// Too few replicas have it on disk.
    #[error("{needed} of its replicas must have a write on disk, and too few can ({reasons})")]
    NoQuorum {
        /// How many must have it.
        needed: usize,
        /// What the others said.
        reasons: String,
    },
}

/// An answer of one replica.
struct Answer {
    from: Replica,
    result: Result<(), ReplicaFailure>,
}

/// Why a replica does not have a batch.
enum ReplicaFailure {
    /// The segment has ended.
    Ended,
    /// Nothing was sent.
    Unreachable(String),
    Other(String),
}

impl Replicas {
    /// Admits samples into a segment of which this node is a replica; returns when they are durable on a quorum.
    pub async fn write_first(
        self: &Arc<Self>,
        span: &Span,
        part: Arc<RequestPart>,
    ) -> Result<Admission, FirstError> {
        // The caller has seen that this node is listed, so this is about what it has lost.
        let shard = self
            .host(&span.segment)
            .map_err(|_| FirstError::NotHere("this node's log of the shard was damaged".to_owned()))?;
        let admitted = self.admit(&shard, &part).await?;
        let Admitted { mut admission, id, durable } = admitted;
        let Some(id) = id.filter(|_| span.replicas.len() > 1) else {
            // Nothing to send, or nobody to send it to. What was there already may not be on disk yet.
            return match durable.await.unwrap_or(Err(LaneError::Closed)) {
                Ok(()) => Ok(admission),
                Err(error) => Err(FirstError::NoQuorum { needed: 1, reasons: error.to_string() }),
            };
        };
        let batch = OutgoingBatch {
            segment: shard.name.clone(),
            part,
            stripped: Arc::new(std::mem::take(&mut admission.stripped)),
            repeats_labels: false,
        };
        let buckets_max = shard.histogram_buckets_max() as u32;
        self.replicate(span, id, batch, buckets_max, durable).await?;
        Ok(admission)
    }

    async fn admit(&self, shard: &Arc<ShardHandle>, part: &Arc<RequestPart>) -> Result<Admitted, FirstError> {
        let mut may_activate = true;
        loop {
            match shard.actor.ask(Admit { part: part.clone() }).await {
                Ok(Ok(admitted)) => return Ok(admitted),
                Ok(Err(ShardError::Refused(Refusal::NotActive))) if may_activate => {
                    may_activate = false;
                    match self.activate(shard).await {
                        Ok(()) => {}
                        Err(Refusal::NotActive) => {
                            let text = "earlier segments of the shard cannot be sealed: too few of their replicas answer";
                            return Err(FirstError::NotHere(text.to_owned()));
                        }
                        Err(Refusal::Sealed | Refusal::NotMember) => return Err(FirstError::Stale),
                    }
                }
                Ok(Err(ShardError::Refused(_))) => return Err(FirstError::Stale),
                Ok(Err(error)) => return Err(FirstError::NotHere(error.to_string())),
                Err(Gone) => return Err(FirstError::NotHere(self.shards.rebuild(shard).to_string())),
            }
        }
    }

    /// Sends a batch to the other replicas; returns when a quorum, this node included, has it on disk. The others get it
    /// all the same.
    async fn replicate(
        self: &Arc<Self>,
        span: &Span,
        id: BatchId,
        batch: OutgoingBatch,
        histogram_buckets_max: u32,
        durable: Durable,
    ) -> Result<(), FirstError> {
        let (decided, decision) = oneshot::channel();
        let replicas = span.replicas.clone();
        let this = self.clone();
        tokio::spawn(async move {
            let own = this.cluster.own().clone();
            let others: Vec<&Replica> = replicas.iter().filter(|replica| **replica != own).collect();
            let mut answers = FuturesUnordered::new();
            let send = |replica, pause, batch| {
                let sent = this.send(replica, pause, id, batch, histogram_buckets_max);
                futures_util::future::Either::Left(sent)
            };
            for replica in &others {
                answers.push(send(replica, Duration::ZERO, batch.clone()));
            }
            // Until it is decided.
            let mut batch = Some(batch);
            answers.push(futures_util::future::Either::Right(on_disk_here(own, durable)));
            let needed = Quorum::of(replicas.len()).write;
            let mut write = QuorumWrite::new(replicas.clone(), Rules::ALL);
            let mut decided = Some(decided);
            let (mut has_ended, mut reasons) = (false, BTreeMap::new());
            let (begun, mut unreachable, mut tried_again) = (Instant::now(), Vec::new(), 0_usize);
            while let Some(Answer { from, result }) = answers.next().await {
                if others.iter().any(|other| **other == from) {
                    tried_again = tried_again.saturating_sub(1);
                }
                match result {
                    Ok(()) => {
                        write.acked(&from);
                    }
                    Err(failure) => {
                        match failure {
                            ReplicaFailure::Ended => has_ended = true,
                            ReplicaFailure::Unreachable(text) => {
                                unreachable.extend(others.iter().find(|other| ***other == from));
                                reasons.insert(from.clone(), text);
                            }
                            ReplicaFailure::Other(text) => drop(reasons.insert(from.clone(), text)),
                        }
                        write.failed(&from);
                    }
                }
                let outcome = match write.state() {
                    WriteState::Pending => continue,
                    WriteState::Durable => Ok(()),
                    WriteState::Failed if has_ended => Err(FirstError::Stale),
                    WriteState::Failed => {
                        if let Some(batch) = batch.as_ref().filter(|_| begun.elapsed() < RECONNECT_FOR)
                            && !unreachable.is_empty()
                        {
                            tried_again += unreachable.len();
                            let again = unreachable.drain(..);
                            answers.extend(again.map(|other| send(other, RECONNECT_PAUSE, batch.clone())));
                            continue;
                        }
                        if tried_again > 0 {
                            continue;
                        }
                        // How many have it is not known yet: this node's own disk may still be busy.
                        let reasons: Vec<String> =
                            reasons.iter().map(|(from, text)| format!("{}: {text}", from.node)).collect();
                        Err(FirstError::NoQuorum { needed, reasons: reasons.join("; ") })
                    }
                };
                batch = None;
                if let Some(decided) = decided.take() {
                    // A client that went away is no reason not to go on.
                    let _ = decided.send(outcome);
                }
            }
        });
        let gone = || FirstError::NoQuorum { needed: 1, reasons: "the node is shutting down".into() };
        decision.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Sends a batch to one replica, after a pause for one that could not be reached; returns when it has it on disk.
    async fn send(
        &self,
        replica: &Replica,
        pause: Duration,
        id: BatchId,
        batch: OutgoingBatch,
        histogram_buckets_max: u32,
    ) -> Answer {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
            if let Some(peer) = self.cluster.peer(replica) {
                peer.try_again();
            }
        }
        let result = match self.cluster.peer(replica) {
            Some(peer) => self.send_to(&peer, replica, id, batch, histogram_buckets_max).await,
            None => Err(ReplicaFailure::Unreachable("its address is not known".to_owned())),
        };
        Answer { from: replica.clone(), result }
    }

    async fn send_to(
        &self,
        peer: &Peer,
        replica: &Replica,
        id: BatchId,
        mut batch: OutgoingBatch,
        histogram_buckets_max: u32,
    ) -> Result<(), ReplicaFailure> {
        let other = |text: String| ReplicaFailure::Other(text);
        let head = head_for(&self.cluster.state(), replica);
        let request = AppendRequest { head, boot: id.boot.0, number: id.number.0, histogram_buckets_max };
        let control = codec::encode(&request).map_err(|error| other(error.to_string()))?;
        let deadline = Instant::now() + REPLICA_MAX;
        loop {
            let outgoing =
                Outgoing { control: control.clone().into(), samples: Some(Arc::new(batch.clone())) };
            let reply = call::whole(peer, messages::APPEND, outgoing, deadline);
            let reply = call::while_there(peer, head.incarnation, reply).await;
            match reply.ok_or_else(|| other(call::SILENT.to_owned()))?.map_err(|error| match error {
                CallError::Rpc(RpcError::Unreachable { .. }) => {
                    ReplicaFailure::Unreachable(error.to_string())
                }
                error => other(error.to_string()),
            })? {
                AppendReply::Durable => return Ok(()),
                AppendReply::LabelsMissing if !batch.repeats_labels => batch.repeats_labels = true,
                AppendReply::LabelsMissing => {
                    return Err(other("it asks for labels again and again".to_owned()));
                }
                AppendReply::Refused(refused) => {
                    self.cluster.learn(documents_from_wire(&refused.documents)).await;
                    return Err(match refused.reason {
                        RefusedBecause::Sealed => ReplicaFailure::Ended,
                        reason => other(format!("refused: {reason:?}")),
                    });
                }
            }
        }
    }
}

async fn on_disk_here(own: Replica, durable: Durable) -> Answer {
    let result = durable.await.unwrap_or(Err(LaneError::Closed));
    Answer { from: own, result: result.map_err(|error| ReplicaFailure::Other(error.to_string())) }
}

/// For a request that is passed on as it is.
pub fn nothing_stripped() -> Arc<Stripped> {
    Arc::new(Stripped::default())
}
