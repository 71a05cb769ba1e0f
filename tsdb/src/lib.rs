//! Time series storage of one shard: labels, head, chunks, WAL, snapshot. No network, no async.

pub mod block;
pub mod chunk;
pub mod disk;
pub mod head;
pub mod histogram;
mod index;
pub mod labels;
mod mem;
pub mod sealed;
pub mod snapshot;
mod varint;
pub mod wal;

pub use head::winner;
pub use head::{
    Appended, Applied, CreateError, Decoded, Head, HeadSize, IdleSeries, NotABatch, ReadError, SeriesBatch,
    SeriesData, TOUCHED_TOGETHER, WINDOW_MS, WalBase, window_of,
};
pub use index::{IndexFull, Matcher, SeriesRef};
