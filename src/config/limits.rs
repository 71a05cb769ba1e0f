//! The tenants' limits by their names in the file, which are Cortex's.

use gyre_ring::ShardCount;

use super::values::{DurationMs, Value};
use crate::tenant::limits::Limits;

/// One limit.
pub(super) struct Limit {
    /// Its key under `limits:` and under a tenant in `overrides:`.
    pub(super) name: &'static str,
    pub(super) apply: fn(&mut Limits, &str) -> Result<(), String>,
    pub(super) show: fn(&Limits) -> String,
}

macro_rules! limit {
    ($name:literal, $($field:ident).+) => {
        Limit {
            name: $name,
            apply: |limits, text| {
                limits.$($field).+ = Value::parse(text)?;
                Ok(())
            },
            show: |limits| Value::show(&limits.$($field).+),
        }
    };
}

macro_rules! duration_limit {
    ($name:literal, $field:ident) => {
        Limit {
            name: $name,
            apply: |limits, text| {
                limits.$field = DurationMs::parse(text)?.0;
                Ok(())
            },
            show: |limits| DurationMs(limits.$field).show(),
        }
    };
}

/// All limits, in the order of `/config`.
pub(super) static LIMITS: [Limit; 21] = [
    limit!("ingestion_rate", ingestion_rate),
    limit!("ingestion_burst_size", ingestion_burst_size),
    limit!("max_series_per_user", max_series_per_user),
    limit!("max_series_per_metric", max_series_per_metric),
    limit!("max_label_names_per_series", labels.names_per_series_max),
    limit!("max_label_name_length", labels.name_bytes_max),
    limit!("max_label_value_length", labels.value_bytes_max),
    limit!("max_labels_size_bytes", labels.labels_bytes_max),
    limit!("enforce_metric_name", labels.enforce_metric_name),
    limit!("max_native_histogram_buckets", max_native_histogram_buckets),
    duration_limit!("creation_grace_period", creation_grace_period_ms),
    duration_limit!("out_of_order_time_window", out_of_order_time_window_ms),
    limit!("max_metadata_per_user", max_metadata_per_user),
    limit!("max_metadata_per_metric", max_metadata_per_metric),
    limit!("max_metadata_length", max_metadata_length),
    limit!("max_fetched_series_per_query", max_fetched_series_per_query),
    duration_limit!("max_query_length", max_query_length_ms),
    limit!("query_partial_data", query_partial_data),
    Limit {
        name: "tenant_shards",
        apply: |limits, text| {
            let count: u64 = Value::parse(text)?;
            let is_one = u32::try_from(count).is_ok_and(|count| ShardCount::new(count).is_some());
            if count > 0 && !is_one {
                return Err(format!("must be 0 or a power of two up to {}", ShardCount::MAX));
            }
            limits.tenant_shards = count;
            Ok(())
        },
        show: |limits| Value::show(&limits.tenant_shards),
    },
    limit!("tenant_shard_series", tenant_shard_series),
    duration_limit!("compactor_blocks_retention_period", compactor_blocks_retention_period_ms),
];
