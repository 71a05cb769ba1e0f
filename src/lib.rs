//! Gyre: Prometheus storage for many tenants.

pub mod api;
pub mod config;
pub mod telemetry;
pub mod tenant;
