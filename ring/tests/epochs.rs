//! Epoch documents and the segments that follow from them.

mod common;

use common::{count, member};
use gyre_ring::diff::{Change, changes};
use gyre_ring::{
    BootId, Chain, Epoch, EpochDocument, Incarnation, Member, NodeId, Proposer, ShardIndex, Span, TenantId,
};

fn proposer() -> Proposer {
    Proposer { node: NodeId::new("a").expect("a node id"), proposal: BootId(1) }
}

fn tenant() -> TenantId {
    common::tenant("acme")
}

fn members(names: &[&str]) -> Vec<Member> {
    names.iter().map(|name| member(name, "", 100)).collect()
}

fn first(names: &[&str], shards: u32) -> EpochDocument {
    EpochDocument::first(proposer(), 3, count(shards), members(names)).expect("a valid document")
}

fn holders(span: &Span) -> Vec<String> {
    let mut holders: Vec<String> = span.replicas.iter().map(|replica| replica.node.to_string()).collect();
    holders.sort();
    holders
}

fn segments(documents: &[EpochDocument]) -> Vec<Span> {
    Chain::new(documents.to_vec()).expect("no gap").segments(&tenant())
}

#[test]
fn a_document_reads_back_as_it_was_written() {
    let document = first(&["c", "a", "b"], 4).next_with_shards(proposer(), tenant(), count(16)).unwrap();
    let again = EpochDocument::parse(&document.to_bytes()).unwrap();
    assert_eq!(again, document);
    assert_eq!(again.to_bytes(), document.to_bytes());
    assert_eq!(again.shard_count(&tenant()), count(16));
    assert_eq!(again.shard_count(&TenantId::fake()), count(4));
    let names: Vec<String> = again.members.iter().map(|member| member.node.to_string()).collect();
    assert_eq!(names, ["a", "b", "c"]);
}

#[test]
fn a_document_that_is_not_understood_in_full_is_refused() {
    let text = String::from_utf8(first(&["a", "b"], 4).to_bytes()).unwrap();
    let refused = |from: &str, to: &str, says: &str| {
        assert!(text.contains(from), "{from} is in {text}");
        let error = EpochDocument::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    refused("\"version\": 1", "\"version\": 2", "upgrade this node first");
    refused("\"epoch\": 1", "\"epoch\": 0", "epochs count from 1");
    refused("\"epoch\": 1", "\"epoch\": 1, \"later\": true", "later");
    refused("\"node\": \"b\"", "\"node\": \"a\"", "member a is listed twice");
    refused("\"replication_factor\": 3", "\"replication_factor\": 0", "replication factor is 0");
    refused("\"shards_per_tenant\": 4", "\"shards_per_tenant\": 3", "3 is no power of two");
    refused("\"node\": \"b\"", "\"node\": \"b/c\"", "is no node id");
    refused("\"weight\": 100", "\"weight\": 0", "weight 0");
    assert!(EpochDocument::parse(b"").is_err());
    assert!(EpochDocument::parse(&text.as_bytes()[..text.len() / 2]).is_err());
}

#[test]
fn two_members_with_one_incarnation_are_refused() {
    let mut two = members(&["a", "b"]);
    two[1].incarnation = two[0].incarnation;
    let error = EpochDocument::first(proposer(), 3, count(1), two).unwrap_err();
    assert!(error.to_string().contains("member b has the incarnation of another one"), "{error}");
}

#[test]
fn a_segment_goes_on_while_its_replicas_stay() {
    let one = first(&["a", "b", "c"], 4);
    // With three members every shard is everywhere; a fourth takes over some places, and only those shards change.
    let two = one.next(proposer(), members(&["a", "b", "c", "d"])).unwrap();
    let spans = segments(&[one.clone(), two.clone()]);
    let placement = two.placement(gyre_ring::Role::Write);
    for index in (0..4).map(ShardIndex) {
        let moved = placement.of(&tenant(), count(4), index).iter().any(|m| m.node.as_str() == "d");
        let of_shard: Vec<&Span> = spans.iter().filter(|span| span.segment.shard.index == index).collect();
        assert_eq!(of_shard[0].segment.epoch, Epoch(1));
        assert_eq!(of_shard[0].ended, moved.then_some(Epoch(2)));
        assert_eq!(of_shard.len(), if moved { 2 } else { 1 });
        if moved {
            assert_eq!(of_shard[1].segment.epoch, Epoch(2));
            assert!(holders(of_shard[1]).contains(&"d".to_owned()));
            assert_eq!(of_shard[1].ended, None);
        }
    }
    assert!(spans.iter().any(|span| span.ended.is_some()), "some shard moves");
}

#[test]
fn a_node_without_its_disk_ends_the_segments_it_held() {
    let one = first(&["a", "b", "c"], 2);
    let mut back = members(&["a", "b", "c"]);
    back[0].incarnation = Incarnation(99);
    let two = one.next(proposer(), back).unwrap();
    let spans = segments(&[one, two]);
    assert_eq!(spans.len(), 4);
    assert!(spans[..2].iter().all(|span| span.ended == Some(Epoch(2))));
    assert!(spans[2..].iter().all(|span| span.ended.is_none()));
    let of_a = |span: &Span| span.replicas.iter().find(|r| r.node.as_str() == "a").unwrap().incarnation;
    assert!(spans[..2].iter().all(|span| of_a(span) != Incarnation(99)));
    assert!(spans[2..].iter().all(|span| of_a(span) == Incarnation(99)));
}

#[test]
fn a_split_ends_all_segments_of_the_tenant_even_if_nobody_moves() {
    let one = first(&["a", "b", "c"], 2);
    let two = one.next_with_shards(proposer(), tenant(), count(4)).unwrap();
    let chain = Chain::new([one, two]).unwrap();
    let spans = chain.segments(&tenant());
    assert_eq!(spans.iter().filter(|span| span.ended == Some(Epoch(2))).count(), 2);
    let children: Vec<&Span> = spans.iter().filter(|span| span.ended.is_none()).collect();
    assert_eq!(children.len(), 4);
    // Another tenant is not concerned.
    assert!(chain.segments(&TenantId::fake()).iter().all(|span| span.ended.is_none()));
    // Shard 1 of 2 holds what 2 and 3 of 4 hold.
    let parent = &spans[1];
    assert_eq!((parent.segment.shard.count, parent.segment.shard.index), (count(2), ShardIndex(1)));
    let overlapping: Vec<u32> =
        (0..4).filter(|index| parent.overlaps(count(4), ShardIndex(*index))).collect();
    assert_eq!(overlapping, [2, 3]);
    assert!(children[3].overlaps(count(2), ShardIndex(1)));
    assert!(!children[3].overlaps(count(2), ShardIndex(0)));
    assert!(children[0].overlaps(count(1), ShardIndex(0)));
}

#[test]
fn documents_with_a_gap_are_no_chain() {
    let one = first(&["a", "b", "c"], 1);
    let two = one.next(proposer(), members(&["a", "b"])).unwrap();
    let three = two.next(proposer(), members(&["a", "b", "c"])).unwrap();
    let gap = Chain::new([one.clone(), three.clone()]).unwrap_err();
    assert_eq!((gap.before, gap.after), (1, 3));
    assert!(Chain::new([two, three]).is_ok(), "it may begin anywhere");
}

#[test]
fn what_changes_between_documents_is_named() {
    let one = first(&["a", "b", "c"], 2);
    let mut next = members(&["a", "c", "d"]);
    next[0].incarnation = Incarnation(5);
    next[1].zone = gyre_ring::Zone::new("west").unwrap();
    let two = one.next(proposer(), next).unwrap();
    let node = |name: &str| NodeId::new(name).unwrap();
    assert_eq!(
        changes(&one, &two),
        [
            Change::NewIncarnation(node("a")),
            Change::Left(node("b")),
            Change::Altered(node("c")),
            Change::Joined(node("d")),
        ]
    );
    let three = two.next_with_shards(proposer(), tenant(), count(8)).unwrap();
    assert_eq!(
        changes(&two, &three),
        [Change::Shards { tenant: Some(tenant()), before: count(2), after: count(8) }]
    );
    assert_eq!(changes(&three, &three), []);
}
