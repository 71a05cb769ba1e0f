//! The tenants this process has met, each with its limits, its rate and its counters.
//!
//! A tenant is found by the header's text, without allocating; it is made on its first write. Their number is
//! bounded, since anyone who may write can invent names.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use gyre_ring::{TenantId, TenantIdError};

use super::limits::{Limits, Overrides};
use super::rate::TokenBucket;
use crate::telemetry::tenant::{TenantCounters, TenantMetrics};

/// Tenants one process serves. Each takes a few kilobytes for its counters.
pub const TENANTS_MAX: usize = 50_000;

/// One tenant, as the write path sees it.
#[derive(Debug)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its limits.
    pub limits: Arc<Limits>,
    /// What it has sent and what became of it.
    pub counters: TenantCounters,
    ingestion: TokenBucket,
}

/// A tenant has sent more than its rate allows.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("ingestion rate limit ({rate}) exceeded while adding {samples} samples and {metadata} metadata")]
pub struct RateLimited {
    /// Tokens a second.
    pub rate: f64,
    /// Samples of the refused request.
    pub samples: u64,
    /// Metadata entries of the refused request.
    pub metadata: u64,
}

/// Why a tenant could not be found or made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// Its id is not allowed.
    #[error(transparent)]
    InvalidId(#[from] TenantIdError),
    /// The process serves as many tenants as it can.
    #[error("too many tenants on this node (limit: {TENANTS_MAX})")]
    TooMany,
}

impl Tenant {
    /// Takes a request's samples and metadata from the tenant's ingestion rate.
    pub fn admit(&self, samples: u64, metadata: u64, now_ns: u64) -> Result<(), RateLimited> {
        if self.ingestion.try_take(samples.saturating_add(metadata), now_ns) {
            return Ok(());
        }
        Err(RateLimited { rate: self.ingestion.rate(), samples, metadata })
    }
}

/// All tenants met since the start.
#[derive(Debug)]
pub struct Tenants {
    overrides: Arc<Overrides>,
    metrics: TenantMetrics,
    met: RwLock<HashMap<Box<str>, Arc<Tenant>>>,
}

impl Tenants {
    /// No tenants yet.
    pub fn new(overrides: Arc<Overrides>, metrics: TenantMetrics) -> Self {
        Self { overrides, metrics, met: RwLock::default() }
    }

    /// The tenant of this id, made if need be.
    pub fn get_or_create(&self, id: &str) -> Result<Arc<Tenant>, TenantError> {
        if let Some(tenant) = self.met.read().unwrap_or_else(PoisonError::into_inner).get(id) {
            return Ok(Arc::clone(tenant));
        }
        let tenant_id = TenantId::new(id)?;
        let mut met = self.met.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = met.get(id) {
            return Ok(Arc::clone(tenant));
        }
        if met.len() >= TENANTS_MAX {
            return Err(TenantError::TooMany);
        }
        let limits = Arc::clone(self.overrides.of(&tenant_id));
        let tenant = Arc::new(Tenant {
            counters: self.metrics.of(&tenant_id),
            ingestion: TokenBucket::new(limits.ingestion_rate, limits.ingestion_burst_size),
            id: tenant_id,
            limits,
        });
        met.insert(id.into(), Arc::clone(&tenant));
        Ok(tenant)
    }

    /// Tenants met.
    pub fn len(&self) -> usize {
        self.met.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// True before the first write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
