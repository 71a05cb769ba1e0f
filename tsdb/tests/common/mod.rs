//! A shard as small as can be: a head and a lane, driven the way the node drives them.

pub mod histograms;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use gyre_tsdb::disk::{Disk, SimDisk};
use gyre_tsdb::histogram::Histogram;
use gyre_tsdb::labels::{self, Labels};
use gyre_tsdb::snapshot::{self, SnapshotBegin, SnapshotEnd, SnapshotWriter};
use gyre_tsdb::wal::{
    BatchName, DecodedSample, LaneEncoder, Piece, Replay, ReplayReport, StreamId, WalError, WalPosition,
    WalWriter, replay,
};
use gyre_tsdb::{Appended, Decoded, Head, SeriesBatch, SeriesRef};
use histograms::{histogram, is_histogram};

pub const LANE: &str = "wal/0";
pub const SHARD: &str = "shard";
pub const SNAPSHOTS: &str = "shard/snapshots";
pub const STREAM: &[u8] = b"tenant/0-of-1@1";

/// Series name, then samples by time: a float's bits, or the seed of a [histogram].
pub type Content = BTreeMap<String, BTreeMap<i64, u64>>;

pub fn key(labels: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(labels)
}

pub struct Shard {
    pub disk: SimDisk,
    pub head: Head,
    pub encoder: LaneEncoder,
    pub writer: WalWriter,
    pub unwritten: Vec<Piece>,
    pub report: ReplayReport,
    /// Samples that the log named but could not give.
    pub lost: u64,
    /// Batches held, by number.
    pub batches: BTreeSet<u64>,
    pub sealed: bool,
    /// Whether a conflict is decided, as by a replica, instead of refused.
    pub decides: bool,
    number: u64,
}

impl Shard {
    /// Starts on whatever the disk holds.
    pub fn start(disk: &SimDisk, file_bytes: u64) -> Shard {
        disk.create_dir_all(Path::new(LANE)).unwrap();
        let loaded = snapshot::load(disk, Path::new(SHARD), Path::new(SNAPSHOTS)).unwrap();
        let mut target = Target {
            head: loaded.head,
            from: loaded.begin.position,
            lost: 0,
            batches: BTreeSet::new(),
            sealed: false,
        };
        if let Some((sealed, numbers)) = loaded.begin.note.split_first() {
            target.sealed = *sealed == 1;
            let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
            target.batches.extend(numbers.chunks_exact(8).map(number));
        }
        let report = replay(disk, Path::new(LANE), &mut target).unwrap();
        let encoder = LaneEncoder::new(report.next_file, file_bytes);
        let writer = WalWriter::new(Arc::new(disk.clone()), Path::new(LANE), true);
        let Target { head, lost, batches, sealed, .. } = target;
        let number = batches.last().copied().unwrap_or(0);
        let (disk, unwritten) = (disk.clone(), Vec::new());
        Shard {
            disk,
            head,
            encoder,
            writer,
            unwritten,
            report,
            lost,
            batches,
            sealed,
            decides: false,
            number,
        }
    }

    /// Appends samples as one batch; they are durable once [`Shard::commit`] returns.
    pub fn append(&mut self, samples: &[(String, i64, u64)]) {
        for (name, t, v) in samples {
            let bytes = labels::encode([("__name__", name.as_str())]);
            let series = match self.head.find(key(&bytes)) {
                Some(series) => series,
                None => {
                    let series = self.head.create(key(&bytes), Labels::parse(&bytes).unwrap()).unwrap();
                    self.encoder.new_series(series, &bytes);
                    series
                }
            };
            let is_new = |appended| matches!(appended, Appended::InOrder | Appended::Late);
            let head = &mut self.head;
            if is_histogram(name, *v) {
                let histogram = histogram(*v);
                let stored = match self.decides {
                    true => head.apply_histogram(series, *t, &histogram).is_stored(),
                    false => is_new(head.append_histogram(series, *t, &histogram)),
                };
                if stored {
                    self.encoder.histogram(series, *t, &histogram);
                }
                continue;
            }
            let stored = match self.decides {
                true => head.apply(series, *t, *v).is_stored(),
                false => is_new(head.append(series, *t, *v)),
            };
            if stored {
                self.encoder.sample(series, *t, *v, head.wal_base_mut(series));
            }
        }
        self.number += 1;
        self.batches.insert(self.number);
        self.encoder.finish_batch(StreamId(0), STREAM, BatchName { boot: 7, number: self.number });
    }

    pub fn commit(&mut self) -> Result<Option<Vec<u8>>, WalError> {
        if self.unwritten.is_empty() {
            self.unwritten = self.encoder.take(Vec::new());
        }
        self.writer.write(&mut self.unwritten)
    }

    /// Takes a snapshot; `between` is called when half of it is encoded.
    pub fn snapshot(&mut self, between: impl FnOnce(&mut Shard)) {
        let disk = self.disk.clone();
        let mut note = vec![u8::from(self.sealed)];
        note.extend(self.batches.iter().flat_map(|number| number.to_le_bytes()));
        let begin = SnapshotBegin { position: self.encoder.position(), note };
        let mut writer = SnapshotWriter::begin(&disk, Path::new(SNAPSHOTS), &begin).unwrap();
        let (block, mut next) = snapshot::encode_block(&self.head, SeriesRef(0));
        writer.series(&block).unwrap();
        between(self);
        while next < self.head.series_end() {
            let (block, after) = snapshot::encode_block(&self.head, next);
            writer.series(&block).unwrap();
            next = after;
        }
        self.flush(true);
        let sealed = self.head.sealed_mut().end();
        for path in self.head.sealed_mut().files().collect::<Vec<_>>() {
            if let Ok(mut file) = disk.open(&path) {
                file.sync_data().unwrap();
            }
        }
        disk.sync_dir(&Path::new(SHARD).join("sealed")).unwrap();
        self.commit().unwrap();
        writer.finish(SnapshotEnd { series: next.0, sealed }).unwrap();
        for file in self.head.unneeded_files() {
            disk.remove(&file).unwrap();
        }
    }

    pub fn flush(&mut self, all: bool) {
        while let Some(flush) = self.head.sealed_mut().take_flush(all) {
            flush.write(&self.disk).unwrap();
            let view = flush.map(&self.disk).unwrap();
            self.head.sealed_mut().flushed(&flush, view);
        }
    }

    /// Everything the head holds.
    pub fn content(&self) -> Content {
        let mut batch = SeriesBatch::default();
        for series in self.head.select(&[]) {
            self.head.read(series, i64::MIN, i64::MAX, &mut batch);
        }
        let mut content = Content::new();
        for series in batch.series() {
            let (mut times, mut values, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
            let mut seeds = Vec::new();
            let mut seed = |t: i64, sample: &Histogram| {
                assert!(sample.same_data(&histogram(sample.sum)), "not what was appended: {sample:?}");
                seeds.push((t, sample.sum));
            };
            let mut to = Decoded { times: &mut times, values: &mut values, histogram: &mut seed };
            batch.decode(series, (i64::MIN, i64::MAX), &mut to, &mut scratch).unwrap();
            let name = batch.labels(series).get("__name__").unwrap().to_owned();
            let total = times.len() + seeds.len();
            let floats = times.into_iter().zip(values.into_iter().map(f64::to_bits));
            let samples: BTreeMap<i64, u64> = floats.chain(seeds).collect();
            assert_eq!(samples.len(), total, "a time is there once");
            assert!(content.insert(name, samples).is_none(), "a series is there once");
        }
        content
    }
}

struct Target {
    head: Head,
    from: WalPosition,
    lost: u64,
    batches: BTreeSet<u64>,
    sealed: bool,
}

impl Replay for Target {
    fn stream(&mut self, name: &[u8]) -> usize {
        usize::from(name != STREAM)
    }

    fn wants(&mut self, stream: usize, at: WalPosition) -> bool {
        stream == 0 && self.from <= at
    }

    fn batch(&mut self, _: usize, name: BatchName) {
        assert_eq!(name.boot, 7);
        self.batches.insert(name.number);
    }

    fn series(&mut self, _: usize, number: u32, labels: &[u8]) {
        assert!(self.head.replay_series(number, key(labels), labels));
    }

    fn sample(&mut self, _: usize, sample: DecodedSample) {
        let series = SeriesRef(sample.series);
        match sample.value {
            Some(value) if self.head.is_known(series) => {
                self.head.apply(series, sample.t_ms, value);
            }
            _ => self.lost += u64::from(!self.head.is_gone(series)),
        }
    }

    fn histogram(&mut self, _: usize, series: u32, t_ms: i64, histogram: &Histogram) {
        if !self.head.is_known(SeriesRef(series)) {
            self.lost += u64::from(!self.head.is_gone(SeriesRef(series)));
            return;
        }
        self.head.apply_histogram(SeriesRef(series), t_ms, histogram);
    }

    fn sealed(&mut self, _: usize) {
        self.sealed = true;
    }
}

/// Adds samples to a model the way the head takes them: the first value for a time stays.
pub fn remember(content: &mut Content, samples: &[(String, i64, u64)]) {
    for (name, t, v) in samples {
        content.entry(name.clone()).or_default().entry(*t).or_insert(*v);
    }
}
