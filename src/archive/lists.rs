//! The lists of blocks that this node knows, one a tenant, and how old they may be.
//!
//! A list is loaded when somebody first asks, refreshed in the background while it is used, and at once when somebody finds
//! that it lacks a block. What may go wrong is that the bucket does not answer. Then a list that is known goes on being
//! used for some hours; where none is known, recent data is still answered for: what heads have dropped lately they name
//! ([`Released`](crate::shard::released::Released)), so a reader that lacks a block finds out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use gyre_ring::TenantId;

use super::error::ArchiveError;
use super::list::{Discovery, TenantBlocks};
use crate::cluster::store::Bucket;
use crate::env::SharedEnv;
use crate::shard::released::LIST_AGE_MAX_MS;

/// A list in use is refreshed so often.
pub const REFRESH: Duration = Duration::from_secs(30);

/// A list that nobody has asked for in this time is not refreshed any more.
const USED_MS: i64 = 60 * 60 * 1000;

/// Without any list, ranges of time that begin this long ago or later can be answered: heads name what they have dropped for
/// longer than this.
pub const RECENT_MS: i64 = 2 * LIST_AGE_MAX_MS;

/// All lists.
pub struct BlockLists {
    bucket: Bucket,
    env: SharedEnv,
    tenants: RwLock<HashMap<TenantId, Arc<TenantList>>>,
}

#[derive(Default)]
struct TenantList {
    known: Mutex<Known>,
    /// Held by who asks the bucket, so that many who need a list ask once.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    blocks: Option<Arc<TenantBlocks>>,
    /// When the bucket was asked, milliseconds since 1970.
    asked_ms: i64,
    used_ms: i64,
}

impl BlockLists {
    /// None yet.
    pub fn new(bucket: Bucket, env: SharedEnv) -> Self {
        BlockLists { bucket, env, tenants: RwLock::default() }
    }

    /// The bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    fn of(&self, tenant: &TenantId) -> Arc<TenantList> {
        if let Some(list) = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant) {
            return list.clone();
        }
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        tenants.entry(tenant.clone()).or_default().clone()
    }

    /// A tenant's list, which is loaded if it is not known or too old.
    pub async fn get(&self, tenant: &TenantId) -> Result<Arc<TenantBlocks>, ArchiveError> {
        let list = self.of(tenant);
        let now_ms = self.env.now_ms();
        {
            let mut known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.used_ms = now_ms;
            if let Some(blocks) = &known.blocks
                && known.asked_ms.saturating_add(LIST_AGE_MAX_MS) > now_ms
            {
                return Ok(blocks.clone());
            }
        }
        self.ask(tenant, &list, now_ms).await
    }

    /// A tenant's list as it is in the bucket now.
    pub async fn refresh(&self, tenant: &TenantId) -> Result<Arc<TenantBlocks>, ArchiveError> {
        let list = self.of(tenant);
        self.ask(tenant, &list, self.env.now_ms()).await
    }

    /// Asks the bucket, unless somebody else has done so since `from_ms`.
    async fn ask(
        &self,
        tenant: &TenantId,
        list: &TenantList,
        from_ms: i64,
    ) -> Result<Arc<TenantBlocks>, ArchiveError> {
        let _asking = list.asking.lock().await;
        let before = {
            let known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(blocks) = &known.blocks
                && known.asked_ms > from_ms
            {
                return Ok(blocks.clone());
            }
            known.blocks.clone()
        };
        let mut blocks = before.map_or_else(|| TenantBlocks::new(tenant.clone()), |blocks| (*blocks).clone());
        // What is put into the bucket from here on may be missed.
        let asked_ms = self.env.now_ms();
        blocks.refresh(&self.bucket, Discovery::Listing).await?;
        let blocks = Arc::new(blocks);
        let mut known = list.known.lock().unwrap_or_else(PoisonError::into_inner);
        (known.blocks, known.asked_ms) = (Some(blocks.clone()), asked_ms);
        Ok(blocks)
    }

    /// Keeps lists that are used fresh, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut was_down = false;
        loop {
            tokio::time::sleep(REFRESH).await;
            let now_ms = self.env.now_ms();
            let tenants: Vec<_> = {
                let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
                tenants.iter().map(|(tenant, list)| (tenant.clone(), list.clone())).collect()
            };
            let mut problem = None;
            for (tenant, list) in tenants {
                let used_ms = list.known.lock().unwrap_or_else(PoisonError::into_inner).used_ms;
                if used_ms.saturating_add(USED_MS) > now_ms
                    && let Err(error) = self.ask(&tenant, &list, now_ms).await
                {
                    problem = Some(error);
                    break;
                }
            }
            match problem {
                Some(error) if !was_down => {
                    tracing::warn!(%error, "cannot list blocks; lists that are known are used for some hours");
                    was_down = true;
                }
                None if was_down => {
                    tracing::info!("blocks can be listed again");
                    was_down = false;
                }
                _ => {}
            }
        }
    }
}
