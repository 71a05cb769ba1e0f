//! Remote write: from the bytes of a request to a [`decode::WriteBatch`].

pub mod decode;
pub mod pool;
mod schema;
pub mod snappy;
pub mod wire;
