//! What the node holds, asked at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::node::handle::NodeHandle;

/// Collects the node's own figures, under Cortex's and Prometheus's names.
#[derive(Debug)]
pub struct NodeCollector(pub Arc<NodeHandle>);

impl Collector for NodeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // Before the node is there it has no figures.
        let Ok(node) = self.0.get() else { return Ok(()) };
        let (stats, health) = (node.stats(), node.health());
        let gauges = [
            ("cortex_ingester_memory_series", "Series in memory", stats.memory_series),
            ("cortex_ingester_memory_users", "Tenants with series in memory", stats.memory_tenants),
            ("prometheus_engine_queries", "Queries that run or wait", stats.queries),
            (
                "gyre_under_replicated_shards",
                "Shards of which a replica is away, lost, damaged or behind, as this node knows",
                health.shards_under_replicated,
            ),
            (
                "gyre_under_replicated_ended_segments",
                "Segments with data that take no writes and lack a replica, as this node knows",
                health.ended_segments_under_replicated,
            ),
            (
                "gyre_missing_batches",
                "Batches that this node's replicas lack and others hold",
                health.missing_batches,
            ),
            (
                "gyre_unobtainable_batches",
                "Missing batches that no other replica has in its log any more",
                health.unobtainable_batches,
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let counters = [
            ("gyre_wal_written_bytes", "Bytes written to the write-ahead log", stats.wal_bytes),
            ("gyre_wal_commits", "Writes to the log, each with its fsync", stats.wal_commits),
            ("gyre_wal_write_failures", "Failed writes to the log", stats.wal_write_failures),
            ("gyre_wal_damaged", "Damaged stretches of the log found at start", stats.wal_damaged),
            ("gyre_wal_torn", "Torn writes cut off the log at start", stats.wal_torn),
            ("gyre_snapshots", "Snapshots of shards", stats.snapshots),
            ("gyre_snapshot_failures", "Failed snapshots of shards", stats.snapshot_failures),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        #[cfg(feature = "count-allocations")]
        {
            let counter = ConstCounter::new(super::allocations::count());
            let (name, help) = ("gyre_heap_allocations", "Heap allocations since the start");
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
