//! The object store as the node uses it: objects are made once, under names that never get other content.
//!
//! [`Bucket`] is the whole interface. Two operations are enough for agreement, and every store has them: *get*, and
//! *create if absent*. What may go wrong is the answer of a create: it can be lost after the object was made, and some
//! stores report a conflict to the winner too. So [`Bucket::create`] always ends with a read, and returns what is
//! stored.

mod bucket;
mod error;
mod ranges;
mod url;

pub use bucket::Bucket;
pub use error::StoreError;
pub use ranges::Ranged;
pub use url::StorageUrl;
