//! A node: what lies behind the HTTP interface.
//!
//! [`Node::start`] locks the [data directory](data_dir), finds its [place in the cluster](cluster), recovers what is in
//! it, starts the [engine room](storage_engine): lanes, arbiters, shards, and lets other nodes in over the
//! [`network`]. Then writes go to the [coordinator](crate::replica), questions about labels to the [shards](labels), and
//! queries to the [query pool](crate::query). Until then a [`handle`] says how far it is.

mod blocks;
mod cluster;
pub mod data_dir;
pub mod drain;
pub mod handle;
mod labels;
mod listing;
mod messages;
mod methods;
pub mod network;
mod queries;
pub mod readers;
pub mod storage_engine;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use gyre_promql::syntax::ParserOptions;
use gyre_promql::{Engine, EngineOptions};
use gyre_ring::{BootId, NodeId, TenantId};

use self::cluster::PeerServer;
use self::data_dir::DataDir;
use self::handle::NodeHandle;
use self::methods::Methods;
use self::storage_engine::{LogOptions, Recovered, Recovery, StorageEngine, ThisRun};
use crate::api::push::decode::WriteBatch;
use crate::api::push::pool::BatchPool;
use crate::archive::keeper::{Keeper, KeeperParts};
use crate::archive::read::listed::ListedBlocks;
use crate::archive::read::{Archive, CacheSizes};
use crate::archive::ship::{ShipError, Shipper, ShipperParts};
use crate::cluster::LiveCluster;
use crate::cluster::health::HealthStatus;
use crate::cluster::start::ClusterError;
use crate::cluster::status::{RingStatus, Shown};
use crate::config::{Config, Feature, WalSync};
use crate::env::{OsEnv, SharedEnv};
use crate::query::evaluator::Evaluator;
use crate::query::pool::QueryPool;
use crate::replica::Coordinator;
use crate::replica::local::Replicas;
use crate::replica::read::plan::Reader;
use crate::replica::service::ReplicaService;
use crate::rpc::Handler;
use crate::telemetry::ClusterMetrics;
use crate::tenant::limits::Overrides;
use crate::tenant::metadata::Metadata;

pub use self::listing::SeriesListing;
pub use self::messages::{
    Answer, Evaluated, QueryError, QueryOptions, QueryRequest, QueryStats, Selection, TRUNCATED, cut,
};
pub use crate::replica::{WriteError, WriteOutcome};
pub use crate::tenant::metadata::MetricMetadata;
pub use gyre_promql::fragment::QueryTimes;

/// Queries that may wait for their turn.
const QUERIES_WAITING_MAX: usize = 256;

/// Bytes of idle buffers for requests that other nodes pass on.
const REQUESTS_PASSED_ON_BYTES_MAX: usize = 16 << 20;

/// Queries that run at a time, for each core.
const QUERIES_RUNNING_PER_CORE: usize = 4;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] data_dir::DataDirError),
    /// It is no member of the bucket's cluster, or must not be.
    #[error("data directory {path}: {source}")]
    Cluster {
        /// The data directory.
        path: String,
        /// Why.
        source: Box<ClusterError>,
    },
    /// It cannot talk to other nodes.
    #[error(transparent)]
    Network(#[from] network::NetworkError),
    /// Recovery, or a thread, failed.
    #[error("cannot start on data directory {path}: {source}")]
    Io {
        /// The data directory.
        path: String,
        /// The failure.
        source: std::io::Error,
    },
}

/// Figures for `/` and `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// Series in the heads of all tenants.
    pub memory_series: u64,
    /// Tenants with a head.
    pub memory_tenants: u64,
    /// Queries that run or wait.
    pub queries: u64,
    /// Bytes written to the log since start.
    pub wal_bytes: u64,
    /// Commits of the log since start: one write and one fsync each.
    pub wal_commits: u64,
    /// Failed writes to the log since start.
    pub wal_write_failures: u64,
    /// Snapshots since start.
    pub snapshots: u64,
    /// Failed snapshots since start.
    pub snapshot_failures: u64,
    /// Damaged stretches of the log that start-up found.
    pub wal_damaged: u64,
    /// Torn writes that start-up cut.
    pub wal_torn: u64,
}

/// A running node.
pub struct Node {
    storage: StorageEngine,
    coordinator: Coordinator,
    reader: Reader,
    evaluator: Arc<Evaluator>,
    archive: Arc<Archive>,
    overrides: Arc<Overrides>,
    metadata: Arc<Metadata>,
    replicas: Arc<Replicas>,
    env: SharedEnv,
    stopping: AtomicBool,
    flushes_on_shutdown: bool,
    cluster: Arc<LiveCluster>,
    peers: Option<PeerServer>,
    drained: tokio::sync::watch::Receiver<bool>,
    shipper: Arc<Shipper>,
    _data_dir: DataDir,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").finish_non_exhaustive()
    }
}

impl Node {
    /// Opens the data directory, joins its cluster, recovers what is in it and starts. Blocks while it reads. Meanwhile
    /// the handle says how far it is. `questions` answers what other nodes hand on.
    pub async fn start(
        config: &Config,
        metrics: &ClusterMetrics,
        handle: &NodeHandle,
        questions: Arc<dyn Handler>,
    ) -> Result<Arc<Self>, StartError> {
        let env = OsEnv::shared();
        let cores = available_parallelism().map_or(1, usize::from);
        let data_dir = DataDir::open(&config.data_dir, env.as_ref(), cores)?;
        let path = data_dir.path.display().to_string();
        let lanes = data_dir.facts.lanes;
        // Whoever was a member before reads its disk while it waits for the bucket and for the others.
        let ahead = cluster::known_before(&data_dir).map(|(seed, chain)| {
            let path = data_dir.path.clone();
            std::thread::spawn(move || Recovered::read(&path, lanes, seed, &chain))
        });
        let bucket = cluster::bucket(config, &data_dir)?;
        let joined = cluster::join(config, &data_dir, (env.clone(), bucket.clone()), &metrics.rpc, handle);
        let (cluster, door) = joined.await?;
        let seed = cluster.state().facts.seed;
        let boot = BootId(env.random());
        let overrides = Arc::new(config.tenant_limits());
        let log = LogOptions {
            sync: config.wal_sync == WalSync::Commit,
            snapshot_bytes: config.wal_snapshot_bytes,
            keep_bytes_max: config.wal_keep_bytes_max,
        };
        let recovered = match ahead.map(std::thread::JoinHandle::join) {
            Some(Ok(recovered)) => recovered,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Recovered::read(&data_dir.path, lanes, seed, &cluster.state().chain),
        };
        let run = ThisRun { boot, epoch: cluster.state().epoch() };
        let storage = recovered
            .and_then(|recovered| StorageEngine::start(recovered, run, env.clone(), overrides.clone(), log))
            .map_err(|source| StartError::Io { path: path.clone(), source })?;
        tell(&storage.recovery);
        let sizes = CacheSizes {
            memory_bytes: config.blocks_cache_memory_bytes,
            disk_bytes: config.blocks_cache_disk_bytes,
        };
        let lists = ListedBlocks::new(bucket.clone(), env.clone());
        tokio::spawn(lists.clone().follow_closings(cluster.clone()));
        let list = Arc::new(lists.clone());
        let archive = Archive::new(bucket, list, sizes, &data_dir.path, seed, metrics.blocks.clone());
        let archive = Arc::new(archive.map_err(|source| StartError::Io { path: path.clone(), source })?);
        let shipper = ShipperParts {
            shards: storage.shards.clone(),
            lists: lists.clone(),
            cluster: cluster.clone(),
            env: env.clone(),
            metrics: metrics.ships.clone(),
        };
        let keeper = KeeperParts {
            shards: storage.shards.clone(),
            lists: lists.clone(),
            cluster: cluster.clone(),
            overrides: overrides.clone(),
            seed,
            env: env.clone(),
            metrics: metrics.keeps.clone(),
        };
        let keeper = Keeper::new(keeper, &data_dir.path);
        let keeper = Arc::new(keeper.map_err(|source| StartError::Io { path: path.clone(), source })?);
        let shipper = Shipper::new(shipper, &data_dir.path);
        let shipper = Arc::new(shipper.map_err(|source| StartError::Io { path: path.clone(), source })?);
        let mut replicas = Replicas::new(storage.shards.clone(), cluster.clone());
        replicas.pulls = metrics.pulls.clone();
        let replicas = Arc::new(replicas);
        let coordinator = Coordinator::new(replicas.clone(), seed);
        let reader = Reader::new(replicas.clone(), metrics.reads.clone());
        tokio::spawn(replicas.clone().seal_what_ends());
        tokio::spawn(replicas.clone().repair());
        tokio::spawn(replicas.clone().settle_with_others());
        tokio::spawn(replicas.clone().drop_what_closes());
        tokio::spawn(replicas.clone().split_tenants());
        tokio::spawn(shipper.clone().run());
        let (drains, drained) = tokio::sync::watch::channel(false);
        tokio::spawn(drain::watch(cluster.clone(), drains));
        tokio::spawn(keeper.run());
        let evaluator = Arc::new(Evaluator::new(
            Engine::new(engine_options(config, cores)),
            QueryPool::new(cores * QUERIES_RUNNING_PER_CORE, QUERIES_WAITING_MAX),
            storage.shards.clone(),
            cluster.own().clone(),
            env.clone(),
            metrics.reads.clone(),
        ));
        let metadata = Arc::new(Metadata::default());
        let pool = BatchPool::new(cores, REQUESTS_PASSED_ON_BYTES_MAX);
        let service = ReplicaService::new(replicas.clone(), boot, pool, metadata.clone(), evaluator.clone());
        let methods = Methods { replicas: service, questions };
        let peers = door.map(|door| door.open(Arc::new(methods))).transpose()?;
        cluster.recovered().await;
        Ok(Arc::new(Node {
            storage,
            coordinator,
            reader,
            evaluator,
            archive,
            overrides,
            metadata,
            replicas,
            env,
            stopping: AtomicBool::new(false),
            flushes_on_shutdown: config.blocks_flush_on_shutdown,
            cluster,
            peers,
            drained,
            shipper,
            _data_dir: data_dir,
        }))
    }

    /// Makes blocks of everything that this node holds, of one tenant or of all; returns when they are listed.
    pub async fn flush(&self, tenant: Option<&TenantId>) -> Result<(), ShipError> {
        self.shipper.flush(tenant).await
    }

    /// Writes what is in memory to disk, and first to the bucket if that is wanted, and stops. Writes must have ended before.
    pub async fn shutdown(self: &Arc<Self>) {
        self.stopping.store(true, Ordering::Release);
        if self.flushes_on_shutdown
            && let Err(error) = self.flush(None).await
        {
            tracing::warn!(%error, "not everything is in the bucket; what is not stays in the data directory");
        }
        if let Some(peers) = &self.peers {
            peers.shut_down().await;
        }
        let node = self.clone();
        // Joins threads, which must not hold up the reactor that the shards' answers come through.
        let _ = tokio::task::spawn_blocking(move || node.storage.stop()).await;
    }

    /// Why the node does not serve writes now.
    pub fn readiness(&self) -> Result<(), String> {
        if self.stopping.load(Ordering::Acquire) {
            return Err("stopping".to_owned());
        }
        let notices = self.cluster.notices();
        if notices.leaving && self.cluster.state().left().is_some() {
            return Err("leaving the cluster; /drain says how far it is".to_owned());
        }
        if let Some(problem) = notices.misplaced.or(notices.waiting.map(|waiting| waiting.to_string())) {
            return Err(problem);
        }
        for lane in self.storage.shards.lanes() {
            lane.health().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The node's name.
    pub fn id(&self) -> &NodeId {
        &self.cluster.own().node
    }

    /// The ring, for `/ring`.
    pub fn ring(&self, shown: Shown) -> RingStatus {
        let readiness = self.readiness();
        RingStatus::new(&self.cluster, &self.tenants(), readiness, self.replicas.as_ref(), shown)
    }

    /// Whether the segments of all tenants that it has met have all their replicas.
    pub fn health(&self) -> HealthStatus {
        HealthStatus::of(&self.cluster.state(), &self.tenants(), self.replicas.as_ref())
    }

    fn tenants(&self) -> BTreeSet<TenantId> {
        self.storage.shards.tenants().iter().map(|tenant| tenant.state.id.clone()).collect()
    }

    /// Figures of this moment.
    pub fn stats(&self) -> NodeStats {
        let tenants = self.storage.shards.tenants();
        let lanes = self.storage.shards.lanes();
        let sum = |count: fn(&crate::shard::lane::LaneCounters) -> &std::sync::atomic::AtomicU64| {
            lanes.iter().map(|lane| count(&lane.counters).load(Ordering::Relaxed)).sum()
        };
        NodeStats {
            memory_series: tenants.iter().map(|tenant| tenant.state.series()).sum(),
            memory_tenants: tenants.len() as u64,
            queries: self.evaluator.inflight(),
            wal_bytes: sum(|lane| &lane.written_bytes),
            wal_commits: sum(|lane| &lane.commits),
            wal_write_failures: sum(|lane| &lane.write_failures),
            snapshots: self.storage.snapshots.taken.load(Ordering::Relaxed),
            snapshot_failures: self.storage.snapshots.failed.load(Ordering::Relaxed),
            wal_damaged: self.storage.recovery.damaged as u64,
            wal_torn: self.storage.recovery.torn as u64,
        }
    }

    /// The language that queries are written in.
    pub fn parser_options(&self) -> &ParserOptions {
        &self.evaluator.engine().options().parser
    }

    /// Milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> i64 {
        self.env.now_ms()
    }

    /// Nanoseconds of a clock that never goes back.
    pub fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.env.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Stores a batch; returns when it is durable.
    pub async fn write(&self, tenant: &TenantId, batch: WriteBatch) -> Result<WriteOutcome, WriteError> {
        let refused_metadata = self.metadata.add(tenant, &batch, self.overrides.of(tenant));
        let mut outcome = self.coordinator.write(tenant, batch).await?;
        outcome.refused_metadata = refused_metadata;
        Ok(outcome)
    }

    /// Metadata by metric name, of one metric or of all.
    pub async fn metadata(
        &self,
        tenant: &TenantId,
        metric: Option<&str>,
    ) -> Result<BTreeMap<String, Vec<MetricMetadata>>, QueryError> {
        let mut known = self.metadata.get(tenant, metric);
        for (metric, others) in self.replicas.metadata_of_others(tenant, metric).await {
            let known = known.entry(metric).or_default();
            for other in others.into_iter().filter(|other| !known.contains(other)).collect::<Vec<_>>() {
                known.push(other);
            }
        }
        Ok(known)
    }
}

fn engine_options(config: &Config, cores: usize) -> EngineOptions {
    let has = |feature| config.features.has(feature);
    EngineOptions {
        parser: ParserOptions {
            experimental_functions: has(Feature::ExperimentalFunctions),
            // Prometheus has made this part of the language; its switch remains, and does nothing.
            duration_expr: true,
            extended_range_selectors: has(Feature::ExtendedRangeSelectors),
            binop_fill_modifiers: has(Feature::BinopFillModifiers),
            ..ParserOptions::default()
        },
        samples_max: config.query_samples_max,
        bytes_max: config.query_bytes_max,
        timeout: Duration::from_millis(config.query_timeout_ms.unsigned_abs()),
        delayed_name_removal: has(Feature::DelayedNameRemoval),
        type_and_unit_labels: has(Feature::TypeAndUnitLabels),
        use_start_timestamps: has(Feature::UseStartTimestamps),
        workers: Arc::new(gyre_promql::ScopedThreads { threads: cores }),
        ..EngineOptions::default()
    }
}

fn tell(recovery: &Recovery) {
    if recovery.shards == 0 {
        return;
    }
    tracing::info!(
        shards = recovery.shards,
        series = recovery.series,
        log_samples = recovery.samples,
        lost_samples = recovery.lost_samples,
        damaged = recovery.damaged,
        torn = recovery.torn,
        duration_ms = recovery.duration.as_millis() as u64,
        "recovered"
    );
}
