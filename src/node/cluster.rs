//! The node's place in its cluster. Today every node is told of no others, and so is a cluster of one.

use std::sync::Arc;

use gyre_ring::{Member, NodeId, Role, ShardCount, Weight, Zone};
use gyre_tsdb::disk::OsDisk;

use super::data_dir::DataDir;
use crate::cluster::LiveCluster;
use crate::cluster::bootstrap::{Data, Own};
use crate::cluster::epochs::{EpochError, EpochStore};
use crate::cluster::local::LocalCopies;
use crate::cluster::start::{ClusterError, Parts, start_alone};
use crate::cluster::store::Bucket;
use crate::config::{Config, host_node_id};
use crate::env::SharedEnv;

/// Replicas of each shard in clusters founded by this version, where there are as many nodes.
const REPLICATION_FACTOR: u8 = 3;

/// Shards of a tenant in clusters founded by this version.
const SHARDS_PER_TENANT: u32 = 4;

/// Finds or founds the cluster of a bucket and a data directory.
pub(super) async fn join(
    config: &Config,
    data_dir: &DataDir,
    env: SharedEnv,
) -> Result<LiveCluster, ClusterError> {
    let bucket = Bucket::open(&config.storage_url, &data_dir.path).map_err(EpochError::from)?;
    let local = LocalCopies::open(Arc::new(OsDisk), &data_dir.path)?;
    let node = node_id(config, data_dir, &local)?;
    let facts = &data_dir.facts;
    let own = Own {
        member: Member {
            incarnation: facts.incarnation,
            zone: Zone::of_node(&node),
            weight: Weight::ORDINARY,
            roles: Role::ALL.to_vec(),
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
    let joining = start_alone(Parts {
        own,
        alone: true,
        replication_factor: REPLICATION_FACTOR,
        shards_per_tenant: facts.shards_per_tenant.unwrap_or(ordinary),
        store: EpochStore::new(bucket),
        local,
        env,
    })
    .await?;
    Ok(LiveCluster::alone(joining))
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
