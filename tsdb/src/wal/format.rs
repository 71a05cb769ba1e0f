//! Files and records of the log; see `docs/format/wal.md`.

use std::path::{Path, PathBuf};

/// Magic, then the format's version.
pub(super) const FILE_HEADER: [u8; 12] = *b"GYREWAL\0\x01\0\0\0";

/// Begins every record, so that reading can find the next one behind damage.
pub(super) const RECORD_MAGIC: [u8; 4] = [0xd7, b'G', b'W', 0x1e];

/// Magic, length of the payload, checksum of type and payload, type.
pub(super) const RECORD_HEADER_BYTES: usize = 13;

/// No record is longer. A length beyond it is damage.
pub(super) const RECORD_BYTES_MAX: usize = 256 << 20;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordType {
    /// Everything before this record was on disk before it was written.
    Commit = 1,
    /// Names a stream: varint id, then the name.
    Stream = 2,
    /// A batch of a stream.
    Batch = 3,
    /// A batch of a stream in which there are histograms.
    BatchWithHistograms = 4,
    /// A stream takes no more batches.
    Seal = 5,
}

impl RecordType {
    /// What this build knows by a number.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let all = [Self::Commit, Self::Stream, Self::Batch, Self::BatchWithHistograms, Self::Seal];
        all.into_iter().find(|t| *t as u8 == byte)
    }
}

/// Appends a record; `payload` writes what it holds.
pub(super) fn put_record(out: &mut Vec<u8>, kind: RecordType, payload: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    out.extend_from_slice(&RECORD_MAGIC);
    out.extend_from_slice(&[0; 8]);
    out.push(kind as u8);
    payload(out);
    let len = (out.len() - begin - RECORD_HEADER_BYTES) as u32;
    let crc = crc32c::crc32c(&out[begin + 12..]);
    out[begin + 4..begin + 8].copy_from_slice(&len.to_le_bytes());
    out[begin + 8..begin + 12].copy_from_slice(&crc.to_le_bytes());
}

/// The record at the front of `bytes`: its type, which may be one of the future, payload and whole length. `None` if
/// there is none that is as it was written.
pub(super) fn take_record(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (header, rest) = bytes.split_at_checked(RECORD_HEADER_BYTES)?;
    if header[..4] != RECORD_MAGIC {
        return None;
    }
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let len = word(4) as usize;
    if len > RECORD_BYTES_MAX {
        return None;
    }
    let payload = rest.get(..len)?;
    let crc = crc32c::crc32c(&bytes[12..RECORD_HEADER_BYTES + len]);
    if crc != word(8) {
        return None;
    }
    Some((header[12], payload, RECORD_HEADER_BYTES + len))
}

/// A lane's file with a number.
pub(super) fn file_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.wal"))
}

/// The number of a lane's file.
pub(super) fn file_number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".wal")?.parse().ok()
}
