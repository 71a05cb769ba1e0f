//! Metric metadata: type, help and unit, as senders report them from time to time.
//!
//! Kept in memory only: senders repeat it every minute, and nothing is computed from it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::MetricMetadata;
use crate::api::push::decode::WriteBatch;
use crate::tenant::limits::Limits;

type ByMetric = BTreeMap<String, Vec<MetricMetadata>>;

/// Names of metric types, by their number in the remote-write protocol.
const TYPES: [&str; 8] =
    ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

/// One tenant's metadata.
#[derive(Default)]
pub(super) struct TenantMetadata {
    by_metric: Mutex<ByMetric>,
}

impl TenantMetadata {
    /// Takes the metadata of a request. What exceeds the tenant's limits is counted.
    pub(super) fn add(&self, batch: &WriteBatch, limits: &Limits) -> Vec<(&'static str, u64)> {
        let over = |count: usize, max: u64| max > 0 && count as u64 >= max;
        let (mut over_user, mut over_metric) = (0, 0);
        let mut by_metric = self.by_metric.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in &batch.metadata {
            let text = |range| batch.metadata_text(range).to_owned();
            let kind =
                usize::try_from(entry.metric_type).ok().and_then(|n| TYPES.get(n)).unwrap_or(&TYPES[0]);
            let new = MetricMetadata { metric_type: kind, help: text(&entry.help), unit: text(&entry.unit) };
            let metric = batch.metadata_text(&entry.metric_family);
            if !by_metric.contains_key(metric) && over(by_metric.len(), limits.max_metadata_per_user) {
                over_user += 1;
                continue;
            }
            let known = by_metric.entry(metric.to_owned()).or_default();
            if known.contains(&new) {
                continue;
            }
            if over(known.len(), limits.max_metadata_per_metric) {
                over_metric += 1;
                continue;
            }
            known.push(new);
        }
        [("per_user_metadata_limit", over_user), ("per_metric_metadata_limit", over_metric)]
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// The metadata of one metric, or of all.
    pub(super) fn get(&self, metric: Option<&str>) -> ByMetric {
        let by_metric = self.by_metric.lock().unwrap_or_else(PoisonError::into_inner);
        match metric {
            None => by_metric.clone(),
            Some(metric) => {
                by_metric.get_key_value(metric).map(|(k, v)| (k.clone(), v.clone())).into_iter().collect()
            }
        }
    }
}
