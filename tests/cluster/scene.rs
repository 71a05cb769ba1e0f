//! Members, documents and clocks for tests.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gyre::cluster::Calls;
use gyre::cluster::bootstrap::Own;
use gyre::cluster::epochs::EpochStore;
use gyre::cluster::local::LocalCopies;
use gyre::cluster::membership::Peer;
use gyre::cluster::start::Parts;
use gyre::cluster::store::Bucket;
use gyre::env::Env;
use gyre::rpc::{self, LocalNode, PeerConfig, RpcMetrics, Secret, Versions};
use gyre_ring::{
    BootId, ClusterId, EpochDocument, Incarnation, Member, NodeId, Proposer, Replica, Role, ShardCount,
    Weight, Zone,
};
use gyre_tsdb::disk::{Disk, SimDisk};
use tokio::runtime::Handle;

/// Where a data directory is on a disk of a test.
pub const DATA: &str = "/data";

/// Runs a test on this thread.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A disk with an empty data directory.
pub fn disk() -> SimDisk {
    let disk = SimDisk::default();
    disk.create_dir_all(Path::new(DATA)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

/// What a node is made of.
pub fn parts(own: &Own, disk: &SimDisk, bucket: Bucket, env: Arc<TestEnv>, alone: bool) -> Parts {
    Parts {
        own: own.clone(),
        alone,
        replication_factor: 3,
        shards_per_tenant: ShardCount::new(4).unwrap(),
        replace_dead_after: None,
        store: EpochStore::new(bucket),
        local: LocalCopies::open(Arc::new(disk.clone()), Path::new(DATA)).unwrap(),
        env,
    }
}

/// A member with all roles and a zone of its own.
pub fn member(node: &str, incarnation: u128) -> Member {
    let node = NodeId::new(node).expect("a node id");
    Member {
        zone: Zone::of_node(&node),
        node,
        incarnation: Incarnation(incarnation),
        weight: Weight::ORDINARY,
        roles: Role::ALL.to_vec(),
    }
}

/// Proposer number so and so.
pub fn proposer(number: u128) -> Proposer {
    Proposer { node: NodeId::new(&format!("n{number}")).expect("a node id"), proposal: BootId(number) }
}

/// A first document.
pub fn first(proposal: u128, members: Vec<Member>) -> EpochDocument {
    let shards = ShardCount::new(4).expect("a power of two");
    EpochDocument::first(proposer(proposal), 3, shards, members).expect("a valid document")
}

/// A ready peer of a cluster that is alive.
pub fn peer(member: Member, cluster: Option<ClusterId>) -> Peer {
    Peer {
        rpc: format!("{}:9010", member.node),
        member,
        generation: 1,
        ready: true,
        cluster,
        newest_epoch: None,
        gone: Vec::new(),
        alive: true,
    }
}

/// How a node calls others, on the test's own runtime.
pub fn calls(name: Replica) -> Calls {
    let local = LocalNode {
        cluster: rpc::ClusterId::new("test").expect("a name"),
        name,
        secret: Secret::new(b"0123456789abcdef").expect("long enough"),
        versions: Versions::OURS,
    };
    let (config, io, metrics) = (PeerConfig::default(), Handle::current(), RpcMetrics::default());
    Calls { local: Arc::new(local), config, io, metrics }
}

/// A clock that a test sets, and numbers that follow from a seed.
pub struct TestEnv {
    now_ms: AtomicU64,
    random: AtomicU64,
}

impl TestEnv {
    /// At time 0.
    pub fn new(seed: u64) -> Self {
        TestEnv { now_ms: AtomicU64::new(0), random: AtomicU64::new(seed) }
    }

    /// Time passes.
    pub fn pass(&self, time: Duration) {
        self.now_ms.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
}

impl Env for TestEnv {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed) as i64
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::Relaxed))
    }

    fn random(&self) -> u128 {
        let low = split_mix(&self.random);
        u128::from(split_mix(&self.random)) << 64 | u128::from(low)
    }
}

/// The next number of SplitMix64 (Steele, Lea, Flood 2014).
pub fn split_mix(state: &AtomicU64) -> u64 {
    let step = 0x9e37_79b9_7f4a_7c15;
    let mut z = state.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A seed, from `SEED` or the system; printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| gyre::env::OsEnv::shared().random() as u64);
    println!("SEED={seed}");
    seed
}
