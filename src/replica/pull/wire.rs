//! Batches in the reply to a pull: for each its name (16 bytes of run, 8 of number) and 4 bytes of length, all little
//! endian, then the batch as [`crate::rpc::samples`] encodes it, with one encoder for all of the reply. Parts of the
//! reply end anywhere.

use gyre_ring::{BatchId, BatchNumber, BootId};

use crate::rpc::samples::{DecodeError, Decoder, SampleBatch};

pub const HEADER_BYTES: usize = 28;

/// No batch is longer: it came in one message once.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// Appends a batch's header.
pub fn put_header(out: &mut Vec<u8>, id: BatchId, batch_bytes: usize) {
    out.extend_from_slice(&id.boot.0.to_le_bytes());
    out.extend_from_slice(&id.number.0.to_le_bytes());
    out.extend_from_slice(&(batch_bytes as u32).to_le_bytes());
}

/// Bytes that are no batches.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A batch that nobody has sent.
    #[error("a batch of {0} bytes")]
    TooLong(usize),
    /// A batch makes no sense.
    #[error(transparent)]
    Batch(#[from] DecodeError),
}

/// Puts batches together from the parts of a reply.
pub struct BatchStream {
    decoder: Decoder,
    bytes: Vec<u8>,
    /// Bytes at the front that were read.
    read: usize,
}

impl BatchStream {
    /// A stream of which nothing has come yet.
    pub fn new(series_ids_max: u32) -> Self {
        BatchStream { decoder: Decoder::new(series_ids_max), bytes: Vec::new(), read: 0 }
    }

    /// Takes the next part.
    pub fn push(&mut self, part: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(part);
    }

    /// The next batch, if all of it has come.
    pub fn next(&mut self, batch: &mut SampleBatch) -> Result<Option<BatchId>, StreamError> {
        let rest = &self.bytes[self.read..];
        let Some((header, rest)) = rest.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let mut boot = [0; 16];
        boot.copy_from_slice(&header[..16]);
        let mut number = [0; 8];
        number.copy_from_slice(&header[16..24]);
        let len = u32::from_le_bytes([header[24], header[25], header[26], header[27]]) as usize;
        if len > BATCH_BYTES_MAX {
            return Err(StreamError::TooLong(len));
        }
        let Some(bytes) = rest.get(..len) else { return Ok(None) };
        self.decoder.decode(bytes, batch)?;
        self.read += HEADER_BYTES + len;
        let (boot, number) = (BootId(u128::from_le_bytes(boot)), BatchNumber(u64::from_le_bytes(number)));
        Ok(Some(BatchId { boot, number }))
    }

    /// Whether everything that came was read.
    pub fn is_empty(&self) -> bool {
        self.read == self.bytes.len()
    }
}
