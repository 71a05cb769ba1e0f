//! The node's place in its cluster: alone, or among others once it knows their secret.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gyre_ring::{Chain, HashSeed, Member, NodeId, ShardCount, Weight, Zone};
use gyre_tsdb::disk::OsDisk;
use tokio::net::TcpSocket;
use tokio::sync::watch;

use super::StartError;
use super::data_dir::DataDir;
use super::handle::{NodeHandle, Outlook, Stage};
use super::network::{NetworkError, PeerRuntime, Sockets, listen, secret};
use crate::cluster::bootstrap::{Data, Own, Waiting};
use crate::cluster::epochs::{EpochError, EpochStore};
use crate::cluster::local::LocalCopies;
use crate::cluster::membership::Membership;
use crate::cluster::membership::gossip::{Gossip, GossipConfig};
use crate::cluster::run;
use crate::cluster::start::{ClusterError, Joining, Parts, start_alone};
use crate::cluster::store::Bucket;
use crate::cluster::{Calls, LiveCluster};
use crate::config::{Config, host_node_id};
use crate::env::SharedEnv;
use crate::rpc::{self, Handler, LocalNode, PeerConfig, RpcMetrics, Secret, Server, ServerConfig, Versions};

/// Replicas of each shard in clusters founded by this version, where there are as many nodes.
const REPLICATION_FACTOR: u8 = 3;

/// Shards of a tenant in clusters founded by this version. Most tenants are small, and each shard costs every request a
/// message, a record and a frame for each replica; one shard's core takes millions of samples a second.
const SHARDS_PER_TENANT: u32 = 2;

/// How often a node gossips. It takes some rounds until all have heard of something.
const GOSSIP_INTERVAL: Duration = Duration::from_millis(250);

/// How long requests of other nodes may take to finish when the node stops.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Opens the object store, which everything is in.
pub(super) fn bucket(config: &Config, data_dir: &DataDir) -> Result<Bucket, StartError> {
    let opened = Bucket::open(&config.storage_url, &data_dir.path).map_err(EpochError::from);
    opened.map_err(|error| cluster_error(data_dir, error.into()))
}

/// Finds or founds the cluster of a bucket and a data directory, and becomes a member. For a node among others also the
/// door through which they will come.
pub(super) async fn join(
    config: &Config,
    data_dir: &DataDir,
    (env, bucket): (SharedEnv, Bucket),
    metrics: &RpcMetrics,
    handle: &NodeHandle,
) -> Result<(Arc<LiveCluster>, Option<Door>), StartError> {
    let failed = |source| cluster_error(data_dir, source);
    let parts = match parts(config, data_dir, env, bucket) {
        Ok(parts) => parts,
        Err(error) => return Err(failed(error)),
    };
    let (live, door) = match &config.cluster_secret_file {
        None => (alone(parts, handle).await.map_err(failed)?, None),
        Some(file) => {
            let entrance = Entrance::prepare(config, secret(file)?)?;
            let (live, door) = entrance.join(parts, metrics, handle).await?.map_err(failed)?;
            (live, Some(door))
        }
    };
    let live = Arc::new(live);
    handle.enter(Stage::Recovering(live.clone()));
    Ok((live, door))
}

/// The seed for series keys of the cluster that a data directory belongs to, and the documents it has, if that is known
/// already. What cannot be read now, [`join`] reports.
pub(super) fn known_before(data_dir: &DataDir) -> Option<(HashSeed, Chain)> {
    let local = LocalCopies::open(Arc::new(OsDisk), &data_dir.path).ok()?;
    let chain = Chain::new(local.documents().ok()?).ok()?;
    Some((local.cluster().ok()??.seed, chain))
}

fn cluster_error(data_dir: &DataDir, source: ClusterError) -> StartError {
    StartError::Cluster { path: data_dir.path.display().to_string(), source: Box::new(source) }
}

/// What this node is, as one that was told of no others.
fn parts(config: &Config, data_dir: &DataDir, env: SharedEnv, bucket: Bucket) -> Result<Parts, ClusterError> {
    let local = LocalCopies::open(Arc::new(OsDisk), &data_dir.path)?;
    let node = node_id(config, data_dir, &local)?;
    let facts = &data_dir.facts;
    let own = Own {
        member: Member {
            incarnation: facts.incarnation,
            zone: config.node_zone.clone().unwrap_or_else(|| Zone::of_node(&node)),
            weight: Weight::ORDINARY,
            roles: config.node_roles.clone(),
            node,
        },
        // Nobody is told, so nobody can mistake this run for another.
        generation: 0,
        rpc: String::new(),
        data: match facts.seed {
            Some(seed) => Data::OfSeed(seed),
            // The log is made behind the first epoch.
            None if local.cluster()?.is_none() && data_dir.has_data() => Data::OfForgottenCluster,
            None => Data::OfCluster,
        },
    };
    let ordinary = ShardCount::new(SHARDS_PER_TENANT).expect("a power of two");
    Ok(Parts {
        own,
        alone: true,
        replication_factor: REPLICATION_FACTOR,
        shards_per_tenant: facts.shards_per_tenant.unwrap_or(ordinary),
        replace_dead_after: (config.cluster_replace_dead_after_ms > 0)
            .then(|| Duration::from_millis(config.cluster_replace_dead_after_ms as u64)),
        store: EpochStore::new(bucket),
        local,
        env,
    })
}

/// The name that was given, or the one under which the data directory is a member: hosts are renamed, and containers
/// get a new name at every start.
fn node_id(config: &Config, data_dir: &DataDir, local: &LocalCopies) -> Result<NodeId, ClusterError> {
    if let Some(given) = &config.node_id {
        return Ok(given.clone());
    }
    let documents = local.documents()?;
    let members = documents.last().into_iter().flat_map(|newest| &newest.members);
    let own = { members }.find(|member| member.incarnation == data_dir.facts.incarnation);
    Ok(own.map_or_else(host_node_id, |member| member.node.clone()))
}

async fn alone(parts: Parts, handle: &NodeHandle) -> Result<LiveCluster, ClusterError> {
    handle.enter(Stage::Joining(Outlook {
        node: parts.own.member.node.to_string(),
        bucket: parts.store.bucket_name().to_owned(),
        views: watch::Sender::default().subscribe(),
        waiting: watch::Sender::new(Some(Waiting::Bucket)).subscribe(),
    }));
    Ok(LiveCluster::alone(start_alone(parts).await?))
}

/// What a node needs to meet others.
struct Entrance {
    secret: Secret,
    sockets: Sockets,
    seeds: Vec<String>,
    runtime: PeerRuntime,
}

impl Entrance {
    fn prepare(config: &Config, secret: Secret) -> Result<Self, NetworkError> {
        let sockets = Sockets::open(config)?;
        let seeds = config.gossip_join.0.iter().map(ToString::to_string).collect();
        Ok(Entrance { secret, sockets, seeds, runtime: PeerRuntime::start()? })
    }

    /// Meets the others. The inner error is about the cluster, the outer one about this machine.
    async fn join(
        self,
        mut parts: Parts,
        metrics: &RpcMetrics,
        handle: &NodeHandle,
    ) -> Result<Result<(LiveCluster, Door), ClusterError>, NetworkError> {
        let Entrance { secret, sockets, seeds, runtime } = self;
        let generation = match parts.local.next_generation() {
            Ok(generation) => generation,
            Err(error) => return Ok(Err(error.into())),
        };
        (parts.alone, parts.own.generation) = (false, generation);
        parts.own.rpc = sockets.rpc_told.to_string();
        let gossip = Gossip::start(GossipConfig {
            member: parts.own.member.clone(),
            generation,
            rpc: parts.own.rpc.clone(),
            secret: secret.clone(),
            listen: sockets.gossip,
            advertise: sockets.gossip_told,
            seeds,
            interval: GOSSIP_INTERVAL,
        });
        let gossip = Arc::new(on(&runtime, gossip).await?);
        tracing::info!(
            rpc = %sockets.rpc_told, gossip = %sockets.gossip_told, generation, "other nodes are told of these addresses"
        );
        let waits = watch::Sender::default();
        handle.enter(Stage::Joining(Outlook {
            node: parts.own.member.node.to_string(),
            bucket: parts.store.bucket_name().to_owned(),
            views: gossip.views(),
            waiting: waits.subscribe(),
        }));
        let membership = gossip.clone();
        let joined = on(&runtime, async move {
            let mut joining = Joining::open(parts)?;
            run::join(&mut joining, membership.as_ref(), &waits).await?;
            Ok::<_, ClusterError>(joining)
        });
        let joining = match joined.await {
            Ok(joining) => joining,
            Err(error) => return Ok(Err(error)),
        };
        let facts = joining.facts().expect("a member knows its cluster");
        let local = Arc::new(LocalNode {
            cluster: rpc::ClusterId::new(&facts.cluster.to_string()).expect("hexadecimal digits are a name"),
            name: joining.own(),
            secret,
            versions: Versions::OURS,
        });
        let calls = Calls {
            local: local.clone(),
            config: PeerConfig::default(),
            io: runtime.handle().clone(),
            metrics: metrics.clone(),
        };
        let live = {
            let _on_it = runtime.enter();
            LiveCluster::start(joining, gossip.clone(), calls)
        };
        let door = Door { socket: sockets.rpc, local, metrics: metrics.clone(), gossip, runtime };
        Ok(Ok((live, door)))
    }
}

/// Runs a future on the runtime that talks to others, so that what it spawns lives there.
async fn on<T: Send + 'static>(runtime: &PeerRuntime, future: impl Future<Output = T> + Send + 'static) -> T {
    match runtime.spawn(future).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody cancels it, and the runtime is alive.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Where other nodes will come in once the node has recovered.
pub(super) struct Door {
    socket: TcpSocket,
    local: Arc<LocalNode>,
    metrics: RpcMetrics,
    gossip: Arc<Gossip>,
    runtime: PeerRuntime,
}

impl Door {
    /// Lets them in.
    pub(super) fn open(self, handler: Arc<dyn Handler>) -> Result<PeerServer, NetworkError> {
        let Door { socket, local, metrics, gossip, runtime } = self;
        let server = {
            let _on_it = runtime.enter();
            let listener = listen(socket)?;
            Server::start(listener, local, ServerConfig::default(), handler, metrics)
                .map_err(NetworkError::Server)?
        };
        Ok(PeerServer { server: Mutex::new(Some(server)), _gossip: gossip, _runtime: runtime })
    }
}

/// Serves other nodes, and gossips, until this is dropped.
pub(super) struct PeerServer {
    server: Mutex<Option<Server>>,
    _gossip: Arc<Gossip>,
    // The last one: what runs on it is dropped before.
    _runtime: PeerRuntime,
}

impl PeerServer {
    /// Takes no more requests, and answers those it has taken.
    pub(super) async fn shut_down(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.shut_down(DRAIN_MAX).await;
        }
    }
}
