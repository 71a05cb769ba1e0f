//! What the node says about itself.
//!
//! - [`tenant`]: what each tenant sends and what becomes of it.
//! - [`http`]: how long requests take.
//! - [`node`]: what the node holds.
//! - [`process`]: what it uses of the machine.
//! - [`logs`]: where messages go.

use std::sync::Arc;

use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::api::handing::metrics::HandingMetrics;
use crate::archive::keeper::KeepMetrics;
use crate::archive::read::metrics::BlockMetrics;
use crate::archive::ship::ShipMetrics;
use crate::node::handle::NodeHandle;
use crate::replica::pull::PullMetrics;
use crate::replica::read::metrics::ReadMetrics;
use crate::rpc::RpcMetrics;
use crate::version;

#[cfg(feature = "count-allocations")]
pub mod allocations;
pub mod http;
pub mod logs;
pub mod node;
pub mod process;
pub mod tenant;

/// All metrics of the process.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    /// What tenants send.
    pub tenants: tenant::TenantMetrics,
    /// How long requests take.
    pub requests: http::RequestDurations,
    /// What becomes of questions that another node answers.
    pub handing: HandingMetrics,
    /// What is between this node and others.
    pub cluster: ClusterMetrics,
}

/// Metrics of what is between this node and others.
#[derive(Clone, Debug)]
pub struct ClusterMetrics {
    /// What travels.
    pub rpc: RpcMetrics,
    /// Where reads go.
    pub reads: ReadMetrics,
    /// What replicas get from each other.
    pub pulls: PullMetrics,
    /// What becomes of windows of heads.
    pub ships: ShipMetrics,
    /// What becomes of blocks.
    pub keeps: KeepMetrics,
    /// What reading blocks costs.
    pub blocks: BlockMetrics,
}

impl Telemetry {
    /// Registers everything there is to tell.
    pub fn new(node: Arc<NodeHandle>) -> Self {
        let mut registry = Registry::default();
        registry.register(
            "gyre_build",
            "Version of this program",
            Info::new([("version", version::VERSION), ("revision", version::REVISION)]),
        );
        let tenants = tenant::TenantMetrics::register(&mut registry);
        let requests = http::RequestDurations::register(&mut registry);
        let cluster = ClusterMetrics {
            rpc: RpcMetrics::register(&mut registry),
            reads: ReadMetrics::default(),
            pulls: PullMetrics::default(),
            ships: ShipMetrics::default(),
            keeps: KeepMetrics::default(),
            blocks: BlockMetrics::default(),
        };
        cluster.reads.register(&mut registry);
        cluster.pulls.register(&mut registry);
        cluster.ships.register(&mut registry);
        cluster.keeps.register(&mut registry);
        cluster.blocks.register(&mut registry);
        let handing = HandingMetrics::default();
        handing.register(&mut registry);
        registry.register_collector(Box::new(node::NodeCollector(node)));
        registry.register_collector(Box::new(process::ProcessCollector));
        Self { registry, tenants, requests, handing, cluster }
    }

    /// Everything in OpenMetrics text format.
    pub fn to_text(&self) -> String {
        let mut out = String::with_capacity(64 << 10);
        // Writing to a string cannot fail, and neither do the collectors.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
