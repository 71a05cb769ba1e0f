//! Repair: a replica gets the batches that it missed from a peer that holds them (protocol rule 7).
//!
//! - [`give`]: the peer reads them from its log.
//! - [`take`]: the replica applies and logs them.
//! - [`repair`]: who notices what is missing.
//! - `wire`: batches in a stream of bytes.
//!
//! A batch in a log lacks the samples that its holder had before, from other batches. So whoever pulls takes *all* that
//! the holder has and he lacks, never a choice of it.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

pub mod give;
pub mod repair;
pub mod take;
mod wire;

/// What is counted.
#[derive(Clone, Debug, Default)]
pub struct PullMetrics {
    bytes: Counter,
    ended_bytes: Counter,
}

impl PullMetrics {
    /// Registers them.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Bytes of missed batches that came from other replicas, of segments that take writes";
        registry.register("gyre_pulled_bytes", help, self.bytes.clone());
        let help = "The same of segments that have ended";
        registry.register("gyre_pulled_ended_bytes", help, self.ended_bytes.clone());
    }

    fn count(&self, has_ended: bool, bytes: usize) {
        if has_ended { &self.ended_bytes } else { &self.bytes }.inc_by(bytes as u64);
    }
}
