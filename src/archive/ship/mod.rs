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
mod error;
mod metrics;
mod turn;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gyre_ring::{BatchSet, Segment, TenantId};
use gyre_tsdb::SeriesRef;
use gyre_tsdb::block::Ulid;

use self::covering::{Covering, covering};
use self::cut::cut;
pub use self::error::ShipError;
pub use self::metrics::ShipMetrics;
use self::turn::{due_ms, due_of_ended_ms};
use super::cover::{Cover, set_covers};
use super::error::ArchiveError;
use super::layout;
use super::read::listed::ListedBlocks;
use super::upload::{describe, total_bytes, upload};
use crate::cluster::LiveCluster;
use crate::cluster::epochs::EpochStore;
use crate::env::{SharedEnv, crash_point};
use crate::shard::release::{DropWindow, Dropped};
use crate::shard::released::ReleasedTo;
use crate::shard::supervisor::{ShardHandle, Shards};

/// The folder of blocks that are being made, in the data directory.
const FOLDER: &str = "shipping";

/// The label by which Cortex knows a block that has the series of one shard only, as `2_of_4`.
pub const SHARD_LABEL: &str = "__compactor_shard_id__";

/// How often it is looked whether a window is due.
const POLL: Duration = Duration::from_secs(15);

/// How often, while there are segments that have ended.
const POLL_ENDED: Duration = Duration::from_secs(1);

/// A window that could not be shipped is tried again after so long.
const RETRY_MS: i64 = 60 * 1000;

/// One of a segment that has ended.
const RETRY_ENDED_MS: i64 = 10 * 1000;

/// A window that samples still come for is shipped when there have been none for so long.
const QUIET_MS: i64 = 10 * 60 * 1000;

/// A block that no listing shows for so long is gone: its window is uploaded again.
const LAG_MAX_MS: i64 = 15 * 60 * 1000;

/// It is shipped after so long however many come.
const UNQUIET_MS: i64 = 60 * 60 * 1000;

/// Ships what this node holds.
pub struct Shipper {
    parts: ShipperParts,
    folder: PathBuf,
    /// Held while a window is shipped: one at a time, so that memory and disk are bounded.
    shipping: tokio::sync::Mutex<Unlisted>,
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

/// A window that is due, as it was when it was last looked at.
struct Due {
    since_ms: i64,
    changed_ms: i64,
    batches: u64,
    not_before_ms: i64,
    /// Of a segment that takes nothing any more.
    has_ended: bool,
}

impl Shipper {
    /// A shipper that writes blocks below the data directory, where nothing of an earlier run stays.
    pub fn new(parts: ShipperParts, data_dir: &Path) -> std::io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Shipper { parts, folder, shipping: tokio::sync::Mutex::default() })
    }

    /// Ships windows when they are due, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut due = HashMap::new();
        let mut failing = false;
        loop {
            self.rest().await;
            let now_ms = self.parts.env.now_ms();
            let (ready, late_ms) = self.ready(&mut due, now_ms);
            self.parts.metrics.late_seconds.set(late_ms / 1000);
            for (shard, window) in ready {
                match self.ship(&shard, window).await {
                    Ok(()) => {
                        due.remove(&(shard.segment.clone(), window));
                        failing = false;
                    }
                    Err(error) => {
                        self.parts.metrics.failures.inc();
                        if !failing {
                            tracing::warn!(segment = %shard.segment, %error, "cannot ship a window; it stays in memory and log");
                            failing = true;
                        }
                        if let Some(due) = due.get_mut(&(shard.segment.clone(), window)) {
                            due.not_before_ms =
                                now_ms + if due.has_ended { RETRY_ENDED_MS } else { RETRY_MS };
                        }
                    }
                }
            }
        }
    }

    /// Waits until it is worth a look.
    async fn rest(&self) {
        let mut changes = self.parts.cluster.changes();
        changes.mark_unchanged();
        let has_ended = |shard: &Arc<ShardHandle>| shard.state.is_sealed() && !shard.state.is_clear();
        let poll = if self.parts.shards.all().iter().any(has_ended) { POLL_ENDED } else { POLL };
        tokio::select! {
            Ok(()) = changes.changed() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }

    /// Which windows to ship now, and for how long the first of those that are due has been.
    fn ready(
        &self,
        due: &mut HashMap<(Segment, i64), Due>,
        now_ms: i64,
    ) -> (Vec<(Arc<ShardHandle>, i64)>, i64) {
        let state = self.parts.cluster.state();
        let own = self.parts.cluster.own();
        let mut ready = Vec::new();
        let mut seen = HashMap::new();
        let mut late_ms = 0;
        for shard in self.parts.shards.all() {
            let segment = &shard.segment;
            let spans = state.spans(&segment.shard.tenant);
            let Some(span) = spans.iter().find(|span| span.segment == *segment) else { continue };
            let has_ended = span.ended.is_some() && shard.state.is_sealed();
            for (window, batches) in shard.state.windows().iter() {
                let due_ms = due_ms(segment, window, &span.replicas, own);
                if due_ms > now_ms && !has_ended {
                    continue;
                }
                let key = (segment.clone(), window);
                let batches = batches.len();
                let mut entry = due.remove(&key).unwrap_or(Due {
                    since_ms: now_ms,
                    changed_ms: now_ms,
                    batches,
                    not_before_ms: 0,
                    has_ended,
                });
                if has_ended && !entry.has_ended {
                    (entry.has_ended, entry.since_ms) = (true, now_ms);
                }
                if entry.batches != batches {
                    (entry.changed_ms, entry.batches) = (now_ms, batches);
                }
                let is_ready = if has_ended {
                    now_ms >= due_of_ended_ms(segment, &span.replicas, own, entry.since_ms)
                } else {
                    now_ms - entry.changed_ms >= QUIET_MS || now_ms - entry.since_ms >= UNQUIET_MS
                };
                if is_ready && now_ms >= entry.not_before_ms {
                    ready.push((shard.clone(), window));
                }
                late_ms = late_ms.max(now_ms - due_ms);
                seen.insert(key, entry);
            }
        }
        *due = seen;
        (ready, late_ms)
    }

    /// Ships everything that this node holds, of one tenant or of all, and returns when all of it is listed. Goes on after a
    /// failure; gives the first.
    pub async fn flush(&self, tenant: Option<&TenantId>) -> Result<(), ShipError> {
        let mut first = Ok(());
        for shard in self.parts.shards.all() {
            if tenant.is_some_and(|tenant| shard.segment.shard.tenant != *tenant) {
                continue;
            }
            for (window, _) in shard.state.windows().iter() {
                let shipped = self.ship(&shard, window).await;
                first = first.and(shipped);
            }
        }
        first
    }

    /// Ships a window of a shard, and drops it.
    async fn ship(&self, shard: &Arc<ShardHandle>, window: i64) -> Result<(), ShipError> {
        let mut unlisted = self.shipping.lock().await;
        let tenant = &shard.segment.shard.tenant;
        let listed = self.parts.lists.now(tenant).await?;
        let Some(batches) = shard.state.batches_of(window) else {
            unlisted.remove(&(shard.segment.clone(), window));
            return Ok(());
        };
        let mut cover = covering(&listed, &shard.segment, window);
        self.check_bucket().await?;
        if !cover.contains(&batches) {
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
        self.release(shard, window, &cover).await
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
        let cut = tokio::task::spawn_blocking(move || cut(&of, window, ulid, disk, &into)).await;
        let cut = cut.map_err(|_| ShipError::Panicked(segment.clone()))?;
        let Some(mut meta) = cut.map_err(|source| ShipError::Cut { segment: segment.clone(), source })?
        else {
            return Ok(false);
        };
        crash_point("ship-after-cut");
        set_covers(&mut meta, [Cover { segment: segment.clone(), window, batches }]);
        let (index, count) = (segment.shard.index.0 + 1, segment.shard.count.get());
        let labels = &mut meta.thanos.get_or_insert_default().labels;
        labels.insert(SHARD_LABEL.to_owned(), format!("{index}_of_{count}").into());
        let meta = describe(&folder, meta, &segment.shard.tenant)?;
        upload(lists.bucket(), &segment.shard.tenant, &folder, &meta, &|_| {}).await?;
        crash_point("ship-after-upload");
        metrics.blocks.inc();
        metrics.bytes.inc_by(total_bytes(&meta));
        drop(made);
        Ok(true)
    }

    /// Drops a window if all of it is covered.
    async fn release(&self, shard: &ShardHandle, window: i64, cover: &Covering) -> Result<(), ShipError> {
        let ShipperParts { shards, env, .. } = &self.parts;
        let layout = shards.layout();
        let now_ms = env.now_ms();
        let to: Vec<ReleasedTo> =
            cover.blocks.iter().map(|ulid| ReleasedTo { ulid: *ulid, window, at_ms: now_ms }).collect();
        shard.released.announce(&to, now_ms);
        crash_point("ship-after-announce");
        // Whoever reads from here on knows the blocks or is told of them.
        shards.pins.wait_for_earlier().await;
        let folder = layout.shard(&shard.segment);
        let failed = |source| ShipError::File { path: folder.clone(), source };
        shard.released.write(layout.disk.as_ref(), &folder).map_err(failed)?;
        crash_point("ship-after-note");
        if !shard.state.forget_window(window, &cover.batches) {
            // A batch has come since. It will be in another block.
            return Ok(());
        }
        let mut next = SeriesRef(0);
        loop {
            let dropped = shard.actor.ask(DropWindow { from: next, window }).await;
            let segment = || shard.segment.clone();
            crash_point("ship-while-dropping");
            match dropped.map_err(|gone| ShipError::Cut { segment: segment(), source: gone.into() })? {
                Dropped::Until(series) => next = series,
                Dropped::All | Dropped::Taken => return Ok(()),
            }
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
