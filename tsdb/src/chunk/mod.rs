//! Chunk encodings, bit-compatible with Prometheus's, so that a chunk of the head goes into a block as it is.

pub mod xor;
mod xor_decoder;

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
