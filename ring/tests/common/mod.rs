//! Members for tests.

use gyre_ring::{Incarnation, Member, NodeId, Role, ShardCount, TenantId, Weight, Zone};

/// A member with all roles.
pub fn member(node: &str, zone: &str, weight: u16) -> Member {
    let node = NodeId::new(node).expect("a node id");
    Member {
        incarnation: Incarnation(u128::from(gyre_ring::HashSeed(7).key(node.as_str().as_bytes()).0 as u64)),
        zone: Zone::new(zone).unwrap_or_else(|| Zone::of_node(&node)),
        weight: Weight::new(weight).expect("a weight"),
        roles: Role::ALL.to_vec(),
        node,
    }
}

/// A tenant.
pub fn tenant(id: &str) -> TenantId {
    TenantId::new(id).expect("a tenant id")
}

/// A number of shards.
pub fn count(shards: u32) -> ShardCount {
    ShardCount::new(shards).expect("a power of two")
}
