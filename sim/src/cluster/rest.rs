//! What must hold when everything has come to rest, and what is on disks at any time.

use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::{Replica, Segment, Span};

use super::Cluster;
use crate::blocks::merge;
use crate::checks::{self, Violation};
use crate::message::Written;
use crate::node::Node;

impl Cluster {
    pub(super) fn at_rest(&mut self) -> Result<(), Violation> {
        self.acked_is_somewhere()?;
        checks::closed(self.not_closed()).map_or(Ok(()), Err)?;
        checks::converged(self.differing_replicas()).map_or(Ok(()), Err)?;
        self.all_restart()?;
        self.acked_is_somewhere()?;
        checks::converged(self.differing_replicas()).map_or(Ok(()), Err)
    }

    /// **I2**, from what is safe on disks, as long as no more disks are lost than can be borne.
    pub(super) fn acked_is_somewhere(&self) -> Result<(), Violation> {
        if !self.swarm.bears_its_losses() {
            return Ok(());
        }
        for ack in self.ledger.acks() {
            let on = |node: usize| {
                !self.off[node] && self.nodes[node].lane.safe.has_point(&ack.batch.0, &ack.point, ack.value)
            };
            let is_there = (0..self.nodes.len()).any(on) || self.store.has_point(&ack.point, ack.value);
            let copies = usize::from(is_there);
            let what = || format!("{:?}, acked at {} us", ack.point, ack.at_us);
            checks::still_somewhere(copies, what).map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// Which disks hold a batch and all of its points.
    pub(super) fn holders(&self, written: &Written) -> Vec<Replica> {
        self.nodes
            .iter()
            .filter(|node| node.lane.safe.has_all(written, &self.store))
            .map(Node::replica)
            .collect()
    }

    /// Whether a disk is still there, whole as far as a segment goes.
    pub(super) fn is_left(&self, replica: &Replica, segment: &Segment) -> bool {
        let node = &self.nodes[self.number_of(&replica.node)];
        node.incarnation == replica.incarnation && !node.is_damaged(segment)
    }

    /// The lights go out everywhere, and every node reads its log again: nothing may be missing.
    fn all_restart(&mut self) -> Result<(), Violation> {
        for number in (0..self.nodes.len()).filter(|node| !self.off[*node]).collect::<Vec<_>>() {
            let mut effects = Vec::new();
            self.nodes[number].lane.crash(|_| 0);
            self.nodes[number].stop();
            self.nodes[number].start(&mut effects);
            self.check_restart(number)?;
        }
        Ok(())
    }

    /// All segments, by the stored documents and all rules.
    pub(super) fn all_spans(&mut self) -> Arc<Vec<Span>> {
        let documents = self.documents();
        if self.spans.0 != documents.len() {
            let chain = crate::node::chain(&documents, &Rules::ALL);
            let spans = crate::node::spans(&chain, &self.tenant, &Rules::ALL);
            self.spans = (documents.len(), Arc::new(spans));
        }
        self.spans.1.clone()
    }

    /// A node that has not heard that all is closed which has ended, or that it is not.
    fn not_closed(&self) -> Option<String> {
        let documents = self.store.newest();
        let mut nodes = (0..self.nodes.len()).filter(|node| !self.off[*node]).map(|node| &self.nodes[node]);
        let left = nodes.find(|node| !node.has_closed_all())?;
        let epoch = left.documents.len();
        Some(format!(
            "{} at epoch {epoch} of {documents} knows of segments that ended and are not closed",
            left.id
        ))
    }

    /// Two replicas of a segment that hold different batches, if there are any.
    fn differing_replicas(&mut self) -> Option<String> {
        let rules = &self.conduct.rules;
        let spans = crate::node::spans(&crate::node::chain(&self.documents(), rules), &self.tenant, rules);
        let listing = self.store.listing();
        for span in spans {
            let segment = &span.segment;
            let mut holders = Vec::new();
            for replica in &span.replicas {
                if !self.is_left(replica, segment) {
                    continue;
                }
                let number = self.number_of(&replica.node);
                let Some(local) = self.nodes[number].segments.get_mut(segment) else { continue };
                // One may have dropped to blocks what the other has in its head.
                let all = merge([local.shown().as_ref(), listing.points()].into_iter(), |_| true);
                holders.push((replica, local.replica.held().clone(), all));
            }
            for pair in holders.windows(2) {
                let [(one, a, a_shows), (other, b, b_shows)] = pair else { continue };
                if a != b {
                    let (lacks, has) = (a.difference(b).len(), b.difference(a).len());
                    return Some(format!("{segment}: {one} has {lacks} that {other} lacks, and lacks {has}"));
                }
                if a_shows != b_shows {
                    return Some(format!("{segment}: {one} and {other} hold other samples"));
                }
            }
        }
        None
    }
}
