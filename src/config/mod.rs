//! What a node can be told, and by whom: defaults, under a YAML file, under `GYRE_...` variables, under flags.
//!
//! - [`settings`]: the node's settings, one table for flags, keys, variables, help and `/config`.
//! - [`limits`]: the tenants' limits, under `limits:` and `overrides:` in the file.
//! - [`features`]: experimental parts of PromQL.
//! - [`load`]: puts the sources on top of each other.
//! - [`yaml`]: YAML with the place of every key; the only file that knows the YAML library.
//! - `check`: what settings have to do with each other.
//! - [`error`]: one line for everything that can be wrong.
//! - [`show`]: the effective configuration as YAML.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gyre_ring::{NodeId, Role, Zone};

use crate::cluster::store::StorageUrl;
use crate::node::storage_engine::LogOptions;
use crate::tenant::TenantId;
use crate::tenant::header::AuthMode;
use crate::tenant::limits::{Limits, Overrides};

mod check;
pub mod error;
mod expand;
mod features;
mod limits;
pub mod load;
mod nearest;
mod settings;
mod show;
mod values;
mod yaml;

pub use error::ConfigError;
pub use features::{Feature, Features};
pub use settings::{SETTINGS, Setting};
pub use values::{ListenAddress, LogLevel, Seeds, WalSync, host_node_id};

/// Everything a node can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where data lies.
    pub data_dir: PathBuf,
    /// Where HTTP is served.
    pub http_listen: ListenAddress,
    /// The least severe messages that are logged.
    pub log_level: LogLevel,
    /// The node's name; `None`: the one it has in its data directory, or the host's.
    pub node_id: Option<NodeId>,
    /// What may fail together with the node; `None`: nothing.
    pub node_zone: Option<Zone>,
    /// What the node does.
    pub node_roles: Vec<Role>,
    /// Holds what all nodes of the cluster know and nobody else; `None`: the node runs alone.
    pub cluster_secret_file: Option<PathBuf>,
    /// A member that most others have not heard of for so long is replaced, in milliseconds; 0: never.
    pub cluster_replace_dead_after_ms: i64,
    /// Where other nodes are served.
    pub rpc_listen: ListenAddress,
    /// Where the node gossips.
    pub gossip_listen: ListenAddress,
    /// Nodes to gossip with first.
    pub gossip_join: Seeds,
    /// Where the object store is.
    pub storage_url: StorageUrl,
    /// How tenants are told apart.
    pub auth_mode: AuthMode,
    /// What a write waits for.
    pub wal_sync: WalSync,
    /// Bytes that a lane of the log takes before its shards are snapshotted.
    pub wal_snapshot_bytes: u64,
    /// Bytes of log files that are kept for other replicas only.
    pub wal_keep_bytes_max: u64,
    /// Whether a node that stops makes blocks of all that it holds first.
    pub blocks_flush_on_shutdown: bool,
    /// Bytes of one write request, compressed and decompressed. Cortex's `max_recv_msg_size`.
    pub push_request_bytes_max: u64,
    /// Bytes of all write requests in flight.
    pub push_inflight_bytes_max: u64,
    /// The longest a query may take, in milliseconds.
    pub query_timeout_ms: i64,
    /// Samples that a query may hold at a time.
    pub query_samples_max: u64,
    /// Bytes that a query may hold at a time.
    pub query_bytes_max: u64,
    /// Memory that may be taken by what was read of blocks.
    pub blocks_cache_memory_bytes: u64,
    /// The same on disk. Not used where the object store is a folder.
    pub blocks_cache_disk_bytes: u64,
    /// Experimental parts of PromQL that are on.
    pub features: Features,
    /// The limits of tenants without overrides.
    pub limits: Limits,
    /// Complete limits of the tenants that have overrides.
    pub overrides: BTreeMap<TenantId, Limits>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("gyre-data"),
            http_listen: ListenAddress::default(),
            log_level: LogLevel::Info,
            node_id: None,
            node_zone: None,
            node_roles: Role::ALL.to_vec(),
            cluster_secret_file: None,
            cluster_replace_dead_after_ms: 15 * 60 * 1000,
            rpc_listen: ListenAddress { port: 9010, ..ListenAddress::default() },
            gossip_listen: ListenAddress { port: 9011, ..ListenAddress::default() },
            gossip_join: Seeds::default(),
            storage_url: StorageUrl::DataDir,
            auth_mode: AuthMode::Optional,
            wal_sync: WalSync::Commit,
            wal_snapshot_bytes: LogOptions::default().snapshot_bytes,
            wal_keep_bytes_max: LogOptions::default().keep_bytes_max,
            blocks_flush_on_shutdown: false,
            push_request_bytes_max: 100 << 20,
            push_inflight_bytes_max: 512 << 20,
            query_timeout_ms: 120_000,
            query_samples_max: 50_000_000,
            query_bytes_max: 2 << 30,
            blocks_cache_memory_bytes: 256 << 20,
            blocks_cache_disk_bytes: 10 << 30,
            features: Features::default(),
            limits: Limits::default(),
            overrides: BTreeMap::new(),
        }
    }
}

impl Config {
    /// The tenants' limits in the form the node looks them up in.
    pub fn tenant_limits(&self) -> Overrides {
        let by_tenant = self.overrides.iter().map(|(tenant, limits)| (tenant.clone(), limits.clone()));
        Overrides::new(self.limits.clone(), by_tenant)
    }

    /// The effective configuration as YAML that [`load`] reads back to the same configuration.
    pub fn to_yaml(&self) -> String {
        show::to_yaml(self)
    }
}
