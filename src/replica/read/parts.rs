//! Streamed replies of reads: batches of bytes, each with its length, cut into parts wherever a part is full.
//!
//! A batch is about a part long, or as long as its only entry, up to [`BATCH_BYTES_MAX`]. So neither side holds more
//! than that of a reply, however long it is.

use bytes::Bytes;

use crate::rpc::frame::CHUNK_BYTES_MAX;
use crate::rpc::{Failure, Outcome, ReplySink};

/// A batch takes no further entry once it is so long.
pub const BATCH_BYTES: usize = 128 << 10;

/// The longest batch.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// The version of [`Texts`].
const TEXTS_VERSION: u8 = 1;

/// What came is not what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadParts {
    /// A batch is longer than any may be.
    #[error("a batch of {0} bytes, at most {BATCH_BYTES_MAX} are allowed")]
    TooLong(usize),
    /// The reply ends within a batch.
    #[error("the reply breaks off within a batch")]
    BrokenOff,
    /// A batch of texts is none.
    #[error("these bytes are no texts")]
    Texts,
}

/// Sends batches.
pub struct PartSender {
    sink: ReplySink,
}

impl PartSender {
    /// Sends them there.
    pub fn new(sink: ReplySink) -> Self {
        PartSender { sink }
    }

    /// Sends a batch, when the caller has room for it.
    pub async fn batch(&mut self, batch: Vec<u8>) -> Result<(), Failure> {
        let failed = |text: String| Failure::Failed { text, is_retryable: false, outcome: Outcome::Unknown };
        if batch.len() > BATCH_BYTES_MAX {
            return Err(failed(BadParts::TooLong(batch.len()).to_string()));
        }
        let mut rest = Bytes::from(batch);
        let mut first = Vec::with_capacity(CHUNK_BYTES_MAX.min(rest.len() + 4));
        first.extend_from_slice(&(rest.len() as u32).to_le_bytes());
        first.extend_from_slice(&rest.split_to(rest.len().min(CHUNK_BYTES_MAX - 4)));
        self.sink.send(first.into()).await.map_err(|error| failed(error.to_string()))?;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(CHUNK_BYTES_MAX));
            self.sink.send(part).await.map_err(|error| failed(error.to_string()))?;
        }
        Ok(())
    }
}

/// Puts parts together again.
#[derive(Debug, Default)]
pub struct Joiner {
    buffer: Vec<u8>,
}

impl Joiner {
    /// Takes the next part.
    pub fn push(&mut self, part: &[u8]) {
        self.buffer.extend_from_slice(part);
    }

    /// The next batch, if all of it is there.
    pub fn next_batch(&mut self) -> Result<Option<Vec<u8>>, BadParts> {
        let Some((length, rest)) = self.buffer.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > BATCH_BYTES_MAX {
            return Err(BadParts::TooLong(length));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let batch = rest[..length].to_vec();
        self.buffer.drain(..4 + length);
        Ok(Some(batch))
    }

    /// Whether the reply may end here.
    pub fn finish(&self) -> Result<(), BadParts> {
        if self.buffer.is_empty() { Ok(()) } else { Err(BadParts::BrokenOff) }
    }
}

/// A batch of texts, or of label sets.
#[derive(Debug)]
pub struct Texts(Vec<u8>);

impl Default for Texts {
    fn default() -> Self {
        Texts(vec![TEXTS_VERSION])
    }
}

impl Texts {
    /// Adds a text.
    pub fn push(&mut self, text: &[u8]) {
        self.0.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.0.extend_from_slice(text);
    }

    /// Whether it is time for another batch.
    pub fn is_full(&self) -> bool {
        self.0.len() >= BATCH_BYTES
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 1
    }

    /// The batch.
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// The texts of a batch.
    pub fn parse(batch: &[u8]) -> Result<Vec<&[u8]>, BadParts> {
        let mut rest = match batch.split_first() {
            Some((&TEXTS_VERSION, rest)) => rest,
            _ => return Err(BadParts::Texts),
        };
        let mut texts = Vec::new();
        while !rest.is_empty() {
            let (length, behind) = rest.split_first_chunk::<4>().ok_or(BadParts::Texts)?;
            let length = u32::from_le_bytes(*length) as usize;
            let (text, behind) = behind.split_at_checked(length).ok_or(BadParts::Texts)?;
            texts.push(text);
            rest = behind;
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn batches_come_back_however_they_are_cut(
            batches: Vec<Vec<u8>>,
            cuts in proptest::collection::vec(1usize..40, 1..100),
        ) {
            let mut wire = Vec::new();
            for batch in &batches {
                wire.extend_from_slice(&(batch.len() as u32).to_le_bytes());
                wire.extend_from_slice(batch);
            }
            let (mut joiner, mut joined, mut rest) = (Joiner::default(), Vec::new(), &wire[..]);
            for cut in cuts.into_iter().cycle() {
                while let Some(batch) = joiner.next_batch().unwrap() {
                    joined.push(batch);
                }
                if rest.is_empty() {
                    break;
                }
                let (part, behind) = rest.split_at(cut.min(rest.len()));
                joiner.push(part);
                rest = behind;
            }
            prop_assert_eq!(joined, batches);
            prop_assert_eq!(joiner.finish(), Ok(()));
        }

        #[test]
        fn texts_come_back(texts: Vec<Vec<u8>>) {
            let mut batch = Texts::default();
            texts.iter().for_each(|text| batch.push(text));
            prop_assert_eq!(batch.is_empty(), texts.is_empty());
            let bytes = batch.into_bytes();
            prop_assert_eq!(Texts::parse(&bytes).unwrap(), texts);
        }

        #[test]
        fn any_bytes_are_texts_or_an_error(mut bytes: Vec<u8>) {
            if let Some(first) = bytes.first_mut() {
                *first = TEXTS_VERSION;
            }
            if let Ok(texts) = Texts::parse(&bytes) {
                let length: usize = texts.iter().map(|text| text.len() + 4).sum();
                prop_assert_eq!(length + 1, bytes.len());
            }
        }
    }

    #[test]
    fn a_batch_that_is_too_long_or_breaks_off_is_refused() {
        let mut joiner = Joiner::default();
        joiner.push(&[1, 0, 0]);
        assert_eq!(joiner.next_batch(), Ok(None));
        assert_eq!(joiner.finish(), Err(BadParts::BrokenOff));
        joiner.push(&[4, 0]);
        let length = (4 << 24) + 1;
        assert_eq!(joiner.next_batch(), Err(BadParts::TooLong(length)));
    }
}
