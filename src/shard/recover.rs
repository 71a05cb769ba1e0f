//! Start-up: a lane's shards from their snapshots and the lane's log.
//!
//! Lanes are independent, so each is recovered on a thread of its own. Damage is reported with file and place,
//! and everything that can be read is served: an operator who must choose between a node with a hole and no
//! node at three in the morning wants the node, and the message.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gyre_ring::{BatchId, BatchNumber, BatchSet, BootId, Chain, HashSeed, Segment};
use gyre_tsdb::disk::Disk;
use gyre_tsdb::histogram::Histogram;
use gyre_tsdb::sealed::Flush;
use gyre_tsdb::snapshot;
use gyre_tsdb::wal::{
    BatchName, DecodedSample, Replay, ReplayReport, WalPosition, first_free, replay, replay_until,
};
use gyre_tsdb::{Head, SeriesRef, TOUCHED_TOGETHER, WINDOW_MS, window_of};

use super::released::Released;
use super::segment_name;
use super::segment_state::Vector;
use super::windows::{Windows, intervals_of, put_batches, take_batches};

/// The folder of a shard's snapshots, below the shard's.
const SNAPSHOTS: &str = "snapshots";

/// Where things lie on this node.
#[derive(Clone)]
pub struct Layout {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The folder with a folder for each lane.
    pub wal: PathBuf,
    /// The folder with a folder for each tenant.
    pub shards: PathBuf,
    /// The cluster's seed for series keys.
    pub seed: HashSeed,
}

impl Layout {
    /// The data directory, which both are in.
    pub fn data_dir(&self) -> &Path {
        self.wal.parent().unwrap_or(&self.wal)
    }

    /// A lane's folder.
    pub fn lane(&self, number: usize) -> PathBuf {
        self.wal.join(number.to_string())
    }

    /// A shard's folder.
    pub fn shard(&self, segment: &Segment) -> PathBuf {
        segment_name::folder(&self.shards, segment)
    }

    /// The folder of a shard's snapshots.
    pub fn snapshots(&self, segment: &Segment) -> PathBuf {
        self.shard(segment).join(SNAPSHOTS)
    }
}

/// A shard as it was when the process ended.
pub struct RecoveredShard {
    /// Its name.
    pub segment: Segment,
    /// Its series.
    pub head: Head,
    /// The batches it holds, and whether it takes no more.
    pub vector: Vector,
    /// The batches of each window of time.
    pub windows: Windows,
    /// The blocks that have what it dropped.
    pub released: Arc<Released>,
    /// The last of its records in the log that is not in the snapshot for sure.
    pub last_record: Option<WalPosition>,
    /// Where its snapshot begins to need the log; `None` if there is no snapshot.
    pub snapshot: Option<WalPosition>,
    /// Whether acknowledged samples or batches of it may be lost: its snapshots or the log are damaged where its
    /// records were or may have been. Once a snapshot is taken the next start does not see this any more; who must
    /// remember it writes it down before. Damaged sealed chunks are not seen here, but by whoever reads them.
    pub damaged: bool,
    /// Sealed chunks that could not be written out.
    pub unwritten: Vec<Flush>,
}

/// A lane's shards.
pub struct RecoveredLane {
    /// The shards.
    pub shards: Vec<RecoveredShard>,
    /// What reading the log came upon.
    pub report: ReplayReport,
    /// Samples that the log names but cannot give, since a record they build on is damaged.
    pub lost_samples: u64,
    /// Samples read from the log.
    pub samples: u64,
}

/// Recovers the shards of a lane: those in `segments`, and those that only the log knows and no document has closed.
pub fn recover_lane(
    layout: &Layout,
    lane: usize,
    segments: Vec<Segment>,
    chain: &Chain,
) -> io::Result<RecoveredLane> {
    let folder = layout.lane(lane);
    layout.disk.create_dir_all(&folder)?;
    // A log whose folder is forgotten by a crash is no log.
    for above in folder.ancestors().skip(1).take(2) {
        layout.disk.sync_dir(above)?;
    }
    let mut recovery = Recovery::new(layout, chain, None);
    for segment in segments {
        recovery.add(segment)?;
    }
    let mut report = replay(layout.disk.as_ref(), &folder, &mut recovery)?;
    report.next_file = report.next_file.max(recovery.first_file_after_snapshots());
    report.next_file = report.next_file.max(first_free(layout.disk.as_ref(), &folder)?);
    recovery.finish(report)
}

/// Recovers one shard of a lane that is in use, from what was committed before `end`.
pub fn recover_shard(
    layout: &Layout,
    lane: usize,
    segment: &Segment,
    end: WalPosition,
) -> io::Result<(RecoveredShard, ReplayReport)> {
    let nothing_closed = Chain::default();
    let mut recovery = Recovery::new(layout, &nothing_closed, Some(segment.clone()));
    recovery.add(segment.clone())?;
    let report = replay_until(layout.disk.as_ref(), &layout.lane(lane), end, &mut recovery)?;
    let mut lane = recovery.finish(report)?;
    Ok((lane.shards.remove(0), lane.report))
}

/// Flag of a note: the segment is sealed.
const SEALED: u8 = 1;
/// Flag of a note: it has the batches of each window.
const HAS_WINDOWS: u8 = 2;

/// A shard's note in its snapshots: whether it is sealed, the batches it held, and those of each window
/// (`docs/format/snapshot.md`).
pub fn encode_note(vector: &Vector, windows: &Windows) -> Vec<u8> {
    let mut note = vec![HAS_WINDOWS | if vector.is_sealed { SEALED } else { 0 }];
    put_batches(&vector.held, &mut note);
    windows.put(&mut note);
    note
}

/// What a note says; without windows if it is of an earlier version, and nothing if it makes no sense.
fn decode_note(note: &[u8]) -> Option<(Vector, Option<Windows>)> {
    // The first version had intervals only, the second the flags before them.
    if note.len().is_multiple_of(NOTE_INTERVAL_BYTES) {
        return Some((Vector { held: intervals_of(note)?, is_sealed: false }, None));
    }
    let (flags, mut rest) = note.split_first()?;
    let is_sealed = flags & SEALED != 0;
    if flags & HAS_WINDOWS == 0 {
        return Some((Vector { held: intervals_of(rest)?, is_sealed }, None));
    }
    let held = take_batches(&mut rest)?;
    let windows = Windows::take(&mut rest)?;
    Some((Vector { held, is_sealed }, Some(windows)))
}

/// The length of an interval of batches in a note.
const NOTE_INTERVAL_BYTES: usize = 32;

struct Recovery<'a> {
    layout: &'a Layout,
    /// Other streams are passed over.
    only: Option<Segment>,
    /// So are those of segments that are closed: what the log has of them may be a part, and is in blocks.
    chain: &'a Chain,
    shards: Vec<RecoveredShard>,
    by_segment: HashMap<Segment, usize>,
    position: WalPosition,
    /// The batch that is read, and the window of time that was noted last for it.
    batch: BatchId,
    noted: std::ops::Range<i64>,
    /// Samples of the batch, and the shard they are for, that are brought in together: see [`Head::touch`].
    gathered: Vec<(SeriesRef, i64, u64)>,
    gathered_for: usize,
    samples: u64,
    lost_samples: u64,
    failure: Option<io::Error>,
}

/// A stream that is not wanted.
const IGNORED: usize = usize::MAX;

impl<'a> Recovery<'a> {
    fn new(layout: &'a Layout, chain: &'a Chain, only: Option<Segment>) -> Self {
        Recovery {
            layout,
            only,
            chain,
            shards: Vec::new(),
            by_segment: HashMap::new(),
            position: WalPosition { file: 0, offset: 0 },
            batch: BatchId { boot: BootId(0), number: BatchNumber(0) },
            noted: 0..0,
            gathered: Vec::with_capacity(TOUCHED_TOGETHER),
            gathered_for: IGNORED,
            samples: 0,
            lost_samples: 0,
            failure: None,
        }
    }

    fn add(&mut self, segment: Segment) -> io::Result<usize> {
        let disk = self.layout.disk.as_ref();
        let folder = self.layout.shard(&segment);
        let loaded = snapshot::load(disk, &folder, &self.layout.snapshots(&segment))?;
        for (path, error) in &loaded.skipped {
            tracing::error!(file = %path.display(), %error, "snapshot not usable; reading more of the log instead");
        }
        let found = loaded.begin.position.file > 0;
        let malformed =
            || io::Error::other(format!("the snapshot of {segment} has a note that makes no sense"));
        let (vector, windows) = decode_note(&loaded.begin.note).ok_or_else(malformed)?;
        // An earlier version has not noted them: any batch may have samples there. What is not noted otherwise was being
        // dropped, and blocks cover it.
        let unnoted = if windows.is_some() { BatchSet::default() } else { vector.held.clone() };
        let mut windows = windows.unwrap_or_default();
        for window in loaded.head.windows() {
            if windows.get(window).is_none() {
                windows.insert_all(window, &unnoted);
            }
        }
        self.by_segment.insert(segment.clone(), self.shards.len());
        self.shards.push(RecoveredShard {
            segment,
            head: loaded.head,
            vector,
            windows,
            released: Arc::new(Released::read(disk, &folder)?),
            last_record: None,
            snapshot: found.then_some(loaded.begin.position),
            // The log may begin where the first of the snapshots did that cannot be read.
            damaged: !found && !loaded.skipped.is_empty(),
            unwritten: Vec::new(),
        });
        Ok(self.shards.len() - 1)
    }

    /// The first file all of which lies behind the positions of all snapshots. Once two snapshots cover the whole
    /// log no file may be left of it; were files then counted from 1 again, the next start would take what is in
    /// them for older than the snapshots, and pass over it.
    fn first_file_after_snapshots(&self) -> u64 {
        let positions = self.shards.iter().filter_map(|shard| shard.snapshot);
        positions.map(|position| position.file + u64::from(position.offset > 0)).max().unwrap_or(1)
    }

    fn finish(mut self, report: ReplayReport) -> io::Result<RecoveredLane> {
        self.apply_gathered();
        if let Some(error) = self.failure {
            return Err(error);
        }
        if let Some(torn) = &report.torn {
            tracing::warn!(
                file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes,
                "cut a torn write off the write-ahead log; nothing acknowledged was in it"
            );
        }
        for damage in &report.damage {
            match damage.missing_file() {
                Some(first) => tracing::error!(
                    file = %damage.file.display(), first,
                    "write-ahead log lacks files before this one; acknowledged samples may be lost"
                ),
                None => tracing::error!(
                    file = %damage.file.display(), offset = damage.offset, bytes = damage.bytes,
                    "write-ahead log is damaged; acknowledged samples may be lost"
                ),
            }
        }
        for (stream, shard) in self.shards.iter_mut().enumerate() {
            shard.damaged |= report.damage.iter().any(|damage| damage.may_concern(stream, shard.snapshot));
        }
        if self.lost_samples > 0 {
            tracing::error!(
                samples = self.lost_samples,
                "samples in the write-ahead log build on damaged records and are lost"
            );
        }
        let Recovery { shards, samples, lost_samples, .. } = self;
        Ok(RecoveredLane { shards, report, lost_samples, samples })
    }

    /// The batch that is read has a sample of this time.
    #[inline]
    fn note(&mut self, stream: usize, t_ms: i64) {
        if !self.noted.contains(&t_ms) {
            let window = window_of(t_ms);
            let begin = window.saturating_mul(WINDOW_MS);
            self.noted = begin..begin.saturating_add(WINDOW_MS);
            self.shards[stream].windows.insert(window, self.batch);
        }
    }

    fn apply_gathered(&mut self) {
        if let Some(shard) = self.shards.get_mut(self.gathered_for) {
            shard.head.touch(self.gathered.iter().map(|(series, ..)| *series));
            for (series, t_ms, value) in self.gathered.drain(..) {
                shard.head.apply(series, t_ms, value);
            }
        }
    }

    fn lose_sample(&mut self, stream: usize) {
        self.lost_samples += 1;
        self.shards[stream].damaged = true;
    }

    /// Writes sealed chunks out, so that replaying hours of data needs no more memory than taking it did.
    fn spill(&mut self, stream: usize) {
        let shard = &mut self.shards[stream];
        while let Some(flush) = shard.head.sealed_mut().take_flush(false) {
            let disk = self.layout.disk.as_ref();
            let known = shard.head.sealed_mut().view(&flush);
            let written = flush.write(disk).and_then(|()| known.map_or_else(|| flush.map(disk), Ok));
            match written {
                Ok(view) => shard.head.sealed_mut().flushed(&flush, view),
                Err(error) => {
                    tracing::warn!(%error, "cannot write sealed chunks out; keeping them in memory");
                    shard.unwritten.push(flush);
                    return;
                }
            }
        }
    }
}

impl Replay for Recovery<'_> {
    fn stream(&mut self, name: &[u8]) -> usize {
        let Some(segment) = segment_name::decode(name) else {
            tracing::error!(name = %String::from_utf8_lossy(name), "unknown name in the write-ahead log");
            return IGNORED;
        };
        if self.only.as_ref().is_some_and(|only| *only != segment) {
            return IGNORED;
        }
        if let Some(number) = self.by_segment.get(&segment) {
            return *number;
        }
        if self.chain.is_closed(&segment) {
            self.by_segment.insert(segment, IGNORED);
            return IGNORED;
        }
        self.add(segment).unwrap_or_else(|error| {
            self.failure.get_or_insert(error);
            IGNORED
        })
    }

    fn wants(&mut self, stream: usize, at: WalPosition) -> bool {
        self.position = at;
        let shard = self.shards.get(stream);
        shard.is_some_and(|shard| shard.snapshot.is_none_or(|begin| begin <= at))
    }

    fn batch(&mut self, stream: usize, name: BatchName) {
        self.apply_gathered();
        self.gathered_for = stream;
        self.spill(stream);
        let shard = &mut self.shards[stream];
        shard.last_record = Some(self.position);
        self.batch = BatchId { boot: BootId(name.boot), number: BatchNumber(name.number) };
        self.noted = 0..0;
        shard.vector.held.insert(self.batch);
    }

    fn series(&mut self, stream: usize, number: u32, canonical_labels: &[u8]) {
        // It may be the successor of one that goes now.
        self.apply_gathered();
        let key = self.layout.seed.key(canonical_labels);
        let shard = &mut self.shards[stream];
        if !shard.head.replay_series(number, key.0, canonical_labels) {
            shard.damaged = true;
            let segment = &shard.segment;
            tracing::error!(%segment, number, "series in the write-ahead log is not the one that is there");
        }
    }

    /// What the log has of series that are gone is in blocks, and not here: it is not noted for its window either.
    fn sample(&mut self, stream: usize, sample: DecodedSample) {
        let series = SeriesRef(sample.series);
        if self.shards[stream].head.is_gone(series) {
            return;
        }
        self.note(stream, sample.t_ms);
        let shard = &mut self.shards[stream];
        self.samples += 1;
        match sample.value {
            Some(value) if shard.head.is_known(series) => {
                self.gathered.push((series, sample.t_ms, value));
                if self.gathered.len() == TOUCHED_TOGETHER {
                    self.apply_gathered();
                }
            }
            _ => self.lose_sample(stream),
        }
    }

    fn histogram(&mut self, stream: usize, series: u32, t_ms: i64, histogram: &Histogram) {
        let series = SeriesRef(series);
        if self.shards[stream].head.is_gone(series) {
            return;
        }
        self.note(stream, t_ms);
        self.apply_gathered();
        let shard = &mut self.shards[stream];
        self.samples += 1;
        if shard.head.is_known(series) {
            shard.head.apply_histogram(series, t_ms, histogram);
        } else {
            self.lose_sample(stream);
        }
    }

    fn sealed(&mut self, stream: usize) {
        let shard = &mut self.shards[stream];
        shard.last_record = Some(self.position);
        shard.vector.is_sealed = true;
    }
}

/// The lane of a segment.
pub fn lane_of(segment: &Segment, lanes: usize) -> usize {
    // Any fixed function would do; shards of one tenant should not all meet in one lane.
    let tenant = xxhash_rust::xxh3::xxh3_64(segment.shard.tenant.as_str().as_bytes());
    (tenant.wrapping_add(u64::from(segment.shard.index.0)) % lanes as u64) as usize
}

/// Lists the segments on disk by lane. What is left of those that are closed is removed.
pub fn segments_by_lane(layout: &Layout, lanes: usize, chain: &Chain) -> io::Result<Vec<Vec<Segment>>> {
    let mut by_lane = vec![Vec::new(); lanes];
    for segment in segment_name::list(layout.disk.as_ref(), Path::new(&layout.shards))? {
        if chain.is_closed(&segment) {
            layout.disk.remove_dir_all(&layout.shard(&segment))?;
            continue;
        }
        by_lane[lane_of(&segment, lanes)].push(segment);
    }
    Ok(by_lane)
}
