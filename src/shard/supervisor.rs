//! The shards of this node: found, made, and rebuilt when their actor panics.
//!
//! An actor that panicked is gone with its memory. Its log is not: the shard is rebuilt from snapshot and log on
//! a thread of its own, while requests for it get "try again" and its neighbours go on. A shard that keeps
//! panicking is left alone after a few times, so that it does not take the node's time for ever.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use actix::{Actor, Addr};
use actix_rt::ArbiterHandle;
use gyre_ring::{BatchNumber, Segment, ShardCount, TenantId};
use gyre_tsdb::labels::METRIC_NAME;
use gyre_tsdb::wal::StreamId;
use gyre_tsdb::{Head, SeriesRef};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::actor::{ShardActor, ShardParts};
use super::lane::Lane;
use super::recover::{Layout, RecoveredShard, lane_of, recover_shard};
use super::snapshot::SnapshotState;
use super::spill::{Spill, Spilled};
use super::tenant_state::TenantState;
use crate::actor::{ActorRef, Budget, Gone};
use crate::cluster::ClusterState;
use crate::env::SharedEnv;
use crate::tenant::limits::Overrides;

/// A shard that has been rebuilt so often stays down until the process is restarted.
const REBUILDS_MAX: u32 = 5;

/// Bytes of batches on their way to one shard.
const SHARD_INFLIGHT_BYTES_MAX: usize = 64 << 20;

/// A shard, as everybody else sees it.
pub struct ShardHandle {
    /// What it holds.
    pub segment: Segment,
    /// The way to it.
    pub actor: ActorRef<ShardActor>,
    /// Bytes on their way to it.
    pub budget: Arc<Budget>,
    /// Its lane.
    pub lane: Arc<Lane>,
    stream: StreamId,
    tenant: Arc<TenantState>,
    next_batch: Mutex<u64>,
    snapshots: Mutex<SnapshotState>,
    /// Held by who writes the shard's snapshots or reads its files.
    pub files: Mutex<()>,
    rebuilding: AtomicBool,
    rebuilds: AtomicU32,
}

impl ShardHandle {
    /// The number of this coordinator's next batch for the shard.
    pub fn next_batch(&self) -> BatchNumber {
        let mut next = self.next_batch.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        BatchNumber(*next)
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

/// A tenant's shards.
pub struct TenantShards {
    /// What they share.
    pub state: Arc<TenantState>,
    /// How many they are.
    pub count: ShardCount,
    /// All of them, by index.
    pub shards: Vec<Arc<ShardHandle>>,
}

/// All shards of the node.
pub struct Shards {
    layout: Layout,
    lanes: Vec<Arc<Lane>>,
    arbiters: Vec<ArbiterHandle>,
    overrides: Arc<Overrides>,
    env: SharedEnv,
    spills: UnboundedSender<Spill>,
    cluster: Arc<ClusterState>,
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
    /// The epochs, from which the tenants' segments follow.
    pub cluster: Arc<ClusterState>,
}

impl Shards {
    /// No shards yet.
    pub fn new(parts: ShardsParts) -> Self {
        Shards {
            streams: parts.lanes.iter().map(|_| AtomicU32::new(0)).collect(),
            layout: parts.layout,
            lanes: parts.lanes,
            arbiters: parts.arbiters,
            overrides: parts.overrides,
            env: parts.env,
            spills: parts.spills,
            cluster: parts.cluster,
            tenants: RwLock::default(),
        }
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
        let mut by_tenant: HashMap<TenantId, Vec<RecoveredShard>> = HashMap::new();
        for shard in recovered {
            by_tenant.entry(shard.segment.shard.tenant.clone()).or_default().push(shard);
        }
        for (tenant, mut recovered) in by_tenant {
            let state = Arc::new(TenantState::new(tenant.clone(), self.overrides.of(&tenant).clone()));
            let shards = self.cluster.open_segments(&tenant).into_iter().map(|segment| {
                let found = recovered.iter().position(|shard| shard.segment == segment);
                if let Some(at) = found {
                    count_series(&recovered[at].head, &state);
                }
                self.start(segment, found.map(|at| recovered.swap_remove(at)), &state)
            });
            let shards = shards.collect();
            for odd in &recovered {
                tracing::error!(segment = %odd.segment, "segment on disk takes no writes under any epoch; left alone");
            }
            let shards = Arc::new(TenantShards { state, count: self.shard_count(&tenant), shards });
            self.tenants.write().unwrap_or_else(PoisonError::into_inner).insert(tenant, shards);
        }
    }

    /// A tenant's shards, if it has any.
    pub fn get(&self, tenant: &TenantId) -> Option<Arc<TenantShards>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }

    /// A tenant's shards, which are made if it has none.
    pub fn get_or_create(&self, tenant: &TenantId) -> Arc<TenantShards> {
        if let Some(shards) = self.get(tenant) {
            return shards;
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(shards) = tenants.get(tenant) {
            return shards.clone();
        }
        let state = Arc::new(TenantState::new(tenant.clone(), self.overrides.of(tenant).clone()));
        let start = |segment| self.start(segment, None, &state);
        let shards = self.cluster.open_segments(tenant).into_iter().map(start).collect();
        let shards = Arc::new(TenantShards { state, count: self.shard_count(tenant), shards });
        tenants.insert(tenant.clone(), shards.clone());
        shards
    }

    /// All tenants' shards.
    pub fn tenants(&self) -> Vec<Arc<TenantShards>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// All shards.
    pub fn all(&self) -> Vec<Arc<ShardHandle>> {
        self.tenants().iter().flat_map(|tenant| tenant.shards.clone()).collect()
    }

    fn shard_count(&self, tenant: &TenantId) -> ShardCount {
        self.cluster.chain.newest().map_or(ShardCount::ONE, |newest| newest.shard_count(tenant))
    }

    fn start(
        &self,
        segment: Segment,
        recovered: Option<RecoveredShard>,
        tenant: &Arc<TenantState>,
    ) -> Arc<ShardHandle> {
        let lane = &self.lanes[lane_of(&segment, self.lanes.len())];
        let stream = StreamId(self.streams[lane.number].fetch_add(1, Ordering::Relaxed));
        let snapshots = recovered
            .as_ref()
            .map(|shard| SnapshotState::recovered(shard.snapshot, shard.last_record))
            .unwrap_or_default();
        let parts = self.parts(segment.clone(), recovered, tenant, lane, stream);
        Arc::new(ShardHandle {
            actor: ActorRef::new(self.spawn(parts, lane.number)),
            segment,
            budget: Budget::new(SHARD_INFLIGHT_BYTES_MAX),
            lane: lane.clone(),
            stream,
            tenant: tenant.clone(),
            next_batch: Mutex::new(0),
            snapshots: Mutex::new(snapshots),
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
    ) -> ShardParts {
        let (head, batches, last_record) = match recovered {
            Some(shard) => {
                if let Some(newest) = shard.head.newest_ms() {
                    tenant.saw(newest);
                }
                for flush in shard.unwritten {
                    let _ = self.spills.send(Spill::Write { flush, view: None, done: Spilled::default() });
                }
                (shard.head, shard.batches, shard.last_record)
            }
            None => {
                let folder = self.layout.shard(&segment);
                let head = Head::new(self.layout.disk.as_ref(), &folder)
                    .expect("a shard without files has none to open");
                (head, gyre_ring::BatchSet::default(), None)
            }
        };
        ShardParts {
            segment,
            head,
            batches,
            last_record,
            lane: lane.clone(),
            stream,
            tenant: tenant.clone(),
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

    fn rebuild_blocking(&self, shard: &ShardHandle) -> std::io::Result<()> {
        // A snapshot that is under way notices that the actor is gone, but may still be writing.
        let _files = shard.files.lock().unwrap_or_else(PoisonError::into_inner);
        // So may the spill thread be: what it has from the dead actor must not land on top of what comes now.
        let (done, spilled) = oneshot::channel();
        let _ = self.spills.send(Spill::Barrier(done));
        let _ = futures_executor::block_on(spilled);
        // The dead actor's last batches are in the log up to here, and nobody appends more.
        let end = shard.lane.position();
        futures_executor::block_on(shard.lane.barrier()).map_err(std::io::Error::other)?;
        let lane = shard.lane.number;
        // The new head does not know the bases that the dead one had in this frame.
        shard.lane.encode().map_err(std::io::Error::other)?.encoder().begin_frame();
        let (recovered, _) = recover_shard(&self.layout, lane, &shard.segment, end)?;
        let parts =
            self.parts(shard.segment.clone(), Some(recovered), &shard.tenant, &shard.lane, shard.stream);
        shard.actor.replace(self.spawn(parts, lane));
        Ok(())
    }
}

fn count_series(head: &Head, tenant: &TenantState) {
    if tenant.limits.max_series_per_metric == 0 {
        return tenant.add_recovered_series(head.series_count() as u64);
    }
    for series in (0..head.series_count() as u32).map(SeriesRef) {
        let metric = head.labels(series).find(|(name, _)| *name == METRIC_NAME);
        tenant.add_recovered_series_of(metric.map_or("", |(_, value)| value).as_bytes());
    }
}
