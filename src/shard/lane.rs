//! A lane: the log that the shards of one arbiter share, and the thread that commits it.
//!
//! Shards encode batches under the lane's lock (their own arbiter is the only one that does); the committer
//! takes whatever has gathered, writes it and syncs it, and then answers all batches in it: the slower the
//! disk, the larger the groups.
//!
//! A full disk *stalls* the lane: those who wait get an error (the client tries again), new batches are refused
//! before they touch a head, and the bytes are written as soon as there is room, so that memory and log agree.
//! A failed fsync *poisons* it: nothing is acknowledged again until the process is restarted.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gyre_tsdb::disk::Disk;
use gyre_tsdb::wal::{LaneEncoder, Piece, WalError, WalPosition, WalWriter, retire};
use tokio::sync::oneshot;

use super::segment_state::{Mark, SegmentState};

/// How long the committer waits before it tries again to write to a full disk.
const RETRY: Duration = Duration::from_millis(250);

/// Commits begin no more often than this. A commit costs two changes of thread and an interrupt whatever it
/// holds; under load it is better to let some more batches gather. An idle lane commits at once.
const COMMIT_INTERVAL: Duration = Duration::from_millis(4);

/// Bytes that wait for the committer; a lane with more refuses batches.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// Why a lane takes no batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LaneError {
    /// Writes fail; they are tried again.
    #[error("the write-ahead log cannot be written (is the disk full?)")]
    Stalled,
    /// A sync failed.
    #[error("the write-ahead log failed to sync; this node acknowledges nothing until it is restarted")]
    Poisoned,
    /// The disk does not keep up.
    #[error("too many bytes wait for the write-ahead log")]
    Behind,
    /// The node shuts down.
    #[error("the node is shutting down")]
    Closed,
}

/// Counts of a lane, for metrics.
#[derive(Default)]
pub struct LaneCounters {
    /// Bytes written to the log.
    pub written_bytes: AtomicU64,
    /// Commits: one write and one fdatasync each.
    pub commits: AtomicU64,
    /// Failed writes.
    pub write_failures: AtomicU64,
}

/// How a lane's log is written and kept.
#[derive(Clone, Copy, Debug)]
pub struct LaneOptions {
    /// Whether batches wait for the disk.
    pub sync: bool,
    /// A file that has so many bytes is followed by the next.
    pub file_bytes: u64,
    /// Bytes of files that no restart needs.
    pub keep_bytes_max: u64,
}

/// A lane, as its shards see it.
pub struct Lane {
    /// The lane's number on this node.
    pub number: usize,
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    keep_bytes_max: u64,
    inner: Mutex<Inner>,
    work: Condvar,
    /// See the constants below.
    health: AtomicU8,
    /// Counts, for metrics.
    pub counters: LaneCounters,
}

const HEALTHY: u8 = 0;
const STALLED: u8 = 1;
const POISONED: u8 = 2;

type Waiter = oneshot::Sender<Result<(), LaneError>>;

/// What is durable once the bytes that were encoded with it are.
type Marks = Vec<(Arc<SegmentState>, Mark)>;

/// What the committer has taken and not written yet.
#[derive(Default)]
struct Group {
    pieces: Vec<Piece>,
    /// Noted when the pieces are on disk, however long that takes and whoever still waits for it.
    marks: Marks,
}

struct Inner {
    encoder: LaneEncoder,
    waiters: Vec<Waiter>,
    marks: Marks,
    closed: bool,
    /// An emptied buffer, kept for the next group.
    spare: Vec<u8>,
}

/// The lane's encoder, locked for one batch.
pub struct Encoding<'a> {
    lane: &'a Lane,
    inner: MutexGuard<'a, Inner>,
}

impl Lane {
    /// A lane that goes on with file `first_file` in `folder`, and its committer.
    pub fn start(
        number: usize,
        disk: Arc<dyn Disk>,
        folder: PathBuf,
        first_file: u64,
        options: LaneOptions,
    ) -> std::io::Result<(Arc<Lane>, JoinHandle<()>)> {
        let writer = WalWriter::new(disk.clone(), &folder, options.sync);
        let inner = Inner {
            encoder: LaneEncoder::new(first_file, options.file_bytes),
            waiters: Vec::new(),
            marks: Vec::new(),
            closed: false,
            spare: Vec::new(),
        };
        let lane = Arc::new(Lane {
            number,
            folder,
            disk,
            keep_bytes_max: options.keep_bytes_max,
            inner: Mutex::new(inner),
            work: Condvar::new(),
            health: AtomicU8::new(HEALTHY),
            counters: LaneCounters::default(),
        });
        let committer = lane.clone();
        let thread = std::thread::Builder::new()
            .name(format!("wal-{number}"))
            .spawn(move || committer.commit_loop(writer))?;
        Ok((lane, thread))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A shard that panicked while it encoded leaves a batch without an end; whoever encodes next abandons it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to encode a batch, unless the lane takes none.
    pub fn encode(&self) -> Result<Encoding<'_>, LaneError> {
        self.check_health()?;
        let mut inner = self.lock();
        if inner.closed {
            return Err(LaneError::Closed);
        }
        if inner.encoder.pending_bytes() > PENDING_BYTES_MAX {
            return Err(LaneError::Behind);
        }
        inner.encoder.abandon_batch();
        Ok(Encoding { lane: self, inner })
    }

    fn check_health(&self) -> Result<(), LaneError> {
        match self.health.load(Ordering::Acquire) {
            HEALTHY => Ok(()),
            STALLED => Err(LaneError::Stalled),
            _ => Err(LaneError::Poisoned),
        }
    }

    /// Whether the lane takes batches.
    pub fn health(&self) -> Result<(), LaneError> {
        self.check_health()
    }

    /// The place where the next record goes.
    pub fn position(&self) -> WalPosition {
        self.lock().encoder.position()
    }

    /// Waits until all that was encoded before is on disk.
    pub async fn barrier(&self) -> Result<(), LaneError> {
        self.check_health()?;
        let waiter = self.lock().wait();
        self.work.notify_one();
        waiter.await.unwrap_or(Err(LaneError::Closed))
    }

    /// The folder of the lane's files.
    pub fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Puts files aside that no restart needs: other replicas may have missed what is in them.
    pub fn retire_before(&self, first_needed: u64) -> std::io::Result<()> {
        retire(self.disk.as_ref(), &self.folder, first_needed, self.keep_bytes_max)
    }

    /// Takes no more batches, commits what there is and ends the committer.
    pub fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    fn commit_loop(&self, mut writer: WalWriter) {
        let mut group = Group::default();
        let mut last_begin: Option<Instant> = None;
        loop {
            let mut inner = self.lock();
            while inner.waiters.is_empty() && inner.encoder.pending_bytes() == 0 && !inner.closed {
                inner = self.work.wait(inner).unwrap_or_else(PoisonError::into_inner);
            }
            let early = last_begin.and_then(|begin| COMMIT_INTERVAL.checked_sub(begin.elapsed()));
            if let Some(early) = early {
                drop(inner);
                std::thread::sleep(early);
                inner = self.lock();
            }
            last_begin = Some(Instant::now());
            let waiters = std::mem::take(&mut inner.waiters);
            let spare = std::mem::take(&mut inner.spare);
            group.pieces.extend(inner.encoder.take(spare));
            group.marks.append(&mut inner.marks);
            let closed = inner.closed;
            drop(inner);
            if group.pieces.is_empty() && waiters.is_empty() && closed {
                return;
            }
            if !self.commit(&mut writer, &mut group, waiters) {
                return;
            }
        }
    }

    /// Writes a group, however long it takes; false if the lane is done for.
    fn commit(&self, writer: &mut WalWriter, group: &mut Group, mut waiters: Vec<Waiter>) -> bool {
        let bytes: usize = group.pieces.iter().map(|piece| piece.bytes.len()).sum();
        // Kept to give the buffer back; the writer consumes pieces only when they are written.
        loop {
            let result = writer.write(&mut group.pieces);
            match result {
                Ok(spare) => {
                    if self.health.swap(HEALTHY, Ordering::AcqRel) == STALLED {
                        tracing::info!(lane = self.number, "write-ahead log can be written again");
                    }
                    self.counters.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                    self.counters.commits.fetch_add(1, Ordering::Relaxed);
                    if let Some(spare) = spare {
                        self.lock().spare = spare;
                    }
                    for (state, mark) in group.marks.drain(..) {
                        state.durable(mark);
                    }
                    answer(&mut waiters, Ok(()));
                    return true;
                }
                Err(error) => {
                    self.counters.write_failures.fetch_add(1, Ordering::Relaxed);
                    if !self.fail(&error, &mut waiters) {
                        return false;
                    }
                }
            }
            // Those who came before they could see that the lane is stalled.
            waiters.append(&mut self.lock().waiters);
            answer(&mut waiters, Err(LaneError::Stalled));
            std::thread::sleep(RETRY);
            if self.lock().closed {
                tracing::error!(lane = self.number, "shutting down with unwritten, unacknowledged samples");
                return false;
            }
        }
    }

    /// Notes a failure; false if it is final.
    fn fail(&self, error: &WalError, waiters: &mut Vec<Waiter>) -> bool {
        if error.is_retryable() {
            if self.health.swap(STALLED, Ordering::AcqRel) == HEALTHY {
                tracing::error!(lane = self.number, %error, "write-ahead log cannot be written; refusing writes");
                // If the disk is full, what is not needed goes first.
                if let Err(error) = retire(self.disk.as_ref(), &self.folder, 0, 0) {
                    tracing::warn!(lane = self.number, %error, "cannot remove log files that are kept for others");
                }
            }
            return true;
        }
        self.health.store(POISONED, Ordering::Release);
        tracing::error!(lane = self.number, %error, "fsync failed; this node acknowledges no more writes");
        waiters.append(&mut self.lock().waiters);
        answer(waiters, Err(LaneError::Poisoned));
        false
    }
}

fn answer(waiters: &mut Vec<Waiter>, result: Result<(), LaneError>) {
    for waiter in waiters.drain(..) {
        // A client that went away is no reason to do anything.
        let _ = waiter.send(result);
    }
}

impl Inner {
    fn wait(&mut self) -> oneshot::Receiver<Result<(), LaneError>> {
        let (sender, receiver) = oneshot::channel();
        self.waiters.push(sender);
        receiver
    }
}

impl Encoding<'_> {
    /// The encoder.
    pub fn encoder(&mut self) -> &mut LaneEncoder {
        &mut self.inner.encoder
    }

    /// Ends the turn. The answer comes when all that was encoded until now is on disk, also if this turn
    /// encoded nothing: a repeated sample may only be acknowledged once the first one is durable.
    pub fn commit(self) -> oneshot::Receiver<Result<(), LaneError>> {
        self.finish(None)
    }

    /// Likewise; what was encoded is this, and is noted as durable when it is.
    pub fn commit_mark(
        self,
        state: &Arc<SegmentState>,
        mark: Mark,
    ) -> oneshot::Receiver<Result<(), LaneError>> {
        self.finish(Some((state.clone(), mark)))
    }

    fn finish(mut self, mark: Option<(Arc<SegmentState>, Mark)>) -> oneshot::Receiver<Result<(), LaneError>> {
        self.inner.marks.extend(mark);
        let receiver = self.inner.wait();
        drop(self.inner);
        self.lane.work.notify_one();
        receiver
    }
}
