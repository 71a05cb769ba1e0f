//! Blocks in the object store: a tenant's past, in Cortex's layout (`<tenant>/<ULID>/...`).

pub mod read;
