//! Chunk encodings, bit-compatible with Prometheus's, so that a chunk of the head goes into a block as it is.

mod bit_reader;
pub mod histogram;
mod sink;
mod start_times;
mod varbit;
pub mod xor;
pub mod xor2;
mod xor_decoder;

pub(crate) use bit_reader::BitReader;
pub(crate) use sink::BitSink;
pub use sink::VecSink;

/// No chunk is longer, so that its length fits into the two bytes that sealed files have for it.
pub const CHUNK_BYTES_MAX: usize = u16::MAX as usize;

/// A chunk that does not decode. Chunks are covered by checksums, so this means a bug or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// The chunk ends before the number of samples its header states.
    #[error("chunk ends within a sample")]
    Truncated,
    /// Bits that no encoder writes.
    #[error("chunk holds an impossible bit pattern")]
    Malformed,
}
