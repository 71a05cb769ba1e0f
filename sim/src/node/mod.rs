//! A node: drives the protocol's state machines over its disk and the network, as the real one does.
//!
//! [`first`] admits what clients send and takes what other replicas have admitted, [`open`] seals and opens segments,
//! [`pull`] gets what is missing, [`settled`] says once for all what a node does not hold, [`ship`] makes blocks of windows
//! and drops these, [`close`] drops what is closed.

mod close;
mod first;
mod local;
mod open;
mod pull;
mod receive;
mod settled;
mod ship;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gyre_protocol::{Disks, EmptyCheck, Rules, SegmentReplica, Settled, to_close};
use gyre_ring::{BatchId, BootId, Chain, Epoch, Incarnation, NodeId, Replica, Segment, Span, TenantId};

pub use first::FirstOp;
pub use local::Local;
pub use ship::{Answered, KnownList, Purpose, Request};

use crate::client::Op;
use crate::conduct::{Conduct, Driver};
use crate::lane::{Lane, Mark};
use crate::message::{Body, Documents, Message};
use crate::safe::Missing;
use crate::series::Catalog;
use crate::shelf::{Dropped, Released, Shelf};

use local::{Waiting, local};

/// What a node wants from the world.
#[derive(Debug)]
pub enum Effect {
    /// Send this.
    Send(NodeId, Message),
    /// Sync the disk up to its present end.
    Sync,
    /// Wake me about this operation, so many microseconds from now.
    Wake(u64, u64),
    /// A client's operation is over.
    Finished(crate::client::Finished),
    /// Fetch the documents from the store.
    Fetch,
    /// Let me seal what has ended, soon.
    Seal,
    /// Ask the store for blocks, or put one.
    Ask(Request),
    /// Let me go on with the window that I ship, so many microseconds from now.
    GoOn(u64, u64),
    /// Something was dropped: for the checks.
    Dropped,
}

/// A node.
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Of its present disk.
    pub incarnation: Incarnation,
    /// How often it has started.
    pub runs: u64,
    /// Whether it runs.
    pub up: bool,
    /// It does nothing until then.
    pub paused_until_us: u64,
    /// Its log.
    pub lane: Lane,
    /// What it knows of epochs.
    pub documents: Arc<Documents>,
    /// The segments that follow from that.
    pub spans: Vec<Span>,
    /// The documents with their placements.
    chain: Chain,
    /// Who has lost his disk, as they say.
    pub disks: Disks,
    /// The last epoch whose end of segments is not closed.
    to_close: Option<Epoch>,
    /// What time it is.
    pub now_us: u64,
    /// What is on its disk beside the log.
    pub shelf: Shelf,
    /// Which blocks have what it has dropped, as readers are told.
    released: Released,
    /// What it has dropped since the last snapshot.
    dropped: Dropped,
    /// Which blocks there are, as far as it knows.
    pub(crate) list: Option<KnownList>,
    /// A list that is older is refreshed beside reads.
    pub list_fresh_us: u64,
    /// The window that it makes a block of.
    shipping: Option<ship::Shipping>,
    next_shipping: u64,
    /// What it holds.
    pub segments: BTreeMap<Segment, Local>,
    /// Segments whose records are damaged on this disk.
    damaged: BTreeSet<Segment>,
    /// What the last restarts should have found and did not: for the checks.
    pub lost_on_restart: Vec<Missing>,
    /// Batches that were safe until damage was found: likewise.
    pub forgotten: Vec<(Segment, BatchId)>,
    /// Operations it coordinates.
    pub ops: BTreeMap<u64, Op>,
    /// Ended segments that hold nothing: they are not read.
    pub(crate) empty: BTreeSet<Segment>,
    /// The others that it asks about, and since when.
    pub(crate) empty_checks: BTreeMap<Segment, (u64, EmptyCheck)>,
    /// Up to which epoch its documents are on its disk, as far as others have been told.
    durable_epochs: usize,
    /// What other nodes have said of ended segments. It is on its disk.
    pub(crate) settled: Settled,
    /// Batches pulled so far: for the report.
    pub pulled: u64,
    /// Segments found to be empty so far: likewise.
    pub found_empty: u64,
    /// Windows dropped so far, and segments dropped since they were closed: likewise.
    pub dropped_windows: u64,
    /// Likewise.
    pub dropped_segments: u64,
    /// Reads that began again by a newer list of blocks: likewise.
    pub newer_lists: u64,
    /// Comparisons begun: its segments take turns.
    repairs: usize,
    pub(crate) next_op: u64,
    pub(crate) next_number: BTreeMap<Segment, u64>,
    pub(crate) rules: Rules,
    pub(crate) driver: Driver,
    pub(crate) tenant: TenantId,
    catalog: Arc<Catalog>,
}

impl Node {
    /// A node with an empty disk that does not run yet.
    pub fn new(
        id: NodeId,
        incarnation: Incarnation,
        tenant: TenantId,
        catalog: Arc<Catalog>,
        conduct: Conduct,
    ) -> Self {
        let Conduct { rules, driver } = conduct;
        Node {
            id,
            incarnation,
            runs: 0,
            up: false,
            paused_until_us: 0,
            lane: Lane::new(),
            documents: Arc::default(),
            spans: Vec::new(),
            chain: Chain::default(),
            disks: Disks::default(),
            to_close: None,
            now_us: 0,
            shelf: Shelf::default(),
            released: Released::default(),
            dropped: Dropped::default(),
            list: None,
            list_fresh_us: 5_000_000,
            shipping: None,
            next_shipping: 0,
            segments: BTreeMap::new(),
            damaged: BTreeSet::new(),
            lost_on_restart: Vec::new(),
            forgotten: Vec::new(),
            ops: BTreeMap::new(),
            empty: BTreeSet::new(),
            empty_checks: BTreeMap::new(),
            durable_epochs: 0,
            settled: Settled::new(BTreeMap::new(), rules),
            pulled: 0,
            found_empty: 0,
            dropped_windows: 0,
            dropped_segments: 0,
            newer_lists: 0,
            repairs: 0,
            next_op: 0,
            next_number: BTreeMap::new(),
            rules,
            driver,
            tenant,
            catalog,
        }
    }

    /// The node as a holder of replicas.
    pub fn replica(&self) -> Replica {
        Replica { node: self.id.clone(), incarnation: self.incarnation }
    }

    /// The name of this run as a coordinator (rule 2).
    fn boot(&self) -> BootId {
        let run = if self.rules.runs_have_names { self.runs } else { 0 };
        BootId((self.incarnation.0 << 32) + u128::from(run))
    }

    /// Stops it; what is to become of its disk is told to the lane.
    pub fn stop(&mut self) {
        self.up = false;
        self.segments.clear();
        self.ops.clear();
        self.empty.clear();
        self.empty_checks.clear();
        self.list = None;
        self.shipping = None;
        self.released.clear();
        self.dropped.clear();
    }

    /// Starts it from its disk.
    pub fn start(&mut self, effects: &mut Vec<Effect>) {
        self.up = true;
        self.runs += 1;
        self.next_number.clear();
        let closed = &self.shelf.closed;
        let is_closed = |segment: &Segment| closed.contains(segment);
        let lost = &mut self.lost_on_restart;
        let found = self.lane.recover(&self.catalog, &self.rules, &self.shelf, &is_closed, lost);
        if self.driver.released_is_durable {
            self.released.clone_from(&self.shelf.released);
        }
        self.damaged.extend(found.damaged);
        self.forgotten.extend(found.forgotten);
        // What it has acted upon is on its disk; of later documents it may have heard without writing them down.
        let known = found.segments.keys().map(|segment| segment.epoch.0).max().unwrap_or(1) as usize;
        let known = known.max(self.durable_epochs);
        if known < self.documents.len() {
            self.documents = Arc::new(self.documents[..known].to_vec());
        }
        self.follow_documents();
        self.segments = found
            .segments
            .into_iter()
            .map(|(segment, on_disk)| {
                let replica = SegmentReplica::recovered(on_disk.held, on_disk.sealed, self.rules);
                let (samples, windows) = (Some(on_disk.samples), on_disk.windows);
                (segment, Local { samples, windows, ..Local::new(replica) })
            })
            .collect();
        self.seal_what_has_ended(effects);
        // What it has missed it learns at once.
        for span in self.spans.clone() {
            self.compare(&span, effects);
        }
        self.ask_to_settle(effects);
    }

    fn follow_documents(&mut self) {
        self.chain = chain(&self.documents, &self.rules);
        self.spans = spans(&self.chain, &self.tenant, &self.rules);
        self.to_close = to_close(&self.chain);
        self.disks = Disks::of(self.documents.iter().map(Arc::as_ref), self.rules);
    }

    /// From now on it is asked for another tenant.
    pub fn serve(&mut self, tenant: TenantId) {
        self.tenant = tenant;
        self.follow_documents();
    }

    /// Its disk is replaced by an empty one.
    pub fn lose_disk(&mut self, incarnation: Incarnation) {
        self.lane = Lane::new();
        self.incarnation = incarnation;
        self.damaged.clear();
        self.shelf = Shelf::default();
        self.durable_epochs = 0;
        self.settled = Settled::new(BTreeMap::new(), self.rules);
        self.documents = Arc::default();
        self.follow_documents();
    }

    /// Learns of newer documents; true if there were any.
    pub fn learn(&mut self, documents: &Documents, up_to: usize, effects: &mut Vec<Effect>) -> bool {
        let (own, end) = (self.documents.len(), up_to.min(documents.len()));
        if end <= own {
            return false;
        }
        let mut all = self.documents.as_ref().clone();
        all.extend(documents[own..end].iter().cloned());
        self.documents = Arc::new(all);
        let closed = self.chain.closed_through();
        self.follow_documents();
        if self.chain.closed_through() > closed {
            self.drop_closed(effects);
        }
        // Documents are known before shards hear of them.
        effects.push(Effect::Seal);
        self.ask_to_settle(effects);
        true
    }

    /// The segment's replicas, as far as this node knows.
    pub fn span(&self, segment: &Segment) -> Option<&Span> {
        self.spans.iter().find(|span| span.segment == *segment)
    }

    /// What was being synced is safe.
    pub fn synced(&mut self, effects: &mut Vec<Effect>) {
        for mark in self.lane.end_sync() {
            match mark {
                Mark::Batch(segment, batch) => {
                    let Some(local) = self.segments.get_mut(&segment) else { continue };
                    local.replica.durable(batch.id);
                    for (from, request) in local.append_waiters.remove(&batch.id).unwrap_or_default() {
                        effects.push(answer(&self.documents, from, &request, Body::Acked(batch.id)));
                    }
                }
                Mark::Seal(segment) => {
                    let Some(local) = self.segments.get_mut(&segment) else { continue };
                    local.replica.seal_durable();
                    for (from, request) in std::mem::take(&mut local.seal_waiters) {
                        effects.push(answer(&self.documents, from, &request, Body::Sealed));
                    }
                }
            }
        }
        if self.lane.is_behind() {
            effects.push(Effect::Sync);
        }
    }

    /// Whether it is no replica of a segment any more, since its log of it is damaged (rule 17).
    pub fn is_damaged(&self, segment: &Segment) -> bool {
        self.rules.damage_ends_membership && self.damaged.contains(segment)
    }

    pub(crate) fn send(
        &self,
        op: u64,
        segment: Segment,
        replica: Replica,
        body: Body,
        effects: &mut Vec<Effect>,
    ) {
        let to = replica.node.clone();
        let message = Message { documents: self.documents.clone(), op, segment, replica, body };
        effects.push(Effect::Send(to, message));
    }
}

/// In place of an operation's number: a comparison of replicas.
const REPAIR: u64 = 0;

/// Likewise: whether a segment is empty.
pub(crate) const EMPTY: u64 = u64::MAX;

fn answer(documents: &Arc<Documents>, to: NodeId, request: &Message, body: Body) -> Effect {
    let message = Message { documents: documents.clone(), body, ..request.clone() };
    Effect::Send(to, message)
}

/// Documents with their placements.
pub fn chain(documents: &Documents, rules: &Rules) -> Chain {
    let mut first: BTreeMap<NodeId, Incarnation> = BTreeMap::new();
    let documents = documents.iter().map(|document| {
        let mut document = document.as_ref().clone();
        if !rules.new_disk_ends_segment {
            for member in &mut document.members {
                member.incarnation = *first.entry(member.node.clone()).or_insert(member.incarnation);
            }
        }
        document
    });
    Chain::new(documents).unwrap_or_default()
}

/// The segments that follow from documents, those that are not closed.
pub fn spans(chain: &Chain, tenant: &TenantId, rules: &Rules) -> Vec<Span> {
    let mut spans = chain.segments(tenant);
    if !rules.split_ends_segment {
        for span in &mut spans {
            let ended_by = span.ended.and_then(|epoch| chain.documents().find(|d| d.epoch == epoch));
            if ended_by.is_some_and(|document| document.shard_count(tenant) != span.segment.shard.count) {
                span.ended = None;
            }
        }
    }
    spans
}
