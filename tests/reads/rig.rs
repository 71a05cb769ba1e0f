//! Nodes of a cluster in one process: storage, replicas and servers are real, membership and documents are the test's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use gyre::api::push::decode::WriteBatch;
use gyre::api::push::pool::BatchPool;
use gyre::cluster::identity::ClusterFacts;
use gyre::cluster::membership::scripted::ScriptedMembership;
use gyre::cluster::membership::{Membership, Peer, View};
use gyre::cluster::{Calls, ClusterState, LiveCluster};
use gyre::env::OsEnv;
use gyre::node::storage_engine::{LogOptions, Recovered, StorageEngine, ThisRun};
use gyre::node::{Answer, Evaluated, QueryTimes};
use gyre::query::evaluator::{Evaluator, Failed, Question};
use gyre::query::limits::QueryLimits;
use gyre::query::pool::QueryPool;
use gyre::query::storage::{RemoteAccess, ShardStorage};
use gyre::replica::Coordinator;
use gyre::replica::local::Replicas;
use gyre::replica::pull::take::{PullError, Pulled};
use gyre::replica::read::metrics::{ReadMetrics, Retry};
use gyre::replica::read::plan::{PlanError, ReadPlan, Reader, SegmentSource, Wish};
use gyre::replica::service::ReplicaService;
use gyre::rpc::{
    self, Failure, Handler, LocalNode, PeerConfig, ReplySink, Request, Response, RpcMetrics, Secret, Server,
    ServerConfig, Versions,
};
use gyre::shard::damage::LaneDamage;
use gyre::shard::supervisor::ShardHandle;
use gyre::tenant::limits::{Limits, Overrides};
use gyre_promql::value::{SampleValue, Value};
use gyre_promql::{Engine, EngineOptions, QueryOptions};
use gyre_ring::{
    BatchSet, BootId, Chain, ClusterId, Epoch, EpochDocument, HashSeed, Incarnation, Member, NodeId,
    Proposer, Role, ShardCount, TenantId, Weight, Zone,
};
use gyre_tsdb::disk::OsDisk;
use prost::Message;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::remote_write::{TimeSeries, WriteRequest};

/// No test takes as long.
const LONG: Duration = Duration::from_secs(60);

const SEED: HashSeed = HashSeed(2);

pub fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn member(name: &str) -> Member {
    let node = NodeId::new(name).unwrap();
    Member {
        zone: Zone::of_node(&node),
        incarnation: Incarnation(u128::from(name.as_bytes()[0])),
        node,
        weight: Weight::ORDINARY,
        roles: Role::ALL.to_vec(),
    }
}

fn proposer() -> Proposer {
    Proposer { node: NodeId::new("a").unwrap(), proposal: BootId(9) }
}

/// The documents of epochs with these members.
pub fn documents(epochs: &[&[&str]]) -> Vec<EpochDocument> {
    let mut documents: Vec<EpochDocument> = Vec::new();
    for names in epochs {
        let members = names.iter().map(|name| member(name)).collect();
        documents.push(match documents.last() {
            None => EpochDocument::first(proposer(), 3, ShardCount::new(4).unwrap(), members).unwrap(),
            Some(before) => before.next(proposer(), members).unwrap(),
        });
    }
    documents
}

/// A node.
pub struct TestNode {
    pub replicas: Arc<Replicas>,
    pub reader: Arc<Reader>,
    pub evaluator: Arc<Evaluator>,
    /// What it does not answer.
    pub gate: Gate,
    name: String,
    boot: BootId,
    states: watch::Sender<Arc<ClusterState>>,
    membership: ScriptedMembership,
    coordinator: Coordinator,
    server: Server,
    _storage: StorageEngine,
    folder: TempDir,
    damaged_at: OnceLock<usize>,
}

/// What comes to a node from others, and what of it hangs.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<Passing>>);

#[derive(Default)]
struct Passing {
    closed: BTreeSet<u16>,
    /// Methods that an older version would not know.
    unknown: BTreeSet<u16>,
    /// Requests that came, by method.
    counts: BTreeMap<u16, usize>,
}

impl Gate {
    pub fn close(&self, methods: &[rpc::Method]) {
        let numbers = methods.iter().map(|method| method.number);
        self.passing().closed.extend(numbers);
    }

    pub fn open(&self) {
        self.passing().closed.clear();
    }

    /// From now on the node is one that does not know these.
    pub fn forget(&self, methods: &[rpc::Method]) {
        self.passing().unknown.extend(methods.iter().map(|method| method.number));
    }

    /// The requests that came since this was asked last, by method.
    pub fn take_counts(&self) -> BTreeMap<u16, usize> {
        std::mem::take(&mut self.passing().counts)
    }

    fn passing(&self) -> MutexGuard<'_, Passing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be said instead of an answer, if it does not come through.
    fn stops(&self, method: u16) -> Option<Response> {
        let mut passing = self.passing();
        *passing.counts.entry(method).or_default() += 1;
        if passing.unknown.contains(&method) {
            return Some(Box::pin(std::future::ready(Err(Failure::UnknownMethod))));
        }
        passing.closed.contains(&method).then(|| Box::pin(std::future::pending()) as Response)
    }
}

struct Gated {
    gate: Gate,
    service: ReplicaService,
}

impl Handler for Gated {
    fn handle(&self, request: Request, sink: ReplySink) -> Response {
        self.gate.stops(request.method).unwrap_or_else(|| self.service.handle(request, sink))
    }
}

fn state(name: &str, documents: &[EpochDocument]) -> Arc<ClusterState> {
    let facts = ClusterFacts { cluster: ClusterId(1), seed: SEED };
    let chain = Chain::new(documents.iter().cloned()).unwrap();
    Arc::new(ClusterState::new(facts, member(name).replica(), chain).unwrap())
}

impl TestNode {
    async fn start(name: &str, documents: &[EpochDocument], is_damaged: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        if is_damaged {
            // As a start leaves it that found damage.
            let lane = folder.path().join("wal/0");
            fs::create_dir_all(&lane).unwrap();
            LaneDamage::default().after(Epoch(1), []).write(&OsDisk, &lane).unwrap();
        }
        let (states, changes) = watch::channel(state(name, documents));
        let membership = ScriptedMembership::default();
        let local = Arc::new(LocalNode {
            cluster: rpc::ClusterId::new("test").unwrap(),
            name: member(name).replica(),
            secret: Secret::new(b"0123456789abcdef").unwrap(),
            versions: Versions::OURS,
        });
        let config = PeerConfig { backoff_min: Duration::from_millis(1), ..PeerConfig::default() };
        let calls =
            Calls { local: local.clone(), config, io: Handle::current(), metrics: RpcMetrics::default() };
        let cluster = Arc::new(LiveCluster::scripted(changes, membership.views(), Some(calls)));
        let env = OsEnv::shared();
        let boot = BootId(env.random());
        let limits = Limits { creation_grace_period_ms: i64::MAX / 4, ..Limits::default() };
        let limits = Limits { out_of_order_time_window_ms: i64::MAX / 4, ..limits };
        let overrides = Arc::new(Overrides::new(limits, []));
        let recovered = Recovered::read(folder.path(), 1, SEED, &Chain::default()).unwrap();
        let run = ThisRun { boot, epoch: cluster.state().epoch() };
        let log = LogOptions { sync: false, ..LogOptions::default() };
        let storage = StorageEngine::start(recovered, run, env, overrides, log).unwrap();
        let replicas = Arc::new(Replicas::new(storage.shards.clone(), cluster));
        let gate = Gate::default();
        let metrics = ReadMetrics::default();
        let evaluator = Arc::new(Evaluator::new(
            Engine::new(EngineOptions::default()),
            QueryPool::new(4, 4),
            storage.shards.clone(),
            replicas.cluster.own().clone(),
            OsEnv::shared(),
            metrics.clone(),
        ));
        let pool = BatchPool::new(1, 1 << 20);
        let service = ReplicaService::new(replicas.clone(), boot, pool, Arc::default(), evaluator.clone());
        let handler = Arc::new(Gated { gate: gate.clone(), service });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server =
            Server::start(listener, local, ServerConfig::default(), handler, RpcMetrics::default()).unwrap();
        TestNode {
            reader: Arc::new(Reader::new(replicas.clone(), metrics)),
            coordinator: Coordinator::new(replicas.clone(), SEED),
            replicas,
            evaluator,
            gate,
            name: name.to_owned(),
            boot,
            states,
            membership,
            server,
            _storage: storage,
            folder,
            damaged_at: OnceLock::new(),
        }
    }

    /// From now on the node knows these documents.
    pub fn learn(&self, documents: &[EpochDocument]) {
        self.states.send_replace(state(&self.name, documents));
    }

    /// Writes series by way of this node.
    pub async fn write(&self, timeseries: Vec<TimeSeries>) {
        let message = WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec();
        let batch = WriteBatch::decode_plain(&BatchPool::new(1, 1 << 20), &message).unwrap();
        let outcome = within(self.coordinator.write(&tenant(), batch)).await.unwrap();
        assert_eq!(outcome.refused, []);
    }

    /// Changes a byte in the middle of what was in the log when this was first called; the second time back again.
    pub fn damage_log(&self) {
        let lane = self.folder.path().join("wal/0");
        let path = fs::read_dir(lane).unwrap().next().unwrap().unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let middle = *self.damaged_at.get_or_init(|| bytes.len() / 2);
        bytes[middle] ^= 0xff;
        // In place: the log goes on in the same file.
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        file.write_all(&bytes).unwrap();
    }

    /// The shards here of all segments that another node has, and what is missing of them.
    pub fn missing_from(&self, other: &TestNode) -> Vec<(Arc<ShardHandle>, BatchSet)> {
        let of = |theirs: Arc<ShardHandle>| {
            let own = self.replicas.host(&theirs.segment).unwrap();
            let missing = own.state.missing(&theirs.state.vector().held);
            (own, missing)
        };
        other.replicas.shards.all().into_iter().map(of).collect()
    }

    /// Pulls batches from another node.
    pub async fn pull(
        &self,
        from: &TestNode,
        shard: &Arc<ShardHandle>,
        missing: &BatchSet,
    ) -> Result<Pulled, PullError> {
        let replica = member(&from.name).replica();
        let peer = self.replicas.cluster.peer(&replica).unwrap();
        within(self.replicas.pull(shard, &replica, &peer, missing)).await
    }

    /// The same by somebody who has asked for nothing yet.
    pub async fn pull_anew(
        &self,
        from: &TestNode,
        shard: &Arc<ShardHandle>,
        missing: &BatchSet,
    ) -> Result<Pulled, PullError> {
        let replica = member(&from.name).replica();
        let peer = self.replicas.cluster.peer(&replica).unwrap();
        let anew = Replicas::new(self.replicas.shards.clone(), self.replicas.cluster.clone());
        within(anew.pull(shard, &replica, &peer, missing)).await
    }

    /// Evaluates an expression; series and values as text, by labels. What other nodes compute of it and what comes of
    /// their chunks is the same.
    pub async fn query(&self, expr: &str, time_ms: i64) -> Result<BTreeMap<String, String>, PlanError> {
        let plan = within(self.reader.plan(&tenant(), Wish::default())).await?;
        let from_chunks = self.evaluate(plan.clone(), expr, time_ms).await.unwrap();
        let answer = self.answer(plan, &question(expr, time_ms)).await.unwrap();
        let value = by_labels(&answer.value.value);
        assert_eq!(value, from_chunks, "{expr} at {}", self.name);
        Ok(value)
    }

    /// A plan of this moment.
    pub async fn plan(&self) -> ReadPlan {
        within(self.reader.plan(&tenant(), Wish::default())).await.unwrap()
    }

    /// Answers a question over what a plan says, as a node does.
    pub async fn answer(
        &self,
        plan: ReadPlan,
        question: &Question,
    ) -> Result<Answer<Evaluated>, Box<Failed>> {
        within(self.evaluator.evaluate(plan, question)).await
    }

    /// Evaluates an expression over what a plan says, from chunks.
    pub async fn evaluate(
        &self,
        plan: ReadPlan,
        expr: &str,
        time_ms: i64,
    ) -> Result<BTreeMap<String, String>, String> {
        let remote = RemoteAccess { io: Handle::current(), deadline: Instant::now() + LONG };
        let (shards, own) = (self.replicas.shards.clone(), self.replicas.cluster.own().clone());
        let storage = ShardStorage::new(shards, own, plan, QueryLimits::default(), remote);
        let expr = expr.to_owned();
        let evaluating = tokio::task::spawn_blocking(move || {
            let engine = Engine::new(EngineOptions::default());
            let result = engine.instant(&storage, expr.as_str(), time_ms, &QueryOptions::default());
            result.map(|result| by_labels(&result.value)).map_err(|error| error.to_string())
        });
        within(evaluating).await.unwrap()
    }

    /// How many segments a plan reads here, and how many elsewhere.
    pub async fn sources(&self) -> (usize, usize) {
        let plan = within(self.reader.plan(&tenant(), Wish::default())).await.unwrap();
        let sources = || plan.groups.iter().flatten();
        let local = sources().filter(|source| matches!(source, SegmentSource::Local(_))).count();
        (local, sources().count() - local)
    }

    pub fn retries(&self, reason: Retry) -> u64 {
        self.reader.metrics.retries(reason)
    }

    /// Its run, as others know it.
    pub fn boot(&self) -> BootId {
        self.boot
    }
}

/// An expression to be evaluated at one time.
pub fn question(expr: &str, time_ms: i64) -> Question {
    Question {
        expr: expr.to_owned(),
        times: QueryTimes::Instant { time_ms },
        lookback: None,
        count_samples: false,
        limits: QueryLimits::default(),
        deadline: Instant::now() + LONG,
    }
}

/// Series and values as text, by labels.
pub fn by_labels(value: &Value) -> BTreeMap<String, String> {
    match value {
        Value::Vector(samples) => {
            let text = |value: &SampleValue| match value {
                SampleValue::Float(value) => value.to_string(),
                SampleValue::Histogram(histogram) => histogram.to_string(),
            };
            samples.iter().map(|sample| (sample.labels.to_string(), text(&sample.value))).collect()
        }
        Value::Matrix(series) => {
            series.iter().map(|series| (series.labels.to_string(), format!("{series:?}"))).collect()
        }
        Value::Scalar { value, .. } => BTreeMap::from([("scalar".to_owned(), value.to_string())]),
        other => panic!("not a vector: {other:?}"),
    }
}

/// A cluster.
pub struct Rig {
    pub nodes: BTreeMap<&'static str, TestNode>,
}

impl Rig {
    /// Nodes that know these documents and each other.
    pub async fn start(names: &[&'static str], documents: &[EpochDocument]) -> Self {
        Self::start_damaged(names, documents, &[]).await
    }

    /// The same; the logs of some were damaged in an earlier run.
    pub async fn start_damaged(
        names: &[&'static str],
        documents: &[EpochDocument],
        damaged: &[&str],
    ) -> Self {
        let mut nodes = BTreeMap::new();
        for name in names {
            nodes.insert(*name, TestNode::start(name, documents, damaged.contains(name)).await);
        }
        let rig = Rig { nodes };
        rig.see_all_but(&[]);
        rig
    }

    /// All nodes see all others, but not these.
    pub fn see_all_but(&self, gone: &[&str]) {
        for (own, node) in &self.nodes {
            let others = self.nodes.iter().filter(|(name, _)| *name != own && !gone.contains(name));
            let peers = others.map(|(name, other)| Peer {
                member: member(name),
                generation: 1,
                rpc: other.server.address().to_string(),
                ready: true,
                cluster: None,
                newest_epoch: None,
                gone: Vec::new(),
                alive: true,
            });
            node.membership.set(View { peers: peers.collect(), ..View::default() });
        }
    }
}

impl std::ops::Index<&str> for Rig {
    type Output = TestNode;

    fn index(&self, name: &str) -> &TestNode {
        &self.nodes[name]
    }
}

/// Runs a test.
pub fn run(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(within(test));
}

/// Nothing here takes as long as this. A test that hangs fails.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("the test hangs")
}
