//! Windows of heads become blocks in the bucket, and are then dropped from the heads.
//!
//! For one window of one segment:
//!
//! 1. What is listed may cover all its batches already: another replica was first. Then there is nothing to upload.
//! 2. [`cut`]: the window becomes a block in a folder. It covers the batches that had come when the cut began.
//! 3. The block is uploaded, read back and listed.
//! 4. Its name is announced to readers and written down; readers that began before that are waited for.
//! 5. The window is dropped, if everything that has come for it is covered. Late samples stay and become another block.
//!
//! What may go wrong: the process dies anywhere. Before 3 the bucket has a part of a block, which nobody reads and which is
//! cleaned up. After 3 head and block both have the window: readers merge them, and this begins again at 1. The bucket does
//! not answer: windows stay in the heads, and are tried again. A listing lags: the window stays until it shows the block,
//! which is not uploaded again meanwhile.

mod covering;
mod cut;
mod due;
mod error;
mod metrics;
mod turn;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use gyre_protocol::to_close;
use gyre_ring::{BatchSet, Segment, TenantId};
use gyre_tsdb::block::Ulid;
use gyre_tsdb::{IdleSeries, SeriesRef};
use xxhash_rust::xxh3::xxh3_64;

use self::covering::{Covering, covering};
use self::cut::cut;
use self::due::{Due, Ready, Task};
pub use self::error::ShipError;
pub use self::metrics::ShipMetrics;
use super::cover::{Cover, set_covers};
use super::error::ArchiveError;
use super::layout;
use super::read::listed::ListedBlocks;
use super::upload::{describe, total_bytes, upload};
use crate::actor::Gone;
use crate::cluster::LiveCluster;
use crate::cluster::epochs::EpochStore;
use crate::env::{SharedEnv, crash_point};
use crate::shard::forget::Forget;
use crate::shard::release::{DropWindow, Dropped};
use crate::shard::released::ReleasedTo;
use crate::shard::supervisor::{ShardHandle, Shards};

/// The folder of blocks that are being made, in the data directory.
const FOLDER: &str = "shipping";

/// The label by which Cortex knows a block that has the series of one shard only, as `2_of_4`.
pub const SHARD_LABEL: &str = "__compactor_shard_id__";

/// How often it is looked whether a window is due.
const POLL: Duration = Duration::from_secs(15);

/// A series without a sample for so long has stopped.
const STOPPED_MS: i64 = 60 * 60 * 1000;

/// Series are not forgotten now if readers take longer: other windows wait meanwhile.
const READERS_MAX: Duration = Duration::from_secs(2);

/// How often, while there are segments that have ended and are not closed.
const POLL_ENDED: Duration = Duration::from_secs(1);

/// A block that no listing shows for so long is gone: its window is uploaded again.
const LAG_MAX_MS: i64 = 15 * 60 * 1000;

/// Windows that are shipped at the same time: an object store takes its time for each object.
const AT_ONCE: usize = 8;

/// Blocks that are written at the same time: that takes memory, and a core.
const CUTS_AT_ONCE: usize = 2;

/// Windows that are looked at before it is seen anew what is worth to be done next.
const ROUND_MAX: usize = 4 * AT_ONCE;

/// Ships what this node holds.
pub struct Shipper {
    parts: ShipperParts,
    folder: PathBuf,
    /// A window is shipped by whoever holds the lane that its name gives: once at a time, so many together.
    lanes: [tokio::sync::Mutex<Unlisted>; AT_ONCE],
    cutting: tokio::sync::Semaphore,
}

/// Blocks whose upload was begun, and that were not seen in a listing yet, by what they are of.
type Unlisted = HashMap<(Segment, i64), UnlistedBlock>;

struct UnlistedBlock {
    ulid: Ulid,
    batches: BatchSet,
    since_ms: i64,
}

/// What a [`Shipper`] is made of.
pub struct ShipperParts {
    /// The heads.
    pub shards: Arc<Shards>,
    /// The bucket's blocks.
    pub lists: Arc<ListedBlocks>,
    /// Whose turn it is follows from the documents.
    pub cluster: Arc<LiveCluster>,
    /// Clock and randomness.
    pub env: SharedEnv,
    /// What is counted.
    pub metrics: ShipMetrics,
}

impl Shipper {
    /// A shipper that writes blocks below the data directory, where nothing of an earlier run stays.
    pub fn new(parts: ShipperParts, data_dir: &Path) -> std::io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let cutting = tokio::sync::Semaphore::new(CUTS_AT_ONCE);
        Ok(Shipper { parts, folder, lanes: Default::default(), cutting })
    }

    /// Ships windows when they are due, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut due = Due::default();
        let mut failing = false;
        loop {
            self.rest().await;
            let now_ms = self.parts.env.now_ms();
            let (shards, state) = (self.parts.shards.all(), self.parts.cluster.state());
            let Ready { tasks, late_ms } = due.look(&shards, &state, self.parts.cluster.own(), now_ms);
            self.parts.metrics.late_seconds.set(late_ms / 1000);
            let tasks = stream::iter(tasks).take(ROUND_MAX);
            let ship = async |task: Task| (self.ship(&task.shard, task.window, task.may_upload).await, task);
            let mut shipped = tasks.map(ship).buffer_unordered(AT_ONCE);
            while let Some((shipped, task)) = shipped.next().await {
                match shipped {
                    Ok(true) => {
                        due.done(&task);
                        failing = false;
                    }
                    Ok(false) => due.failed(&task, now_ms),
                    Err(error) => {
                        self.parts.metrics.failures.inc();
                        if !failing {
                            let segment = &task.shard.segment;
                            tracing::warn!(%segment, %error, "cannot ship a window; it stays in memory and log");
                            failing = true;
                        }
                        due.failed(&task, now_ms);
                    }
                }
            }
        }
    }

    /// Waits until it is worth a look.
    async fn rest(&self) {
        let mut changes = self.parts.cluster.changes();
        changes.mark_unchanged();
        // Whether it is sealed already or about to be.
        let has_ended = to_close(&self.parts.cluster.state().chain).is_some();
        let poll = if has_ended { POLL_ENDED } else { POLL };
        tokio::select! {
            Ok(()) = changes.changed() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }

    /// Ships everything that this node holds, of one tenant or of all, and returns when all of it is listed. Goes on after a
    /// failure; gives the first.
    pub async fn flush(&self, tenant: Option<&TenantId>) -> Result<(), ShipError> {
        let shards = self.parts.shards.all().into_iter();
        let wanted = shards.filter(|shard| tenant.is_none_or(|tenant| shard.segment.shard.tenant == *tenant));
        let windows = wanted.flat_map(|shard| {
            let windows: Vec<i64> = shard.state.windows().iter().map(|(window, _)| window).collect();
            windows.into_iter().map(move |window| (shard.clone(), window))
        });
        let ship = async |(shard, window)| self.ship(&shard, window, true).await;
        let mut shipped = stream::iter(windows).map(ship).buffer_unordered(AT_ONCE);
        let mut first = Ok(());
        while let Some(shipped) = shipped.next().await {
            first = first.and(shipped.map(drop));
        }
        first
    }

    /// Ships a window of a shard, and drops it; false if it would have to be uploaded, and may not be.
    async fn ship(&self, shard: &Arc<ShardHandle>, window: i64, may_upload: bool) -> Result<bool, ShipError> {
        let lane = xxh3_64(format!("{} {window}", shard.segment).as_bytes()) % AT_ONCE as u64;
        let mut unlisted = self.lanes[lane as usize].lock().await;
        let tenant = &shard.segment.shard.tenant;
        let listed = self.parts.lists.now(tenant).await?;
        let Some(batches) = shard.state.batches_of(window) else {
            unlisted.remove(&(shard.segment.clone(), window));
            return Ok(true);
        };
        let mut cover = covering(&listed, &shard.segment, window);
        self.check_bucket().await?;
        if !cover.contains(&batches) {
            if !may_upload {
                return Ok(false);
            }
            match self.upload_once(shard, window, &batches, &mut unlisted).await? {
                Some(ulid) => {
                    let listed = self.parts.lists.now(tenant).await?;
                    cover = covering(&listed, &shard.segment, window);
                    if !cover.contains(&batches) {
                        return Err(ShipError::NotListed { segment: shard.segment.clone(), ulid });
                    }
                    tracing::info!(segment = %shard.segment, window, block = %ulid, "shipped a window of the head");
                }
                // There is nothing in it that a block could have.
                None => cover.add(&batches),
            }
        }
        unlisted.remove(&(shard.segment.clone(), window));
        self.check_bucket().await?;
        self.release(shard, window, &cover).await?;
        Ok(true)
    }

    /// What is put into another bucket than the cluster's, and dropped here, would be lost.
    async fn check_bucket(&self) -> Result<(), ShipError> {
        let facts = self.parts.cluster.state().facts;
        let store = EpochStore::new(self.parts.lists.bucket().clone());
        store.check(&facts).await.map_err(ShipError::Bucket)
    }

    /// Uploads a block of a window unless that of an earlier attempt is there, which no listing has shown yet. Gives its name;
    /// `None` if it would be empty.
    async fn upload_once(
        &self,
        shard: &Arc<ShardHandle>,
        window: i64,
        batches: &BatchSet,
        unlisted: &mut Unlisted,
    ) -> Result<Option<Ulid>, ShipError> {
        let ShipperParts { lists, env, .. } = &self.parts;
        let (name, now_ms) = ((shard.segment.clone(), window), env.now_ms());
        if let Some(block) = unlisted.get(&name)
            && block.batches.contains_all(batches)
            && now_ms - block.since_ms < LAG_MAX_MS
        {
            let meta = layout::meta(&shard.segment.shard.tenant, block.ulid);
            if lists.bucket().head(&meta).await.map_err(ArchiveError::from)?.is_some() {
                return Ok(Some(block.ulid));
            }
        }
        let ulid = Ulid::new(now_ms.max(0) as u64, env.random());
        // Before it is begun: an attempt that fails may have done its work.
        let block = UnlistedBlock { ulid, batches: batches.clone(), since_ms: now_ms };
        unlisted.insert(name.clone(), block);
        if self.upload(shard, window, ulid, batches.clone()).await? {
            return Ok(Some(ulid));
        }
        unlisted.remove(&name);
        Ok(None)
    }

    /// Makes a block of a window, and uploads it; false if it would be empty.
    async fn upload(
        &self,
        shard: &Arc<ShardHandle>,
        window: i64,
        ulid: Ulid,
        batches: BatchSet,
    ) -> Result<bool, ShipError> {
        let ShipperParts { shards, lists, metrics, .. } = &self.parts;
        let segment = &shard.segment;
        // A folder for what is not finished, too.
        let made = MadeFolder(self.folder.join(ulid.to_string()));
        let folder = made.0.join(ulid.to_string());
        let failed = |source| ShipError::File { path: made.0.clone(), source };
        std::fs::create_dir_all(&made.0).map_err(failed)?;
        let (disk, of, into) = (shards.layout().disk.clone(), shard.clone(), made.0.clone());
        // It is never closed.
        let permit = self.cutting.acquire().await;
        let cut = tokio::task::spawn_blocking(move || cut(&of, window, ulid, disk, &into)).await;
        drop(permit);
        let cut = cut.map_err(|_| ShipError::Panicked(segment.clone()))?;
        let Some(mut meta) = cut.map_err(|source| ShipError::Cut { segment: segment.clone(), source })?
        else {
            return Ok(false);
        };
        crash_point("ship-after-cut");
        set_covers(&mut meta, [Cover { segment: segment.clone(), window, batches }]);
        let (index, count) = (segment.shard.index.0 + 1, segment.shard.count.get());
        let labels = &mut meta.thanos.get_or_insert_default().labels;
        labels.insert(SHARD_LABEL, format!("{index}_of_{count}").into());
        let meta = describe(&folder, meta, &segment.shard.tenant)?;
        upload(lists.bucket(), &segment.shard.tenant, &folder, &meta, &|_| {}).await?;
        crash_point("ship-after-upload");
        metrics.blocks.inc();
        metrics.bytes.inc_by(total_bytes(&meta));
        drop(made);
        Ok(true)
    }

    /// Drops a window if all of it is covered.
    async fn release(
        &self,
        shard: &Arc<ShardHandle>,
        window: i64,
        cover: &Covering,
    ) -> Result<(), ShipError> {
        let ShipperParts { shards, env, .. } = &self.parts;
        let now_ms = env.now_ms();
        let to: Vec<ReleasedTo> =
            cover.blocks.iter().map(|ulid| ReleasedTo { ulid: *ulid, window, at_ms: now_ms }).collect();
        shard.released.announce(&to, now_ms);
        crash_point("ship-after-announce");
        // Whoever reads from here on knows the blocks or is told of them.
        shards.pins.wait_for_earlier().await;
        let (all, of) = (shards.clone(), shard.clone());
        let written = tokio::task::spawn_blocking(move || all.write_released(&of));
        let written = written.await.map_err(|_| ShipError::Panicked(shard.segment.clone()))?;
        let path = || shards.layout().shard(&shard.segment);
        written.map_err(|source| ShipError::File { path: path(), source })?;
        crash_point("ship-after-note");
        if !shard.state.forget_window(window, &cover.batches) {
            // A batch has come since. It will be in another block.
            return Ok(());
        }
        // Nothing goes on in one that has ended.
        let stopped_before_ms = if shard.state.is_ending() { i64::MAX } else { now_ms - STOPPED_MS };
        let (mut from, mut idle) = (SeriesRef(0), IdleSeries::stopped_before(stopped_before_ms));
        loop {
            let dropped = shard.actor.ask(DropWindow { from, window, idle }).await;
            crash_point("ship-while-dropping");
            let gone = |gone: Gone| ShipError::Cut { segment: shard.segment.clone(), source: gone.into() };
            let (dropped, found) = dropped.map_err(gone)?;
            idle = found;
            match dropped {
                Dropped::Until(series) => from = series,
                Dropped::All => break,
                Dropped::Taken => return Ok(()),
            }
        }
        self.forget(shard, idle).await;
        Ok(())
    }

    /// Has a shard forget the series that have nothing left.
    async fn forget(&self, shard: &Arc<ShardHandle>, idle: IdleSeries) {
        let ShipperParts { shards, metrics, .. } = &self.parts;
        if idle.is_empty() {
            return;
        }
        // They have chosen their series already.
        let readers = async {
            shards.pins.wait_for_earlier().await;
            shards.label_pins.wait_for_earlier().await;
        };
        if tokio::time::timeout(READERS_MAX, readers).await.is_err() {
            return;
        }
        // A shard that is rebuilt has them again; the next window finds them.
        if let Ok(series) = shard.actor.ask(Forget(idle)).await {
            metrics.series_removed.inc_by(series as u64);
            tracing::debug!(segment = %shard.segment, series, "forgot series of which blocks have everything");
        }
    }
}

/// A folder that is removed when it is not needed any more.
struct MadeFolder(PathBuf);

impl Drop for MadeFolder {
    fn drop(&mut self) {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %self.0.display(), %error, "cannot remove a folder of a block that was shipped");
            }
            _ => {}
        }
    }
}
