//! The shards of this node: found, made, and rebuilt when their actor panics.
//!
//! An actor that panicked is gone with its memory. Its log is not: the shard is rebuilt from snapshot and log on
//! a thread of its own, while requests for it get "try again" and its neighbours go on. A shard that keeps
//! panicking is left alone after a few times, so that it does not take the node's time for ever.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use actix::{Actor, Addr};
use actix_rt::ArbiterHandle;
use gyre_ring::{BatchSet, BootId, Segment, TenantId};
use gyre_tsdb::labels::METRIC_NAME;
use gyre_tsdb::wal::StreamId;
use gyre_tsdb::{Head, SeriesRef};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::actor::{ShardActor, ShardParts};
use super::damage::LaneDamage;
use super::lane::Lane;
use super::pins::ReadPins;
use super::recover::{Layout, RecoveredShard, lane_of, recover_shard};
use super::released::Released;
use super::segment_state::SegmentState;
use super::snapshot::SnapshotState;
use super::spill::{Spill, Spilled};
use super::tenant_state::TenantState;
use crate::actor::{ActorRef, Budget, Gone};
use crate::env::{SharedEnv, crash_point};
use crate::tenant::limits::{Limits, Overrides};

/// A shard that has been rebuilt so often stays down until the process is restarted.
const REBUILDS_MAX: u32 = 5;

/// Bytes of one tenant's writes on their way through this node.
const TENANT_INFLIGHT_BYTES_MAX: usize = 256 << 20;

/// Bytes of other replicas' batches on their way to one shard.
const SHARD_INFLIGHT_BYTES_MAX: usize = 64 << 20;

/// A shard, as everybody else sees it.
pub struct ShardHandle {
    /// What it holds.
    pub segment: Segment,
    /// The segment's name, as it travels.
    pub name: Arc<str>,
    /// Held by who activates it; when that failed last.
    pub activation: tokio::sync::Mutex<Option<Instant>>,
    /// The way to it.
    pub actor: ActorRef<ShardActor>,
    /// Bytes on their way to it.
    pub budget: Arc<Budget>,
    /// Its lane.
    pub lane: Arc<Lane>,
    /// Which batches it holds.
    pub state: Arc<SegmentState>,
    /// The blocks that have what was dropped here.
    pub released: Arc<Released>,
    stream: StreamId,
    tenant: Arc<TenantState>,
    snapshots: Mutex<SnapshotState>,
    not_in_log: Mutex<BatchSet>,
    /// Held by who writes the shard's snapshots or reads its files.
    pub files: Mutex<()>,
    rebuilding: AtomicBool,
    rebuilds: AtomicU32,
}

impl ShardHandle {
    /// The tenant's limit on the buckets of a native histogram; 0: none.
    pub fn histogram_buckets_max(&self) -> usize {
        self.tenant.limits.max_native_histogram_buckets
    }

    /// Batches that it holds and that are known not to be in its log any more.
    pub fn not_in_log(&self) -> MutexGuard<'_, BatchSet> {
        self.not_in_log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where its snapshots let the log begin.
    pub fn snapshot_state(&self) -> SnapshotState {
        *self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a snapshot.
    pub fn set_snapshot_state(&self, state: SnapshotState) {
        *self.snapshots.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// A tenant's segments on this node.
pub struct TenantShards {
    /// What they share.
    pub state: Arc<TenantState>,
    /// Bytes of its writes on their way through this node.
    pub inflight: Arc<Budget>,
    segments: RwLock<BTreeMap<Segment, Arc<ShardHandle>>>,
}

impl TenantShards {
    /// The segment's shard, if it has one here.
    pub fn find(&self, segment: &Segment) -> Option<Arc<ShardHandle>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).get(segment).cloned()
    }

    /// All of them, oldest epoch first within a shard.
    pub fn all(&self) -> Vec<Arc<ShardHandle>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// All shards of the node.
pub struct Shards {
    /// Those who read heads.
    pub pins: ReadPins,
    /// Those who have chosen series and will ask for their labels, however long their clients take.
    pub label_pins: ReadPins,
    layout: Layout,
    lanes: Vec<Arc<Lane>>,
    arbiters: Vec<ArbiterHandle>,
    overrides: Arc<Overrides>,
    pub(super) env: SharedEnv,
    spills: UnboundedSender<Spill>,
    boot: BootId,
    /// By lane.
    damages: Vec<LaneDamage>,
    tenants: RwLock<HashMap<TenantId, Arc<TenantShards>>>,
    /// Streams given out, by lane.
    streams: Vec<AtomicU32>,
}

/// What [`Shards`] is made of.
pub struct ShardsParts {
    /// Where things lie.
    pub layout: Layout,
    /// The node's lanes; lane n belongs to arbiter n.
    pub lanes: Vec<Arc<Lane>>,
    /// The node's arbiters.
    pub arbiters: Vec<ArbiterHandle>,
    /// The tenants' limits.
    pub overrides: Arc<Overrides>,
    /// Clocks.
    pub env: SharedEnv,
    /// Takes sealed chunks to disk.
    pub spills: UnboundedSender<Spill>,
    /// Names the batches that are admitted in this run of the process.
    pub boot: BootId,
    /// What each lane has lost.
    pub damages: Vec<LaneDamage>,
}

impl Shards {
    /// No shards yet.
    pub fn new(parts: ShardsParts) -> Self {
        Shards {
            pins: ReadPins::default(),
            label_pins: ReadPins::default(),
            streams: parts.lanes.iter().map(|_| AtomicU32::new(0)).collect(),
            layout: parts.layout,
            lanes: parts.lanes,
            arbiters: parts.arbiters,
            overrides: parts.overrides,
            env: parts.env,
            spills: parts.spills,
            boot: parts.boot,
            damages: parts.damages,
            tenants: RwLock::default(),
        }
    }

    /// A tenant's limits.
    pub fn limits(&self, tenant: &TenantId) -> &Arc<Limits> {
        self.overrides.of(tenant)
    }

    /// Whether any log was damaged.
    pub fn has_damage(&self) -> bool {
        self.damages.iter().any(LaneDamage::is_some)
    }

    /// Whether this node has forgotten what it held of a segment, or may have.
    pub fn is_damaged(&self, segment: &Segment) -> bool {
        self.damages[lane_of(segment, self.lanes.len())].concerns(segment)
    }

    /// Where things lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The node's lanes.
    pub fn lanes(&self) -> &[Arc<Lane>] {
        &self.lanes
    }

    /// Takes shards that were recovered.
    pub fn adopt(&self, recovered: Vec<RecoveredShard>) {
        for shard in recovered {
            let tenant = self.get_or_create(&shard.segment.shard.tenant);
            if !shard.vector.is_sealed {
                count_series(&shard.head, &tenant.state);
            }
            let segment = shard.segment.clone();
            let handle = self.start(segment.clone(), Some(shard), &tenant.state);
            tenant.segments.write().unwrap_or_else(PoisonError::into_inner).insert(segment, handle);
        }
    }

    /// A tenant's shards, if it has any.
    pub fn get(&self, tenant: &TenantId) -> Option<Arc<TenantShards>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    /// A tenant, which is made if it is new here.
    pub fn get_or_create(&self, tenant: &TenantId) -> Arc<TenantShards> {
        if let Some(shards) = self.get(tenant) {
            return shards;
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let shards = tenants.entry(tenant.clone()).or_insert_with(|| {
            let state = Arc::new(TenantState::new(tenant.clone(), self.overrides.of(tenant).clone()));
            let inflight = Budget::new(TENANT_INFLIGHT_BYTES_MAX);
            Arc::new(TenantShards { state, inflight, segments: RwLock::default() })
        });
        shards.clone()
    }

    /// A segment's shard, if it has one here.
    pub fn find(&self, segment: &Segment) -> Option<Arc<ShardHandle>> {
        self.get(&segment.shard.tenant)?.find(segment)
    }

    /// A segment's shard, which is made if it is new here. This node must be a replica of it.
    pub fn host(&self, segment: &Segment) -> Arc<ShardHandle> {
        let tenant = self.get_or_create(&segment.shard.tenant);
        if let Some(shard) = tenant.find(segment) {
            return shard;
        }
        let mut segments = tenant.segments.write().unwrap_or_else(PoisonError::into_inner);
        let start = || self.start(segment.clone(), None, &tenant.state);
        segments.entry(segment.clone()).or_insert_with(start).clone()
    }

    /// All tenants' shards.
    pub fn tenants(&self) -> Vec<Arc<TenantShards>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// All shards.
    pub fn all(&self) -> Vec<Arc<ShardHandle>> {
        self.tenants().iter().flat_map(|tenant| tenant.all()).collect()
    }

    fn start(
        &self,
        segment: Segment,
        mut recovered: Option<RecoveredShard>,
        tenant: &Arc<TenantState>,
    ) -> Arc<ShardHandle> {
        let lane = &self.lanes[lane_of(&segment, self.lanes.len())];
        let stream = StreamId(self.streams[lane.number].fetch_add(1, Ordering::Relaxed));
        let snapshots = recovered
            .as_ref()
            .map(|shard| SnapshotState::recovered(shard.snapshot, shard.last_record))
            .unwrap_or_default();
        let state = Arc::new(SegmentState::new(self.boot));
        let released = recovered.as_mut().map(|shard| std::mem::take(&mut shard.released));
        let released = released.unwrap_or_default();
        let parts = self.parts(segment.clone(), recovered, tenant, lane, stream, &state);
        Arc::new(ShardHandle {
            actor: ActorRef::new(self.spawn(parts, lane.number)),
            name: segment.to_string().into(),
            activation: tokio::sync::Mutex::default(),
            segment,
            budget: Budget::new(SHARD_INFLIGHT_BYTES_MAX),
            lane: lane.clone(),
            stream,
            state,
            released,
            tenant: tenant.clone(),
            snapshots: Mutex::new(snapshots),
            not_in_log: Mutex::default(),
            files: Mutex::new(()),
            rebuilding: AtomicBool::new(false),
            rebuilds: AtomicU32::new(0),
        })
    }

    fn spawn(&self, parts: ShardParts, lane: usize) -> Addr<ShardActor> {
        ShardActor::start_in_arbiter(&self.arbiters[lane], move |_| ShardActor::new(parts))
    }

    fn parts(
        &self,
        segment: Segment,
        recovered: Option<RecoveredShard>,
        tenant: &Arc<TenantState>,
        lane: &Arc<Lane>,
        stream: StreamId,
        state: &Arc<SegmentState>,
    ) -> ShardParts {
        let (head, last_record) = match recovered {
            Some(shard) => {
                if let Some(newest) = shard.head.newest_ms() {
                    tenant.saw(newest);
                }
                for flush in shard.unwritten {
                    let _ = self.spills.send(Spill::Write { flush, view: None, done: Spilled::default() });
                }
                state.recovered(shard.vector, shard.windows);
                (shard.head, shard.last_record)
            }
            None => {
                let folder = self.layout.shard(&segment);
                let head = Head::new(self.layout.disk.as_ref(), &folder)
                    .expect("a shard without files has none to open");
                (head, None)
            }
        };
        ShardParts {
            segment,
            head,
            state: state.clone(),
            last_record,
            lane: lane.clone(),
            stream,
            tenant: tenant.clone(),
            seed: self.layout.seed,
            spills: self.spills.clone(),
            env: self.env.clone(),
        }
    }

    /// Puts a new actor in the place of one that is gone, in the background. Called by whoever noticed.
    pub fn rebuild(self: &Arc<Self>, shard: &Arc<ShardHandle>) -> Gone {
        if shard.actor.is_connected() || shard.rebuilding.swap(true, Ordering::AcqRel) {
            return Gone;
        }
        let rebuilds = shard.rebuilds.fetch_add(1, Ordering::AcqRel) + 1;
        if rebuilds > REBUILDS_MAX {
            // `rebuilding` stays set: this is the last word on it.
            tracing::error!(segment = %shard.segment, rebuilds, "shard panics again and again; it stays down");
            return Gone;
        }
        tracing::error!(segment = %shard.segment, rebuilds, "shard panicked; rebuilding it from its log");
        let (shards, shard) = (self.clone(), shard.clone());
        let rebuild = move || {
            let result = shards.rebuild_blocking(&shard);
            match result {
                Ok(()) => tracing::info!(segment = %shard.segment, "shard is back"),
                Err(error) => tracing::error!(segment = %shard.segment, %error, "cannot rebuild shard"),
            }
            shard.rebuilding.store(false, Ordering::Release);
        };
        if let Err(error) = std::thread::Builder::new().name("rebuild".into()).spawn(rebuild) {
            tracing::error!(%error, "cannot start a thread to rebuild a shard");
        }
        Gone
    }

    /// Waits until all that the spill thread was asked for is done. Blocks.
    fn wait_for_spills(&self) {
        let (done, spilled) = oneshot::channel();
        let _ = self.spills.send(Spill::Barrier(done));
        let _ = futures_executor::block_on(spilled);
    }

    /// Forgets a segment that is closed, and removes its files. Blocks.
    pub fn forget(&self, segment: &Segment) -> std::io::Result<()> {
        let Some(tenant) = self.get(&segment.shard.tenant) else { return Ok(()) };
        let shard = tenant.segments.write().unwrap_or_else(PoisonError::into_inner).remove(segment);
        let Some(shard) = shard else { return Ok(()) };
        // Whoever writes the files has finished then, and nobody begins any more.
        let _files = shard.files.lock().unwrap_or_else(PoisonError::into_inner);
        self.wait_for_spills();
        crash_point("close-before-drop");
        self.layout.disk.remove_dir_all(&self.layout.shard(segment))
    }

    fn rebuild_blocking(&self, shard: &ShardHandle) -> std::io::Result<()> {
        // A snapshot that is under way notices that the actor is gone, but may still be writing.
        let _files = shard.files.lock().unwrap_or_else(PoisonError::into_inner);
        // So may the spill thread be: what it has from the dead actor must not land on top of what comes now.
        self.wait_for_spills();
        // The dead actor's last batches are in the log up to here, and nobody appends more.
        let end = shard.lane.position();
        futures_executor::block_on(shard.lane.barrier()).map_err(std::io::Error::other)?;
        let lane = shard.lane.number;
        // The new head does not know the bases that the dead one had in this frame.
        shard.lane.encode().map_err(std::io::Error::other)?.encoder().begin_frame();
        let (recovered, _) = recover_shard(&self.layout, lane, &shard.segment, end)?;
        let parts = self.parts(
            shard.segment.clone(),
            Some(recovered),
            &shard.tenant,
            &shard.lane,
            shard.stream,
            &shard.state,
        );
        shard.actor.replace(self.spawn(parts, lane));
        Ok(())
    }
}

fn count_series(head: &Head, tenant: &TenantState) {
    if tenant.limits.max_series_per_metric == 0 {
        return tenant.add_recovered_series(head.series_count() as u64);
    }
    for series in head.series_from(SeriesRef(0)) {
        let metric = head.labels(series).find(|(name, _)| *name == METRIC_NAME);
        tenant.add_recovered_series_of(metric.map_or("", |(_, value)| value).as_bytes());
    }
}
