//! Segments end and begin: seals, activation, and those that ended with nothing in them.

use gyre_protocol::{Activation, EmptyCheck, VectorReply};
use gyre_ring::{BatchSet, Replica, Segment, Span};

use super::{EMPTY, Effect, Node, local};
use crate::message::Body;

/// A segment that could not be found to be empty is not asked about for so long.
const ASK_AGAIN_US: u64 = 30_000_000;

impl Node {
    /// Segments that a document has ended are sealed as soon as it is known (rule 10).
    pub fn seal_what_has_ended(&mut self, effects: &mut Vec<Effect>) {
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

    pub(super) fn begin_seal(&mut self, segment: &Segment, effects: &mut Vec<Effect>) {
        let local = local(&mut self.segments, segment, &self.rules);
        if local.replica.begin_seal() {
            self.lane.seal(segment);
            effects.push(Effect::Sync);
        }
    }

    /// Asks for the seals that opening a segment takes, or opens it.
    pub(super) fn ask_to_open(&mut self, segment: &Segment, effects: &mut Vec<Effect>) {
        let Some(span) = self.span(segment).cloned() else { return };
        if span.ended.is_some() {
            // Nobody will append to it any more.
            return self.begin_seal(segment, effects);
        }
        let fresh = Activation::new(&span, &self.spans, &self.rules);
        let local = local(&mut self.segments, segment, &self.rules);
        let activation = local.activation.get_or_insert(fresh);
        for earlier in &self.spans {
            for replica in self.disks.counted_as_sealed(earlier) {
                activation.sealed(&earlier.segment, &replica);
            }
            for replica in earlier.replicas.iter().filter(|replica| self.settled.covers(replica, earlier)) {
                activation.sealed(&earlier.segment, replica);
            }
        }
        if activation.is_complete() {
            return local.replica.activate();
        }
        let asks: Vec<(Segment, Replica)> =
            activation.asks().map(|(segment, replica)| (segment.clone(), replica.clone())).collect();
        for (earlier, replica) in asks {
            self.send(0, earlier, replica, Body::Seal, effects);
        }
    }

    /// A replica has said that it is sealed.
    pub(super) fn note_seal(&mut self, sealed: &Segment, replica: &Replica) {
        // One that has ended meanwhile is about to be sealed itself.
        let open = |segment: &Segment| {
            self.spans.iter().any(|span| span.segment == *segment && span.ended.is_none())
        };
        for (segment, local) in self.segments.iter_mut().filter(|(segment, _)| open(segment)) {
            if let Some(activation) = &mut local.activation
                && segment != sealed
            {
                activation.sealed(sealed, replica);
                if activation.is_complete() {
                    local.replica.activate();
                }
            }
        }
    }

    /// Opens what it can by itself: with faults over, nothing may be left half done.
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

    /// Asks whether ended segments hold nothing, beside a read of them.
    pub(crate) fn look_for_empty(&mut self, now_us: u64, spans: &[Span], effects: &mut Vec<Effect>) {
        for span in spans.iter().filter(|span| span.ended.is_some()) {
            let asked = self.empty_checks.get(&span.segment);
            if self.empty.contains(&span.segment) || asked.is_some_and(|(at, _)| at + ASK_AGAIN_US > now_us) {
                continue;
            }
            let check = EmptyCheck::new(span, self.rules);
            self.empty_checks.insert(span.segment.clone(), (now_us, check));
            for replica in &span.replicas {
                self.send(EMPTY, span.segment.clone(), replica.clone(), Body::AskVector, effects);
            }
        }
    }

    pub(super) fn note_vector(&mut self, segment: &Segment, from: &Replica, held: &BatchSet, sealed: bool) {
        let Some((_, check)) = self.empty_checks.get_mut(segment) else { return };
        check.on_vector(from, &VectorReply { held: held.clone(), sealed });
        if check.is_empty() {
            self.empty_checks.remove(segment);
            self.empty.insert(segment.clone());
            self.found_empty += 1;
        }
    }
}
