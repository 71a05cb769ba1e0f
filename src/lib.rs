//! Gyre: Prometheus storage for many tenants.

pub mod api;
pub mod config;
pub mod duration;
pub mod quote;
pub mod telemetry;
pub mod tenant;
