//! What a node decides in each situation, one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gyre::cluster::bootstrap::{
    Alarm, Bucket, DUPLICATE_AFTER, Data, LISTEN_MAX, Own, REPLACE_AFTER, Refusal, Situation, Step, Waiting,
    decide,
};
use gyre::cluster::identity::ClusterFacts;
use gyre::cluster::membership::{Peer, View};
use gyre_ring::{Chain, ClusterId, Epoch, EpochDocument, HashSeed, Incarnation, Member, NodeId};

use crate::scene::{first, member, peer, proposer};

const OURS: ClusterFacts = ClusterFacts { cluster: ClusterId(7), seed: HashSeed(70) };
const NOTHING: Bucket = Bucket::Empty { claimed: None };
const THEIRS: ClusterFacts = ClusterFacts { cluster: ClusterId(8), seed: HashSeed(80) };

/// A situation that a test changes in one point or two.
struct Scene {
    alone: bool,
    own: Own,
    local: Option<ClusterFacts>,
    bucket: Bucket,
    documents: Vec<EpochDocument>,
    peers: Vec<Peer>,
    strangers: Vec<String>,
    since_start: Duration,
    serving: bool,
    checked_for: Option<Epoch>,
    leaving: bool,
    gone: BTreeSet<NodeId>,
}

impl Scene {
    /// Node `a` in a cluster whose bucket it knows, all documents loaded.
    fn new() -> Self {
        Scene {
            alone: false,
            own: Own {
                member: member("a", 1),
                generation: 5,
                rpc: "a:9010".to_owned(),
                data: Data::OfCluster,
            },
            local: Some(OURS),
            bucket: Bucket::Of(OURS),
            documents: Vec::new(),
            peers: Vec::new(),
            strangers: Vec::new(),
            since_start: Duration::ZERO,
            serving: false,
            checked_for: None,
            leaving: false,
            gone: BTreeSet::new(),
        }
    }

    fn decide(&self) -> Step {
        decide(&Situation {
            alone: self.alone,
            own: &self.own,
            local: self.local,
            bucket: self.bucket,
            bucket_name: "test://bucket",
            chain: &Chain::new(self.documents.clone()).expect("no gap"),
            is_chain_checked: true,
            checked_for: self.checked_for,
            view: &View { peers: self.peers.clone(), strangers: self.strangers.clone(), ..View::default() },
            since_start: self.since_start,
            serving: self.serving,
            closable: Epoch(0),
            splits: &BTreeMap::new(),
            leaving: self.leaving,
            gone: &self.gone,
        })
    }

    fn refusal(&self) -> Refusal {
        match self.decide() {
            Step::Refuse(refusal) => refusal,
            other => panic!("not refused but {other:?}"),
        }
    }

    /// The sentence that an operator reads.
    fn refused(&self) -> String {
        self.refusal().to_string()
    }
}

fn names(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| member.node.as_str()).collect()
}

fn node(name: &str) -> NodeId {
    NodeId::new(name).expect("a node id")
}

fn ready(name: &str, incarnation: u128) -> Peer {
    peer(member(name, incarnation), Some(OURS.cluster))
}

fn with_members(members: Vec<Member>) -> Scene {
    Scene { documents: vec![first(1, members)], ..Scene::new() }
}

#[test]
fn a_node_alone_founds_a_cluster_and_the_first_epoch_by_itself() {
    let mut scene = Scene { alone: true, local: None, bucket: Bucket::Unknown, ..Scene::new() };
    assert_eq!(scene.decide(), Step::LookAtCluster);
    scene.bucket = NOTHING;
    assert_eq!(scene.decide(), Step::CreateCluster);
    scene.bucket = Bucket::Of(OURS);
    assert_eq!(scene.decide(), Step::KeepCluster(OURS));
    scene.local = Some(OURS);
    assert_eq!(scene.decide(), Step::Propose(vec![member("a", 1)]));
    scene.documents = vec![first(1, vec![member("a", 1)])];
    assert_eq!(scene.decide(), Step::Serve(vec![]));
}

#[test]
fn a_node_among_others_founds_nothing_before_it_has_heard_of_one() {
    let mut scene = Scene { local: None, bucket: NOTHING, ..Scene::new() };
    assert_eq!(scene.decide(), Step::Wait(Waiting::Others));
    // Its own earlier run is nobody else.
    scene.peers = vec![peer(member("a", 1), None)];
    assert_eq!(scene.decide(), Step::Wait(Waiting::Others));
    scene.peers = vec![peer(member("b", 2), None)];
    assert_eq!(scene.decide(), Step::CreateCluster);
}

#[test]
fn the_first_epoch_has_all_that_are_ready_and_at_least_two() {
    let mut scene = Scene::new();
    assert_eq!(scene.decide(), Step::Wait(Waiting::Others));
    // In no cluster yet; not ready; dead.
    scene.peers = vec![peer(member("b", 2), None), ready("c", 3), ready("d", 4)];
    scene.peers[1].ready = false;
    scene.peers[2].alive = false;
    assert_eq!(scene.decide(), Step::Wait(Waiting::Others));
    scene.peers = vec![ready("b", 2), ready("c", 3), ready("c", 33), ready("d", 3)];
    match scene.decide() {
        Step::Propose(members) => {
            assert_eq!(names(&members), ["a", "b", "c"], "each name and each disk once")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newcomer_proposes_the_members_and_itself_once_enough_are_ready() {
    let mut scene = with_members(vec![member("b", 2), member("c", 3)]);
    // Three members hold everything: of the replicas a, b, c two must be ready, and this node is.
    match scene.decide() {
        Step::Wait(Waiting::Replicas(not_ready)) => {
            assert_eq!((not_ready.ready, not_ready.wanted), (1, 2));
            assert_eq!(not_ready.replicas, ["a", "b", "c"]);
        }
        other => panic!("{other:?}"),
    }
    scene.peers = vec![ready("c", 3)];
    match scene.decide() {
        Step::Propose(members) => assert_eq!(names(&members), ["b", "c", "a"]),
        other => panic!("{other:?}"),
    }
    // Ready, but with another disk than the document has.
    scene.peers = vec![ready("c", 33)];
    assert!(matches!(scene.decide(), Step::Wait(Waiting::Replicas(_))));
}

#[test]
fn of_four_old_members_three_must_be_ready_since_each_pair_holds_some_shard_with_the_newcomer() {
    let old = ["b", "c", "d", "e"];
    let mut scene = with_members((2u128..).zip(old).map(|(n, name)| member(name, n)).collect());
    scene.peers = vec![ready("b", 2), ready("c", 3)];
    assert!(matches!(scene.decide(), Step::Wait(Waiting::Replicas(_))), "d and e hold some shard with a");
    scene.peers.push(ready("d", 4));
    assert!(matches!(scene.decide(), Step::Propose(_)));
}

#[test]
fn newer_documents_are_loaded_before_anything_is_proposed() {
    let mut scene = with_members(vec![member("b", 2), member("c", 3)]);
    scene.peers = vec![ready("b", 2)];
    scene.peers[0].newest_epoch = Some(Epoch(2));
    assert_eq!(scene.decide(), Step::LookAtEpochs);
    // Looked, and there is none: somebody errs, and is not asked about again.
    scene.checked_for = Some(Epoch(2));
    assert!(matches!(scene.decide(), Step::Propose(_)));
    scene.peers[0].newest_epoch = Some(Epoch(3));
    assert_eq!(scene.decide(), Step::LookAtEpochs);
    // Another cluster's epochs are nothing to this one.
    scene.peers.push(peer(member("z", 9), Some(THEIRS.cluster)));
    scene.peers[1].newest_epoch = Some(Epoch(99));
    scene.checked_for = Some(Epoch(3));
    assert_ne!(scene.decide(), Step::LookAtEpochs);
}

#[test]
fn a_wiped_node_comes_back_as_another_incarnation() {
    let mut scene = with_members(vec![member("a", 100), member("b", 2), member("c", 3)]);
    scene.peers = vec![ready("b", 2), ready("c", 3)];
    let back = Step::Propose(vec![member("b", 2), member("c", 3), member("a", 1)]);
    // Nothing has been heard of the one that is listed; that takes a moment also if it lives.
    assert_eq!(scene.decide(), Step::Wait(Waiting::Namesake));
    scene.since_start = REPLACE_AFTER;
    assert_eq!(scene.decide(), back);
    // Its earlier run may seem to be alive for a while; at the same address it cannot be.
    scene.since_start = Duration::ZERO;
    scene.peers.push(ready("a", 100));
    assert_eq!(scene.decide(), back);
    // At another address it may be a moved node or somebody else: time tells.
    scene.peers[2].rpc = "elsewhere:9010".to_owned();
    assert_eq!(scene.decide(), Step::Wait(Waiting::Namesake));
    scene.since_start = REPLACE_AFTER;
    assert_eq!(scene.decide(), Step::Wait(Waiting::EarlierRun { rpc: "elsewhere:9010".to_owned() }));
    scene.since_start = DUPLICATE_AFTER;
    let refusal = scene.refused();
    assert!(refusal.contains("node id a is taken: elsewhere:9010"), "{refusal}");
    scene.peers[2].alive = false;
    assert_eq!(scene.decide(), back);
}

#[test]
fn a_member_serves_from_its_copies_while_the_bucket_is_down() {
    let mut scene = with_members(vec![member("a", 1), member("b", 2)]);
    scene.bucket = Bucket::Down;
    scene.peers = vec![ready("b", 2)];
    assert_eq!(scene.decide(), Step::Serve(vec![]));
    // Whoever is no member yet can only wait.
    scene.documents = vec![first(1, vec![member("b", 2)])];
    assert_eq!(scene.decide(), Step::Wait(Waiting::Bucket));
    scene.documents.clear();
    assert_eq!(scene.decide(), Step::Wait(Waiting::Bucket));
    scene.local = None;
    assert_eq!(scene.decide(), Step::Wait(Waiting::Bucket));
}

#[test]
fn a_member_that_starts_listens_for_a_moment_but_not_for_ever() {
    let mut scene = with_members(vec![member("a", 1), member("b", 2)]);
    assert_eq!(scene.decide(), Step::Wait(Waiting::Others));
    scene.since_start = LISTEN_MAX;
    assert_eq!(scene.decide(), Step::Serve(vec![]));
    scene.since_start = Duration::ZERO;
    scene.peers = vec![ready("b", 2)];
    assert_eq!(scene.decide(), Step::Serve(vec![]));
}

#[test]
fn a_member_with_another_zone_than_the_document_has_proposes_the_change_and_serves_meanwhile() {
    let mut scene = with_members(vec![member("a", 1), member("b", 2)]);
    scene.own.member.zone = gyre_ring::Zone::new("west").unwrap();
    scene.peers = vec![ready("b", 2)];
    let changed = Step::Propose(vec![member("b", 2), scene.own.member.clone()]);
    assert_eq!(scene.decide(), changed);
    scene.bucket = Bucket::Down;
    assert_eq!(scene.decide(), Step::Serve(vec![]));
}

#[test]
fn wrong_buckets_are_refused_and_both_sides_named() {
    let other = Scene { bucket: Bucket::Of(THEIRS), ..Scene::new() };
    let said = other.refused();
    for part in ["test://bucket", "00000000000000000000000000000007", "00000000000000000000000000000008"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let emptied = Scene { bucket: NOTHING, ..Scene::new() };
    assert!(emptied.refused().contains("test://bucket belongs to no cluster, but cluster 0000"));
    // A new node whose peers have a cluster, but whose bucket has none or another one.
    let mut fresh = Scene { local: None, bucket: NOTHING, ..Scene::new() };
    fresh.peers = vec![ready("b", 2)];
    assert_eq!(fresh.decide(), Step::LookAtCluster, "it may have been founded just now");
    fresh.bucket = Bucket::Empty { claimed: Some(OURS.cluster) };
    assert!(matches!(fresh.refusal(), Refusal::NoClusterInBucket { expected: ClusterId(7), .. }));
    fresh.bucket = Bucket::Of(THEIRS);
    assert!(fresh.refused().contains("b at b:9010 is in cluster"));
    // Data that is older than its cluster, in front of another cluster's bucket.
    let mut old = Scene { local: None, alone: true, bucket: Bucket::Of(THEIRS), ..Scene::new() };
    old.own.data = Data::OfSeed(HashSeed(1));
    assert!(old.refused().contains("before it joined any cluster"));
    old.own.data = Data::OfSeed(THEIRS.seed);
    assert_eq!(old.decide(), Step::KeepCluster(THEIRS));
}

#[test]
fn a_node_alone_does_not_join_others() {
    let mut scene = with_members(vec![member("b", 2)]);
    scene.alone = true;
    let said = scene.refused();
    assert!(said.contains("of node b, this node is a") && said.contains("--node.id b"), "{said}");
    // Nor does it serve as one of several.
    scene.documents = vec![first(1, vec![member("a", 1), member("b", 2)])];
    assert!(scene.refused().contains("epoch 1 lists other members too, node b"));
    scene.serving = true;
    assert!(matches!(scene.refusal(), Refusal::NotAlone { .. }), "the documents say so");
    scene.serving = false;
    // But it may come back with a new disk.
    scene.documents = vec![first(1, vec![member("a", 100)])];
    assert_eq!(scene.decide(), Step::Propose(vec![member("a", 1)]));
}

#[test]
fn a_copied_or_renamed_data_directory_is_refused() {
    let mut scene = with_members(vec![member("z", 1), member("b", 2)]);
    scene.peers = vec![ready("b", 2)];
    let said = scene.refused();
    assert!(said.contains("lists this data directory as node z, this node is a"), "{said}");
}

#[test]
fn a_data_directory_that_was_replaced_must_not_serve_again() {
    let one = first(1, vec![member("a", 1), member("b", 2)]);
    let two = one.next(proposer(2), vec![member("a", 100), member("b", 2)]).unwrap();
    let mut scene = Scene { documents: vec![one, two], peers: vec![ready("b", 2)], ..Scene::new() };
    let replaced =
        Refusal::Replaced { epoch: Epoch(2), node: node("a"), by: Incarnation(100), own: Incarnation(1) };
    assert_eq!(scene.refusal(), replaced);
    // The documents say so, not gossip: this stops a node that serves, too.
    scene.serving = true;
    assert_eq!(scene.refusal(), replaced);
}

#[test]
fn a_data_directory_from_a_backup_is_refused_before_it_serves() {
    let mut scene = with_members(vec![member("a", 1), member("b", 2)]);
    let mut later = ready("a", 1);
    (later.generation, later.alive) = (6, false);
    scene.peers = vec![ready("b", 2), later];
    let alarm = Alarm::StaleGeneration { theirs: 6, ours: 5, rpc: "a:9010".to_owned() };
    assert_eq!(scene.refusal(), Refusal::Told(alarm.clone()));
    // Anybody can gossip: a node that serves goes on, and says what it heard.
    scene.serving = true;
    assert_eq!(scene.decide(), Step::Serve(vec![alarm]));
    // Earlier runs are nothing odd.
    scene.serving = false;
    scene.peers[1].generation = 4;
    assert_eq!(scene.decide(), Step::Serve(vec![]));
}

#[test]
fn two_runs_of_one_data_directory_at_two_addresses_are_refused() {
    let mut scene = with_members(vec![member("a", 1), member("b", 2)]);
    let mut twin = ready("a", 1);
    (twin.generation, twin.rpc) = (5, "copy:9010".to_owned());
    scene.peers = vec![twin];
    assert!(scene.refused().contains("copy:9010 is node a on a copy of this data directory"));
}

#[test]
fn a_copy_of_a_running_data_directory_is_refused_when_the_original_does_not_die() {
    let mut scene = with_members(vec![member("a", 1), member("b", 2)]);
    let mut earlier = ready("a", 1);
    (earlier.generation, earlier.alive) = (4, false);
    scene.peers = vec![ready("b", 2), earlier];
    // At its own address that is this node before it was started again.
    assert_eq!(scene.decide(), Step::Serve(vec![]));
    // At another one it may be heard of next.
    scene.peers[1].rpc = "moved:9010".to_owned();
    assert_eq!(scene.decide(), Step::Wait(Waiting::Others));
    scene.since_start = LISTEN_MAX;
    assert_eq!(scene.decide(), Step::Serve(vec![]));
    scene.peers[1].alive = true;
    assert_eq!(scene.decide(), Step::Wait(Waiting::EarlierRun { rpc: "moved:9010".to_owned() }));
    scene.since_start = DUPLICATE_AFTER;
    assert!(scene.refused().contains("moved:9010 is node a on a copy of this data directory"));
    scene.serving = true;
    assert!(matches!(scene.decide(), Step::Serve(_)));
}

#[test]
fn strangers_of_other_clusters_are_shown_to_members_and_stop_newcomers() {
    let mut scene = with_members(vec![member("a", 1), member("b", 2)]);
    let stranger = peer(member("z", 9), Some(THEIRS.cluster));
    scene.peers = vec![ready("b", 2), stranger];
    let alarm =
        Alarm::OtherCluster { peer: "z at z:9010".to_owned(), other: THEIRS.cluster, own: OURS.cluster };
    assert_eq!(scene.decide(), Step::Serve(vec![alarm.clone()]));
    scene.documents = vec![first(1, vec![member("b", 2), member("c", 3)])];
    assert_eq!(scene.refusal(), Refusal::Told(alarm));
}

#[test]
fn a_node_with_another_secret_than_all_others_does_not_start() {
    for documents in [vec![], vec![first(1, vec![member("a", 1), member("b", 2)])]] {
        let mut scene = Scene { documents, strangers: vec!["b at b:9010".to_owned()], ..Scene::new() };
        // Somebody with the right one may be heard of next.
        assert_eq!(scene.decide(), Step::Wait(Waiting::Others));
        scene.since_start = LISTEN_MAX;
        let said = scene.refused();
        assert!(said.starts_with("the others, b at b:9010 for one, know another secret"), "{said}");
        // One that serves knows better, and so does one that others agree with.
        scene.serving = true;
        assert!(!matches!(scene.decide(), Step::Refuse(_)));
        scene.serving = false;
        scene.peers = vec![ready("c", 3)];
        assert!(!matches!(scene.decide(), Step::Refuse(_)));
    }
    let mut scene = with_members(vec![member("a", 1), member("b", 2)]);
    (scene.peers, scene.strangers) = (vec![ready("b", 2)], vec!["z at z:9010".to_owned()]);
    assert_eq!(scene.decide(), Step::Serve(vec![Alarm::OtherSecret { who: "z at z:9010".to_owned() }]));
}
