//! Clients: what they ask, and what is checked when they are answered.

use gyre_ring::{NodeId, Quorum, Segment};
use gyre_tsdb::histogram::STALE_NAN;

use super::{Cluster, Event, PATIENCE_US, SECOND_US};
use crate::checks::{self, Ack, Violation};
use crate::client::{Finished, same_shard};
use crate::message::{Answer, Point, Points, Written};

/// Virtual time after the end of all faults from which on every client must be answered.
const SETTLED_US: u64 = 30 * SECOND_US;

impl Cluster {
    /// A node that a client can talk to.
    pub(super) fn any_up(&mut self) -> Option<usize> {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].up).collect();
        if up.is_empty() { None } else { Some(*self.rng.pick(&up)) }
    }

    pub(super) fn client_writes(&mut self) -> Result<(), Violation> {
        if self.healed && self.now_us > self.healed_at_us + SETTLED_US + 5 * SECOND_US {
            return Ok(());
        }
        self.schedule(self.swarm.write_every_us, Event::Write);
        let Some(node) = self.any_up() else { return Ok(()) };
        let series = *self.rng.pick(&self.series);
        let mut points = Points::new();
        for _ in 0..self.rng.range(1, 3) {
            let is_conflict = self.next_time > 0 && self.rng.chance(self.swarm.conflict);
            let time = if is_conflict {
                self.next_time - self.rng.below(self.next_time.min(20))
            } else {
                self.next_time += 1;
                self.next_time
            };
            let ends = self.rng.chance(20);
            points.insert((series, time), if ends { STALE_NAN } else { self.rng.next() });
        }
        self.ledger.sent(&points);
        self.report.writes += 1;
        let mut effects = Vec::new();
        self.nodes[node].write(self.now_us, points, PATIENCE_US, &mut effects);
        self.carry_out(node, effects);
        self.finished()
    }

    pub(super) fn client_reads(&mut self) -> Result<(), Violation> {
        if self.healed && self.now_us > self.healed_at_us + SETTLED_US + 5 * SECOND_US {
            return Ok(());
        }
        self.schedule(self.swarm.read_every_us, Event::Read);
        let Some(node) = self.any_up() else { return Ok(()) };
        let series = *self.rng.pick(&self.series);
        self.read_at(node, series);
        self.finished()
    }

    fn read_at(&mut self, node: usize, series: u128) {
        self.report.reads += 1;
        let mut prefer: Vec<usize> = (0..self.nodes.len()).collect();
        self.rng.shuffle(&mut prefer);
        if self.swarm.readers_prefer_unsealed {
            // Where a reader with old documents would be hardest to stop.
            let newest: Vec<&Segment> = self.nodes[node]
                .spans
                .iter()
                .filter(|span| span.ended.is_none())
                .map(|span| &span.segment)
                .collect();
            let sealed = |other: &usize| {
                let segments = &self.nodes[*other].segments;
                newest.iter().any(|segment| segments.get(*segment).is_some_and(|l| l.replica.is_sealed()))
            };
            prefer.sort_by_key(sealed);
        }
        let prefer: Vec<NodeId> = prefer.into_iter().map(|other| self.nodes[other].id.clone()).collect();
        let mut effects = Vec::new();
        self.nodes[node].read(self.now_us, series, PATIENCE_US, prefer, &mut effects);
        self.carry_out(node, effects);
    }

    /// Every node is asked for every series.
    pub(super) fn final_reads(&mut self) {
        for node in (0..self.nodes.len()).filter(|node| !self.off[*node]).collect::<Vec<_>>() {
            for series in self.series.clone() {
                self.read_at(node, series);
            }
        }
    }

    /// Looks at the answers that clients have got.
    pub(super) fn finished(&mut self) -> Result<(), Violation> {
        for finished in std::mem::take(&mut self.done) {
            match finished {
                Finished::Acked(written) => {
                    self.report.acked += 1;
                    let holders = self.check_ack(&written)?;
                    self.ledger.acked(self.now_us, &written, holders);
                    self.tempt(&written.segment, written.batch.id)?;
                }
                Finished::Refused => self.report.refused += 1,
                Finished::Read { began_us, key, bits, warned, points } => {
                    self.report.complete_reads += 1;
                    self.report.warned_reads += u64::from(!warned.is_empty());
                    for segment in &warned {
                        self.check_warning(segment)?;
                    }
                    let asked = |point: &(u128, u64)| same_shard(point.0, key, bits);
                    let spans = self.all_spans();
                    // A warning excuses what was acknowledged in its segment, and was on no disk that is left. Once such a
                    // segment is closed nobody is warned any more: what can be had of it is in blocks.
                    let may_miss = |ack: &Ack| {
                        let segment = &ack.batch.0;
                        let is_closed = || !spans.iter().any(|span| span.segment == *segment);
                        (warned.contains(segment) || (self.swarm.losses_max > 1 && is_closed()))
                            && !ack.holders.iter().any(|holder| self.is_left(holder, segment))
                    };
                    self.ledger.each_once(&points).map_or(Ok(()), Err)?;
                    let broken = self.ledger.read_your_acks(began_us, asked, may_miss, &points);
                    broken.map_or(Ok(()), Err)?;
                    self.ledger.no_phantom(&points).map_or(Ok(()), Err)?;
                    if self.healed && began_us > self.healed_at_us + SETTLED_US + 10 * SECOND_US {
                        self.check_same_answer(key, points)?;
                    }
                }
                Finished::WriteFailed => self.check_answered("a write")?,
                Finished::ReadFailed => self.check_answered("a read")?,
            }
        }
        Ok(())
    }

    fn check_answered(&self, what: &str) -> Result<(), Violation> {
        let due = self.healed && self.now_us > self.healed_at_us + SETTLED_US + PATIENCE_US;
        let late = || {
            format!("{what} failed {} s after the last fault", (self.now_us - self.healed_at_us) / SECOND_US)
        };
        checks::answered(due.then(late)).map_or(Ok(()), Err)
    }

    /// **I1**; gives the disks that have it.
    fn check_ack(&mut self, written: &Written) -> Result<Vec<gyre_ring::Replica>, Violation> {
        let Written { segment, batch } = written;
        let holders = self.holders(written);
        let lost = self.lost.get(&(segment.clone(), batch.id)).copied().unwrap_or(0);
        let all = self.all_spans();
        let replicas = all.iter().find(|span| span.segment == *segment).map_or(3, |span| span.replicas.len());
        let what = || format!("{:?} of {segment}", batch.id);
        if batch.points.iter().all(|(point, value)| self.store.has_point(point, *value)) {
            // It came late: replicas may have closed the segment.
            return Ok(holders);
        }
        checks::durable_ack(holders.len() + lost, Quorum::of(replicas).write, what).map_or(Ok(holders), Err)
    }

    /// **I6**.
    fn check_same_answer(&mut self, key: u128, points: Answer) -> Result<(), Violation> {
        let spans = self.all_spans();
        let Some(first) = self.answers.get(&key) else {
            self.answers.insert(key, points);
            return Ok(());
        };
        let holds = |segment: &Segment, point: &Point, value: u64| {
            self.nodes.iter().any(|node| node.lane.safe.has_point(segment, point, value))
        };
        self.ledger.same_answer(first, &points, &spans, holds).map_or(Ok(()), Err)
    }

    fn check_warning(&mut self, segment: &Segment) -> Result<(), Violation> {
        let all = self.all_spans();
        let Some(span) = all.iter().find(|span| span.segment == *segment) else { return Ok(()) };
        let left = span.replicas.iter().filter(|replica| self.is_left(replica, segment)).count();
        let need = Quorum::of(span.replicas.len()).read;
        checks::warned_for_a_reason(segment, left, need).map_or(Ok(()), Err)
    }
}
