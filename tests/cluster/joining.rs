//! Nodes that join in random orders, with a bucket that fails, crashes, lost disks, and views that are late.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use gyre::cluster::bootstrap::{Data, Own, Refusal};
use gyre::cluster::epochs::EpochStore;
use gyre::cluster::local::LocalCopies;
use gyre::cluster::membership::{Announcement, Peer, View};
use gyre::cluster::start::{ClusterError, Joining, Progress, start_alone};
use gyre::cluster::store::Bucket;
use gyre_ring::diff::{Change, changes};
use gyre_ring::{Chain, Epoch, Incarnation};
use gyre_tsdb::disk::SimDisk;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::faulty::{Fault, Faulty};
use crate::scene::{DATA, TestEnv, disk, member, parts, proposer, run, seed, split_mix};

const DEADLINE: Duration = Duration::from_secs(60);

/// Node `a`, told of no others.
fn alone(incarnation: u128) -> Own {
    Own { member: member("a", incarnation), generation: 0, rpc: String::new(), data: Data::OfCluster }
}

/// A node as its machine has it: a disk, and a process if it runs.
struct Node {
    own: Own,
    disk: SimDisk,
    env: Arc<TestEnv>,
    joining: Joining,
    serving: bool,
}

impl Node {
    fn new(name: &str, incarnation: u128, bucket: Bucket, env: Arc<TestEnv>) -> Self {
        let own = Own {
            member: member(name, incarnation),
            generation: 0,
            rpc: format!("{name}:9010"),
            data: Data::OfCluster,
        };
        let disk = disk();
        let joining = Joining::open(parts(&own, &disk, bucket.clone(), env.clone(), false)).unwrap();
        let mut node = Node { own, disk, env, joining, serving: false };
        node.restart(bucket);
        node
    }

    fn restart(&mut self, bucket: Bucket) {
        self.disk.crash(|_, _| 0);
        let local = LocalCopies::open(Arc::new(self.disk.clone()), Path::new(DATA)).unwrap();
        self.own.generation = local.next_generation().unwrap();
        self.joining = Joining::open(parts(&self.own, &self.disk, bucket, self.env.clone(), false)).unwrap();
        self.serving = false;
    }

    fn wipe(&mut self, incarnation: u128, bucket: Bucket) {
        self.disk = disk();
        self.own.member.incarnation = Incarnation(incarnation);
        self.restart(bucket);
    }

    fn as_peer(&self) -> Peer {
        let Announcement { ready, cluster, newest_epoch, gone } = self.joining.announcement();
        Peer {
            member: self.own.member.clone(),
            generation: self.own.generation,
            rpc: self.own.rpc.clone(),
            ready,
            cluster,
            newest_epoch,
            gone,
            alive: true,
        }
    }
}

/// A run of five nodes; everything follows from the seed.
async fn simulate(seed: u64) {
    const NODES: usize = 5;
    const LOSSES_MAX: usize = 2;
    let state = AtomicU64::new(seed);
    let below = |n: u64| split_mix(&state) % n;
    let faults = AtomicU64::new(seed ^ 1);
    let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = Faulty::around(inner.clone(), move |_, _| match split_mix(&faults) % 10 {
        0 => Fault::Before,
        1 => Fault::After,
        2 => Fault::Conflict,
        _ => Fault::None,
    });
    let bucket = faulty.bucket(DEADLINE);
    let env = Arc::new(TestEnv::new(seed ^ 2));
    let names = ["a", "b", "c", "d", "e"];
    let mut nodes: Vec<Node> =
        (1..).zip(names).map(|(n, name)| Node::new(name, n, bucket.clone(), env.clone())).collect();
    // What each node knows of each other: late, by different amounts.
    let mut known: Vec<Vec<Option<Peer>>> = vec![vec![None; NODES]; NODES];
    let mut past: Vec<Peer> = Vec::new();
    let (mut losses, mut steps) = (0, 0);
    loop {
        let faults_on = steps < 400;
        if steps == 400 {
            faulty.set_plan(|_, _| Fault::None);
            past.iter_mut().for_each(|peer| peer.alive = false);
        }
        steps += 1;
        env.pass(Duration::from_millis(below(500)));
        let at = below(NODES as u64) as usize;
        for (other, slot) in known[at].iter_mut().enumerate() {
            if other != at && (!faults_on || below(4) == 0) {
                *slot = Some(nodes[other].as_peer());
            }
        }
        if faults_on && below(25) == 0 {
            past.push(nodes[at].as_peer());
            if losses < LOSSES_MAX && below(3) == 0 {
                losses += 1;
                nodes[at].wipe(1_000 + steps, bucket.clone());
            } else {
                nodes[at].restart(bucket.clone());
            }
        }
        let others = known[at].iter().flatten().cloned();
        let view = View { peers: others.chain(past.clone()).collect(), ..View::default() };
        let node = &mut nodes[at];
        match node.joining.step(&view).await {
            Ok(Progress::Serving(_)) => {
                node.serving = true;
                node.joining.set_recovered();
                let newest = node.joining.chain().newest().expect("a member has a document");
                let listed = newest.member(&node.own.member.node);
                assert_eq!(listed.map(|m| m.incarnation), Some(node.own.member.incarnation));
            }
            Ok(_) => {}
            Err(error) => panic!("{} was refused: {error}", node.own.member.node),
        }
        let newest = nodes.iter().filter_map(|node| Some(node.joining.chain().newest()?.epoch)).max();
        let agreed = nodes.iter().all(|node| {
            let own = node.joining.chain().newest();
            node.serving && own.map(|document| document.epoch) == newest
        });
        if !faults_on && agreed {
            break;
        }
        assert!(steps < 5_000, "they do not come to agree");
    }
    let stored = EpochStore::new(Bucket::new("test://bucket", inner, DEADLINE));
    let stored = stored.load_chain(Epoch(1)).await.unwrap();
    for node in &nodes {
        assert!(node.joining.chain().documents().eq(&stored), "all act upon what is stored");
        let newest = stored.last().unwrap().member(&node.own.member.node);
        assert_eq!(newest, Some(&node.own.member));
    }
    for pair in stored.windows(2) {
        let changed = changes(&pair[0], &pair[1]);
        assert_eq!(changed.len(), 1, "one member at a time: {changed:?}");
    }
    assert!(Chain::new(stored).is_ok());
}

#[test]
fn nodes_in_any_order_with_any_faults_come_to_one_chain() {
    let seed = seed();
    for run_number in 0..60 {
        println!("run {run_number}: SEED={}", seed + run_number);
        run(simulate(seed + run_number));
    }
}

#[test]
fn without_the_right_to_read_the_bucket_a_member_goes_on_and_a_new_node_says_so() {
    run(async {
        let faulty = Faulty::new(|_, _| Fault::None);
        let bucket = faulty.bucket(DEADLINE);
        let env = Arc::new(TestEnv::new(1));
        let member_disk = disk();
        let start = |disk: &SimDisk, incarnation| {
            start_alone(parts(&alone(incarnation), disk, bucket.clone(), env.clone(), true))
        };
        start(&member_disk, 1).await.unwrap();
        faulty.set_plan(|_, _| Fault::Denied);
        let joined = start(&member_disk, 1).await.unwrap();
        assert!(joined.is_bucket_down());
        let error = start(&disk(), 2).await.map(|joined| joined.facts()).unwrap_err();
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("test://bucket/cluster.json: refused: "), "{error}");
        assert!(error.to_string().contains("403"), "{error}");
    });
}

#[test]
fn a_document_of_a_later_version_stops_no_member() {
    run(async {
        let inner = Arc::new(InMemory::new());
        let bucket = Bucket::new("test://bucket", inner.clone(), DEADLINE);
        let env = Arc::new(TestEnv::new(1));
        let member_disk = disk();
        let start = |disk: &SimDisk, incarnation| {
            start_alone(parts(&alone(incarnation), disk, bucket.clone(), env.clone(), true))
        };
        start(&member_disk, 1).await.unwrap();
        let later = ObjectPath::from("epochs/00000000000000000002.json");
        inner.put(&later, "{\"version\": 2}".into()).await.unwrap();
        assert_eq!(start(&member_disk, 1).await.unwrap().chain().newest().unwrap().epoch, Epoch(1));
        let error = start(&disk(), 2).await.map(|joined| joined.facts()).unwrap_err();
        assert!(error.to_string().contains("upgrade this node first"), "{error}");
    });
}

#[test]
fn documents_from_peers_are_acted_upon_while_the_bucket_is_away_and_compared_when_it_is_back() {
    run(async {
        let faulty = Faulty::new(|_, _| Fault::None);
        let bucket = faulty.bucket(DEADLINE);
        let env = Arc::new(TestEnv::new(1));
        let own = alone(1);
        let disk = disk();
        let parts = || parts(&own, &disk, bucket.clone(), env.clone(), true);
        let mut joined = start_alone(parts()).await.unwrap();
        let one = joined.chain().newest().unwrap().clone();
        let two = one.next(proposer(9), vec![member("a", 1), member("b", 2)]).unwrap();
        let three = two.next(proposer(9), vec![member("a", 1)]).unwrap();
        faulty.set_plan(|_, _| Fault::Before);
        // A later one that does not follow cannot be acted upon; one that is known is nothing new.
        for (document, newest) in [(&three, 1), (&two, 2), (&one, 2), (&three, 3)] {
            joined.learn(document.clone()).unwrap();
            assert_eq!(joined.chain().newest().unwrap().epoch, Epoch(newest));
        }
        disk.crash(|_, _| 0);
        let mut joined = start_alone(parts()).await.unwrap();
        assert_eq!(joined.chain().newest(), Some(&three), "it was durable");
        // The bucket has never heard of them: somebody is in the wrong cluster.
        faulty.set_plan(|_, _| Fault::None);
        env.pass(Duration::from_secs(60));
        let error = loop {
            match joined.step(&View::default()).await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains("epoch 3 in bucket test://bucket is another document"), "{error}");
    });
}

#[test]
fn a_wiped_node_alone_makes_the_next_epoch() {
    run(async {
        let bucket = Bucket::new("test://bucket", Arc::new(InMemory::new()), DEADLINE);
        let env = Arc::new(TestEnv::new(1));
        let first = disk();
        let joined = start_alone(parts(&alone(1), &first, bucket.clone(), env.clone(), true)).await.unwrap();
        assert_eq!(joined.chain().newest().unwrap().epoch, Epoch(1));
        let facts = joined.facts();
        let second = disk();
        let joined = start_alone(parts(&alone(2), &second, bucket.clone(), env.clone(), true)).await.unwrap();
        assert_eq!(joined.facts(), facts, "the cluster stays, and its seed");
        let documents: Vec<_> = joined.chain().documents().cloned().collect();
        assert_eq!(documents.len(), 2);
        let node = alone(2).member.node;
        assert_eq!(changes(&documents[0], &documents[1]), [Change::NewIncarnation(node)]);
        // The old disk, should it come back, is not served any more.
        match start_alone(parts(&alone(1), &first, bucket, env, true)).await {
            Err(ClusterError::Refused(Refusal::Replaced { epoch: Epoch(2), .. })) => {}
            other => panic!("{:?}", other.map(|joined| joined.chain().clone())),
        }
    });
}

#[test]
fn a_member_starts_while_the_bucket_is_away_and_compares_when_it_is_back() {
    run(async {
        let faulty = Faulty::new(|_, _| Fault::None);
        let bucket = faulty.bucket(DEADLINE);
        let env = Arc::new(TestEnv::new(1));
        let own = alone(1);
        let disk = disk();
        let parts = || parts(&own, &disk, bucket.clone(), env.clone(), true);
        start_alone(parts()).await.unwrap();
        faulty.set_plan(|_, _| Fault::Before);
        let mut joined = start_alone(parts()).await.unwrap();
        assert!(joined.is_bucket_down());
        assert_eq!(joined.chain().newest().unwrap().epoch, Epoch(1));
        // A document has come meanwhile.
        faulty.set_plan(|_, _| Fault::None);
        let next = joined.chain().newest().unwrap().next(proposer(9), vec![member("a", 1)]);
        EpochStore::new(bucket.clone()).create(&next.unwrap()).await.unwrap();
        env.pass(Duration::from_secs(60));
        while joined.is_bucket_down() || joined.chain().newest().unwrap().epoch != Epoch(2) {
            joined.step(&View::default()).await.unwrap();
        }
        // And one whose bucket was emptied and filled by somebody else learns it then.
        faulty.set_plan(|_, _| Fault::Before);
        let mut joined = start_alone(parts()).await.unwrap();
        let other = Faulty::new(|_, _| Fault::None);
        let others_store = EpochStore::new(other.bucket(DEADLINE));
        others_store.create_cluster(&joined.facts().unwrap()).await.unwrap();
        faulty.redirect(other);
        env.pass(Duration::from_secs(60));
        let error = loop {
            match joined.step(&View::default()).await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        let said = error.to_string();
        assert!(said.contains("epoch 2 in bucket test://bucket is another document"), "{said}");
    });
}
