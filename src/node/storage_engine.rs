//! The engine room: lanes, arbiters, shards, and the threads that serve them. Started and stopped as a whole.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_rt::Arbiter;
use gyre_ring::{BootId, Chain, Epoch, HashSeed};
use gyre_tsdb::disk::{Disk, OsDisk};
use gyre_tsdb::wal::FILE_BYTES;

use super::data_dir::WAL;
use crate::env::SharedEnv;
use crate::shard::damage::LaneDamage;
use crate::shard::lane::{Lane, LaneOptions};
use crate::shard::recover::{Layout, RecoveredLane, recover_lane, segments_by_lane};
use crate::shard::snapshot::{first_file_kept, snapshot_shard};
use crate::shard::spill;
use crate::shard::supervisor::{Shards, ShardsParts};
use crate::tenant::limits::Overrides;

/// The shortest log file.
const FILE_BYTES_MIN: u64 = 64 << 10;

/// Each lane gets one so often.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// How often the snapshot thread looks.
const SNAPSHOT_POLL: Duration = Duration::from_secs(1);

/// How the log is written, and how long it is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Whether writes wait for the disk.
    pub sync: bool,
    /// A lane that has logged so many bytes since its last round of snapshots gets one.
    pub snapshot_bytes: u64,
    /// Bytes of files that no restart needs, of all lanes together.
    pub keep_bytes_max: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions { sync: true, snapshot_bytes: 128 << 20, keep_bytes_max: 8 << 30 }
    }
}

/// What start-up found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recovery {
    /// Shards on disk.
    pub shards: usize,
    /// Series in them.
    pub series: usize,
    /// Samples read from the log.
    pub samples: u64,
    /// Samples that could not be read.
    pub lost_samples: u64,
    /// Damaged stretches of the log.
    pub damaged: usize,
    /// Torn writes that were cut.
    pub torn: usize,
    /// How long it took.
    pub duration: Duration,
}

/// Counts of snapshots, for metrics.
#[derive(Default)]
pub struct SnapshotCounters {
    /// Taken.
    pub taken: AtomicU64,
    /// Failed.
    pub failed: AtomicU64,
    /// Bytes written.
    pub bytes: AtomicU64,
}

/// What this run of the node is.
#[derive(Clone, Copy, Debug)]
pub struct ThisRun {
    /// Names the batches that are admitted.
    pub boot: BootId,
    /// The newest epoch at its start.
    pub epoch: Epoch,
}

/// All that stores.
pub struct StorageEngine {
    /// The shards.
    pub shards: Arc<Shards>,
    /// What start-up found.
    pub recovery: Recovery,
    /// Counts of snapshots.
    pub snapshots: Arc<SnapshotCounters>,
    committers: Mutex<Vec<JoinHandle<()>>>,
    snapshotter: Mutex<Option<JoinHandle<()>>>,
    stop: Arc<(Mutex<bool>, Condvar)>,
    arbiters: Vec<Arbiter>,
}

/// What was on disk, before anything runs.
pub struct Recovered {
    layout: Layout,
    lanes: Vec<RecoveredLane>,
    duration: Duration,
}

impl Recovered {
    /// Reads the snapshots and logs of a data directory, with the cluster's seed for series keys, and the documents that
    /// the data directory has. Blocks.
    pub fn read(path: &Path, lanes: usize, seed: HashSeed, chain: &Chain) -> io::Result<Self> {
        let layout =
            Layout { disk: Arc::new(OsDisk), wal: path.join(WAL), shards: path.join("shards"), seed };
        let begin = Instant::now();
        let lanes = recover(&layout, lanes, chain)?;
        Ok(Recovered { layout, lanes, duration: begin.elapsed() })
    }
}

impl StorageEngine {
    /// Starts all threads over what was recovered. Blocks.
    pub fn start(
        recovered: Recovered,
        run: ThisRun,
        env: SharedEnv,
        overrides: Arc<Overrides>,
        log: LogOptions,
    ) -> io::Result<Self> {
        let Recovered { layout, lanes: recovered, duration } = recovered;
        let disk = layout.disk.clone();
        let options = LaneOptions {
            sync: log.sync,
            file_bytes: (log.snapshot_bytes / 2).clamp(FILE_BYTES_MIN, FILE_BYTES),
            keep_bytes_max: log.keep_bytes_max / recovered.len().max(1) as u64,
        };
        let mut recovery = Recovery { duration, ..Recovery::default() };
        let mut lanes = Vec::new();
        let mut committers = Vec::new();
        let mut shards = Vec::new();
        let mut damages = Vec::new();
        for (number, lane) in recovered.into_iter().enumerate() {
            recovery.shards += lane.shards.len();
            recovery.series += lane.shards.iter().map(|shard| shard.head.series_count()).sum::<usize>();
            recovery.samples += lane.samples;
            recovery.lost_samples += lane.lost_samples;
            recovery.damaged += lane.report.damage.len();
            recovery.torn += usize::from(lane.report.torn.is_some());
            let folder = layout.lane(number);
            damages.push(note_damage(disk.as_ref(), &folder, &lane, run.epoch)?);
            let (lane_handle, thread) =
                Lane::start(number, disk.clone(), folder, lane.report.next_file, options)?;
            lanes.push(lane_handle);
            committers.push(thread);
            shards.extend(lane.shards);
        }
        let arbiters: Vec<Arbiter> = lanes.iter().map(|_| Arbiter::new()).collect();
        let (spills, _spill_thread) = spill::start(disk)?;
        let parts = ShardsParts {
            layout,
            lanes,
            arbiters: arbiters.iter().map(Arbiter::handle).collect(),
            overrides,
            env,
            spills,
            boot: run.boot,
            damages,
        };
        let registry = Arc::new(Shards::new(parts));
        registry.adopt(shards);
        let snapshots = Arc::new(SnapshotCounters::default());
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let snapshotter = {
            let (shards, counters, stop) = (registry.clone(), snapshots.clone(), stop.clone());
            std::thread::Builder::new()
                .name("snapshot".into())
                .spawn(move || snapshot_loop(&shards, &counters, &stop, log.snapshot_bytes))?
        };
        Ok(StorageEngine {
            shards: registry,
            recovery,
            snapshots,
            committers: Mutex::new(committers),
            snapshotter: Mutex::new(Some(snapshotter)),
            stop,
            arbiters,
        })
    }

    /// Snapshots everything, commits everything and ends all threads. Blocks.
    pub fn stop(&self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.snapshotter.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        snapshot_all(&self.shards, &self.snapshots);
        for lane in self.shards.lanes() {
            lane.close();
        }
        for thread in self.committers.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

/// Writes down what a lane has lost, before a snapshot can hide it; gives all that it has ever lost.
fn note_damage(disk: &dyn Disk, folder: &Path, lane: &RecoveredLane, epoch: Epoch) -> io::Result<LaneDamage> {
    let damage = LaneDamage::read(disk, folder)?;
    if lane.report.damage.is_empty() && !lane.shards.iter().any(|shard| shard.damaged) {
        return Ok(damage);
    }
    let intact = lane.shards.iter().filter(|shard| !shard.damaged).map(|shard| shard.segment.clone());
    let damage = damage.after(epoch, intact);
    damage.write(disk, folder)?;
    Ok(damage)
}

/// Recovers all lanes, each on a thread of its own.
fn recover(layout: &Layout, lanes: usize, chain: &Chain) -> io::Result<Vec<RecoveredLane>> {
    let segments = segments_by_lane(layout, lanes, chain)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = segments
            .into_iter()
            .enumerate()
            .map(|(lane, segments)| scope.spawn(move || recover_lane(layout, lane, segments, chain)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, io::Result<RecoveredLane>>| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("recovery panicked")))
        };
        threads.into_iter().map(join).collect()
    })
}

fn snapshot_loop(
    shards: &Shards,
    counters: &SnapshotCounters,
    stop: &(Mutex<bool>, Condvar),
    snapshot_bytes: u64,
) {
    let written = |lane: &Lane| lane.counters.written_bytes.load(Ordering::Relaxed);
    let mut last: Vec<(Instant, u64)> =
        shards.lanes().iter().map(|lane| (Instant::now(), written(lane))).collect();
    loop {
        let stopped = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopped, _) =
            stop.1.wait_timeout(stopped, SNAPSHOT_POLL).unwrap_or_else(PoisonError::into_inner);
        if *stopped {
            return;
        }
        drop(stopped);
        for (lane, last) in shards.lanes().iter().zip(&mut last) {
            let logged = written(lane) - last.1;
            let due = logged >= snapshot_bytes || (logged > 0 && last.0.elapsed() >= SNAPSHOT_INTERVAL);
            if due && lane.health().is_ok() {
                *last = (Instant::now(), written(lane));
                snapshot_lane(shards, lane, counters);
            }
        }
    }
}

fn snapshot_all(shards: &Shards, counters: &SnapshotCounters) {
    for lane in shards.lanes() {
        snapshot_lane(shards, lane, counters);
    }
}

/// A lane that cannot commit has none; it keeps its log.
fn snapshot_lane(shards: &Shards, lane: &Lane, counters: &SnapshotCounters) {
    let round_begin = lane.position().file;
    let all = shards.all();
    let mut states = Vec::new();
    let mut needs_known = true;
    for shard in all.iter().filter(|shard| shard.lane.number == lane.number) {
        match snapshot_shard(shards.layout(), shard) {
            Ok(None) => {}
            Ok(Some(bytes)) => {
                counters.taken.fetch_add(1, Ordering::Relaxed);
                counters.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(error) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(segment = %shard.segment, %error, "no snapshot of this shard; the log is kept");
                needs_known = false;
            }
        }
        states.push(shard.snapshot_state());
    }
    if !needs_known {
        return;
    }
    if let Err(error) = lane.retire_before(first_file_kept(states.into_iter(), round_begin)) {
        tracing::warn!(lane = lane.number, %error, "cannot put log files aside that no restart needs");
    }
}
