//! The running cluster as the rest of the node sees it.

use std::sync::Arc;
use std::time::Duration;

use gyre::cluster::bootstrap::{Data, Own, Waiting};
use gyre::cluster::epochs::EpochStore;
use gyre::cluster::identity::ClusterFacts;
use gyre::cluster::membership::View;
use gyre::cluster::membership::scripted::ScriptedMembership;
use gyre::cluster::run::join;
use gyre::cluster::start::Joining;
use gyre::cluster::{ClusterState, LiveCluster};
use gyre_ring::{Chain, ClusterId, Epoch, EpochDocument, HashSeed, Member, Replica, TenantId};
use tokio::sync::watch;

use crate::faulty::{Fault, Faulty};
use crate::scene::{TestEnv, calls, disk, first, member, parts, peer, proposer, run};

/// Longer than any test: only an answer ends the wait.
const DEADLINE: Duration = Duration::from_secs(600);

/// Node `a`, which is about to join one other.
struct Scene {
    faulty: Arc<Faulty>,
    membership: Arc<ScriptedMembership>,
}

impl Scene {
    fn new() -> Self {
        Scene { faulty: Faulty::new(|_, _| Fault::None), membership: Arc::default() }
    }

    fn store(&self) -> EpochStore {
        EpochStore::new(self.faulty.bucket(DEADLINE))
    }

    fn see(&self, cluster: Option<ClusterId>) {
        self.membership.set(View { peers: vec![peer(member("b", 2), cluster)], ..View::default() });
    }

    /// Node `a` as a member beside node `b`, with the epoch in which it is.
    async fn join(&self) -> (LiveCluster, EpochDocument) {
        let own =
            Own { member: member("a", 1), generation: 0, rpc: "a:9010".to_owned(), data: Data::OfCluster };
        let parts = parts(&own, &disk(), self.faulty.bucket(DEADLINE), Arc::new(TestEnv::new(1)), false);
        let mut joining = Joining::open(parts).unwrap();
        let waits = watch::Sender::default();
        let mut waiting = waits.subscribe();
        let met = async {
            waiting.wait_for(|now| *now == Some(Waiting::Others)).await.unwrap();
            assert_eq!(self.store().cluster().await.unwrap(), None, "it has heard of nobody");
            self.see(None);
            while self.membership.announced().cluster.is_none() {
                tokio::task::yield_now().await;
            }
            assert_eq!(self.membership.announced().newest_epoch, None, "nobody else is in the cluster yet");
            self.see(self.membership.announced().cluster);
        };
        let (joined, ()) = tokio::join!(join(&mut joining, self.membership.as_ref(), &waits), met);
        joined.unwrap();
        assert_eq!(*waits.borrow(), None);
        let calls = calls(joining.own());
        let live = LiveCluster::start(joining, self.membership.clone(), calls);
        let one = live.state().newest().clone();
        assert_eq!((one.epoch, &one.members), (Epoch(1), &vec![member("a", 1), member("b", 2)]));
        assert_eq!(self.membership.announced().newest_epoch, Some(Epoch(1)));
        (live, one)
    }
}

fn next(document: &EpochDocument, members: Vec<Member>) -> EpochDocument {
    document.next(proposer(9), members).unwrap()
}

fn three_members() -> Vec<Member> {
    vec![member("a", 1), member("b", 2), member("c", 3)]
}

#[test]
fn a_document_in_the_bucket_is_found_when_somebody_tells_of_it_or_asks_for_it() {
    run(async {
        let scene = Scene::new();
        let (live, one) = scene.join().await;
        let two = next(&one, three_members());
        scene.store().create(&two).await.unwrap();
        assert!(live.refresh(Epoch(2)).await);
        assert_eq!(live.state().newest(), &two);
        assert!(live.refresh(Epoch(1)).await, "it is known already");
        let three = next(&two, vec![member("a", 1), member("b", 2)]);
        scene.store().create(&three).await.unwrap();
        let mut told = peer(member("b", 2), Some(live.state().facts.cluster));
        told.newest_epoch = Some(Epoch(3));
        let mut changes = live.changes();
        scene.membership.set(View { peers: vec![told], ..View::default() });
        changes.wait_for(|state| state.newest() == &three).await.unwrap();
        assert!(!live.refresh(Epoch(4)).await, "there is none");
    });
}

#[test]
fn documents_of_peers_are_acted_upon_while_the_bucket_hangs() {
    run(async {
        let scene = Scene::new();
        let (live, one) = scene.join().await;
        let two = next(&one, three_members());
        let three = next(&two, vec![member("a", 1), member("b", 2)]);
        scene.faulty.set_plan(|_, _| Fault::Hang);
        live.learn(vec![two.clone()]).await;
        assert_eq!(live.state().newest(), &two);
        // Now a step waits for the bucket. Known documents, and the order of those that are new, make no difference.
        let four = next(&three, three_members());
        live.learn(vec![four.clone(), one.clone(), three.clone()]).await;
        assert_eq!(live.state().newest(), &four);
        live.learn(vec![one]).await;
        assert!(!live.refresh(Epoch(5)).await);
        assert_eq!(live.state().newest(), &four);
    });
}

#[test]
fn a_member_says_that_it_is_ready_once_it_has_recovered() {
    run(async {
        let scene = Scene::new();
        let (live, _) = scene.join().await;
        assert!(!scene.membership.announced().ready, "it reads its log");
        live.recovered().await;
        while !scene.membership.announced().ready {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn documents_that_lead_nowhere_are_answered_too() {
    run(async {
        let scene = Scene::new();
        let (live, one) = scene.join().await;
        let two = next(&one, three_members());
        let three = next(&two, vec![member("a", 1), member("b", 2)]);
        // The one before it is nowhere.
        live.learn(vec![three.clone()]).await;
        assert_eq!(live.state().newest(), &one);
        // The bucket has it.
        scene.store().create(&two).await.unwrap();
        scene.store().create(&three).await.unwrap();
        live.learn(vec![three.clone()]).await;
        assert_eq!(live.state().newest(), &three);
    });
}

#[test]
fn a_member_whose_bucket_turns_out_to_be_another_one_says_that_it_must_not_go_on() {
    run(async {
        let scene = Scene::new();
        let (live, one) = scene.join().await;
        assert_eq!(live.notices().misplaced, None);
        // A document that the bucket never had, from a peer that is in the wrong place.
        live.learn(vec![next(&one, three_members())]).await;
        while live.notices().misplaced.is_none() {
            tokio::task::yield_now().await;
        }
        let problem = live.notices().misplaced.unwrap();
        assert!(problem.contains("epoch 2 in bucket test://bucket is another document"), "{problem}");
    });
}

fn replica(name: &str, incarnation: u128) -> Replica {
    member(name, incarnation).replica()
}

fn state(members: Vec<Member>) -> ClusterState {
    let facts = ClusterFacts { cluster: ClusterId(1), seed: HashSeed(2) };
    ClusterState::new(facts, replica("a", 1), Chain::new([first(1, members)]).unwrap()).unwrap()
}

#[test]
fn the_way_to_a_replica_stays_while_its_address_does() {
    run(async {
        let membership = ScriptedMembership::default();
        let views = gyre::cluster::membership::Membership::views(&membership);
        let live = LiveCluster::fixed(state(three_members()), views, Some(calls(replica("a", 1))));
        let see = |peers: &[(&str, u128, u64, &str, bool)]| {
            let peers = peers.iter().map(|&(node, incarnation, generation, rpc, alive)| {
                let rpc = rpc.to_owned();
                gyre::cluster::membership::Peer {
                    generation,
                    rpc,
                    alive,
                    ..peer(member(node, incarnation), None)
                }
            });
            membership.set(View { peers: peers.collect(), ..View::default() });
        };
        let b = replica("b", 2);
        assert!(live.peer(&b).is_none() && !live.is_alive(&b), "nobody has heard of it");
        assert!(live.peer(live.own()).is_none() && live.is_alive(live.own()));

        see(&[("b", 2, 1, "127.0.0.1:7", true)]);
        let way = live.peer(&b).unwrap();
        assert_eq!((way.replica(), way.address()), (&b, "127.0.0.1:7".parse().unwrap()));
        assert!(live.peer(&replica("b", 3)).is_none(), "another data directory is somebody else");
        see(&[("b", 2, 1, "127.0.0.1:7", false), ("c", 3, 1, "127.0.0.1:9", true)]);
        assert!(Arc::ptr_eq(&way, &live.peer(&b).unwrap()), "a guess of gossip changes no way");
        assert!(!live.is_alive(&b) && live.is_alive(&replica("c", 3)));
        // It starts again elsewhere; its earlier run is remembered for a while, in whatever order.
        for order in [[1, 2], [2, 1]] {
            let run = |generation| match generation {
                1 => ("b", 2, 1, "127.0.0.1:7", false),
                _ => ("b", 2, 2, "127.0.0.1:8", true),
            };
            see(&order.map(run));
            assert_eq!(live.peer(&b).unwrap().address(), "127.0.0.1:8".parse().unwrap());
        }
        let way = live.peer(&b).unwrap();
        see(&[]);
        assert!(live.peer(&b).is_none(), "it left");
        drop(way);
    });
}

#[test]
fn a_tenants_segments_are_computed_once() {
    let state = state(three_members());
    for name in ["acme", "other"] {
        let tenant = TenantId::new(name).unwrap();
        let spans = state.spans(&tenant);
        assert_eq!(spans.to_vec(), state.chain.segments(&tenant));
        assert!(Arc::ptr_eq(&spans, &state.spans(&tenant)));
        assert_eq!(state.open_segments(&tenant).len(), 4);
    }
}
