//! Samples on their way to a replica, in a form of their own.
//!
//! A sample is small and there are millions a second, so what repeats is sent once per connection: a series'
//! key and label bytes when it is first met, then a dense id; a timestamp once per run of samples that share it;
//! and of a value only the bytes that differ from the last one sent for that series. The bytes are described in
//! `docs/format/rpc.md`.
//!
//! What may go wrong: encoder and decoder must have seen the same batches in the same order. So an [`Encoder`]
//! belongs to the writer of one connection and is fed when the bytes are written, not when a batch is queued; a
//! [`Decoder`] belongs to its reader and decodes every batch, also one that is then refused; a connection that
//! breaks takes both with it. Their memory is bounded: past a number of ids, or when many are not used any more since
//! segments have ended, the encoder forgets everything and says so in the bytes.
//!
//! A receiver that does not know a series whose labels went by before (it refused that batch, or forgot the
//! series) must ask its sender for the batch with [`SampleSource::repeats_labels`].
//!
//! - [`encoder`]: from a [`SampleSource`] to bytes.
//! - [`decoder`]: from bytes to a [`SampleBatch`], into reused buffers.
//! - `values`: one run's values.
//! - `wire`: varints and checked reading.

pub mod batch;
pub mod decoder;
pub mod encoder;
mod values;
mod wire;

pub use batch::{BatchPool, FloatSample, HistogramSample, PooledBatch, SampleBatch, Series};
pub use decoder::{DecodeError, Decoder};
pub use encoder::{BatchWriter, EncodeError, Encoder, SampleSource};

/// Series in one batch.
pub const SERIES_PER_BATCH_MAX: usize = 1 << 20;
/// Samples in one batch, floats and histograms each. An unchanged value takes one bit, so bytes alone are no
/// bound.
pub const SAMPLES_PER_BATCH_MAX: usize = 1 << 20;
/// Label bytes of one series.
pub const LABEL_BYTES_MAX: usize = 1 << 20;
/// Segments named on a connection before the encoder begins anew.
pub const STREAMS_MAX: usize = 4096;
/// Bytes of a segment's name.
pub const NAME_BYTES_MAX: usize = 255;
/// Series ids a decoder holds for one connection unless it says otherwise: 24 bytes each.
pub const SERIES_IDS_MAX: u32 = 1 << 20;
