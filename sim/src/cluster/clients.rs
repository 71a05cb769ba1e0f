//! Clients: what they ask, and what is checked when they are answered.

use gyre_ring::{BatchId, NodeId, Quorum, Segment};

use super::{Cluster, Event, PATIENCE_US, SECOND_US};
use crate::checks::{self, Violation};
use crate::client::{Finished, same_shard};
use crate::disk::Record;
use crate::message::Points;

/// Virtual time after the end of all faults from which on every client must be answered.
const SETTLED_US: u64 = 30 * SECOND_US;

impl Cluster {
    /// A node that a client can talk to.
    fn any_up(&mut self) -> Option<usize> {
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
            points.insert((series, time), self.rng.next());
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
        for node in 0..self.nodes.len() {
            for series in self.series.clone() {
                self.read_at(node, series);
            }
        }
    }

    /// Looks at the answers that clients have got.
    pub(super) fn finished(&mut self) -> Result<(), Violation> {
        for finished in std::mem::take(&mut self.done) {
            match finished {
                Finished::Acked { points, segment, batch } => {
                    self.report.acked += 1;
                    self.check_ack(&points, &segment, batch)?;
                    self.ledger.acked(self.now_us, &points);
                    self.tempt(&segment, batch)?;
                }
                Finished::Read { began_us, key, bits, points } => {
                    self.report.complete_reads += 1;
                    let asked = |point: &(u128, u64)| same_shard(point.0, key, bits);
                    let broken = self.ledger.read_your_acks(began_us, asked, &points);
                    broken.map_or(Ok(()), Err)?;
                    self.ledger.no_phantom(&points).map_or(Ok(()), Err)?;
                    if self.healed && began_us > self.healed_at_us + SETTLED_US + 10 * SECOND_US {
                        let first = self.answers.entry(key).or_insert_with(|| points.clone());
                        checks::same_answer(first, &points).map_or(Ok(()), Err)?;
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

    fn check_ack(&mut self, points: &Points, segment: &Segment, batch: BatchId) -> Result<(), Violation> {
        let has = |record: &Record| match record {
            Record::Batch(of, stored) => {
                of == segment
                    && stored.id == batch
                    && points.keys().all(|point| stored.points.contains_key(point))
            }
            Record::Seal(_) => false,
        };
        let on_disk = self.nodes.iter().filter(|node| node.disk.safe().iter().rev().any(has)).count();
        let lost = usize::from(self.lost.contains(&(segment.clone(), batch)));
        let all = self.all_spans();
        let replicas = all.iter().find(|span| span.segment == *segment).map_or(3, |span| span.replicas.len());
        let what = || format!("{batch:?} of {segment}");
        checks::durable_ack(on_disk + lost, Quorum::of(replicas).write, what).map_or(Ok(()), Err)
    }
}
