//! Tenants: who they are and what they may do.
//!
//! - [`header`]: whose request it is.
//! - [`limits`]: what each tenant may do, common limits and overrides.
//! - [`rate`]: the token bucket of the ingestion rate.
//! - [`registry`]: the tenants met so far, with their limits and counters.
//! - [`canonical`]: what a label set must look like, and its one form.

pub mod canonical;
pub mod header;
pub mod limits;
pub mod metadata;
pub mod rate;
pub mod registry;

pub use gyre_ring::{TenantId, TenantIdError};
