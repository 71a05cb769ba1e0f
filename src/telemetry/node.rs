//! What the node holds, asked at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

use crate::node::Node;

/// Collects the node's own figures, under Cortex's names.
#[derive(Debug)]
pub struct NodeCollector(pub Arc<Node>);

impl Collector for NodeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = self.0.stats();
        let gauges = [
            ("cortex_ingester_memory_series", "Series in memory", stats.memory_series),
            ("cortex_ingester_memory_users", "Tenants with series in memory", stats.memory_tenants),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
