//! Looks after the blocks of tenants: compaction, retention, removal, and the listing that Cortex reads.
//!
//! One node does so for a tenant: the first of those that is alive where the tenant lies on the ring of the nodes that read.
//! Who that is may be seen differently by two nodes for a while; that both work is harmless, since what both make of the
//! same blocks has the same name and the same content.
//!
//! What may go wrong: the bucket does not answer. The tenant is left alone until the next round;
//! others are not. A job that fails for another reason, such as a damaged block, is left alone for some hours, and others of the
//! tenant go on.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gyre_ring::{HashSeed, Role, ShardCount, ShardIndex, TenantId};
use gyre_tsdb::block::Ulid;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::bucket_index::BucketIndex;
use super::cleanup::{mark_expired, mark_superseded, remove_marked, remove_partial};
use super::compact::Compactor;
use super::error::ArchiveError;
use super::list::{self, TenantBlocks};
use super::plan::{Job, PlanOptions, plan};
use super::read::listed::ListedBlocks;
use crate::cluster::LiveCluster;
use crate::env::SharedEnv;
use crate::shard::released::LIST_AGE_MAX_MS;
use crate::shard::supervisor::Shards;
use crate::tenant::limits::Overrides;

/// The folder of blocks that are being compacted, in the data directory.
const FOLDER: &str = "compacting";

/// Every tenant is looked after so often, for the first time soon after the start.
const ROUND: Duration = Duration::from_secs(5 * 60);
const FIRST_ROUND: Duration = Duration::from_secs(3);

/// A job that failed is left alone for so long.
const FAILED_MS: i64 = 4 * 60 * 60 * 1000;

/// A block is removed so long after it was marked: longer than anybody reads with a list from before.
const REMOVE_AFTER_MS: i64 = 24 * 60 * 60 * 1000;
const _: () = assert!(REMOVE_AFTER_MS > LIST_AGE_MAX_MS);

/// What was never listed is removed when nothing was put there for so long.
const PARTIAL_AFTER_MS: i64 = 48 * 60 * 60 * 1000;

/// What is counted.
#[derive(Clone, Debug, Default)]
pub struct KeepMetrics {
    compactions: Counter,
    failures: Counter,
    removed: Counter,
}

impl KeepMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("gyre_compactions", "Compactions of blocks that were carried out", &self.compactions),
            ("gyre_compaction_failures", "Rounds over a tenant's blocks that failed", &self.failures),
            ("gyre_blocks_removed", "Blocks that were removed from the bucket", &self.removed),
        ] {
            registry.register(name, help, counter.clone());
        }
    }
}

/// Looks after blocks.
pub struct Keeper {
    parts: KeeperParts,
    folder: PathBuf,
    /// Jobs that failed, by their blocks, and when.
    failed: Mutex<HashMap<Vec<Ulid>, i64>>,
}

/// What a [`Keeper`] is made of.
pub struct KeeperParts {
    /// Whose tenants' blocks.
    pub shards: Arc<Shards>,
    /// The blocks.
    pub lists: Arc<ListedBlocks>,
    /// Who is to do it follows from the documents, and from who is alive.
    pub cluster: Arc<LiveCluster>,
    /// Retentions.
    pub overrides: Arc<Overrides>,
    /// Says which shard a series belongs to.
    pub seed: HashSeed,
    /// Clock.
    pub env: SharedEnv,
    /// What is counted.
    pub metrics: KeepMetrics,
}

impl Keeper {
    /// A keeper that compacts below the data directory, where nothing of an earlier run stays.
    pub fn new(parts: KeeperParts, data_dir: &Path) -> std::io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Keeper { parts, folder, failed: Mutex::default() })
    }

    /// Goes round for ever.
    pub async fn run(self: Arc<Self>) {
        tokio::time::sleep(FIRST_ROUND).await;
        loop {
            self.round().await;
            tokio::time::sleep(ROUND).await;
        }
    }

    /// Looks after all tenants whose turn is this node's.
    pub async fn round(&self) {
        for tenant in self.tenants().await {
            let Some(shards) = self.own_turn(&tenant) else { continue };
            if let Err(error) = self.keep(&tenant, shards).await {
                self.parts.metrics.failures.inc();
                tracing::warn!(%tenant, %error, "cannot look after a tenant's blocks now; trying again later");
            }
        }
    }

    /// The tenants that have a head here, and those that have blocks: some have nothing but what was imported.
    async fn tenants(&self) -> BTreeSet<TenantId> {
        let heads = self.parts.shards.tenants();
        let mut tenants: BTreeSet<TenantId> = heads.iter().map(|tenant| tenant.state.id.clone()).collect();
        match list::tenants(self.parts.lists.bucket()).await {
            Ok(found) => tenants.extend(found),
            Err(error) => {
                self.parts.metrics.failures.inc();
                tracing::warn!(%error, "cannot list the bucket's tenants; looking after those with recent samples only");
            }
        }
        tenants
    }

    /// The number of a tenant's shards, if its blocks are this node's to look after.
    fn own_turn(&self, tenant: &TenantId) -> Option<ShardCount> {
        let cluster = &self.parts.cluster;
        let state = cluster.state();
        let newest = state.newest();
        // A ring of its own, so that nodes that only read take this off those that hold heads.
        let readers = newest.placement(Role::Read);
        let of_tenant = readers.of(tenant, ShardCount::ONE, ShardIndex(0)).into_iter();
        let candidates = of_tenant.chain(&newest.members).map(|member| member.replica());
        let first = { candidates }.find(|replica| cluster.is_alive(replica))?;
        (first == *cluster.own()).then(|| newest.shard_count(tenant))
    }

    async fn keep(&self, tenant: &TenantId, shards: ShardCount) -> Result<(), ArchiveError> {
        let KeeperParts { lists, overrides, env, metrics, .. } = &self.parts;
        let bucket = lists.bucket();
        let mut list = lists.now(tenant).await?;
        if list.blocks().is_empty() && list.partial().is_empty() && list.marks().deletion.is_empty() {
            return Ok(());
        }
        let retention_ms = overrides.of(tenant).compactor_blocks_retention_period_ms.max(0).unsigned_abs();
        let marked = mark_expired(bucket, &list, retention_ms, env.now_ms()).await?;
        let superseded = mark_superseded(bucket, &list, env.now_ms()).await?;
        if !marked.is_empty() || !superseded.is_empty() {
            list = lists.now(tenant).await?;
        }
        // A job's result may be another's source.
        while let Some(job) = self.next_job(&list, shards) {
            match self.compact(tenant, &list, &job).await {
                Ok(()) => metrics.compactions.inc(),
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => {
                    metrics.failures.inc();
                    tracing::error!(
                        %tenant, block = %job.blocks[0], blocks = job.blocks.len(), %error,
                        "cannot compact blocks; they are read as they are"
                    );
                    let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.insert(job.blocks, env.now_ms());
                    continue;
                }
            };
            list = lists.now(tenant).await?;
        }
        let removed = remove_marked(bucket, &list, REMOVE_AFTER_MS, env.now_ms()).await?;
        let partial = remove_partial(bucket, &list, PARTIAL_AFTER_MS, env.now_ms()).await?;
        metrics.removed.inc_by((removed.len() + partial.len()) as u64);
        if !removed.is_empty() || !partial.is_empty() {
            list = lists.now(tenant).await?;
        }
        BucketIndex::of(list.blocks().values(), env.now_ms()).store(bucket, tenant).await
    }

    /// The first job that has not failed lately.
    fn next_job(&self, list: &TenantBlocks, shards: ShardCount) -> Option<Job> {
        let now_ms = self.parts.env.now_ms();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, at_ms| at_ms.saturating_add(FAILED_MS) > now_ms);
        let jobs = plan(list.blocks().values(), &PlanOptions::new(now_ms, shards));
        jobs.into_iter().find(|job| !job.blocks.is_empty() && !failed.contains_key(&job.blocks))
    }

    async fn compact(&self, tenant: &TenantId, list: &TenantBlocks, job: &Job) -> Result<(), ArchiveError> {
        let KeeperParts { lists, env, seed, .. } = &self.parts;
        let scratch = self.folder.join(tenant.as_str());
        let compactor = Compactor { bucket: lists.bucket(), seed: *seed, scratch: &scratch };
        let done = compactor.run(list, job, env.now_ms().div_euclid(1000)).await?;
        tracing::info!(%tenant, replaced = done.replaced.len(), made = done.made.len(), "compacted blocks");
        Ok(())
    }
}
