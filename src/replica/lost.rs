//! Segments that have lost replicas for good.
//!
//! A node that came back without its disk is listed under another incarnation, and the one before can never answer
//! again. If so many replicas of a segment are gone that those that are left can neither seal it nor be read as a quorum,
//! waiting for them would be waiting for ever. Then those that are left count as all there are: nobody can gather
//! acknowledgements behind their backs, since the lost ones acknowledge nothing any more. What only the lost ones held
//! is gone, and whoever reads the segment is told so. Losing one of three replicas never comes to this.

use gyre_ring::{Quorum, Replica, Span};

use crate::cluster::ClusterState;

/// Whether a replica has lost its disk, as far as the documents say.
pub fn is_lost(state: &ClusterState, replica: &Replica) -> bool {
    let listed = state.newest().member(&replica.node);
    listed.is_some_and(|member| member.incarnation != replica.incarnation)
}

/// The replicas of a segment that count as sealed because they are lost, and too few are left to seal it without them.
pub fn counted_as_sealed(state: &ClusterState, span: &Span) -> Vec<Replica> {
    let lost: Vec<Replica> =
        span.replicas.iter().filter(|replica| is_lost(state, replica)).cloned().collect();
    let left = span.replicas.len() - lost.len();
    if left >= Quorum::of(span.replicas.len()).seal { Vec::new() } else { lost }
}

/// Segments as they can still be read, and what is to be said of those that have lost data.
pub fn readable(state: &ClusterState, spans: &[Span]) -> (Vec<Span>, Vec<String>) {
    let mut warnings = Vec::new();
    let left_of = |span: &Span| {
        let left: Vec<Replica> =
            span.replicas.iter().filter(|replica| !is_lost(state, replica)).cloned().collect();
        if left.len() >= Quorum::of(span.replicas.len()).read {
            return Some(span.clone());
        }
        let lost = span.replicas.len() - left.len();
        warnings.push(format!(
            "data of shard {} written under epoch {} may be missing: {lost} of its {} replicas lost their disks",
            span.segment.shard,
            span.segment.epoch.0,
            span.replicas.len()
        ));
        (!left.is_empty()).then(|| Span { replicas: left, ..span.clone() })
    };
    let readable = spans.iter().filter_map(left_of).collect();
    (readable, warnings)
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
    fn a_segment_without_any_replica_is_not_waited_for() {
        let state = state(&[&[("a", 1)], &[("a", 2)]]);
        let spans = spans(&state);
        let (readable, warnings) = readable(&state, &spans);
        assert_eq!((readable.as_slice(), warnings.len()), (&spans[1..], 1));
        assert_eq!(counted_as_sealed(&state, &spans[0]), [member("a", 1).replica()]);
    }
}
