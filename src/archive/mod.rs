//! The archive: blocks in the object store, in Cortex's layout, so that Cortex and Thanos read what is written here, and the
//! other way round.
//!
//! A block exists for readers when its `meta.json` is there. So it is put last and removed first, and everything that is
//! in between ([partial](TenantBlocks::partial)) is nobody's yet or any more.
//!
//! - [`layout`]: where things lie.
//! - [`upload`]: a folder becomes a block in the bucket; every object is read back before the block is listed.
//! - [`list`]: which blocks a tenant has, and which of them queries read.
//! - [`marks`]: blocks that are to be removed, or not to be compacted.
//! - [`cover`]: what a block of ours covers. [`ship`]: windows of heads become blocks.
//! - [`plan`], [`compact`]: which blocks are to become one, and how they do.
//! - [`cleanup`]: what is removed, and when. [`keeper`]: the node that does all that for a tenant.
//! - [`import`], [`export`]: blocks of others become a tenant's; a tenant's become a folder for a Prometheus. Also
//!   [`download`].
//! - [`bucket_index`]: the listing that Cortex keeps as an object.
//! - [`read`]: blocks in queries.
//! - [`error`]: what goes wrong, with the name of the object.

pub mod bucket_index;
pub mod cleanup;
pub mod compact;
pub mod cover;
pub mod download;
pub mod error;
pub mod export;
pub mod import;
pub mod keeper;
pub mod layout;
pub mod list;
pub mod marks;
pub mod plan;
pub mod read;
pub mod ship;
pub mod upload;

pub use error::ArchiveError;
pub use list::{ListedBlock, TenantBlocks};
pub use upload::{Uploaded, describe, upload};
