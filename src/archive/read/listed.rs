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

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gyre_ring::TenantId;
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};
use tokio::time::timeout;

use super::{BlockList, BlockRef};
use crate::archive::TenantBlocks;
use crate::archive::list::Discovery;
use crate::cluster::store::Bucket;
use crate::env::SharedEnv;

/// A list that is older is refreshed when it is asked for.
const FRESH: Duration = Duration::from_secs(30);

/// Blocks that were marked for removal within this time are read still.
const MARKED: Duration = Duration::from_secs(3600);

/// If there are more, those without blocks are forgotten.
const TENANTS_MAX: usize = 10_000;

/// The first question for a tenant waits no longer for its list.
const FIRST_MAX: Duration = Duration::from_secs(10);

/// The lists of a bucket's tenants.
pub struct ListedBlocks {
    bucket: Bucket,
    env: SharedEnv,
    tenants: Mutex<HashMap<TenantId, Arc<TenantList>>>,
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
    blocks: Arc<Vec<BlockRef>>,
}

impl ListedBlocks {
    /// Of a bucket.
    pub fn new(bucket: Bucket, env: SharedEnv) -> Arc<Self> {
        Arc::new(ListedBlocks { bucket, env, tenants: Mutex::default() })
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

    async fn refresh_locked(
        &self,
        list: &TenantList,
        mut listed: MutexGuard<'_, TenantBlocks>,
    ) -> Result<(), String> {
        let begun = self.env.monotonic();
        listed.refresh(&self.bucket, Discovery::Listing).await.map_err(|error| error.to_string())?;
        let marked_from_s = self.env.now_ms() / 1000 - MARKED.as_secs() as i64;
        let tenant = listed.tenant();
        let blocks = listed.to_query(marked_from_s);
        let blocks = blocks.map(|block| BlockRef::new(tenant.clone(), block.meta.clone())).collect();
        let mut known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known = Known { since: Some(begun), blocks: Arc::new(blocks) };
        Ok(())
    }
}

/// The shared lists: a refresh in the background outlives the question that began it.
#[async_trait]
impl BlockList for Arc<ListedBlocks> {
    async fn blocks(&self, tenant: &TenantId, min_ms: i64, max_ms: i64) -> Result<Vec<BlockRef>, String> {
        let list = self.tenant(tenant);
        let known = || {
            let known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
            (known.since, known.blocks.clone())
        };
        let (since, mut blocks) = known();
        match since {
            None => {
                let first = async {
                    let listed = list.listed.lock().await;
                    // Somebody else may have been faster.
                    if known().0.is_none() { self.refresh_locked(&list, listed).await } else { Ok(()) }
                };
                let late =
                    |_| Err(format!("the object store did not answer within {} s", FIRST_MAX.as_secs()));
                timeout(FIRST_MAX, first).await.unwrap_or_else(late)?;
                blocks = known().1;
            }
            Some(since) if self.env.monotonic().saturating_sub(since) > FRESH => {
                let (lists, list) = (self.clone(), list.clone());
                tokio::spawn(async move {
                    // One is enough.
                    let Ok(listed) = list.listed.try_lock() else { return };
                    if let Err(error) = lists.refresh_locked(&list, listed).await {
                        tracing::warn!(%error, "blocks cannot be listed now");
                    }
                });
            }
            Some(_) => {}
        }
        Ok(blocks.iter().filter(|block| block.overlaps(min_ms, max_ms)).cloned().collect())
    }

    async fn refresh(&self, tenant: &TenantId) -> Result<(), String> {
        let list = self.tenant(tenant);
        let listed = list.listed.lock().await;
        self.refresh_locked(&list, listed).await
    }
}
