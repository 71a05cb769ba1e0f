//! Which blocks the tenants of a bucket have, as far as queries are concerned: lists that are kept, and looked at again in the
//! background when they are old.
//!
//! A tenant's list is loaded with its first question, which waits for it. After that a question never waits for a
//! list: one that is older than [`FRESH`] is refreshed beside it, and what was listed before counts, also while the bucket
//! is away. A block that was replaced meanwhile shows when it is read, and then the list is refreshed at once. Blocks stay
//! in the bucket for longer than a list gets old here.
//!
//! Blocks that are marked for removal are read for a while, as in Cortex: what replaces them may not be in every reader's
//! list yet.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gyre_ring::{Epoch, TenantId};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use super::{BlockList, BlockRef};
use crate::archive::list::{self, Discovery};
use crate::archive::{ArchiveError, TenantBlocks};
use crate::cluster::LiveCluster;
use crate::cluster::store::Bucket;
use crate::env::SharedEnv;
use crate::shard::released::LIST_AGE_MAX_MS;

/// A list that is older is refreshed when it is asked for.
const FRESH: Duration = Duration::from_secs(30);

/// A list that is older is not read by.
const AGE_MAX: Duration = Duration::from_millis(LIST_AGE_MAX_MS.unsigned_abs());

/// Where there is no list, the bucket is not asked again within this time after it has failed.
const RETRY: Duration = Duration::from_secs(5);

/// Blocks that were marked for removal within this time are read still.
const MARKED: Duration = Duration::from_secs(3600);

/// If there are more, those without blocks are forgotten.
const TENANTS_MAX: usize = 10_000;

/// The first question for a tenant waits no longer for its list.
const FIRST_MAX: Duration = Duration::from_secs(3);

/// The lists of a bucket's tenants.
pub struct ListedBlocks {
    bucket: Bucket,
    env: SharedEnv,
    tenants: Mutex<HashMap<TenantId, Arc<TenantList>>>,
    with_blocks: Mutex<WithBlocks>,
}

/// The tenants that had blocks when all were listed.
#[derive(Default)]
struct WithBlocks {
    /// When that began; `None`: it was never done.
    since: Option<Duration>,
    tenants: BTreeSet<TenantId>,
}

struct TenantList {
    /// Locked by whoever refreshes.
    listed: AsyncMutex<TenantBlocks>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// When the last refresh that succeeded began; `None`: none did.
    since: Option<Duration>,
    /// When the last refresh failed, and why, if none has succeeded since.
    failed: Option<(Duration, String)>,
    blocks: Arc<Vec<BlockRef>>,
}

impl Known {
    /// The blocks, if they are listed well enough to be read by, and were so `not_before`.
    fn usable(&self, now: Duration, not_before: Duration) -> Option<(Duration, Arc<Vec<BlockRef>>)> {
        let is_new = |since: &Duration| now.saturating_sub(*since) < AGE_MAX && *since >= not_before;
        let since = self.since.filter(is_new)?;
        Some((since, self.blocks.clone()))
    }
}

impl ListedBlocks {
    /// Of a bucket.
    pub fn new(bucket: Bucket, env: SharedEnv) -> Arc<Self> {
        Arc::new(ListedBlocks { bucket, env, tenants: Mutex::default(), with_blocks: Mutex::default() })
    }

    /// Looks at everything anew whenever a document has closed segments, so that questions can be answered from then on
    /// also if the bucket goes away. Runs as long as the node.
    pub async fn follow_closings(self: Arc<Self>, cluster: Arc<LiveCluster>) {
        let mut changes = cluster.changes();
        let mut seen = None;
        loop {
            let state = changes.borrow_and_update().clone();
            if state.chain.closed_through() > Epoch(0) && seen != Some(state.closing) {
                match self.look_at_all().await {
                    Ok(()) => seen = Some(state.closing),
                    // That the bucket is away is told elsewhere, once.
                    Err(error) => {
                        tracing::debug!(%error, "blocks cannot be listed now");
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Looks which tenants have blocks, and at the lists of those that questions have been asked for.
    async fn look_at_all(&self) -> Result<(), ArchiveError> {
        let begun = self.env.monotonic();
        let tenants = list::tenants(&self.bucket).await?.into_iter().collect();
        {
            let mut with_blocks = self.with_blocks.lock().unwrap_or_else(PoisonError::into_inner);
            *with_blocks = WithBlocks { since: Some(begun), tenants };
        }
        let known: Vec<Arc<TenantList>> =
            self.tenants.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for known in known {
            let mut listed = known.listed.lock().await;
            self.refresh_locked(&known, &mut listed).await?;
        }
        Ok(())
    }

    fn tenant(&self, tenant: &TenantId) -> Arc<TenantList> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || TenantList {
            listed: AsyncMutex::new(TenantBlocks::new(tenant.clone())),
            known: Mutex::default(),
        };
        if tenants.len() >= TENANTS_MAX && !tenants.contains_key(tenant) {
            // Whoever asks for tenants that have nothing must not fill the memory.
            tenants.retain(|_, list| {
                !list.known.lock().unwrap_or_else(PoisonError::into_inner).blocks.is_empty()
            });
        }
        tenants.entry(tenant.clone()).or_insert_with(|| Arc::new(new())).clone()
    }

    async fn refresh_locked(&self, list: &TenantList, listed: &mut TenantBlocks) -> Result<(), ArchiveError> {
        let begun = self.env.monotonic();
        if let Err(error) = listed.refresh(&self.bucket, Discovery::Listing).await {
            let mut known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.failed = Some((self.env.monotonic(), error.to_string()));
            return Err(error);
        }
        let marked_from_s = self.env.now_ms() / 1000 - MARKED.as_secs() as i64;
        let tenant = listed.tenant();
        let blocks = listed.to_query(marked_from_s);
        let blocks = blocks.map(|block| BlockRef::new(tenant.clone(), block.meta.clone())).collect();
        let mut known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Known { since: Some(begun), failed: None, blocks: Arc::new(blocks) };
        Ok(())
    }

    /// All of a tenant's blocks as they are in the bucket now. From here on questions are answered by this list.
    pub async fn now(&self, tenant: &TenantId) -> Result<TenantBlocks, ArchiveError> {
        let list = self.tenant(tenant);
        let mut listed = list.listed.lock().await;
        self.refresh_locked(&list, &mut listed).await?;
        Ok(listed.clone())
    }

    /// The bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// The first list of a tenant, or the first one after a moment.
    async fn first(&self, list: &TenantList, not_before: Duration) -> Result<(), String> {
        let failed = {
            let known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.failed.clone()
        };
        if let Some((at, reason)) = failed
            && at >= not_before
            && self.env.monotonic().saturating_sub(at) < RETRY
        {
            return Err(reason);
        }
        let first = async {
            let mut listed = list.listed.lock().await;
            // Somebody else may have been faster.
            let is_usable = {
                let known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.usable(self.env.monotonic(), not_before).is_some()
            };
            if is_usable { Ok(()) } else { self.refresh_locked(list, &mut listed).await }
        };
        match timeout(FIRST_MAX, first).await {
            Ok(first) => first.map_err(|error| error.to_string()),
            Err(_) => {
                let reason = format!("the object store did not answer within {} s", FIRST_MAX.as_secs());
                let mut known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.failed = Some((self.env.monotonic(), reason.clone()));
                Err(reason)
            }
        }
    }
}

/// The shared lists: a refresh in the background outlives the question that began it.
#[async_trait]
impl BlockList for Arc<ListedBlocks> {
    async fn blocks(
        &self,
        tenant: &TenantId,
        (min_ms, max_ms): (i64, i64),
        not_before: Duration,
    ) -> Result<Vec<BlockRef>, String> {
        let list = self.tenant(tenant);
        let usable = || {
            let known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.usable(self.env.monotonic(), not_before)
        };
        let (since, blocks) = match usable() {
            Some(usable) => usable,
            None => {
                self.first(&list, not_before).await?;
                usable().ok_or("the list of blocks is too old")?
            }
        };
        if self.env.monotonic().saturating_sub(since) > FRESH {
            let (lists, list) = (self.clone(), list.clone());
            tokio::spawn(async move {
                // One is enough.
                let Ok(mut listed) = list.listed.try_lock() else { return };
                if let Err(error) = lists.refresh_locked(&list, &mut listed).await {
                    // That the bucket is away is told elsewhere, once.
                    tracing::debug!(%error, "blocks cannot be listed now");
                }
            });
        }
        Ok(blocks.iter().filter(|block| block.overlaps(min_ms, max_ms)).cloned().collect())
    }

    fn had_none(&self, tenant: &TenantId, since: Duration) -> bool {
        let with_blocks = self.with_blocks.lock().unwrap_or_else(PoisonError::into_inner);
        with_blocks.since.is_some_and(|looked| looked >= since) && !with_blocks.tenants.contains(tenant)
    }

    async fn refresh(&self, tenant: &TenantId) -> Result<(), String> {
        let list = self.tenant(tenant);
        let mut listed = list.listed.lock().await;
        self.refresh_locked(&list, &mut listed).await.map_err(|error| error.to_string())
    }
}
