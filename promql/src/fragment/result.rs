//! What a fragment gives, as bytes.

use super::notes::{put_annotations, take_annotations};
use super::wire::{Reader, WireError, Writer};
use crate::annotations::Annotations;
use crate::exec::{Context, GuardHashes};

/// The first bytes of a partial result.
const MAGIC: [u8; 4] = *b"GYPR";
/// Changes with the format and with the way that plans are cut.
pub(super) const VERSION: u8 = 2;

const WHOLE: u8 = 0;
const UNFIT: u8 = 1;

/// What a fragment gives for the series of one place: to be merged with those of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialResult(Vec<u8>);

/// What a partial result has for one cut.
pub(super) struct Part<'b> {
    pub annotations: Annotations,
    pub guards: Vec<GuardHashes>,
    /// Rows, groups or samples.
    pub body: Reader<'b>,
}

impl PartialResult {
    /// Bytes as [`PartialResult::as_bytes`] gave them, perhaps elsewhere; an error if they are of something else or
    /// of another version. Their contents are checked when they are merged.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, WireError> {
        let mut reader = Reader(&bytes);
        if reader.array()? != MAGIC {
            return Err(WireError("is none"));
        }
        if reader.u8()? != VERSION {
            return Err(WireError("has another version"));
        }
        Ok(Self(bytes))
    }

    /// To be sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn begin(kind: u8) -> Writer {
        let mut out = Writer::default();
        out.0.extend_from_slice(&MAGIC);
        out.u8(VERSION);
        out.u8(kind);
        out
    }

    /// It cannot be merged: the samples are needed.
    pub(super) fn unfit() -> Self {
        Self(Self::begin(UNFIT).0)
    }

    /// Without any cut yet.
    pub(super) fn whole() -> Self {
        Self(Self::begin(WHOLE).0)
    }

    /// Adds what the next cut gives.
    pub(super) fn push(&mut self, context: &Context, body: &Writer) {
        let mut out = Writer(std::mem::take(&mut self.0));
        put_annotations(&mut out, &context.annotations);
        let guards = context.exported.as_deref().unwrap_or_default();
        out.length(guards.len());
        for guard in guards {
            out.bool(guard.fails);
            out.length(guard.hashes.len());
            guard.hashes.iter().for_each(|hash| out.0.extend_from_slice(&hash.to_le_bytes()));
        }
        out.length(body.0.len());
        out.0.extend_from_slice(&body.0);
        self.0 = out.0;
    }

    /// What it has for each of so many cuts; `None` if it cannot be merged.
    pub(super) fn read(&self, cuts: usize) -> Result<Option<Vec<Part<'_>>>, WireError> {
        let mut from = Reader(&self.0);
        from.take(MAGIC.len() + 1)?;
        let unfit = match from.u8()? {
            WHOLE => false,
            UNFIT => true,
            _ => return Err(WireError("is of an unknown kind")),
        };
        let mut parts = Vec::new();
        for _ in 0..if unfit { 0 } else { cuts } {
            let annotations = take_annotations(&mut from)?;
            let mut guards = Vec::new();
            for _ in 0..from.count(2)? {
                let fails = from.bool()?;
                let count = from.count(16)?;
                let hashes = from.take(16 * count)?.chunks_exact(16);
                let hashes =
                    hashes.filter_map(|bytes| bytes.try_into().ok()).map(u128::from_le_bytes).collect();
                guards.push(GuardHashes { fails, hashes });
            }
            let length = from.count(1)?;
            parts.push(Part { annotations, guards, body: Reader(from.take(length)?) });
        }
        from.end()?;
        Ok((!unfit).then_some(parts))
    }
}
