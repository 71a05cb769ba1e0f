//! What is counted when windows are shipped.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What is counted.
#[derive(Clone, Debug, Default)]
pub struct ShipMetrics {
    pub(super) blocks: Counter,
    pub(super) bytes: Counter,
    pub(super) failures: Counter,
    pub(super) series_removed: Counter,
    pub(super) late_seconds: Gauge,
}

impl ShipMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        for (name, help, counter) in [
            ("gyre_ship_blocks", "Blocks of heads that were uploaded", &self.blocks),
            ("gyre_ship_bytes", "Bytes of blocks of heads that were uploaded", &self.bytes),
            (
                "gyre_ship_failures",
                "Windows of heads that could not be shipped when it was tried",
                &self.failures,
            ),
            (
                "gyre_head_series_removed",
                "Series of heads that were forgotten: they have stopped, and blocks have all of them",
                &self.series_removed,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        let help = "How long the window of a head has been due that has been due longest";
        registry.register("gyre_ship_late_seconds", help, self.late_seconds.clone());
    }
}
