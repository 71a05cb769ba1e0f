//! What a tenant may do. Names and meanings are Cortex's, so that its `limits:` and `overrides:` move over.
//!
//! Two defaults differ on purpose: the ingestion rate and the series of a metric are not limited, so that a first run
//! is never refused; and samples may come out of order by an hour, so that a sender that catches up loses nothing.

use std::collections::HashMap;
use std::sync::Arc;

use gyre_ring::TenantId;

use super::canonical::LabelLimits;

/// The limits of one tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Samples and metadata entries a second, on average; 0 is no limit.
    pub ingestion_rate: f64,
    /// Samples and metadata entries at once.
    pub ingestion_burst_size: u64,
    /// Active series; 0 is no limit.
    pub max_series_per_user: u64,
    /// Active series of one metric name; 0 is no limit.
    pub max_series_per_metric: u64,
    /// What label sets may look like.
    pub labels: LabelLimits,
    /// Buckets of a native histogram, on both sides together; one with more is stored at a lower resolution, if that
    /// helps. 0 is no limit.
    pub max_native_histogram_buckets: usize,
    /// How far in the future of the wall clock a sample may lie, in milliseconds.
    pub creation_grace_period_ms: i64,
    /// How far behind the tenant's newest sample a sample may lie, in milliseconds.
    pub out_of_order_time_window_ms: i64,
    /// Metric names with metadata; 0 is no limit.
    pub max_metadata_per_user: u64,
    /// Metadata entries of one metric name; 0 is no limit.
    pub max_metadata_per_metric: u64,
    /// Bytes of a metadata entry's metric name, help or unit, each.
    pub max_metadata_length: usize,
    /// Different series that a query may read; 0 is no limit.
    pub max_fetched_series_per_query: u64,
    /// How long the time range of a query, and of the samples it reads, may be, in milliseconds; 0 is no limit.
    pub max_query_length_ms: i64,
    /// Whether queries and listings are answered without data that cannot be read completely, with a warning, instead
    /// of failing.
    pub query_partial_data: bool,
    /// The tenant's shards, a power of two; 0: as many as its series need.
    pub tenant_shards: u64,
    /// Series of a shard beyond which the tenant's shards double, unless their number is given; 0 is no limit.
    pub tenant_shard_series: u64,
    /// How old the samples of a block become before it is removed, in milliseconds; 0 keeps all.
    pub compactor_blocks_retention_period_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ingestion_rate: 0.0,
            ingestion_burst_size: 50_000,
            max_series_per_user: 5_000_000,
            max_series_per_metric: 0,
            labels: LabelLimits {
                names_per_series_max: 30,
                name_bytes_max: 1024,
                value_bytes_max: 2048,
                labels_bytes_max: 0,
                enforce_metric_name: true,
            },
            max_native_histogram_buckets: 0,
            creation_grace_period_ms: 600_000,
            out_of_order_time_window_ms: 3_600_000,
            max_metadata_per_user: 8000,
            max_metadata_per_metric: 10,
            max_metadata_length: 1024,
            max_fetched_series_per_query: 0,
            max_query_length_ms: 0,
            query_partial_data: false,
            tenant_shards: 0,
            tenant_shard_series: 1_000_000,
            compactor_blocks_retention_period_ms: 0,
        }
    }
}

/// The limits of all tenants: common ones, and whole sets for the tenants that differ.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    common: Arc<Limits>,
    by_tenant: HashMap<TenantId, Arc<Limits>>,
}

impl Overrides {
    /// `by_tenant` holds complete sets: the common limits with the tenant's own applied on top.
    pub fn new(common: Limits, by_tenant: impl IntoIterator<Item = (TenantId, Limits)>) -> Self {
        let by_tenant = by_tenant.into_iter().map(|(tenant, limits)| (tenant, Arc::new(limits))).collect();
        Self { common: Arc::new(common), by_tenant }
    }

    /// The limits of a tenant.
    pub fn of(&self, tenant: &TenantId) -> &Arc<Limits> {
        self.by_tenant.get(tenant).unwrap_or(&self.common)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_without_overrides_has_the_common_limits() {
        let tenant = |id| TenantId::new(id).unwrap();
        let common = Limits { max_series_per_user: 7, ..Limits::default() };
        let big = Limits { max_series_per_user: 9, ..common.clone() };
        let overrides = Overrides::new(common, [(tenant("big"), big)]);
        assert_eq!(overrides.of(&tenant("big")).max_series_per_user, 9);
        assert_eq!(overrides.of(&tenant("small")).max_series_per_user, 7);
    }
}
