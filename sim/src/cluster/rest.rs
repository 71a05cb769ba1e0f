//! What must hold when everything has come to rest, and what is on disks at any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::Span;

use super::Cluster;
use crate::checks::{self, Violation};
use crate::disk::Record;
use crate::message::Point;

impl Cluster {
    pub(super) fn at_rest(&self) -> Result<(), Violation> {
        self.acked_is_somewhere()?;
        checks::converged(self.differing_replicas()).map_or(Ok(()), Err)
    }

    /// **I2**, from what is on disks.
    pub(super) fn acked_is_somewhere(&self) -> Result<(), Violation> {
        let mut stored: BTreeSet<(Point, u64)> = BTreeSet::new();
        for node in &self.nodes {
            for record in node.disk.safe() {
                if let Record::Batch(_, batch) = record {
                    stored.extend(batch.points.iter().map(|(point, value)| (*point, *value)));
                }
            }
        }
        for ack in self.ledger.acks() {
            let copies = usize::from(stored.contains(&(ack.point, ack.value)));
            let what = || format!("{:?}, acked at {} us", ack.point, ack.at_us);
            checks::still_somewhere(copies, what).map_or(Ok(()), Err)?;
        }
        Ok(())
    }

    /// All segments, by the stored documents and all rules.
    pub(super) fn all_spans(&mut self) -> Arc<Vec<Span>> {
        let documents = self.documents();
        if self.spans.0 != documents.len() {
            let spans = crate::node::spans(&documents, &self.tenant, &Rules::ALL);
            self.spans = (documents.len(), Arc::new(spans));
        }
        self.spans.1.clone()
    }

    /// Two replicas of a segment that hold different batches, if there are any.
    fn differing_replicas(&self) -> Option<String> {
        let spans = crate::node::spans(&self.documents(), &self.tenant, &self.rules);
        for span in spans {
            let holders = span.replicas.iter().filter_map(|replica| {
                let node = &self.nodes[self.number_of(&replica.node)];
                let local = node.segments.get(&span.segment)?;
                let is_replica = node.incarnation == replica.incarnation && !node.is_damaged(&span.segment);
                is_replica.then_some((replica, local))
            });
            let holders: Vec<_> = holders.collect();
            for pair in holders.windows(2) {
                let [(one, a), (other, b)] = pair else { continue };
                if a.replica.held() != b.replica.held() {
                    let lacks = a.replica.held().difference(b.replica.held()).len();
                    let has = b.replica.held().difference(a.replica.held()).len();
                    return Some(format!(
                        "{}: {one} has {lacks} that {other} lacks, and lacks {has}",
                        span.segment
                    ));
                }
                if a.points != b.points {
                    return Some(format!("{}: {one} and {other} hold other values", span.segment));
                }
            }
        }
        None
    }
}
