//! Metric metadata: type, help and unit, as senders report them from time to time.
//!
//! Kept in memory only, where it came in: senders repeat it every minute, and nothing is computed from it. Whoever asks
//! gets what all nodes know.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use gyre_ring::TenantId;

use super::limits::Limits;
use crate::api::push::decode::WriteBatch;

/// Metadata by metric name.
pub type ByMetric = BTreeMap<String, Vec<MetricMetadata>>;

/// What is known of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricMetadata {
    /// `counter`, `gauge` and so on.
    pub metric_type: Cow<'static, str>,
    /// Help text.
    pub help: String,
    /// Unit.
    pub unit: String,
}

/// The metadata that senders have reported to this node, by tenant.
#[derive(Default)]
pub struct Metadata {
    tenants: RwLock<HashMap<TenantId, Arc<TenantMetadata>>>,
}

impl Metadata {
    /// Takes the metadata of a request. What exceeds the tenant's limits is counted, by reason.
    pub fn add(&self, tenant: &TenantId, batch: &WriteBatch, limits: &Limits) -> Vec<(&'static str, u64)> {
        if batch.metadata.is_empty() {
            return Vec::new();
        }
        let known = self.of(tenant).unwrap_or_else(|| {
            let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
            tenants.entry(tenant.clone()).or_default().clone()
        });
        known.add(batch, limits)
    }

    /// The metadata of one metric, or of all.
    pub fn get(&self, tenant: &TenantId, metric: Option<&str>) -> ByMetric {
        self.of(tenant).map(|metadata| metadata.get(metric)).unwrap_or_default()
    }

    fn of(&self, tenant: &TenantId) -> Option<Arc<TenantMetadata>> {
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }
}

/// Names of metric types, by their number in the remote-write protocol.
const TYPES: [&str; 8] =
    ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

/// One tenant's metadata.
#[derive(Default)]
struct TenantMetadata {
    by_metric: Mutex<ByMetric>,
}

impl TenantMetadata {
    fn add(&self, batch: &WriteBatch, limits: &Limits) -> Vec<(&'static str, u64)> {
        let over = |count: usize, max: u64| max > 0 && count as u64 >= max;
        let (mut over_user, mut over_metric) = (0, 0);
        let mut by_metric = self.by_metric.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in &batch.metadata {
            let text = |range| batch.metadata_text(range).to_owned();
            let kind =
                usize::try_from(entry.metric_type).ok().and_then(|n| TYPES.get(n)).unwrap_or(&TYPES[0]);
            let new = MetricMetadata {
                metric_type: (*kind).into(),
                help: text(&entry.help),
                unit: text(&entry.unit),
            };
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

    fn get(&self, metric: Option<&str>) -> ByMetric {
        let by_metric = self.by_metric.lock().unwrap_or_else(PoisonError::into_inner);
        match metric {
            None => by_metric.clone(),
            Some(metric) => {
                by_metric.get_key_value(metric).map(|(k, v)| (k.clone(), v.clone())).into_iter().collect()
            }
        }
    }
}
