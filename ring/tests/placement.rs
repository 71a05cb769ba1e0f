//! Placement: distinct nodes and zones, little movement, balance, and no drift.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{count, member, tenant};
use gyre_ring::{Member, Placement, Role, ShardIndex, TenantId};
use proptest::prelude::*;

const SHARDS: u32 = 256;

fn place(members: &[Member], factor: usize, id: &str, shards: u32, index: u32) -> Vec<String> {
    let placement = Placement::new(members, Role::Write, factor);
    let held = placement.of(&tenant(id), count(shards), ShardIndex(index));
    held.into_iter().map(|member| member.node.to_string()).collect()
}

/// The replicas of all shards of a tenant.
fn all(members: &[Member], factor: usize) -> Vec<BTreeSet<String>> {
    let placement = Placement::new(members, Role::Write, factor);
    let of = |index| placement.of(&tenant("acme"), count(SHARDS), ShardIndex(index));
    (0..SHARDS).map(|index| of(index).iter().map(|member| member.node.to_string()).collect()).collect()
}

/// Nodes with numbers, each in one of some zones (or in its own), with weights.
fn members() -> impl Strategy<Value = Vec<Member>> {
    let node = (0u32..60, 0u32..5, prop_oneof![Just(100u16), 20u16..300]);
    (proptest::collection::vec(node, 1..12), any::<bool>()).prop_map(|(nodes, zones)| {
        let mut by_name = BTreeMap::new();
        for (number, zone, weight) in nodes {
            let zone = if zones { format!("zone-{zone}") } else { String::new() };
            by_name.insert(number, member(&format!("node-{number}"), &zone, weight));
        }
        by_name.into_values().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn replicas_are_distinct_nodes_in_as_many_zones_as_possible(members in members(), factor in 1usize..5) {
        let zones: BTreeSet<_> = members.iter().map(|member| member.zone.clone()).collect();
        let placement = Placement::new(&members, Role::Write, factor);
        for index in 0..SHARDS {
            let held = placement.of(&tenant("acme"), count(SHARDS), ShardIndex(index));
            prop_assert_eq!(held.len(), factor.min(members.len()));
            let nodes: BTreeSet<_> = held.iter().map(|member| &member.node).collect();
            prop_assert_eq!(nodes.len(), held.len());
            let used: BTreeSet<_> = held.iter().map(|member| &member.zone).collect();
            prop_assert!(used.len() >= held.len().min(zones.len()).min(2));
            if factor <= 3 || zones.len() >= factor {
                prop_assert_eq!(used.len(), held.len().min(zones.len()));
            }
        }
    }

    #[test]
    fn one_join_or_leave_changes_at_most_one_replica_of_a_shard(members in members(), factor in 1usize..4) {
        let after = all(&members, factor);
        for left_out in 0..members.len() {
            let mut fewer = members.clone();
            fewer.remove(left_out);
            for (before, after) in all(&fewer, factor).iter().zip(&after) {
                prop_assert!(after.difference(before).count() <= 1, "{before:?} {after:?}");
                prop_assert!(before.difference(after).count() <= 1, "{before:?} {after:?}");
            }
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter(members in members(), turn in 0usize..12) {
        let mut turned = members.clone();
        turned.rotate_left(turn % members.len());
        prop_assert_eq!(all(&members, 3), all(&turned, 3));
    }

    #[test]
    fn a_split_leaves_the_first_of_two_shards_where_it_was(members in members(), index in 0u32..64) {
        prop_assert_eq!(place(&members, 3, "acme", 64, index), place(&members, 3, "acme", 128, 2 * index));
    }
}

#[test]
fn ordinary_nodes_hold_within_a_fifth_of_their_fair_share() {
    for nodes in [3, 4, 5, 9, 20] {
        let members: Vec<Member> = (0..nodes).map(|n| member(&format!("node-{n}"), "", 100)).collect();
        let placement = Placement::new(&members, Role::Write, 3);
        let mut load: BTreeMap<String, f64> = BTreeMap::new();
        for id in ["a", "b", "c", "d"] {
            for index in (0..1024).map(ShardIndex) {
                for held in placement.of(&tenant(id), count(1024), index) {
                    *load.entry(held.node.to_string()).or_default() += 1.0;
                }
            }
        }
        let fair = 4.0 * 1024.0 * 3.0 / f64::from(nodes);
        for (node, load) in load {
            assert!((load / fair - 1.0).abs() < 0.2, "{node} of {nodes}: {load} where {fair} is fair");
        }
    }
}

#[test]
fn weight_is_a_share_of_the_ring() {
    let members = [member("small", "", 100), member("large", "", 300)];
    let placement = Placement::new(&members, Role::Write, 1);
    let shares: BTreeMap<_, _> =
        placement.shares().map(|(member, share)| (member.node.to_string(), share)).collect();
    assert!((shares["large"] - 0.75).abs() < 0.05, "{shares:?}");
    assert!((shares.values().sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn members_without_the_role_hold_nothing() {
    let mut members = vec![member("a", "", 100), member("b", "", 100), member("c", "", 100)];
    members[1].roles = vec![Role::Read];
    assert!(all(&members, 3).iter().all(|held| held.len() == 2 && !held.contains("b")));
}

// Computed from the description in `tokens.rs` by a program of its own, with another implementation of the hash.
#[test]
fn placements_never_drift() {
    let five: Vec<Member> = (0..5).map(|n| member(&format!("node-{n}"), "", 100)).collect();
    for (id, shards, index, expected) in [
        ("fake", 1, 0, ["node-1", "node-2", "node-3"]),
        ("fake", 4, 0, ["node-1", "node-2", "node-3"]),
        ("fake", 4, 1, ["node-0", "node-2", "node-1"]),
        ("fake", 4, 2, ["node-0", "node-3", "node-4"]),
        ("fake", 4, 3, ["node-4", "node-1", "node-3"]),
        ("acme", 8, 5, ["node-2", "node-4", "node-0"]),
        ("acme", 65536, 65535, ["node-3", "node-1", "node-4"]),
    ] {
        assert_eq!(place(&five, 3, id, shards, index), expected, "{id} {index} of {shards}");
    }
    let zones = [
        member("a1", "a", 100),
        member("a2", "a", 100),
        member("b1", "b", 100),
        member("b2", "b", 50),
        member("c1", "c", 200),
        member("c2", "c", 100),
    ];
    for (id, shards, index, expected) in [
        ("fake", 1, 0, ["c2", "a1", "b1"]),
        ("acme", 2, 1, ["a1", "c1", "b1"]),
        ("acme", 8, 5, ["a1", "c1", "b1"]),
        ("acme", 8, 6, ["c1", "a2", "b1"]),
    ] {
        assert_eq!(place(&zones, 3, id, shards, index), expected, "{id} {index} of {shards}");
    }
    let two_zones = [zones[0].clone(), zones[1].clone(), zones[2].clone(), member("b2", "b", 100)];
    for (index, expected) in
        [["a1", "b2", "b1"], ["b1", "a1", "b2"], ["a1", "b1", "b2"], ["b2", "a2", "b1"]].iter().enumerate()
    {
        assert_eq!(place(&two_zones, 3, "acme", 4, index as u32), *expected, "{index} of 4");
    }
}

#[test]
fn the_changed_sets_are_those_that_shards_change_to() {
    let names = ["a", "b", "c", "d", "e"];
    let members: Vec<Member> = names.iter().map(|name| member(name, "", 100)).collect();
    let before = Placement::new(&members[..4], Role::Write, 3);
    let after = Placement::new(&members, Role::Write, 3);
    let changed = after.sets_changed_from(&before);
    // One of the three is the one that joined, and the two others are any two of the four: six sets.
    assert_eq!(changed.len(), 6);
    assert!(changed.iter().all(|set| set.iter().any(|replica| replica.node.as_str() == "e")));
    let replicas = |placement: &Placement, tenant: &TenantId, index| {
        let mut set: Vec<_> =
            placement.of(tenant, count(16), ShardIndex(index)).into_iter().map(Member::replica).collect();
        set.sort();
        set
    };
    for number in 0..100 {
        let tenant = tenant(&format!("tenant-{number}"));
        for index in 0..16 {
            let (old, new) = (replicas(&before, &tenant, index), replicas(&after, &tenant, index));
            assert!(old == new || changed.contains(&new), "{tenant} {index}");
        }
    }
    assert!(after.sets_changed_from(&after).is_empty());
}
