//! The object store as the node uses it. [`Bucket`] is the whole interface.
//!
//! Two operations are enough for agreement, and every store has them: *get*, and *create if absent*. What may go wrong is
//! the answer of a create: it can be lost after the object was made, and some stores report a conflict to the winner
//! too. So [`Bucket::create`] always ends with a read, and returns what is stored.
//!
//! Blocks need the rest: put, files in parts, listings, ranges, removal. Each of these may be done twice with the same
//! result, so a request that fails in passing is [made again](Bucket::retrying).

mod bucket;
mod error;
mod files;
mod objects;
mod ranges;
mod retry;
mod url;

pub use bucket::Bucket;
pub use error::StoreError;
pub use files::{FileSum, PART_BYTES};
pub use objects::{Listing, ObjectFacts};
pub use ranges::Ranged;
pub use url::StorageUrl;
