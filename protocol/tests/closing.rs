//! Through which epoch segments can be closed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use gyre_protocol::{Disks, Rules, closable};
use gyre_ring::{
    BootId, Chain, Epoch, EpochDocument, Incarnation, Member, NodeId, Proposer, Replica, Role, ShardCount,
    TenantId, Weight, Zone,
};

fn member(name: &str, incarnation: u128) -> Member {
    let node = NodeId::new(name).unwrap();
    let zone = Zone::of_node(&node);
    let incarnation = Incarnation(incarnation);
    Member { node, incarnation, zone, weight: Weight::ORDINARY, roles: vec![Role::Write] }
}

fn proposer() -> Proposer {
    Proposer { node: NodeId::new("a").unwrap(), proposal: BootId(1) }
}

/// Documents with these members; each is a name and the number of its disk.
fn chain(documents: &[&[(&str, u128)]]) -> Chain {
    let mut made: Vec<EpochDocument> = Vec::new();
    for members in documents {
        let members: Vec<Member> = members.iter().map(|(name, disk)| member(name, *disk)).collect();
        made.push(match made.last() {
            None => EpochDocument::first(proposer(), 3, ShardCount::ONE, members).unwrap(),
            Some(last) => last.next(proposer(), members).unwrap(),
        });
    }
    Chain::new(made).unwrap()
}

/// What is closable if these nodes are clear through these epochs.
fn closable_with(chain: &Chain, clear: &[(&str, u128, u64)]) -> u64 {
    let clear: BTreeMap<Replica, Epoch> =
        { clear.iter() }.map(|(name, disk, epoch)| (member(name, *disk).replica(), Epoch(*epoch))).collect();
    let disks = Disks::of(chain.documents(), Rules::ALL);
    closable(chain, &disks, &|replica| clear.get(replica).copied(), &Rules::ALL).0
}

const ABC: &[(&str, u128)] = &[("a", 1), ("b", 2), ("c", 3)];
const ABCD: &[(&str, u128)] = &[("a", 1), ("b", 2), ("c", 3), ("d", 4)];
const BCD: &[(&str, u128)] = &[("b", 2), ("c", 3), ("d", 4)];

#[test]
fn two_clear_replicas_of_three_close() {
    let chain = chain(&[ABC, ABCD]);
    assert_eq!(closable_with(&chain, &[]), 0);
    assert_eq!(closable_with(&chain, &[("a", 1, 2), ("d", 4, 2)]), 0, "d held nothing of what ended");
    assert_eq!(closable_with(&chain, &[("a", 1, 2), ("b", 2, 1)]), 0);
    assert_eq!(closable_with(&chain, &[("a", 1, 2), ("b", 2, 2)]), 2);
    assert_eq!(closable_with(&chain, &[("a", 9, 2), ("b", 2, 2)]), 0, "another disk has said so");
}

#[test]
fn each_set_of_replicas_needs_its_own() {
    // With four members the sets leave out one each; so three must be clear, and the one who left may be one of them.
    let chain = chain(&[ABC, ABCD, BCD]);
    let through = |clear: &[(&str, u128, u64)]| closable_with(&chain, clear);
    assert_eq!(through(&[("a", 1, 3), ("b", 2, 3)]), 2, "c and d have not said that they are");
    assert_eq!(through(&[("a", 1, 3), ("b", 2, 3), ("c", 3, 3)]), 3);
    assert_eq!(through(&[("b", 2, 3), ("c", 3, 3), ("d", 4, 3)]), 3, "who left need not");
    assert_eq!(through(&[("b", 2, 3), ("c", 3, 3), ("d", 4, 2)]), 2);
}

#[test]
fn two_replicas_must_both_be_clear_and_one_alone_is_enough() {
    let two = chain(&[&[("a", 1), ("b", 2)], ABC]);
    assert_eq!(closable_with(&two, &[("a", 1, 2)]), 0);
    assert_eq!(closable_with(&two, &[("a", 1, 2), ("b", 2, 2)]), 2);
    let one = chain(&[&[("a", 1)], &[("a", 1), ("b", 2)]]);
    assert_eq!(closable_with(&one, &[("b", 2, 2)]), 0);
    assert_eq!(closable_with(&one, &[("a", 1, 2)]), 2);
}

#[test]
fn where_disks_were_lost_those_that_are_left_must_all_be_clear() {
    let one_lost = chain(&[ABC, &[("a", 9), ("b", 2), ("c", 3)]]);
    assert_eq!(closable_with(&one_lost, &[("a", 9, 2), ("b", 2, 2)]), 0);
    assert_eq!(closable_with(&one_lost, &[("b", 2, 2), ("c", 3, 2)]), 2);
    let two_lost = chain(&[ABC, &[("a", 9), ("b", 2), ("c", 3)], &[("a", 9), ("b", 8), ("c", 3)]]);
    assert_eq!(
        closable_with(&two_lost, &[("a", 9, 3), ("c", 3, 2)]),
        2,
        "those of the second document need a or all that is left"
    );
    assert_eq!(closable_with(&two_lost, &[("a", 9, 3), ("c", 3, 3)]), 3);
    assert_eq!(closable_with(&two_lost, &[("b", 8, 3), ("a", 9, 3)]), 0, "c is what is left");
}

#[test]
fn what_is_closed_is_in_no_chain_and_stays_closed() {
    let tenant = TenantId::new("acme").unwrap();
    let mut chain = chain(&[ABC, ABCD, BCD]);
    let ended = |chain: &Chain| -> Vec<u64> {
        let mut ended: Vec<u64> =
            chain.segments(&tenant).iter().filter_map(|span| Some(span.ended?.0)).collect();
        ended.dedup();
        ended
    };
    let before = ended(&chain);
    assert!(!before.is_empty());
    let closing = chain.newest().unwrap().next_with_closed(proposer(), Epoch(2)).unwrap();
    chain.push(closing).unwrap();
    assert_eq!(chain.closed_through(), Epoch(2));
    let left: Vec<u64> = before.into_iter().filter(|epoch| *epoch > 2).collect();
    assert_eq!(ended(&chain), left);
    assert_eq!(closable_with(&chain, &[]), 2, "never less than is closed");
    // The segments that go on keep their names.
    let open = chain.segments(&tenant).into_iter().find(|span| span.ended.is_none()).unwrap();
    assert!(open.segment.epoch <= Epoch(3));
    let next = chain
        .newest()
        .unwrap()
        .next(proposer(), ABC.iter().map(|(name, disk)| member(name, *disk)).collect());
    assert_eq!(next.unwrap().closed_through, Epoch(2), "later documents keep it");
}

#[test]
fn a_document_closes_nothing_that_is_not_before_it() {
    let chain = chain(&[ABC, ABCD]);
    let error = chain.newest().unwrap().next_with_closed(proposer(), Epoch(3)).unwrap_err().to_string();
    assert!(error.contains("closed through 3"), "{error}");
}
