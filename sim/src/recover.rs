//! A restart: a node's segments from its log, read as the storage crate reads it.
//!
//! Snapshots and spilled chunks are not part of the simulation: what a restart needs is all in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gyre_protocol::Rules;
use gyre_ring::{BatchId, BatchSet, Segment};
use gyre_tsdb::SeriesRef;
use gyre_tsdb::disk::SimDisk;
use gyre_tsdb::histogram::Histogram;
use gyre_tsdb::wal::{BatchName, DecodedSample, Replay, WalPosition, replay};

use crate::lane::id_of;
use crate::series::{Catalog, Samples};

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
}

struct Reading<'a> {
    disk: &'a SimDisk,
    names: &'a BTreeMap<Vec<u8>, Segment>,
    catalog: &'a Arc<Catalog>,
    rules: &'a Rules,
    found: Vec<(Segment, OnDisk)>,
    damaged: BTreeSet<usize>,
}

/// Reads a log. Damage concerns every segment that was there and is not whole for sure.
pub fn recover(
    disk: &SimDisk,
    folder: &Path,
    names: &BTreeMap<Vec<u8>, Segment>,
    catalog: &Arc<Catalog>,
    rules: &Rules,
) -> Recovered {
    let mut reading = Reading { disk, names, catalog, rules, found: Vec::new(), damaged: BTreeSet::new() };
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
    Recovered {
        segments: reading.found.into_iter().collect(),
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
            self.found.push((segment.clone(), OnDisk { held: BatchSet::default(), sealed: false, samples }));
            self.found.len() - 1
        })
    }

    fn wants(&mut self, _stream: usize, _at: WalPosition) -> bool {
        true
    }

    fn batch(&mut self, stream: usize, name: BatchName) {
        self.found[stream].1.held.insert(id_of(name));
    }

    fn series(&mut self, stream: usize, number: u32, labels: &[u8]) {
        if !self.found[stream].1.samples.replay_series(number, labels) {
            self.damaged.insert(stream);
        }
    }

    fn sample(&mut self, stream: usize, sample: DecodedSample) {
        let samples = &mut self.found[stream].1.samples;
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
