//! Gyre: Prometheus storage for many tenants.

pub mod api;
pub mod quote;
pub mod tenant;
