//! Getting what a replica lacks from one that holds it: batches from its log.
//!
//! A batch's record lacks the samples that its holder had before, from other batches. So who asks wants all that the
//! holder has and he lacks, and who cannot give it all gives nothing; what is given comes in the order of the log. Series that
//! the holder has forgotten are left out; it names the blocks that have them, and who asked names these from then on.

use std::sync::Arc;

use gyre_protocol::Append;
use gyre_ring::{BatchSet, NodeId, Replica, Segment, Span};

use super::{Effect, Local, Node, REPAIR, Waiting, answer, local};
use crate::blocks::BlockId;
use crate::lane::id_of;
use crate::message::{Batch, Body, Message, Points};
use crate::rng::Rng;
use crate::series::{Samples, time};
use crate::shelf::Named;

/// A reply to a pull breaks off, in thousandths.
const BREAKS_OFF: u64 = 50;

impl Node {
    /// A reader wants data as of some batches.
    pub(super) fn ask_data(
        &mut self,
        from: NodeId,
        message: Message,
        as_of: BatchSet,
        holder: Option<Replica>,
        effects: &mut Vec<Effect>,
    ) {
        let names = self.names_of(&message.segment);
        let local = local(&mut self.segments, &message.segment, &self.rules);
        let missing = local.replica.missing(&as_of);
        if missing.is_empty() || holder.is_none() {
            let body = data(local, &as_of, names);
            return effects.push(answer(&self.documents, from, &message, body));
        }
        local.data_waiters.push(Waiting { from, request: message.clone(), as_of });
        if let Some(holder) = holder {
            self.pull(&message.segment, holder, missing, effects);
        }
    }

    fn pull(&self, segment: &Segment, holder: Replica, missing: BatchSet, effects: &mut Vec<Effect>) {
        let wanted = if self.rules.pull_asks_for_all { missing } else { newest_of_each_run(&missing) };
        self.send(self.runs, segment.clone(), holder, Body::Pull(wanted), effects);
    }

    /// The wanted batches from the log, if it has all of them that are held here.
    pub(super) fn give(
        &self,
        segment: &Segment,
        wanted: &BatchSet,
        rng: &mut Rng,
    ) -> (Vec<Arc<Batch>>, Vec<Named>) {
        let Some(local) = self.segments.get(segment) else { return Default::default() };
        let Some(samples) = &local.samples else { return Default::default() };
        let mut has_gone = false;
        let elsewhere = wanted.difference(local.replica.held());
        let here = wanted.difference(&elsewhere);
        let (batches, _) = self.lane.read(segment, &here, self.rules.pull_gives_all);
        let mut given: Vec<Arc<Batch>> = batches
            .iter()
            .map(|batch| {
                let mut points = Points::new();
                for sample in &batch.samples {
                    match samples.key(sample.series) {
                        Some(key) => {
                            points.insert((key, time(sample.t_ms)), sample.value);
                        }
                        None => has_gone = true,
                    }
                }
                Arc::new(Batch { id: id_of(batch.name), points })
            })
            .collect();
        if rng.chance(BREAKS_OFF) {
            given.truncate(rng.below(given.len() as u64 + 1) as usize);
        }
        let named = self.released.get(segment).filter(|_| has_gone).cloned().unwrap_or_default();
        (given, named)
    }

    /// Blocks have what is left out of the batches that come with their names: readers are told of them, also after a restart.
    pub(super) fn note_named(&mut self, segment: &Segment, named: &[Named]) {
        if named.is_empty() || !self.driver.pulled_names_are_noted {
            return;
        }
        let names = self.released.entry(segment.clone()).or_default();
        for name in named {
            if !names.iter().any(|known| known.block == name.block) {
                names.push(*name);
            }
        }
        self.shelf.released.insert(segment.clone(), names.clone());
    }

    /// Batches have come from a peer.
    pub(super) fn pulled(&mut self, segment: &Segment, batches: Vec<Arc<Batch>>, effects: &mut Vec<Effect>) {
        if self.is_damaged(segment) {
            return;
        }
        for batch in batches {
            let Some(local) = self.segments.get_mut(segment) else { return };
            if local.replica.pulled(batch.id) == Append::Take {
                self.log(segment, batch, effects);
                self.pulled += 1;
            }
        }
        let names = self.names_of(segment);
        let Some(local) = self.segments.get_mut(segment) else { return };
        for waiting in std::mem::take(&mut local.data_waiters) {
            let body = data(local, &waiting.as_of, names.clone());
            effects.push(answer(&self.documents, waiting.from, &waiting.request, body));
        }
    }

    /// Logs a batch that another replica has admitted.
    pub(super) fn log(&mut self, segment: &Segment, batch: Arc<Batch>, effects: &mut Vec<Effect>) {
        let local = local(&mut self.segments, segment, &self.rules);
        let (disk, catalog) = (self.lane.disk(), &self.catalog);
        let samples = local.samples.get_or_insert_with(|| Samples::new(disk, catalog.clone()));
        samples.apply(&batch.points, self.lane.encoder(), &self.rules);
        local.note(batch.id, &batch.points, &self.driver);
        self.lane.finish(segment, batch);
        effects.push(Effect::Sync);
    }

    /// Compares one of its segments with its peers.
    pub fn repair(&mut self, effects: &mut Vec<Effect>) {
        self.repairs += 1;
        self.ask_to_settle(effects);
        let own = self.replica();
        let held: Vec<&Span> = self.spans.iter().filter(|span| span.replicas.contains(&own)).collect();
        if !held.is_empty() {
            let span = held[self.repairs % held.len()].clone();
            self.compare(&span, effects);
        }
    }

    /// Asks the other replicas of a segment what they hold.
    pub(super) fn compare(&mut self, span: &Span, effects: &mut Vec<Effect>) {
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
            self.send(REPAIR, span.segment.clone(), peer.clone(), Body::AskVector, effects);
        }
    }

    /// A peer has said what it holds.
    pub(super) fn compared(&mut self, message: &Message, held: &BatchSet, effects: &mut Vec<Effect>) {
        let Some(local) = self.segments.get_mut(&message.segment) else { return };
        let missing = local.replica.missing(held);
        if missing.is_empty() {
            local.compared.insert(message.replica.node.clone());
        } else {
            self.pull(&message.segment, message.replica.clone(), missing, effects);
        }
    }
}

fn data(local: &mut Local, as_of: &BatchSet, names: Vec<BlockId>) -> Body {
    let shown = local.replica.shows(as_of).then(|| local.shown());
    Body::Data(shown, local.replica.is_sealed(), names)
}

/// A part of what is missing: the planted bug.
fn newest_of_each_run(missing: &BatchSet) -> BatchSet {
    let mut newest = BatchSet::default();
    let mut intervals = missing.intervals().peekable();
    while let Some((boot, _, last)) = intervals.next() {
        if intervals.peek().is_none_or(|(next, _, _)| *next != boot) {
            newest.insert_interval(boot, last, last);
        }
    }
    newest
}
