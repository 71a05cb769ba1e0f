//! Batches in the reply to a pull: for each its name (16 bytes of run, 8 of number) and 4 bytes of length, all little
//! endian, then the batch as [`crate::rpc::samples`] encodes it, with one encoder for all of the reply. Parts of the
//! reply end anywhere.
//!
//! Between batches, under a name of zeros that no batch has: which blocks have samples that are left out of the batches
//! that follow, each as the block's ULID, 16 bytes, the window, 8 bytes, and since when, 8 bytes, milliseconds since 1970.

use gyre_ring::{BatchId, BatchNumber, BootId};
use gyre_tsdb::block::Ulid;

use crate::rpc::samples::{DecodeError, Decoder, SampleBatch};
use crate::shard::released::ReleasedTo;

pub const HEADER_BYTES: usize = 28;

/// No batch is longer: it came in one message once.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// The run that nobody has: names of blocks follow.
const NO_BOOT: BootId = BootId(0);

const RELEASED_BYTES: usize = 32;

/// Something that came.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulled {
    /// A batch.
    Batch(BatchId),
    /// Blocks that have what is left out of the batches that follow.
    Released(Vec<ReleasedTo>),
}

/// Appends which blocks have what is left out of the batches that follow.
pub fn put_released(out: &mut Vec<u8>, blocks: &[ReleasedTo]) {
    put_header(out, BatchId { boot: NO_BOOT, number: BatchNumber(0) }, blocks.len() * RELEASED_BYTES);
    for block in blocks {
        out.extend_from_slice(&block.ulid.0.to_le_bytes());
        out.extend_from_slice(&block.window.to_le_bytes());
        out.extend_from_slice(&block.at_ms.to_le_bytes());
    }
}

fn take_released(bytes: &[u8]) -> Result<Vec<ReleasedTo>, StreamError> {
    let (blocks, rest) = bytes.as_chunks::<RELEASED_BYTES>();
    if !rest.is_empty() {
        return Err(StreamError::NoNames(bytes.len()));
    }
    let block = |block: &[u8; RELEASED_BYTES]| {
        let (mut ulid, mut window, mut at_ms) = ([0; 16], [0; 8], [0; 8]);
        ulid.copy_from_slice(&block[..16]);
        window.copy_from_slice(&block[16..24]);
        at_ms.copy_from_slice(&block[24..]);
        ReleasedTo {
            ulid: Ulid(u128::from_le_bytes(ulid)),
            window: i64::from_le_bytes(window),
            at_ms: i64::from_le_bytes(at_ms),
        }
    };
    Ok(blocks.iter().map(block).collect())
}

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
    /// Names of blocks that nobody has sent.
    #[error("names of blocks of {0} bytes")]
    NoNames(usize),
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

    /// What is next, if all of it has come. Samples of a batch are put into `batch`.
    pub fn next(&mut self, batch: &mut SampleBatch) -> Result<Option<Pulled>, StreamError> {
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
        let (boot, number) = (BootId(u128::from_le_bytes(boot)), BatchNumber(u64::from_le_bytes(number)));
        let pulled = if boot == NO_BOOT {
            Pulled::Released(take_released(bytes)?)
        } else {
            self.decoder.decode(bytes, batch)?;
            Pulled::Batch(BatchId { boot, number })
        };
        self.read += HEADER_BYTES + len;
        Ok(Some(pulled))
    }

    /// Whether everything that came was read.
    pub fn is_empty(&self) -> bool {
        self.read == self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use gyre_ring::SeriesKey;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::rpc::samples::{BatchWriter, Encoder, SampleSource};

    struct Floats(Vec<(u128, i64, u64)>);

    impl SampleSource for Floats {
        fn segment(&self) -> &str {
            "acme/0-of-1@1"
        }

        fn series_len(&self) -> usize {
            self.0.len()
        }

        fn write_to(&self, out: &mut BatchWriter<'_>) {
            for (key, t_ms, v_bits) in &self.0 {
                out.series(SeriesKey(*key), || b"labels");
                out.sample(*t_ms, *v_bits);
            }
        }

        fn memory_bytes(&self) -> usize {
            0
        }
    }

    fn id(number: u64) -> BatchId {
        BatchId { boot: BootId(7), number: BatchNumber(number) }
    }

    /// A batch's name, and its floats' times and bits.
    type Got = (BatchId, Vec<(i64, u64)>);

    fn read(stream: &mut BatchStream) -> Result<Vec<Got>, StreamError> {
        let (mut batch, mut all) = (SampleBatch::default(), Vec::new());
        while let Some(pulled) = stream.next(&mut batch)? {
            if let Pulled::Batch(id) = pulled {
                all.push((id, batch.samples.iter().map(|sample| (sample.t_ms, sample.v_bits)).collect()));
            }
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn batches_come_back_from_parts_that_end_anywhere(
            batches in vec(vec((0..5u128, any::<i64>(), any::<u64>()), 0..4), 0..5),
            part_bytes in 1..60usize,
        ) {
            let (mut encoder, mut sent, mut bytes) = (Encoder::new(1000), Vec::new(), Vec::new());
            for (number, mut floats) in (1u64..).zip(batches) {
                floats.dedup_by_key(|float| float.0);
                let mut batch = Vec::new();
                encoder.encode(&Floats(floats.clone()), &mut batch).unwrap();
                put_header(&mut bytes, id(number), batch.len());
                bytes.extend(batch);
                let mut samples: Vec<(i64, u64)> = floats.iter().map(|(_, t_ms, v)| (*t_ms, *v)).collect();
                samples.sort_unstable();
                sent.push((id(number), samples));
            }
            let (mut stream, mut got) = (BatchStream::new(1000), Vec::new());
            for part in bytes.chunks(part_bytes) {
                stream.push(part);
                got.extend(read(&mut stream).unwrap());
            }
            for (_, samples) in &mut got {
                samples.sort_unstable();
            }
            prop_assert_eq!(got, sent);
            prop_assert!(stream.is_empty());
        }

        #[test]
        fn any_bytes_are_batches_or_an_error(bytes: Vec<u8>) {
            let mut stream = BatchStream::new(1000);
            stream.push(&bytes);
            if let Ok(batches) = read(&mut stream) {
                prop_assert!(batches.len() * HEADER_BYTES <= bytes.len());
            }
        }
    }

    #[test]
    fn names_of_blocks_come_between_batches() {
        let (mut encoder, mut bytes, mut batch) = (Encoder::new(1000), Vec::new(), Vec::new());
        encoder.encode(&Floats(vec![(1, 2, 3)]), &mut batch).unwrap();
        let blocks = [
            ReleasedTo { ulid: Ulid(u128::MAX - 1), window: -3, at_ms: i64::MAX },
            ReleasedTo { ulid: Ulid(7), window: 9, at_ms: 5 },
        ];
        put_released(&mut bytes, &blocks);
        put_header(&mut bytes, id(4), batch.len());
        bytes.extend(batch);
        put_released(&mut bytes, &[]);
        let mut stream = BatchStream::new(1000);
        let mut batch = SampleBatch::default();
        let mut got = Vec::new();
        for part in bytes.chunks(7) {
            stream.push(part);
            got.extend(std::iter::from_fn(|| stream.next(&mut batch).unwrap()));
        }
        let expected = [Pulled::Released(blocks.to_vec()), Pulled::Batch(id(4)), Pulled::Released(vec![])];
        assert_eq!(got, expected);

        let mut stream = BatchStream::new(1000);
        let mut bytes = Vec::new();
        put_header(&mut bytes, BatchId { boot: NO_BOOT, number: BatchNumber(0) }, 33);
        bytes.extend([0; 33]);
        stream.push(&bytes);
        assert!(matches!(stream.next(&mut batch), Err(StreamError::NoNames(33))));
    }

    #[test]
    fn a_length_that_nobody_sends_is_an_error() {
        let (mut stream, mut bytes) = (BatchStream::new(1000), Vec::new());
        put_header(&mut bytes, id(1), BATCH_BYTES_MAX + 1);
        stream.push(&bytes);
        assert!(matches!(read(&mut stream), Err(StreamError::TooLong(len)) if len == BATCH_BYTES_MAX + 1));
    }
}
