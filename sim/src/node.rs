//! A node: drives the protocol's state machines over its disk and the network, as the real one does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gyre_protocol::membership::is_meant;
use gyre_protocol::{Activation, Append, Refusal, Rules, SegmentReplica};
use gyre_ring::{BatchId, BatchSet, BootId, Chain, Incarnation, NodeId, Replica, Segment, Span, TenantId};

use crate::client::Op;
use crate::disk::{Disk, Record};
use crate::message::{Batch, Body, Documents, Message, Points};
use crate::rng::Rng;

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
}

/// A data request that waits for batches to be pulled.
#[derive(Clone, Debug)]
struct Waiting {
    from: NodeId,
    request: Message,
    as_of: BatchSet,
}

/// One segment on a node.
#[derive(Clone, Debug)]
pub struct Local {
    /// The protocol's state.
    pub replica: SegmentReplica,
    /// What reads see.
    pub points: Arc<Points>,
    batches: BTreeMap<BatchId, Arc<Batch>>,
    activation: Option<Activation>,
    append_waiters: BTreeMap<BatchId, Vec<(NodeId, Message)>>,
    seal_waiters: Vec<(NodeId, Message)>,
    data_waiters: Vec<Waiting>,
    /// Nodes that it has been compared with, and had nothing to pull from.
    compared: BTreeSet<NodeId>,
}

/// What the log has of a segment.
#[derive(Default)]
struct OnDisk {
    held: BatchSet,
    sealed: bool,
    points: Points,
    batches: BTreeMap<BatchId, Arc<Batch>>,
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
    pub disk: Disk,
    /// What it knows of epochs.
    pub documents: Arc<Documents>,
    /// The segments that follow from that.
    pub spans: Vec<Span>,
    /// What it holds.
    pub segments: BTreeMap<Segment, Local>,
    /// Segments whose records are damaged on this disk.
    damaged: BTreeSet<Segment>,
    /// Operations it coordinates.
    pub ops: BTreeMap<u64, Op>,
    /// Comparisons begun: its segments take turns.
    repairs: usize,
    pub(crate) next_op: u64,
    pub(crate) next_number: BTreeMap<Segment, u64>,
    pub(crate) rules: Rules,
    pub(crate) tenant: TenantId,
}

impl Node {
    /// A node with an empty disk that does not run yet.
    pub fn new(id: NodeId, incarnation: Incarnation, tenant: TenantId, rules: Rules) -> Self {
        Node {
            id,
            incarnation,
            runs: 0,
            up: false,
            paused_until_us: 0,
            disk: Disk::default(),
            documents: Arc::default(),
            spans: Vec::new(),
            segments: BTreeMap::new(),
            damaged: BTreeSet::new(),
            ops: BTreeMap::new(),
            repairs: 0,
            next_op: 0,
            next_number: BTreeMap::new(),
            rules,
            tenant,
        }
    }

    /// The node as a holder of replicas.
    pub fn replica(&self) -> Replica {
        Replica { node: self.id.clone(), incarnation: self.incarnation }
    }

    /// The name of this run as a coordinator (rule 2).
    pub(crate) fn boot(&self) -> BootId {
        let run = if self.rules.runs_have_names { self.runs } else { 0 };
        BootId((self.incarnation.0 << 32) + u128::from(run))
    }

    /// Stops it; `keep` says what becomes of its disk.
    pub fn stop(&mut self) {
        self.up = false;
        self.segments.clear();
        self.ops.clear();
    }

    /// Starts it from its disk.
    pub fn start(&mut self, effects: &mut Vec<Effect>) {
        self.up = true;
        self.runs += 1;
        self.next_number.clear();
        let mut held: BTreeMap<Segment, OnDisk> = BTreeMap::new();
        for record in self.disk.safe() {
            match record {
                Record::Batch(segment, batch) => {
                    let of = held.entry(segment.clone()).or_default();
                    of.held.insert(batch.id);
                    apply(&mut of.points, &batch.points, &self.rules);
                    of.batches.insert(batch.id, batch.clone());
                }
                Record::Seal(segment) => held.entry(segment.clone()).or_default().sealed = true,
            }
        }
        // What it has acted upon is on its disk; of later documents it may have heard without writing them down.
        let known = held.keys().map(|segment| segment.epoch.0).max().unwrap_or(1) as usize;
        if known < self.documents.len() {
            self.documents = Arc::new(self.documents[..known].to_vec());
        }
        self.spans = spans(&self.documents, &self.tenant, &self.rules);
        self.segments = held
            .into_iter()
            .map(|(segment, OnDisk { held, sealed, points, batches })| {
                let mut local = Local::new(SegmentReplica::recovered(held, sealed, self.rules));
                (local.points, local.batches) = (Arc::new(points), batches);
                (segment, local)
            })
            .collect();
        self.seal_what_has_ended(effects);
        // What it has missed it learns at once.
        for span in self.spans.clone() {
            self.compare(&span, effects);
        }
    }

    /// Its disk is replaced by an empty one.
    pub fn lose_disk(&mut self, incarnation: Incarnation) {
        self.disk = Disk::default();
        self.incarnation = incarnation;
        self.damaged.clear();
        self.documents = Arc::default();
        self.spans.clear();
    }

    /// A batch's record in its log goes bad. The log of its segment counts as damaged from then on.
    pub fn damage(&mut self, at: usize) {
        if let Record::Batch(segment, _) = self.disk.records.remove(at) {
            self.damaged.insert(segment);
        }
        self.disk.synced -= 1;
        self.disk.syncing = None;
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
        self.spans = spans(&self.documents, &self.tenant, &self.rules);
        self.seal_what_has_ended(effects);
        true
    }

    /// Segments that a document has ended are sealed as soon as it is known (rule 10).
    fn seal_what_has_ended(&mut self, effects: &mut Vec<Effect>) {
        let ended: Vec<Segment> = self
            .spans
            .iter()
            .filter(|span| span.ended.is_some() && self.segments.contains_key(&span.segment))
            .map(|span| span.segment.clone())
            .collect();
        for segment in ended {
            self.begin_seal(&segment, effects);
        }
    }

    fn begin_seal(&mut self, segment: &Segment, effects: &mut Vec<Effect>) {
        let local = local(&mut self.segments, segment, &self.rules);
        if local.replica.begin_seal() {
            self.disk.records.push(Record::Seal(segment.clone()));
            effects.push(Effect::Sync);
        }
    }

    /// The segment's replicas, as far as this node knows.
    pub fn span(&self, segment: &Segment) -> Option<&Span> {
        self.spans.iter().find(|span| span.segment == *segment)
    }

    /// The disk is safe up to here.
    pub fn synced(&mut self, up_to: usize, effects: &mut Vec<Effect>) {
        let begin = self.disk.synced;
        self.disk.synced = up_to;
        self.disk.syncing = None;
        for at in begin..up_to {
            match self.disk.records[at].clone() {
                Record::Batch(segment, batch) => {
                    let local = local(&mut self.segments, &segment, &self.rules);
                    local.replica.durable(batch.id);
                    for (from, request) in local.append_waiters.remove(&batch.id).unwrap_or_default() {
                        effects.push(answer(&self.documents, from, &request, Body::Acked(batch.id)));
                    }
                }
                Record::Seal(segment) => {
                    let local = local(&mut self.segments, &segment, &self.rules);
                    local.replica.seal_durable();
                    for (from, request) in std::mem::take(&mut local.seal_waiters) {
                        effects.push(answer(&self.documents, from, &request, Body::Sealed));
                    }
                }
            }
        }
        if self.disk.records.len() > self.disk.synced {
            effects.push(Effect::Sync);
        }
    }

    /// A message has arrived.
    pub fn receive(&mut self, from: NodeId, message: Message, rng: &mut Rng, effects: &mut Vec<Effect>) {
        if message.body.is_answer() {
            return self.receive_answer(from, message, rng, effects);
        }
        // A request for a segment that is not known yet brings the documents that made it; a seal brings those that
        // ended it.
        let needed = match message.body {
            Body::Seal => message.documents.len(),
            _ => message.segment.epoch.0 as usize,
        };
        self.learn(&message.documents.clone(), needed, effects);
        let segment = message.segment.clone();
        let meant = is_meant(&self.replica(), &message.replica, self.has_copied_all(&segment), &self.rules);
        let member = self.span(&segment).is_some_and(|span| span.replicas.contains(&message.replica));
        if !meant || !member || self.is_damaged(&segment) {
            effects.push(answer(&self.documents, from, &message, Body::NotMember));
            return;
        }
        match message.body.clone() {
            Body::Append(batch) => self.append(from, message, batch, rng, effects),
            Body::AskVector => {
                let local = self.segments.get(&segment);
                let held = local.map(|local| local.replica.held().clone()).unwrap_or_default();
                let sealed = local.is_some_and(|local| local.replica.is_sealed());
                effects.push(answer(&self.documents, from, &message, Body::Vector(held, sealed)));
            }
            Body::AskData(as_of, holder) => self.ask_data(from, message, as_of, holder, effects),
            Body::Seal => {
                self.begin_seal(&segment, effects);
                let local = local(&mut self.segments, &segment, &self.rules);
                if local.replica.is_sealed() {
                    effects.push(answer(&self.documents, from, &message, Body::Sealed));
                } else {
                    local.seal_waiters.push((from, message));
                }
            }
            Body::Pull(wanted) => {
                let local = self.segments.get(&segment);
                let batches = local.into_iter().flat_map(|local| local.batches.values());
                let found = batches.filter(|batch| wanted.contains(batch.id)).cloned().collect();
                effects.push(answer(&self.documents, from, &message, Body::Pulled(found)));
            }
            _ => {}
        }
    }

    /// Whether it is no replica of a segment any more, since its log of it is damaged (rule 17).
    pub fn is_damaged(&self, segment: &Segment) -> bool {
        self.rules.damage_ends_membership && self.damaged.contains(segment)
    }

    /// Whether it has compared a segment with all of its other replicas since it started.
    fn has_copied_all(&self, segment: &Segment) -> bool {
        let (Some(span), Some(local)) = (self.span(segment), self.segments.get(segment)) else {
            return false;
        };
        span.replicas.iter().all(|replica| replica.node == self.id || local.compared.contains(&replica.node))
    }

    fn append(
        &mut self,
        from: NodeId,
        message: Message,
        batch: Arc<Batch>,
        rng: &mut Rng,
        effects: &mut Vec<Effect>,
    ) {
        let (segment, id) = (message.segment.clone(), batch.id);
        let local = local(&mut self.segments, &segment, &self.rules);
        match local.replica.append(id) {
            Append::Take => {
                let ack_early = !self.rules.ack_after_fsync;
                let batch = if self.rules.batch_is_whole { batch } else { Arc::new(some_of(&batch, rng)) };
                self.log(&segment, batch, effects);
                if ack_early {
                    effects.push(answer(&self.documents, from, &message, Body::Acked(id)));
                } else {
                    let local = crate::node::local(&mut self.segments, &segment, &self.rules);
                    local.append_waiters.entry(id).or_default().push((from, message));
                }
            }
            Append::Wait => local.append_waiters.entry(id).or_default().push((from, message)),
            Append::Held => effects.push(answer(&self.documents, from, &message, Body::Acked(id))),
            Append::Refuse(refusal) => {
                effects.push(answer(&self.documents, from, &message, Body::Refused(id, refusal)));
                if refusal == Refusal::NotActive {
                    self.ask_to_open(&segment, effects);
                }
            }
        }
    }

    fn log(&mut self, segment: &Segment, batch: Arc<Batch>, effects: &mut Vec<Effect>) {
        let local = local(&mut self.segments, segment, &self.rules);
        apply(Arc::make_mut(&mut local.points), &batch.points, &self.rules);
        local.batches.insert(batch.id, batch.clone());
        self.disk.records.push(Record::Batch(segment.clone(), batch));
        effects.push(Effect::Sync);
    }

    fn ask_data(
        &mut self,
        from: NodeId,
        message: Message,
        as_of: BatchSet,
        holder: Option<Replica>,
        effects: &mut Vec<Effect>,
    ) {
        let local = local(&mut self.segments, &message.segment, &self.rules);
        if local.replica.shows(&as_of) {
            let body = Body::Data(Some(local.points.clone()), local.replica.is_sealed());
            effects.push(answer(&self.documents, from, &message, body));
            return;
        }
        let Some(holder) = holder else {
            let body = Body::Data(None, local.replica.is_sealed());
            effects.push(answer(&self.documents, from, &message, body));
            return;
        };
        let missing = local.replica.missing(&as_of);
        local.data_waiters.push(Waiting { from, request: message.clone(), as_of });
        self.send(0, message.segment, holder, Body::Pull(missing), effects);
    }

    /// Asks for the seals that opening a segment takes, or opens it.
    pub fn ask_to_open(&mut self, segment: &Segment, effects: &mut Vec<Effect>) {
        let Some(span) = self.span(segment).cloned() else { return };
        let fresh = Activation::new(&span, &self.spans, &self.rules);
        let local = local(&mut self.segments, segment, &self.rules);
        let activation = local.activation.get_or_insert(fresh);
        if activation.is_complete() {
            return local.replica.activate();
        }
        let asks: Vec<(Segment, Replica)> =
            activation.asks().map(|(segment, replica)| (segment.clone(), replica.clone())).collect();
        for (earlier, replica) in asks {
            self.send(0, earlier, replica, Body::Seal, effects);
        }
    }

    fn receive_answer(&mut self, from: NodeId, message: Message, rng: &mut Rng, effects: &mut Vec<Effect>) {
        match &message.body {
            Body::Sealed => {
                for (segment, local) in &mut self.segments {
                    if let Some(activation) = &mut local.activation
                        && *segment != message.segment
                    {
                        activation.sealed(&message.segment, &message.replica);
                        if activation.is_complete() {
                            local.replica.activate();
                        }
                    }
                }
            }
            Body::Pulled(batches) => self.pulled(&message.segment, batches.clone(), effects),
            Body::Vector(held, _) if message.op == 0 => {
                // Repair: what a peer has and we have not.
                let Some(local) = self.segments.get_mut(&message.segment) else { return };
                let missing = local.replica.missing(held);
                if missing.is_empty() {
                    local.compared.insert(message.replica.node.clone());
                } else {
                    let (segment, replica) = (message.segment.clone(), message.replica.clone());
                    self.send(0, segment, replica, Body::Pull(missing), effects);
                }
            }
            _ => self.operate(from, message, rng, effects),
        }
    }

    fn pulled(&mut self, segment: &Segment, batches: Vec<Arc<Batch>>, effects: &mut Vec<Effect>) {
        if self.is_damaged(segment) {
            return;
        }
        let Some(local) = self.segments.get_mut(segment) else { return };
        let fresh: Vec<_> =
            batches.into_iter().filter(|batch| local.replica.pulled(batch.id) == Append::Take).collect();
        for batch in fresh {
            self.log(segment, batch, effects);
        }
        let local = local_mut(&mut self.segments, segment);
        for waiting in std::mem::take(&mut local.data_waiters) {
            let data = local.replica.shows(&waiting.as_of).then(|| local.points.clone());
            let body = Body::Data(data, local.replica.is_sealed());
            effects.push(answer(&self.documents, waiting.from, &waiting.request, body));
        }
    }

    /// Compares one of its segments with its peers.
    pub fn repair(&mut self, effects: &mut Vec<Effect>) {
        self.repairs += 1;
        let own = self.replica();
        let held: Vec<&Span> = self.spans.iter().filter(|span| span.replicas.contains(&own)).collect();
        if !held.is_empty() {
            let span = held[self.repairs % held.len()].clone();
            self.compare(&span, effects);
        }
    }

    /// Asks the other replicas of a segment what they hold.
    fn compare(&mut self, span: &Span, effects: &mut Vec<Effect>) {
        let own = self.replica();
        let is_own = |replica: &Replica| match self.rules.copies_readmit_nobody {
            true => *replica == own,
            false => replica.node == own.node,
        };
        if !span.replicas.iter().any(is_own) {
            return;
        }
        local(&mut self.segments, &span.segment, &self.rules);
        for peer in span.replicas.iter().filter(|replica| replica.node != own.node) {
            self.send(0, span.segment.clone(), peer.clone(), Body::AskVector, effects);
        }
    }

    /// Opens and seals what it can by itself: with faults over, nothing may be left half done.
    pub fn settle(&mut self, effects: &mut Vec<Effect>) {
        let own = self.replica();
        let newest: Vec<Segment> = self
            .spans
            .iter()
            .filter(|span| span.ended.is_none() && span.replicas.contains(&own))
            .map(|span| span.segment.clone())
            .collect();
        for segment in newest {
            if local(&mut self.segments, &segment, &self.rules).replica.is_inactive() {
                self.ask_to_open(&segment, effects);
            }
        }
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

impl Local {
    fn new(replica: SegmentReplica) -> Self {
        Local {
            replica,
            points: Arc::default(),
            batches: BTreeMap::new(),
            activation: None,
            append_waiters: BTreeMap::new(),
            seal_waiters: Vec::new(),
            data_waiters: Vec::new(),
            compared: BTreeSet::new(),
        }
    }
}

fn local<'a>(segments: &'a mut BTreeMap<Segment, Local>, segment: &Segment, rules: &Rules) -> &'a mut Local {
    segments.entry(segment.clone()).or_insert_with(|| Local::new(SegmentReplica::new(*rules)))
}

fn local_mut<'a>(segments: &'a mut BTreeMap<Segment, Local>, segment: &Segment) -> &'a mut Local {
    segments.get_mut(segment).expect("looked up just before")
}

fn answer(documents: &Arc<Documents>, to: NodeId, request: &Message, body: Body) -> Effect {
    let message = Message { documents: documents.clone(), body, ..request.clone() };
    Effect::Send(to, message)
}

fn apply(points: &mut Points, new: &Points, rules: &Rules) {
    for (point, value) in new {
        let stored = points.entry(*point).or_insert(*value);
        if rules.greater_value_wins {
            *stored = (*stored).max(*value);
        }
    }
}

/// A part of a batch: what a replica keeps that judges sample by sample.
fn some_of(batch: &Batch, rng: &mut Rng) -> Batch {
    let points = batch.points.iter().filter(|_| rng.chance(700)).map(|(point, value)| (*point, *value));
    Batch { id: batch.id, points: points.collect() }
}

/// The segments that follow from documents.
pub fn spans(documents: &Documents, tenant: &TenantId, rules: &Rules) -> Vec<Span> {
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
    let Ok(chain) = Chain::new(documents) else { return Vec::new() };
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
