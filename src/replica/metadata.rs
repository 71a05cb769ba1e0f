//! Metric metadata across nodes: each has what came in through it, so whoever asks gets what all have.
//!
//! What may go wrong: a node does not answer; then what only it knows is left out, until senders repeat it elsewhere.

use std::time::Duration;

use futures_util::future::join_all;
use gyre_ring::{Replica, TenantId};

use super::call::{self, head_for};
use super::local::Replicas;
use super::messages::{METADATA, MetadataOnWire, MetadataReply, MetadataRequest};
use crate::tenant::metadata::{ByMetric, MetricMetadata};

/// How long another node may take.
const ANSWER_MAX: Duration = Duration::from_secs(2);

impl Replicas {
    /// What the other members know of a tenant's metric, or of all its metrics.
    pub async fn metadata_of_others(&self, tenant: &TenantId, metric: Option<&str>) -> ByMetric {
        let state = self.cluster.state();
        let state = &*state;
        let members = state.newest().members.iter().map(|member| member.replica());
        let others: Vec<Replica> = members.filter(|member| member != self.cluster.own()).collect();
        let asked = others.iter().map(|replica| async move {
            let peer = self.cluster.peer(replica).filter(|_| self.cluster.is_alive(replica))?;
            let request = MetadataRequest {
                head: head_for(state, replica),
                tenant: tenant.to_string(),
                metric: metric.map(str::to_owned),
            };
            let answer = call::control(&peer, METADATA, &request, ANSWER_MAX).await;
            answer
                .inspect_err(|error| tracing::debug!(peer = %replica, %error, "no metadata from a peer"))
                .ok()
        });
        let mut all = ByMetric::new();
        for MetadataReply(metrics) in join_all(asked).await.into_iter().flatten() {
            for (metric, entries) in metrics {
                let known = all.entry(metric).or_default();
                known.extend(entries.into_iter().map(|MetadataOnWire(metric_type, help, unit)| {
                    MetricMetadata { metric_type: metric_type.into(), help, unit }
                }));
            }
        }
        all
    }
}

/// What this node knows, for another one.
pub fn on_wire(metadata: ByMetric) -> MetadataReply {
    let entry =
        |entry: MetricMetadata| MetadataOnWire(entry.metric_type.into_owned(), entry.help, entry.unit);
    MetadataReply(
        metadata.into_iter().map(|(metric, all)| (metric, all.into_iter().map(entry).collect())).collect(),
    )
}
