//! Gyre: Prometheus storage for many tenants.
