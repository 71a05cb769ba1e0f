//! Gyre: Prometheus storage for many tenants.

pub mod actor;
pub mod api;
pub mod archive;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod env;
pub mod node;
pub mod query;
pub mod replica;
pub mod rpc;
pub mod shard;
pub mod telemetry;
pub mod tenant;
pub mod version;
