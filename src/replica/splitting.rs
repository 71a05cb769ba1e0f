//! How many shards a tenant should have: as many as its operator says, or twice as many once a shard is too large.
//!
//! A shard is one actor on one core, in one block a window; a tenant that grows needs more of them. The next document says
//! so, the segments end, and those of the new shards begin: as with any other change of who holds what, nothing is copied
//! and nobody waits (protocol rule 5).
//!
//! One node proposes it for a tenant: the first of its first shard's replicas that is alive. What may go wrong: two nodes
//! think that they are, or have different settings. Documents follow one another then, each of which is right by itself.

use std::sync::Arc;
use std::time::Duration;

use gyre_ring::{ShardCount, ShardIndex};

use super::local::Replicas;
use crate::tenant::limits::Limits;

/// How often it is looked.
const ROUND: Duration = Duration::from_secs(10);

/// Nobody gets more shards without having been given them: each costs every write a message.
const SHARDS_MAX: u32 = 256;

/// How many shards a tenant should have that has `now`, of which a node holds `shards_here` with `series_here` series.
pub fn wanted(now: ShardCount, shards_here: u64, series_here: u64, limits: &Limits) -> ShardCount {
    if let Some(given) = u32::try_from(limits.tenant_shards).ok().and_then(ShardCount::new) {
        return given;
    }
    let is_full = limits.tenant_shard_series > 0 && series_here > limits.tenant_shard_series * shards_here;
    match ShardCount::new(now.get() * 2) {
        Some(twice) if is_full && now.get() < SHARDS_MAX => twice,
        _ => now,
    }
}

impl Replicas {
    /// Has tenants split, now and then. Runs as long as the node.
    pub async fn split_tenants(self: Arc<Self>) {
        loop {
            tokio::time::sleep(ROUND).await;
            let state = self.cluster.state();
            for tenant in self.shards.tenants() {
                let id = &tenant.state.id;
                let spans = state.spans(id);
                let open = spans.iter().filter(|span| span.ended.is_none());
                let first = open.clone().find(|span| span.segment.shard.index == ShardIndex(0));
                let chosen = first
                    .and_then(|span| span.replicas.iter().find(|replica| self.cluster.is_alive(replica)));
                if chosen != Some(self.cluster.own()) {
                    continue;
                }
                let here = open.filter(|span| self.shards.find(&span.segment).is_some()).count() as u64;
                let now = state.newest().shard_count(id);
                let wanted = wanted(now, here, tenant.state.series(), self.shards.limits(id));
                if wanted != now {
                    self.cluster.split(id.clone(), wanted).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_double_when_they_are_full_and_are_as_many_as_was_said() {
        let limits = |shards, series| Limits {
            tenant_shards: shards,
            tenant_shard_series: series,
            ..Limits::default()
        };
        let count = |count| ShardCount::new(count).unwrap();
        let wanted = |now, here, series, limits| wanted(count(now), here, series, &limits).get();
        assert_eq!(wanted(2, 2, 2000, limits(0, 1000)), 2);
        assert_eq!(wanted(2, 2, 2001, limits(0, 1000)), 4);
        assert_eq!(wanted(4, 1, 1001, limits(0, 1000)), 8, "of the shards that are here");
        assert_eq!(wanted(2, 2, u64::MAX, limits(0, 0)), 2, "never");
        assert_eq!(wanted(256, 1, u64::MAX, limits(0, 1)), 256);
        assert_eq!(wanted(2, 2, 1_000_000, limits(2, 1)), 2, "pinned");
        assert_eq!(wanted(2, 2, 0, limits(16, 0)), 16);
        assert_eq!(wanted(16, 2, 0, limits(4, 0)), 4, "fewer, too");
    }
}
