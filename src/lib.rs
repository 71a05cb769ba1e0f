//! Gyre: Prometheus storage for many tenants.

pub mod api;
pub mod cli;
pub mod config;
pub mod node;
pub mod telemetry;
pub mod tenant;
pub mod version;
