//! What other nodes have said, once and for all, of segments that they hold nothing of.
//!
//! A tenant that is new has a segment for every epoch there was, and all but the last have ended without data. Before it
//! may be written to, these must be sealed (protocol rule 9); before it may be read, they must be known to be empty. Asking
//! for that when a tenant first comes would need nodes that may be down by then, perhaps the only one there was in the
//! first epoch. So nodes ask each other ahead of time, whenever there is a new epoch: *up to which epoch do you act, and
//! which segments that ended by then do you host?* Any other segment that has ended is sealed at that node for ever, and was
//! empty when asked: it acts upon the document that ended it, durably, and no append gets past that
//! ([`Replicas::activate`] looks at the documents after the shard is made, the answer at the shards after the documents).
//! `docs/adr/011-settled-nodes.md`.
//!
//! With the same answer a node says through which epoch it is *clear*: what it held of segments that had ended by then is
//! in blocks. When enough are, a document closes these segments ([`gyre_protocol::closing`]).
//!
//! What was said is kept in a file, `docs/format/cluster.md`. What may go wrong: it cannot be read or written. Then it is
//! asked for again; until then a segment's replicas are asked one by one.

mod kept;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gyre_protocol::{Rules, Said, closable, to_close};
use gyre_ring::{Epoch, Replica, Segment, Span};
use tokio::time::Instant;

pub use self::kept::Settled;
use super::call::{self, head_for};
use super::local::{Replicas, find};
use super::messages::{self, EndedOnWire, SettledReply, SettledRequest, documents_from_wire, newest_on_wire};
use crate::cluster::ClusterState;
use crate::shard::segment_name;

/// How long a node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Time until nodes that did not answer are asked again.
const ROUND: Duration = Duration::from_secs(1);

/// Members propose to close segments one after the other, this far apart: one of them is enough.
const CLOSE_TURN: Duration = Duration::from_secs(2);

/// Segments that one answer may name; a node with more gives none.
const HOSTED_MAX: usize = 20_000;

impl Replicas {
    /// Whether a segment that has ended is sealed at one of its replicas, and holds nothing there, as far as is known
    /// without asking.
    pub fn is_settled(&self, replica: &Replica, span: &Span) -> bool {
        if replica != self.cluster.own() {
            return self.settled.covers(replica, span);
        }
        // What this node's newest documents close may be dropped by now.
        let closed = self.cluster.state().chain.closed_through();
        span.ended.is_some_and(|ended| ended > closed)
            && self.shards.find(&span.segment).is_none()
            && !self.shards.is_damaged(&span.segment)
    }

    /// The epoch up to which it is known which segments a node hosts.
    pub fn settled_up_to(&self, replica: &Replica) -> Option<Epoch> {
        if replica == self.cluster.own() {
            Some(self.cluster.state().epoch())
        } else {
            self.settled.epoch_of(replica)
        }
    }

    /// The answer to [`messages::SETTLED`].
    pub(super) fn settle(&self) -> SettledReply {
        if self.shards.has_damage() {
            return SettledReply::CannotSay;
        }
        // In this order: a shard that is made later finds these documents, or newer ones, before it takes anything.
        let state = self.cluster.state();
        let (mut ended, mut open) = (Vec::new(), Vec::new());
        for tenant in self.shards.tenants() {
            let spans = state.spans(&tenant.state.id);
            let has_ended = |segment: &Segment| {
                // One that is in no document any more has ended, too.
                find(&spans, segment).is_none_or(|span| span.ended.is_some())
            };
            for shard in tenant.all() {
                let segment = shard.name.to_string();
                if has_ended(&shard.segment) {
                    ended.push(EndedOnWire { segment, is_clear: shard.state.is_clear() });
                } else {
                    open.push(segment);
                }
            }
            if ended.len() + open.len() > HOSTED_MAX {
                return SettledReply::CannotSay;
            }
        }
        let (clear, closed) = (self.clear(&state).0, state.chain.closed_through().0);
        SettledReply::Settled { epoch: state.epoch().0, ended, open, clear, closed }
    }

    /// Through which epoch this node is clear.
    fn clear(&self, state: &ClusterState) -> Epoch {
        let mut clear = state.epoch();
        for tenant in self.shards.tenants() {
            let spans = state.spans(&tenant.state.id);
            for shard in tenant.all() {
                // What is in no chain is closed.
                let Some(ended) = find(&spans, &shard.segment).and_then(|span| span.ended) else { continue };
                if !shard.state.is_clear() {
                    clear = clear.min(Epoch(ended.0 - 1));
                }
            }
        }
        clear
    }

    /// Through which epoch a node is clear, as far as it is known.
    fn clear_of(&self, state: &ClusterState, replica: &Replica) -> Option<Epoch> {
        match replica == self.cluster.own() {
            true => (!self.shards.has_damage()).then(|| self.clear(state)),
            false => self.settled.lock().clear_of(replica),
        }
    }

    /// Has segments closed that can be. Nodes take turns, since one is enough.
    async fn close(&self, state: &ClusterState, found: &mut Option<(Epoch, Instant)>) {
        let clear = |replica: &Replica| self.clear_of(state, replica);
        let through = closable(&state.chain, &state.disks, &clear, &Rules::ALL);
        if through <= state.chain.closed_through() || self.is_alone_after_a_loss(state) {
            *found = None;
            return;
        }
        let since = match found {
            Some((known, since)) if *known == through => *since,
            _ => found.insert((through, Instant::now())).1,
        };
        let own = self.cluster.own();
        let members = state.newest().members.iter().map(|member| member.replica());
        let before = members.filter(|replica| replica < own && self.cluster.is_alive(replica)).count();
        if since.elapsed() >= CLOSE_TURN * before as u32 {
            self.cluster.close_through(through).await;
        }
    }

    /// Whether this node is alone and has lost an earlier disk, and with it all that was on it. Then what that held stays in
    /// the chain, so that answers say what is missing.
    fn is_alone_after_a_loss(&self, state: &ClusterState) -> bool {
        self.cluster.address().is_none()
            && replicas_of(state).iter().any(|replica| state.disks.is_lost(replica))
    }

    /// Asks all nodes that there are or were, at start and whenever there are new documents. Runs as long as the node.
    ///
    /// What they host of this node's segments is made here, if it is not: what came while this node was away is nowhere
    /// here to be compared with a peer's.
    pub async fn settle_with_others(self: Arc<Self>) {
        let mut changes = self.cluster.changes();
        let mut asked = BTreeSet::new();
        let mut found = None;
        loop {
            let state = changes.borrow_and_update().clone();
            let to_close = to_close(&state.chain);
            let mut are_all_known = to_close.is_none();
            for replica in replicas_of(&state) {
                let is_known = self.settled.epoch_of(&replica).is_some_and(|epoch| epoch >= state.epoch());
                let is_clear = self.settled.lock().clear_of(&replica) >= to_close;
                if is_known && is_clear && asked.contains(&replica) {
                    continue;
                }
                if self.ask_to_settle(&state, &replica).await {
                    asked.insert(replica);
                } else {
                    are_all_known = false;
                }
            }
            self.close(&state, &mut found).await;
            let changed = changes.changed();
            if !are_all_known {
                let _ = tokio::time::timeout(ROUND, changed).await;
            } else if changed.await.is_err() {
                return;
            }
        }
    }

    /// Whether the node has answered.
    async fn ask_to_settle(&self, state: &ClusterState, replica: &Replica) -> bool {
        let Some(peer) = self.cluster.peer(replica).filter(|_| self.cluster.is_alive(replica)) else {
            return false;
        };
        let head = head_for(state, replica);
        let request = SettledRequest { head, documents: newest_on_wire(&state.chain) };
        match call::control(&peer, messages::SETTLED, &request, ANSWER_MAX).await {
            Ok(SettledReply::Settled { epoch, ended, open, clear, closed }) => {
                let (epoch, clear, closed) = (Epoch(epoch), Epoch(clear), Epoch(closed));
                let is_clear: Vec<bool> = ended.iter().map(|ended| ended.is_clear).collect();
                let ended: Vec<String> = ended.into_iter().map(|ended| ended.segment).collect();
                match parse(&ended).and_then(|ended| Ok((ended, parse(&open)?))) {
                    Ok((ended, open)) => {
                        let clear_there = ended.iter().zip(is_clear).filter(|(_, is_clear)| *is_clear);
                        for shard in clear_there.filter_map(|(segment, _)| self.shards.find(segment)) {
                            shard.state.note_clear_elsewhere();
                        }
                        for segment in &open {
                            // Refused where this node is no replica.
                            let _ = self.host(segment);
                        }
                        let hosted = ended.into_iter().collect();
                        let said = Said { epoch, hosted, clear, closed };
                        let (settled, replica) = (self.settled.clone(), replica.clone());
                        // It waits for the disk. If its thread ends, it was said in vain, and is asked for again.
                        let _ = tokio::task::spawn_blocking(move || settled.keep(replica, said)).await;
                        epoch >= state.epoch()
                    }
                    Err(problem) => {
                        tracing::warn!(peer = %replica, problem, "an answer makes no sense");
                        false
                    }
                }
            }
            Ok(SettledReply::CannotSay) => false,
            Ok(SettledReply::Refused(refused)) => {
                self.cluster.learn(documents_from_wire(&refused.documents)).await;
                false
            }
            Err(error) => {
                tracing::debug!(peer = %replica, %error, "no answer about ended segments");
                false
            }
        }
    }
}

/// The other replicas that the documents name, of segments that are not closed.
fn replicas_of(state: &ClusterState) -> BTreeSet<Replica> {
    let closed = state.chain.closed_through();
    let documents = state.chain.documents().filter(|document| document.epoch >= closed);
    documents
        .flat_map(|document| &document.members)
        .map(|member| member.replica())
        .filter(|replica| *replica != state.own)
        .collect()
}

fn parse(names: &[String]) -> Result<Vec<Segment>, String> {
    let segment = |name: &String| {
        segment_name::decode(name.as_bytes()).ok_or_else(|| format!("{name:?} names no segment"))
    };
    names.iter().map(segment).collect()
}
