//! Blocks that were found damaged. They are not read again by this process: each query would find the same damage, and pay
//! for it. Others are not affected.
//!
//! Kept in memory only, so that a repaired block is read again after a restart; compaction gives blocks new names anyway.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use gyre_ring::TenantId;
use gyre_tsdb::block::Ulid;

use super::failure::{BlockFailure, Trouble};
use super::object::BlockRef;

/// More are not remembered: something else is wrong then, such as a bucket that was cut off as a whole.
const BLOCKS_MAX: usize = 10_000;

/// The blocks that are set aside, with reasons.
#[derive(Debug, Default)]
pub struct Quarantine(Mutex<BTreeMap<(TenantId, Ulid), String>>);

impl Quarantine {
    /// Sets a block aside; false if it was already.
    pub fn add(&self, tenant: &TenantId, ulid: Ulid, reason: &str) -> bool {
        let mut blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.clone(), ulid);
        if blocks.contains_key(&key) || blocks.len() >= BLOCKS_MAX {
            return false;
        }
        blocks.insert(key, reason.to_owned());
        true
    }

    /// Why a block is not read.
    pub fn check(&self, block: &BlockRef) -> Result<(), BlockFailure> {
        let blocks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match blocks.get(&(block.tenant.clone(), block.meta.ulid)) {
            None => Ok(()),
            Some(reason) => Err(BlockFailure::new(block, Trouble::Damaged(reason.clone()))),
        }
    }
}
