//! Real gossip on loopback: nodes find each other, join, die, come back, and are not confused by strangers.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use chitchat::transport::UdpTransport;
use chitchat::{ChitchatConfig, ChitchatId, FailureDetectorConfig, ProtocolVersion, spawn_chitchat};
use gyre::cluster::bootstrap::{Data, Own};
use gyre::cluster::epochs::EpochStore;
use gyre::cluster::local::LocalCopies;
use gyre::cluster::membership::gossip::{Gossip, GossipConfig};
use gyre::cluster::membership::{Membership, View};
use gyre::cluster::run::join;
use gyre::cluster::start::{Joining, Parts};
use gyre::cluster::store::Bucket;
use gyre::cluster::{ClusterState, LiveCluster};
use gyre::env::OsEnv;
use gyre_ring::{Incarnation, NodeId, Replica, ShardCount};
use gyre_tsdb::disk::OsDisk;
use object_store::memory::InMemory;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::scene::{calls, member};

const INTERVAL: Duration = Duration::from_millis(50);

/// Nothing here takes longer on any machine that runs tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node that gossips and joins.
struct Node {
    gossip: Arc<Gossip>,
    live: watch::Receiver<Option<LiveCluster>>,
    running: JoinHandle<()>,
    _data: Arc<TempDir>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Node {
    async fn start(
        name: &str,
        incarnation: u128,
        address: SocketAddr,
        seeds: &[String],
        bucket: &Bucket,
        data: Arc<TempDir>,
    ) -> Self {
        let local = LocalCopies::open(Arc::new(OsDisk), data.path()).unwrap();
        let member = member(name, incarnation);
        let generation = local.next_generation().unwrap();
        let rpc = format!("127.0.0.1:{}", address.port());
        let config = GossipConfig {
            member: member.clone(),
            generation,
            rpc: rpc.clone(),
            secret: calls(member.replica()).local.secret.clone(),
            listen: address,
            advertise: address,
            seeds: seeds.to_vec(),
            interval: INTERVAL,
        };
        let gossip = Arc::new(Gossip::start(config).await.unwrap());
        let parts = Parts {
            own: Own { member, generation, rpc, data: Data::OfCluster },
            alone: false,
            replication_factor: 3,
            shards_per_tenant: ShardCount::new(4).unwrap(),
            replace_dead_after: None,
            store: EpochStore::new(bucket.clone()),
            local,
            env: OsEnv::shared(),
        };
        let mut joining = Joining::open(parts).unwrap();
        let calls = calls(joining.own());
        let (sender, live) = watch::channel(None);
        let membership = gossip.clone();
        let running = tokio::spawn(async move {
            let waiting = watch::Sender::default();
            join(&mut joining, membership.as_ref(), &waiting).await.unwrap();
            let live = LiveCluster::start(joining, membership, calls);
            live.recovered().await;
            sender.send_replace(Some(live));
            sender.closed().await;
        });
        Node { gossip, live, running, _data: data }
    }

    /// Waits until the node serves and its newest document is as wanted.
    async fn until_members(&mut self, wanted: impl Fn(&[(String, Incarnation)]) -> bool) {
        let serves = |state: &Arc<ClusterState>| {
            let members = state.newest().members.iter().map(|m| (m.node.to_string(), m.incarnation));
            wanted(&members.collect::<Vec<_>>())
        };
        let waited = tokio::time::timeout(PATIENCE, async {
            let mut states = self.live.wait_for(Option::is_some).await?.as_ref().map(LiveCluster::changes);
            states.as_mut().expect("it is there").wait_for(serves).await.map(drop)
        });
        waited.await.expect("in time").expect("it runs");
    }

    /// Waits until the node can call another one, and takes it to be alive.
    async fn until_reachable(&self, replica: &Replica) {
        let mut views = self.gossip.views();
        let reaches = |_: &Arc<View>| {
            let live = self.live.borrow();
            let live = live.as_ref().expect("it is a member");
            live.is_alive(replica) && live.peer(replica).is_some_and(|peer| peer.replica() == replica)
        };
        tokio::time::timeout(PATIENCE, views.wait_for(reaches)).await.expect("in time").expect("it gossips");
    }

    /// Waits until the node's view is as wanted.
    async fn until_view(&self, wanted: impl Fn(&View) -> bool) {
        let mut views = self.gossip.views();
        let waited = tokio::time::timeout(PATIENCE, views.wait_for(|view| wanted(view))).await;
        waited.expect("in time").expect("it gossips");
    }
}

/// A free port of loopback.
fn address() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("loopback has ports")
}

fn is_alive(view: &View, node: &str) -> bool {
    let node = NodeId::new(node).expect("a node id");
    view.alive().any(|peer| *peer.node() == node)
}

#[test]
fn three_nodes_find_each_other_and_a_wiped_one_comes_back() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let bucket = Bucket::new("test://bucket", Arc::new(InMemory::new()), PATIENCE);
        let addresses = [address(), address(), address()];
        // All know of two, one of them by name.
        let seeds = [addresses[0].to_string(), format!("localhost:{}", addresses[1].port())];
        let data = || Arc::new(tempfile::tempdir().unwrap());
        let mut nodes = Vec::new();
        for (number, name) in (1..).zip(["a", "b", "c"]) {
            let address = addresses[number as usize - 1];
            nodes.push(Node::start(name, number, address, &seeds, &bucket, data()).await);
        }
        for node in &mut nodes {
            node.until_members(|members| members.len() == 3).await;
        }

        // Strangers: bytes that are no gossip, and gossip that makes no sense.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for length in [0, 1, 7, 100, 9_000] {
            socket.send_to(&vec![0x5a; length], addresses[0]).unwrap();
        }
        let stranger_address = address();
        let stranger = ChitchatConfig {
            chitchat_id: ChitchatId::new("../stranger", 1, stranger_address),
            cluster_id: "gyre".to_owned(),
            gossip_interval: INTERVAL,
            listen_addr: stranger_address,
            seed_nodes: vec![addresses[0].to_string()],
            failure_detector_config: FailureDetectorConfig::default(),
            marked_for_deletion_grace_period: PATIENCE,
            catchup_callback: None,
            extra_liveness_predicate: None,
            protocol_version: ProtocolVersion::V1,
        };
        let facts = [("rpc", "?"), ("zone", "?"), ("weight", "?"), ("roles", "?"), ("signature", "?")];
        let facts = facts.map(|(key, value)| (key.to_owned(), value.repeat(9_000))).to_vec();
        let stranger = spawn_chitchat(stranger, facts, &UdpTransport).await.unwrap();
        nodes[0].until_view(|view| view.garbled.iter().any(|(who, _)| who.contains("../stranger"))).await;
        drop(stranger);

        // One dies with its disk, and comes back with another one at the same address.
        drop(nodes.pop());
        nodes[0].until_view(|view| !is_alive(view, "c") && is_alive(view, "b")).await;
        nodes.push(Node::start("c", 33, addresses[2], &seeds, &bucket, data()).await);
        let with_new_disk = |members: &[(String, Incarnation)]| {
            members.len() == 3 && members.contains(&("c".to_owned(), Incarnation(33)))
        };
        for node in &mut nodes {
            node.until_members(with_new_disk).await;
        }
        let replica = |node: usize| nodes[node].live.borrow().as_ref().map(|live| live.own().clone());
        for (from, to) in [(0, 1), (0, 2), (2, 0)] {
            nodes[from].until_reachable(&replica(to).expect("it is a member")).await;
        }
        nodes[0]
            .until_view(|view| {
                let mut heard = view.alive();
                heard.any(|peer| peer.incarnation() == Incarnation(33) && peer.newest_epoch.is_some())
            })
            .await;
    });
}
