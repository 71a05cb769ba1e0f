//! Windows are shipped to an object store that fails in every way it can. Nothing is lost, and nothing comes twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gyre::api::push::decode::WriteBatch;
use gyre::api::push::pool::BatchPool;
use gyre::archive::read::listed::ListedBlocks;
use gyre::archive::read::metrics::BlockMetrics;
use gyre::archive::read::{Archive, BlockList};
use gyre::archive::ship::{Shipper, ShipperParts};
use gyre::cluster::epochs::EpochStore;
use gyre::cluster::identity::ClusterFacts;
use gyre::cluster::membership::Membership;
use gyre::cluster::membership::scripted::ScriptedMembership;
use gyre::cluster::{ClusterState, LiveCluster};
use gyre::env::OsEnv;
use gyre::node::QueryTimes;
use gyre::node::storage_engine::{LogOptions, Recovered, StorageEngine, ThisRun};
use gyre::query::blocks::Unlisted;
use gyre::query::evaluator::{Evaluator, Question};
use gyre::query::limits::QueryLimits;
use gyre::query::pool::QueryPool;
use gyre::replica::Coordinator;
use gyre::replica::local::Replicas;
use gyre::replica::read::metrics::ReadMetrics;
use gyre::replica::read::plan::{Reader, Wish};
use gyre::tenant::limits::{Limits, Overrides};
use gyre_promql::value::Value;
use gyre_promql::{Engine, EngineOptions};
use gyre_ring::{
    BootId, Chain, ClusterId, EpochDocument, Incarnation, Member, NodeId, Proposer, Role, ShardCount, Weight,
    Zone,
};
use object_store::memory::InMemory;
use prost::Message;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::faulty::{Fault, Faulty, Request};
use crate::histograms::{histogram_series, integers};
use crate::remote_write::{TimeSeries, WriteRequest};
use crate::scene::{SEED, SIZES, tenant};
use crate::series::series;

const STEP_MS: i64 = 60_000;
const HALF_HOUR: i64 = 30;
const BEGIN_MS: i64 = 1_700_006_400_000;
const LONG: Duration = Duration::from_secs(60);

/// Requests that hang end after so long.
const DEADLINE: Duration = Duration::from_millis(40);

/// Series and the bits of their samples, by labels and time; of histograms the sums.
type Samples = BTreeMap<String, BTreeMap<i64, u64>>;

/// A node without a network, above a bucket that may fail.
struct Node {
    store: Arc<Faulty>,
    lists: Arc<ListedBlocks>,
    archive: Arc<Archive>,
    shipper: Shipper,
    storage: StorageEngine,
    coordinator: Coordinator,
    reader: Reader,
    evaluator: Evaluator,
    _states: watch::Sender<Arc<ClusterState>>,
}

impl Node {
    async fn start(data: &Path, store: Arc<Faulty>) -> Self {
        let node = NodeId::new("a").unwrap();
        let member = Member {
            zone: Zone::of_node(&node),
            incarnation: Incarnation(1),
            node: node.clone(),
            weight: Weight::ORDINARY,
            roles: Role::ALL.to_vec(),
        };
        let own = member.replica();
        let proposer = Proposer { node, proposal: BootId(9) };
        let document = EpochDocument::first(proposer, 1, ShardCount::new(2).unwrap(), vec![member]).unwrap();
        let facts = ClusterFacts { cluster: ClusterId(1), seed: SEED };
        EpochStore::new(store.bucket(DEADLINE)).create_cluster(&facts).await.unwrap();
        let chain = Chain::new([document]).unwrap();
        let state = Arc::new(ClusterState::new(facts, own, chain).unwrap());
        let (states, changes) = watch::channel(state);
        let cluster = Arc::new(LiveCluster::scripted(changes, ScriptedMembership::default().views(), None));

        let env = OsEnv::shared();
        let far = i64::MAX / 4;
        let limits = Limits { creation_grace_period_ms: far, ..Limits::default() };
        let limits = Limits { out_of_order_time_window_ms: far, ..limits };
        let overrides = Arc::new(Overrides::new(limits, []));
        let recovered = Recovered::read(data, 1, SEED, &Chain::default()).unwrap();
        let run = ThisRun { boot: BootId(env.random()), epoch: cluster.state().epoch() };
        let log = LogOptions { sync: false, ..LogOptions::default() };
        let storage = StorageEngine::start(recovered, run, env.clone(), overrides, log).unwrap();

        let bucket = store.bucket(DEADLINE);
        let lists = ListedBlocks::new(bucket.clone(), env.clone());
        let list = Arc::new(lists.clone());
        let archive = Archive::new(bucket, list, SIZES, data, SEED, BlockMetrics::default()).unwrap();
        let shipper = ShipperParts {
            shards: storage.shards.clone(),
            lists: lists.clone(),
            cluster: cluster.clone(),
            env: env.clone(),
            metrics: Default::default(),
        };
        let replicas = Arc::new(Replicas::new(storage.shards.clone(), cluster));
        let metrics = ReadMetrics::default();
        Node {
            store,
            lists,
            archive: Arc::new(archive),
            shipper: Shipper::new(shipper, data).unwrap(),
            coordinator: Coordinator::new(replicas.clone(), SEED),
            evaluator: Evaluator::new(
                Engine::new(EngineOptions::default()),
                QueryPool::new(2, 4),
                storage.shards.clone(),
                replicas.cluster.own().clone(),
                env,
                metrics.clone(),
            ),
            reader: Reader::new(replicas, metrics),
            storage,
            _states: states,
        }
    }

    async fn write(&self, timeseries: Vec<TimeSeries>) {
        let message = WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec();
        let batch = WriteBatch::decode_plain(&BatchPool::new(1, 1 << 20), &message).unwrap();
        assert_eq!(self.coordinator.write(&tenant(), batch).await.unwrap().refused, []);
    }

    /// All that is shown of a day, or why it cannot be shown now.
    async fn shown(&self) -> Result<Samples, String> {
        let _pin = self.storage.shards.pins.pin();
        let mut plan = self.reader.plan(&tenant(), Wish::default()).await.unwrap();
        match self.lists.blocks(&tenant(), (i64::MIN, i64::MAX), Duration::ZERO).await {
            Ok(blocks) if blocks.is_empty() => {}
            Ok(blocks) => {
                plan.blocks.query = Some(Arc::new(self.archive.query(blocks, Instant::now() + LONG)));
            }
            // As for ranges of time that began lately.
            Err(reason) => {
                let unlisted = Unlisted { reason, recent_from_ms: i64::MIN, is_partial: false };
                plan.blocks.unlisted = Some(unlisted);
            }
        }
        let question = Question {
            expr: "{__name__=~\"m|h\"}[1d]".to_owned(),
            times: QueryTimes::Instant { time_ms: BEGIN_MS + 24 * 3_600_000 - 1 },
            lookback: None,
            count_samples: false,
            limits: QueryLimits::default(),
            deadline: Instant::now() + LONG,
        };
        let answer = self.evaluator.evaluate(plan, &question).await;
        let Value::Matrix(all) = answer.map_err(|failed| format!("{:?}", failed.error))?.value.value else {
            panic!("not a matrix")
        };
        let samples = all.iter().map(|one| {
            let floats = one.floats().map(|(t_ms, value)| (t_ms, value.to_bits()));
            let histograms = one.histograms().iter().map(|(t_ms, value)| (*t_ms, value.sum.to_bits()));
            let samples: Vec<(i64, u64)> = floats.chain(histograms).collect();
            let total = samples.len();
            let samples: BTreeMap<i64, u64> = samples.into_iter().collect();
            assert_eq!(samples.len(), total, "a time came twice");
            (one.labels.to_string(), samples)
        });
        Ok(samples.collect())
    }

    /// Windows that are in memory.
    fn windows(&self) -> usize {
        self.storage.shards.all().iter().map(|shard| shard.state.windows().iter().count()).sum()
    }

    /// Samples in the blocks that are listed, and those blocks.
    async fn in_blocks(&self) -> (u64, usize) {
        let list = self.lists.now(&tenant()).await.unwrap();
        let samples = list.blocks().values().map(|block| block.meta.stats.num_samples).sum();
        (samples, list.blocks().len())
    }
}

/// Samples of half an hour.
fn half_hour(number: i64) -> Vec<TimeSeries> {
    let times = (number * HALF_HOUR..(number + 1) * HALF_HOUR).map(|step| BEGIN_MS + step * STEP_MS);
    let times: Vec<i64> = times.collect();
    let float = |one: usize| {
        let name = format!("s{one}");
        let value = |t_ms: i64| ((t_ms / STEP_MS) as f64 * (one + 1) as f64).sqrt();
        let samples: Vec<(i64, f64)> = times.iter().map(|t_ms| (*t_ms, value(*t_ms))).collect();
        series(&[("__name__", "m"), ("series", &name)], &samples)
    };
    let counts = |t_ms: i64| [(t_ms / STEP_MS) as u64, 2 * (t_ms / STEP_MS) as u64, 3];
    let sum = |t_ms: i64| t_ms as f64 / 3.0;
    let histograms = times.iter().map(|t_ms| integers(*t_ms, -1, &counts(*t_ms), sum(*t_ms))).collect();
    let histograms = histogram_series(&[("__name__", "h")], histograms);
    (0..10).map(float).chain([histograms]).collect()
}

fn remember(model: &mut Samples, written: &[TimeSeries]) {
    for one in written {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let name = match one.labels.iter().find(|label| label.name == b"series") {
            Some(label) => format!("{{__name__=\"m\", series=\"{}\"}}", text(&label.value)),
            None => "{__name__=\"h\"}".to_owned(),
        };
        let floats = one.samples.iter().map(|sample| (sample.timestamp, sample.value.to_bits()));
        let histograms = one.histograms.iter().map(|sample| (sample.timestamp, sample.sum.to_bits()));
        model.entry(name).or_default().extend(floats.chain(histograms));
    }
}

/// Says what is different, and not all that is the same.
fn check(shown: &Samples, model: &Samples, what: &str) {
    let all = |samples: &Samples| -> BTreeSet<(String, i64, u64)> {
        let flat = |(name, samples): (&String, &BTreeMap<i64, u64>)| {
            samples.iter().map(|(t_ms, bits)| (name.clone(), *t_ms, *bits)).collect::<Vec<_>>()
        };
        samples.iter().flat_map(flat).collect()
    };
    let (shown, model) = (all(shown), all(model));
    let first = |more: &BTreeSet<_>, less: &BTreeSet<_>| more.difference(less).next().cloned();
    let (lost, phantom) = (first(&model, &shown), first(&shown, &model));
    assert!(lost.is_none() && phantom.is_none(), "{what}: lost {lost:?}, not written {phantom:?}");
}

fn total(model: &Samples) -> u64 {
    model.values().map(|samples| samples.len() as u64).sum()
}

/// A store whose requests fail at random.
fn unreliable(seed: u64) -> impl FnMut(Request, &str) -> Fault + Send {
    let mut state = seed;
    let mut random = move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    move |request, _| match (request, random() % 40) {
        (_, 0..14) => Fault::Before,
        (Request::Put, 14..20) => Fault::After,
        (Request::Put, 20..24) => Fault::Conflict,
        (_, 24) => Fault::Hang,
        _ => Fault::None,
    }
}

/// Tries to ship everything while requests fail; whether it was possible. What cannot be shown completely meanwhile is not
/// shown at all.
async fn try_to_ship(node: &Node, model: &Samples, seed: u64) -> bool {
    node.store.set_plan(unreliable(seed));
    let is_shipped = node.shipper.flush(None).await.is_ok();
    if let Ok(shown) = node.shown().await {
        check(&shown, model, &format!("seed {seed}"));
    }
    node.store.set_plan(|_, _| Fault::None);
    check(&node.shown().await.unwrap(), model, &format!("after seed {seed}"));
    is_shipped
}

#[actix_rt::test]
async fn a_store_that_fails_at_random_loses_nothing_and_doubles_nothing() {
    let mut failures = 0;
    for seed in 0..2 {
        println!("seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        let node =
            Node::start(folder.path(), Faulty::around(Arc::new(InMemory::new()), |_, _| Fault::None)).await;
        let mut model = Samples::new();
        for round in 0..8 {
            let written = half_hour(round);
            remember(&mut model, &written);
            node.write(written).await;
            let mut tries = 0;
            while !try_to_ship(&node, &model, seed * 10_000 + round as u64 * 100 + tries).await {
                tries += 1;
                assert!(tries < 100, "it never succeeds");
            }
            failures += tries;
        }
        assert_eq!(node.windows(), 0);
        assert_eq!(node.in_blocks().await.0, total(&model), "seed {seed}: each sample is in one block");
    }
    println!("{failures} failures");
    assert!(failures > 10, "only {failures} failures");
}

#[actix_rt::test]
async fn what_is_written_while_a_store_fails_at_random_is_shown_once() {
    let mut failures = 0;
    for seed in 0..2 {
        println!("seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        let node =
            Node::start(folder.path(), Faulty::around(Arc::new(InMemory::new()), |_, _| Fault::None)).await;
        let mut model = Samples::new();
        for round in 0..12 {
            let written = half_hour(round);
            remember(&mut model, &written);
            node.write(written).await;
            let is_shipped = try_to_ship(&node, &model, seed * 10_000 + round as u64).await;
            failures += u64::from(!is_shipped);
        }
        node.shipper.flush(None).await.unwrap();
        assert_eq!(node.windows(), 0);
        check(&node.shown().await.unwrap(), &model, &format!("seed {seed}, at the end"));
    }
    println!("{failures} failures");
    assert!(failures > 10, "only {failures} failures");
}

#[actix_rt::test]
async fn a_window_whose_block_is_listed_late_stays_until_then_and_is_not_uploaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let node =
        Node::start(folder.path(), Faulty::around(Arc::new(InMemory::new()), |_, _| Fault::None)).await;
    let mut model = Samples::new();
    for round in 0..6 {
        let written = half_hour(round);
        remember(&mut model, &written);
        node.write(written).await;
    }
    let windows = node.windows();
    assert!(windows >= 4, "two windows of two shards: {windows}");
    // A listing does not show what is there.
    node.store.set_plan(|request, path| match request {
        Request::List
            if path.trim_end_matches('/').rsplit('/').next().is_some_and(|name| name.len() == 26) =>
        {
            Fault::Before
        }
        _ => Fault::None,
    });
    for _ in 0..3 {
        let error = node.shipper.flush(None).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("not listed"), "{error}");
        assert_eq!(node.windows(), windows);
        check(&node.shown().await.unwrap(), &model, "not listed");
    }
    node.store.set_plan(|_, _| Fault::None);
    node.shipper.flush(None).await.unwrap();
    assert_eq!(node.windows(), 0);
    assert_eq!(node.in_blocks().await, (total(&model), windows));
    check(&node.shown().await.unwrap(), &model, "listed");
}

#[actix_rt::test]
async fn what_a_store_says_it_has_and_has_not_stays_in_memory() {
    for name in ["chunks/000001", "index", "meta.json"] {
        let folder = tempfile::tempdir().unwrap();
        let node =
            Node::start(folder.path(), Faulty::around(Arc::new(InMemory::new()), |_, _| Fault::None)).await;
        let mut model = Samples::new();
        let written = half_hour(0);
        remember(&mut model, &written);
        node.write(written).await;
        let windows = node.windows();
        node.store.set_plan(move |request, path| match request {
            Request::Put if path.ends_with(name) => Fault::Lie,
            _ => Fault::None,
        });
        let error = node.shipper.flush(None).await.unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert_eq!(node.windows(), windows, "{name}");
        check(&node.shown().await.unwrap(), &model, name);
        node.store.set_plan(|_, _| Fault::None);
        node.shipper.flush(None).await.unwrap();
        assert_eq!((node.windows(), node.in_blocks().await.0), (0, total(&model)), "{name}");
        check(&node.shown().await.unwrap(), &model, name);
    }
}

#[actix_rt::test]
async fn a_node_that_starts_while_the_store_is_away_does_not_hide_what_it_has_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = Faulty::around(Arc::new(InMemory::new()), |_, _| Fault::None);
    let node = Node::start(folder.path(), store.clone()).await;
    let mut model = Samples::new();
    let written = half_hour(0);
    remember(&mut model, &written);
    node.write(written).await;
    node.shipper.flush(None).await.unwrap();
    node.storage.stop();
    drop(node);
    store.set_plan(|request, _| if request == Request::List { Fault::Before } else { Fault::None });
    let node = Node::start(folder.path(), store).await;
    let error = node.shown().await.unwrap_err();
    assert!(error.contains("lacks block"), "{error}");
    node.store.set_plan(|_, _| Fault::None);
    node.lists.now(&tenant()).await.unwrap();
    check(&node.shown().await.unwrap(), &model, "listed");
}
