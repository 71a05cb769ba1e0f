//! What must hold. Each check is small and looks at facts (what is on disks, what a read returned), not at what the
//! code under test believes.

use std::collections::BTreeMap;
use std::rc::Rc;

use gyre_ring::{BatchId, Replica, Segment, Span};

use crate::message::{Answer, Point, Points, Written};
use crate::series::wins;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which: the invariant's name.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
}

fn violation(invariant: &'static str, what: String) -> Option<Violation> {
    Some(Violation { invariant, what })
}

/// All that clients know: what they sent, and what was acknowledged when.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Times and values by series, in order: answers are as long as a run, and are compared with it often.
    sent: BTreeMap<u128, Vec<(u64, u64)>>,
    acked: Vec<Ack>,
}

/// An acknowledged point.
#[derive(Clone, Debug)]
pub struct Ack {
    /// When the client was told.
    pub at_us: u64,
    /// What it wrote.
    pub point: Point,
    /// The value.
    pub value: u64,
    /// The batch that it came in.
    pub batch: (Segment, BatchId),
    /// The disks that it was safe on by then.
    pub holders: Rc<[Replica]>,
}

impl Ledger {
    /// A client sends.
    pub fn sent(&mut self, points: &Points) {
        for (&(key, time), &value) in points {
            let sent = self.sent.entry(key).or_default();
            let at = sent.partition_point(|earlier| *earlier < (time, value));
            sent.insert(at, (time, value));
        }
    }

    /// A client is told that its points are durable.
    pub fn acked(&mut self, at_us: u64, written: &Written, holders: Vec<Replica>) {
        let batch = (written.segment.clone(), written.batch.id);
        let holders: Rc<[Replica]> = holders.into();
        let ack = |(point, value): (&Point, &u64)| {
            let (batch, holders) = (batch.clone(), holders.clone());
            Ack { at_us, point: *point, value: *value, batch, holders }
        };
        self.acked.extend(written.batch.points.iter().map(ack));
    }

    /// All acknowledged points.
    pub fn acks(&self) -> &[Ack] {
        &self.acked
    }

    /// **I4**: a read that began after an ack, and is complete, has the point, or one for the same time that wins.
    /// `may_miss` says of what the answer's warnings excuse.
    pub fn read_your_acks(
        &self,
        began_us: u64,
        is_asked: impl Fn(&Point) -> bool,
        may_miss: impl Fn(&Ack) -> bool,
        read: &Answer,
    ) -> Option<Violation> {
        // Acks are in order of time.
        let before = self.acked.iter().take_while(|ack| ack.at_us < began_us);
        for ack in before.filter(|ack| is_asked(&ack.point)) {
            match value_of(read, &ack.point) {
                Some(value) if wins(value, ack.value) => {}
                _ if may_miss(ack) => {}
                found => {
                    let (point, value) = (ack.point, ack.value);
                    return violation(
                        "I4",
                        format!(
                            "read of {began_us} us has {found:?} for {point:?}, acked as {value} at {} us in {:?} of {}",
                            ack.at_us, ack.batch.1, ack.batch.0
                        ),
                    );
                }
            }
        }
        None
    }

    /// **I6**: all nodes answer alike, but for what only such segments hold as may be known to be empty to some: those that
    /// have ended, and of which nothing was ever acknowledged (ADR 10). `holds` says whether a segment has a value.
    pub fn same_answer(
        &self,
        one: &Answer,
        other: &Answer,
        spans: &[Span],
        holds: impl Fn(&Segment, &Point, u64) -> bool,
    ) -> Option<Violation> {
        if one == other {
            return None;
        }
        let differing = |(point, _): &&(Point, u64)| value_of(one, point) != value_of(other, point);
        for (point, _) in one.iter().chain(other).filter(differing) {
            let values = (value_of(one, point), value_of(other, point));
            let shown = match values {
                (Some(a), Some(b)) => Some(if wins(a, b) { a } else { b }),
                (a, b) => a.or(b),
            };
            let mut holders = spans
                .iter()
                .filter(|span| shown.is_some_and(|value| holds(&span.segment, point, value)))
                .peekable();
            let is_held = holders.peek().is_some();
            if !is_held || !holders.all(|span| span.ended.is_some() && !self.has_acked_in(&span.segment)) {
                return violation("I6", format!("two nodes answer differently: {values:?} for {point:?}"));
            }
        }
        None
    }

    /// Whether anything was acknowledged in a segment.
    fn has_acked_in(&self, segment: &Segment) -> bool {
        self.acked.iter().any(|ack| ack.batch.0 == *segment)
    }

    /// What is read is there once, however many blocks and heads have it.
    pub fn each_once(&self, read: &Answer) -> Option<Violation> {
        let twice = read.windows(2).find(|pair| pair[0].0 == pair[1].0)?;
        violation("each once", format!("read has {:?} and {:?}", twice[0], twice[1]))
    }

    /// **I3**: what is read was sent.
    pub fn no_phantom(&self, read: &Answer) -> Option<Violation> {
        for series in read.chunk_by(|(one, _), (other, _)| one.0 == other.0) {
            let mut sent = self.sent.get(&series[0].0.0).into_iter().flatten();
            // Both are in order, so each is looked for behind the one before.
            let phantom = series.iter().find(|(point, value)| !sent.any(|sent| *sent == (point.1, *value)));
            if let Some(phantom) = phantom {
                return violation("I3", format!("read has {phantom:?}, which nobody sent"));
            }
        }
        None
    }
}

fn value_of(answer: &Answer, point: &Point) -> Option<u64> {
    let at = answer.binary_search_by_key(point, |(point, _)| *point).ok()?;
    Some(answer[at].1)
}

/// **I1**: at the moment of an ack, the batch is durable on a write quorum.
pub fn durable_ack(copies: usize, need: usize, what: impl Fn() -> String) -> Option<Violation> {
    if copies >= need {
        None
    } else {
        violation("I1", format!("{}: acked with {copies} safe copies", what()))
    }
}

/// **I2**: an acknowledged point is on some disk, or in a block that is listed.
pub fn still_somewhere(copies: usize, what: impl Fn() -> String) -> Option<Violation> {
    if copies > 0 { None } else { violation("I2", format!("{}: on no disk and in no block", what())) }
}

/// A restart finds what was synced.
pub fn recovered(lost: Option<String>) -> Option<Violation> {
    lost.and_then(|what| {
        violation("I2", format!("a restart: {what} was synced, and is not in the log and in no block"))
    })
}

/// A warning that data may be missing is given only if a read quorum of the segment is lost.
pub fn warned_for_a_reason(segment: &Segment, left: usize, read_quorum: usize) -> Option<Violation> {
    if left < read_quorum {
        return None;
    }
    violation("I4", format!("a read warns of {segment}, of which {left} replicas have their disks"))
}

/// **I8**: there are exactly the epochs that somebody proposed.
pub fn only_proposed_epochs(stored: u64, proposed: u64) -> Option<Violation> {
    if stored <= proposed { None } else { violation("I8", format!("{stored} epochs, {proposed} proposed")) }
}

/// **Closing**: when faults are over, all that has ended comes to be closed.
pub fn closed(left: Option<String>) -> Option<Violation> {
    left.and_then(|what| violation("closing", what))
}

/// **Convergence**: when faults are over, replicas come to hold the same.
pub fn converged(differing: Option<String>) -> Option<Violation> {
    differing.and_then(|what| violation("convergence", what))
}

/// **Liveness**: when faults are over, everything is answered.
pub fn answered(unanswered: Option<String>) -> Option<Violation> {
    unanswered.and_then(|what| violation("liveness", what))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gyre_ring::{BatchNumber, BootId, Epoch, Shard, ShardCount, ShardIndex, TenantId};

    use super::*;
    use crate::message::Batch;

    const POINT: Point = (1, 1);

    fn span(epoch: u64, ended: Option<u64>) -> Span {
        let shard = Shard { tenant: TenantId::fake(), count: ShardCount::ONE, index: ShardIndex(0) };
        Span {
            segment: Segment { shard, epoch: Epoch(epoch) },
            ended: ended.map(Epoch),
            replicas: Vec::new(),
        }
    }

    fn ledger_with_ack_in(span: &Span) -> Ledger {
        let id = BatchId { boot: BootId(1), number: BatchNumber(1) };
        let batch = Arc::new(Batch { id, points: Points::from([((1, 2), 5)]) });
        let mut ledger = Ledger::default();
        ledger.acked(1, &Written { batch, segment: span.segment.clone() }, Vec::new());
        ledger
    }

    /// One node shows a value that these segments hold, another one does not, or shows a lesser one.
    fn is_broken(ledger: &Ledger, holders: &[&Span]) -> bool {
        let spans = [span(1, Some(2)), span(2, Some(3)), span(3, None)];
        let holds = |segment: &Segment, point: &Point, value: u64| {
            (*point, value) == (POINT, 7) && holders.iter().any(|holder| holder.segment == *segment)
        };
        let shows = vec![(POINT, 7)];
        let broken = [Vec::new(), vec![(POINT, 6)]].map(|lacks| {
            let there = ledger.same_answer(&shows, &lacks, &spans, holds);
            let back = ledger.same_answer(&lacks, &shows, &spans, holds);
            assert_eq!(there.is_some(), back.is_some());
            there.is_some()
        });
        assert_eq!(broken[0], broken[1]);
        broken[0]
    }

    #[test]
    fn nodes_may_differ_in_what_only_ended_segments_without_any_ack_hold() {
        let (first, second, open) = (span(1, Some(2)), span(2, Some(3)), span(3, None));
        let ledger = ledger_with_ack_in(&second);
        assert!(!is_broken(&ledger, &[&first]));
        assert!(is_broken(&ledger, &[&second]), "another point of it was acknowledged");
        assert!(is_broken(&ledger, &[&first, &second]), "whoever leaves the first one out reads the second");
        assert!(is_broken(&ledger, &[&open]), "it has not ended");
        assert!(is_broken(&ledger, &[]), "nobody holds it");
    }
}
