//! A restart: a node's segments from its log, read as the storage crate reads it.
//!
//! Spilled chunks are not part of the simulation, and of snapshots only that they make it durable that a window was dropped:
//! what a restart needs is in the log, but for what a [`Shelf`] says is no longer there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::{BatchId, BatchNumber, BatchSet, BootId, Segment};
use gyre_tsdb::disk::SimDisk;
use gyre_tsdb::histogram::Histogram;
use gyre_tsdb::wal::{BatchName, DecodedSample, Replay, WalPosition, replay};
use gyre_tsdb::{SeriesRef, window_of};

use crate::lane::id_of;
use crate::series::{Catalog, Samples};
use crate::shelf::{Shelf, Windows};

/// What a log has.
pub struct Recovered {
    /// By segment.
    pub segments: BTreeMap<Segment, OnDisk>,
    /// Segments of which batches may be lost, since the log is damaged.
    pub damaged: BTreeSet<Segment>,
    /// Batches that were safe before it was.
    pub forgotten: Vec<(Segment, BatchId)>,
    /// The number of the next file.
    pub next_file: u64,
}

/// What the log has of a segment.
pub struct OnDisk {
    /// The batches.
    pub held: BatchSet,
    /// Whether it is sealed.
    pub sealed: bool,
    /// The samples.
    pub samples: Samples,
    /// By window, the batches that brought them.
    pub windows: Windows,
}

struct Reading<'a> {
    disk: &'a SimDisk,
    names: &'a BTreeMap<Vec<u8>, Segment>,
    catalog: &'a Arc<Catalog>,
    rules: &'a Rules,
    shelf: &'a Shelf,
    /// The batch that is being read.
    batch: BatchId,
    found: Vec<(Segment, OnDisk)>,
    damaged: BTreeSet<usize>,
}

/// Reads a log, but for the segments that are closed. Damage concerns every segment that was there and is not whole for sure.
pub fn recover(
    disk: &SimDisk,
    folder: &Path,
    names: &BTreeMap<Vec<u8>, Segment>,
    catalog: &Arc<Catalog>,
    rules: &Rules,
    shelf: &Shelf,
    is_closed: &dyn Fn(&Segment) -> bool,
) -> Recovered {
    let batch = BatchId { boot: BootId(0), number: BatchNumber(0) };
    let (found, damaged) = (Vec::new(), BTreeSet::new());
    let mut reading = Reading { disk, names, catalog, rules, shelf, batch, found, damaged };
    let report = replay(disk, folder, &mut reading).expect("the disk is in memory");
    let mut damaged = BTreeSet::new();
    if !report.damage.is_empty() {
        // Of a segment whose name was hit nothing is left to see.
        damaged.extend(names.values().cloned());
        for (stream, (segment, _)) in reading.found.iter().enumerate() {
            if !report.damage.iter().any(|damage| damage.may_concern(stream, None)) {
                damaged.remove(segment);
            }
        }
    }
    damaged.extend(reading.damaged.iter().map(|stream| reading.found[*stream].0.clone()));
    damaged.retain(|segment| !is_closed(segment));
    Recovered {
        segments: reading.found.into_iter().filter(|(segment, _)| !is_closed(segment)).collect(),
        damaged,
        forgotten: Vec::new(),
        next_file: report.next_file,
    }
}

impl Replay for Reading<'_> {
    fn stream(&mut self, name: &[u8]) -> usize {
        let segment = &self.names[name];
        let known = self.found.iter().position(|(found, _)| found == segment);
        known.unwrap_or_else(|| {
            let samples = Samples::new(self.disk, self.catalog.clone());
            let (held, windows) = (BatchSet::default(), Windows::default());
            self.found.push((segment.clone(), OnDisk { held, sealed: false, samples, windows }));
            self.found.len() - 1
        })
    }

    fn wants(&mut self, _stream: usize, _at: WalPosition) -> bool {
        true
    }

    fn batch(&mut self, stream: usize, name: BatchName) {
        self.batch = id_of(name);
        self.found[stream].1.held.insert(self.batch);
    }

    fn series(&mut self, stream: usize, number: u32, labels: &[u8]) {
        if !self.found[stream].1.samples.replay_series(number, labels) {
            self.damaged.insert(stream);
        }
    }

    fn sample(&mut self, stream: usize, sample: DecodedSample) {
        let (segment, found) = &mut self.found[stream];
        let window = window_of(sample.t_ms);
        if self.shelf.has_dropped(segment, window, self.batch) {
            return;
        }
        found.windows.entry(window).or_default().insert(self.batch);
        let samples = &mut found.samples;
        let is_there = sample
            .value
            .is_some_and(|value| samples.replay(SeriesRef(sample.series), sample.t_ms, value, self.rules));
        if !is_there {
            self.damaged.insert(stream);
        }
    }

    fn histogram(&mut self, _stream: usize, _series: u32, _t_ms: i64, _histogram: &Histogram) {}

    fn sealed(&mut self, stream: usize) {
        self.found[stream].1.sealed = true;
    }
}
