//! Segments that have lost replicas for good, as a node sees them: [`gyre_protocol::lost`] has the rules, the cluster's
//! state the documents.

use gyre_ring::{Replica, Span};

use crate::cluster::ClusterState;

/// The replicas of a segment that count as sealed because they are lost, and too few are left to seal it without them.
pub fn counted_as_sealed(state: &ClusterState, span: &Span) -> Vec<Replica> {
    state.disks.counted_as_sealed(span)
}

/// Segments as they can still be read, and what is to be said of those that have lost data.
pub fn readable(state: &ClusterState, spans: &[Span]) -> (Vec<Span>, Vec<String>) {
    let (readable, losses) = state.disks.readable(spans);
    let warnings = losses.into_iter().map(|loss| {
        let (shard, epoch) = (&loss.segment.shard, loss.segment.epoch.0);
        format!(
            "data of shard {shard} written under epoch {epoch} may be missing: {} of its {} replicas lost their disks",
            loss.lost, loss.replicas
        )
    });
    (readable, warnings.collect())
}

#[cfg(test)]
mod tests {
    use gyre_ring::{
        BootId, Chain, ClusterId, EpochDocument, HashSeed, Incarnation, Member, NodeId, Proposer, Role,
        ShardCount, TenantId, Weight, Zone,
    };

    use super::*;
    use crate::cluster::identity::ClusterFacts;

    /// A node with its first, second or further disk.
    fn member(name: &str, disk: u128) -> Member {
        let node = NodeId::new(name).unwrap();
        let incarnation = disk << 8 | u128::from(name.as_bytes()[0]);
        Member {
            zone: Zone::of_node(&node),
            node,
            incarnation: Incarnation(incarnation),
            weight: Weight::ORDINARY,
            roles: Role::ALL.to_vec(),
        }
    }

    /// What `a` acts upon after these documents.
    fn state(epochs: &[&[(&str, u128)]]) -> ClusterState {
        let mut chain = Chain::new([]).unwrap();
        for members in epochs {
            let members: Vec<Member> = members.iter().map(|(name, disk)| member(name, *disk)).collect();
            let proposer = Proposer { node: members[0].node.clone(), proposal: BootId(1) };
            let document = match chain.newest() {
                None => EpochDocument::first(proposer, 3, ShardCount::ONE, members),
                Some(newest) => newest.next(proposer, members),
            };
            chain.push(document.unwrap()).unwrap();
        }
        let facts = ClusterFacts { cluster: ClusterId(1), seed: HashSeed(1) };
        ClusterState::new(facts, member("a", 9).replica(), chain).unwrap()
    }

    fn spans(state: &ClusterState) -> Vec<Span> {
        state.spans(&TenantId::fake()).to_vec()
    }

    #[test]
    fn a_segment_that_lost_one_of_three_replicas_needs_the_other_two() {
        let state = state(&[&[("a", 1), ("b", 1), ("c", 1)], &[("a", 2), ("b", 1), ("c", 1)]]);
        let spans = spans(&state);
        assert_eq!(readable(&state, &spans), (spans.clone(), Vec::new()));
        assert_eq!(counted_as_sealed(&state, &spans[0]), []);
    }

    #[test]
    fn a_segment_that_lost_two_of_three_is_read_from_the_last_with_a_warning() {
        let state = state(&[&[("a", 1), ("b", 1), ("c", 1)], &[("a", 2), ("b", 2), ("c", 1)]]);
        let spans = spans(&state);
        let (readable, warnings) = readable(&state, &spans);
        assert_eq!(readable[0].replicas, [member("c", 1).replica()]);
        assert_eq!(readable[1], spans[1]);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("2 of its 3 replicas"), "{warnings:?}");
        let mut sealed = counted_as_sealed(&state, &spans[0]);
        sealed.sort();
        assert_eq!(sealed, [member("a", 1).replica(), member("b", 1).replica()]);
    }

    #[test]
    fn of_two_replicas_the_one_that_is_left_is_complete_and_seals_alone() {
        let state = state(&[&[("a", 1), ("b", 1)], &[("a", 2), ("b", 1)]]);
        let spans = spans(&state);
        assert_eq!(
            readable(&state, &spans),
            (spans.clone(), Vec::new()),
            "both held every acknowledged batch"
        );
        assert_eq!(counted_as_sealed(&state, &spans[0]), [member("a", 1).replica()]);
    }

    #[test]
    fn a_node_that_was_lost_and_has_left_afterwards_is_still_lost() {
        let state = state(&[&[("a", 1), ("b", 1), ("c", 1)], &[("a", 2), ("b", 2), ("c", 1)], &[("c", 1)]]);
        let spans = spans(&state);
        let (readable, warnings) = readable(&state, &spans);
        assert_eq!((readable[0].replicas.as_slice(), warnings.len()), (&[member("c", 1).replica()][..], 1));
        assert_eq!(counted_as_sealed(&state, &spans[0]).len(), 2);
        assert_eq!(counted_as_sealed(&state, &spans[1]), [], "those that left with their disks must seal");
    }

    #[test]
    fn a_segment_without_any_replica_is_not_waited_for() {
        let state = state(&[&[("a", 1)], &[("a", 2)]]);
        let spans = spans(&state);
        let (readable, warnings) = readable(&state, &spans);
        assert_eq!((readable.as_slice(), warnings.len()), (&spans[1..], 1));
        assert_eq!(counted_as_sealed(&state, &spans[0]), [member("a", 1).replica()]);
    }
}
