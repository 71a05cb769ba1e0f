//! Replicas that are gone for good, and segments that hold nothing.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use gyre_protocol::{Disks, EmptyCheck, Rules, VectorReply};
use gyre_ring::{
    BatchId, BatchNumber, BatchSet, BootId, Chain, EpochDocument, Incarnation, Member, NodeId, Proposer,
    Role, ShardCount, Span, TenantId, Weight, Zone,
};

fn member((name, disk): (&str, u128)) -> Member {
    let node = NodeId::new(name).unwrap();
    let incarnation = Incarnation(disk << 8 | u128::from(name.as_bytes()[0]));
    let zone = Zone::of_node(&node);
    Member { node, incarnation, zone, weight: Weight::ORDINARY, roles: vec![Role::Write] }
}

/// The segments of these documents, and who is lost by them.
fn after(epochs: &[&[(&str, u128)]]) -> (Vec<Span>, Disks) {
    let mut chain = Chain::new([]).unwrap();
    for list in epochs {
        let members: Vec<Member> = list.iter().copied().map(member).collect();
        let proposer = Proposer { node: members[0].node.clone(), proposal: BootId(1) };
        let document = match chain.newest() {
            None => EpochDocument::first(proposer, 3, ShardCount::ONE, members),
            Some(newest) => newest.next(proposer, members),
        };
        chain.push(document.unwrap()).unwrap();
    }
    let disks = Disks::of(chain.documents(), Rules::ALL);
    (chain.segments(&TenantId::fake()), disks)
}

#[test]
fn one_lost_replica_of_three_changes_nothing() {
    let (spans, disks) = after(&[&[("a", 1), ("b", 1), ("c", 1)], &[("a", 2), ("b", 1), ("c", 1)]]);
    assert!(disks.is_lost(&member(("a", 1)).replica()));
    assert!(!disks.is_lost(&member(("a", 2)).replica()));
    assert_eq!(disks.counted_as_sealed(&spans[0]), []);
    assert_eq!(disks.readable(&spans), (spans, Vec::new()));
}

#[test]
fn the_last_of_three_is_read_with_a_loss_and_that_of_two_without() {
    let (spans, disks) = after(&[&[("a", 1), ("b", 1), ("c", 1)], &[("a", 2), ("b", 2), ("c", 1)]]);
    let (readable, losses) = disks.readable(&spans);
    assert_eq!(readable[0].replicas, [member(("c", 1)).replica()]);
    assert_eq!(losses.iter().map(|loss| (loss.lost, loss.replicas)).collect::<Vec<_>>(), [(2, 3)]);
    assert_eq!(disks.counted_as_sealed(&spans[0]).len(), 2);

    let (spans, disks) = after(&[&[("a", 1), ("b", 1)], &[("a", 2), ("b", 1)]]);
    assert_eq!(disks.readable(&spans).1, []);
    assert_eq!(disks.counted_as_sealed(&spans[0]), [member(("a", 1)).replica()]);
}

#[test]
fn who_leaves_with_its_disk_is_not_lost_and_who_lost_it_before_is() {
    let three: &[(&str, u128)] = &[("a", 1), ("b", 1), ("c", 1)];
    let (spans, disks) = after(&[three, &[("c", 1)]]);
    assert_eq!(disks.counted_as_sealed(&spans[0]), []);
    assert_eq!(disks.readable(&spans).1, []);

    let (spans, disks) = after(&[three, &[("a", 2), ("b", 2), ("c", 1)], &[("c", 1)]]);
    assert_eq!(disks.counted_as_sealed(&spans[0]).len(), 2);
    assert_eq!(disks.counted_as_sealed(&spans[1]), [], "these disks are somewhere");
    assert_eq!(disks.readable(&spans).1.len(), 1);
}

#[test]
fn a_segment_is_empty_when_a_seal_quorum_that_is_sealed_says_so() {
    let (spans, _) = after(&[&[("a", 1), ("b", 1), ("c", 1)], &[("a", 2), ("b", 1), ("c", 1)]]);
    let [a, b, c] = [("a", 1), ("b", 1), ("c", 1)].map(|disk| member(disk).replica());
    let reply = |held: &BatchSet, sealed| VectorReply { held: held.clone(), sealed };
    let nothing = BatchSet::default();
    let mut something = BatchSet::default();
    something.insert(BatchId { boot: BootId(1), number: BatchNumber(1) });

    let mut check = EmptyCheck::new(&spans[0], Rules::ALL);
    check.on_vector(&a, &reply(&nothing, true));
    check.on_vector(&a, &reply(&nothing, true));
    check.on_vector(&member(("a", 2)).replica(), &reply(&nothing, true));
    check.on_vector(&b, &reply(&nothing, false));
    check.on_vector(&c, &reply(&something, true));
    assert!(
        !check.is_empty(),
        "one replica twice, a stranger, one that is not sealed, one that holds something"
    );
    check.on_vector(&b, &reply(&nothing, true));
    assert!(check.is_empty());
}
