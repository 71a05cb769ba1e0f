//! Shards that panic, with the real engine room on a real disk.

use std::sync::Arc;

use actix::{Handler, Message};
use gyre_ring::{
    BootId, Chain, ClusterId, EpochDocument, HashSeed, Incarnation, Member, NodeId, Proposer, Role,
    ShardCount, TenantId, Weight, Zone,
};
use gyre_tsdb::labels;
use tokio::sync::watch;

use super::actor::ShardActor;
use super::read::{ReadLabels, Select, TimeRange};
use crate::api::push::decode::WriteBatch;
use crate::api::push::pool::BatchPool;
use crate::cluster::identity::ClusterFacts;
use crate::cluster::{ClusterState, LiveCluster};
use crate::env::OsEnv;
use crate::node::storage_engine::{LogOptions, Recovered, StorageEngine, ThisRun};
use crate::replica::Coordinator;
use crate::replica::local::Replicas;
use crate::tenant::limits::Overrides;

#[derive(Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Panic> for ShardActor {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Self::Context) {
        panic!("on purpose");
    }
}

fn request(pool: &BatchPool, names: &[&str], t_ms: i64) -> WriteBatch {
    let mut message = Vec::new();
    for name in names {
        let mut series = labels::encode([("__name__", *name)]);
        let mut sample = vec![0x09];
        sample.extend_from_slice(&1.5f64.to_le_bytes());
        sample.push(0x10);
        let mut t = t_ms as u64;
        while t >= 0x80 {
            sample.push(t as u8 | 0x80);
            t >>= 7;
        }
        sample.push(t as u8);
        series.extend([0x12, sample.len() as u8]);
        series.extend(sample);
        message.extend([0x0a, series.len() as u8]);
        message.extend(series);
    }
    WriteBatch::decode_plain(pool, &message).unwrap()
}

fn cluster_of_one() -> ClusterState {
    let node = NodeId::new("a").unwrap();
    let member = Member {
        zone: Zone::of_node(&node),
        node: node.clone(),
        incarnation: Incarnation(1),
        weight: Weight::ORDINARY,
        roles: vec![Role::Write],
    };
    let own = member.replica();
    let proposer = Proposer { node, proposal: BootId(1) };
    let document = EpochDocument::first(proposer, 3, ShardCount::new(4).unwrap(), vec![member]).unwrap();
    let facts = ClusterFacts { cluster: ClusterId(1), seed: HashSeed(7) };
    ClusterState::new(facts, own, Chain::new([document]).unwrap()).unwrap()
}

#[test]
fn a_shard_that_panics_comes_back_with_everything_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    actix_rt::System::new().block_on(async {
        let (state, views) = (cluster_of_one(), watch::Sender::default().subscribe());
        let seed = state.facts.seed;
        let recovered = Recovered::read(folder.path(), 2, seed, &Chain::default()).unwrap();
        let run = ThisRun { boot: BootId(9), epoch: state.epoch() };
        let cluster = Arc::new(LiveCluster::fixed(state, views, None));
        let overrides = Arc::new(Overrides::default());
        let engine =
            StorageEngine::start(recovered, run, OsEnv::shared(), overrides, LogOptions::default()).unwrap();
        let replicas = Arc::new(Replicas::new(engine.shards.clone(), cluster));
        let coordinator = Coordinator::new(replicas, seed);
        let (pool, tenant) = (BatchPool::new(4, 1 << 20), TenantId::new("acme").unwrap());
        let names: Vec<String> = (0..64).map(|i| format!("m{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let outcome = coordinator.write(&tenant, request(&pool, &names, 1000)).await.unwrap();
        assert_eq!(outcome.accepted_samples, 64);

        let shards = engine.shards.get(&tenant).unwrap();
        assert!(shards.all()[2].actor.ask(Panic).await.is_err());
        // Until it is back, the sender is told to try again; the lane and the other shards are not touched.
        let mut refused = 0;
        let outcome = loop {
            match coordinator.write(&tenant, request(&pool, &names, 2000)).await {
                Ok(outcome) => break outcome,
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains("the shard is being rebuilt") && error.is_retryable(), "{text}");
                }
            }
            refused += 1;
            tokio::task::yield_now().await;
        };
        assert!(refused > 0, "somebody has to notice");
        assert_eq!(outcome.accepted_samples, 64);

        let range = TimeRange { min_ms: 1000, max_ms: 1000 };
        let mut found = 0;
        for shard in shards.all() {
            let series = shard.actor.ask(Select { matchers: Vec::new(), by_key: false }).await.unwrap();
            found += shard.actor.ask(ReadLabels { series, range: Some(range) }).await.unwrap().iter().count();
        }
        assert_eq!(found, 64, "all series with their first sample");
        assert_eq!(shards.state.series(), 64, "and none is counted twice");
        tokio::task::spawn_blocking(move || engine.stop()).await.unwrap();
    });
}
