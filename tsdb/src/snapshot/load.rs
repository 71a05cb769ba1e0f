//! Reads a snapshot back into a head.

use std::io;
use std::path::{Path, PathBuf};

use super::{
    BLOCK_BEGIN, BLOCK_BYTES_MAX, BLOCK_END, BLOCK_HEADER_BYTES, BLOCK_SERIES, FILE_HEADER, OLD_FILE_HEADERS,
    SnapshotBegin, file_number,
};
use crate::disk::Disk;
use crate::head::Head;
use crate::sealed::Location;
use crate::varint;
use crate::wal::WalPosition;

/// A head as of a snapshot.
pub struct Loaded {
    /// The series.
    pub head: Head,
    /// Where to go on in the WAL, and the node's note.
    pub begin: SnapshotBegin,
    /// Snapshots that were newer but not readable, and why.
    pub skipped: Vec<(PathBuf, LoadError)>,
}

/// Why a snapshot was not used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The disk did not give the file.
    #[error("cannot read snapshot: {0}")]
    Read(#[from] io::Error),
    /// The file is not as it was written.
    #[error("snapshot is damaged at byte {offset}")]
    Damaged {
        /// The block's first byte.
        offset: usize,
    },
}

/// Loads the newest readable snapshot of a shard. With none, the head is empty and the WAL is read from its
/// beginning. `shard_folder` is the shard's, `snapshot_folder` is where its snapshots are.
pub fn load(disk: &dyn Disk, shard_folder: &Path, snapshot_folder: &Path) -> io::Result<Loaded> {
    let mut files: Vec<_> =
        disk.list(snapshot_folder)?.into_iter().filter_map(|p| Some((file_number(&p)?, p))).collect();
    files.sort();
    let mut skipped = Vec::new();
    for (_, path) in files.into_iter().rev() {
        // The end is looked for first: the head must know it before it touches the sealed files.
        match read_file(disk, &path, shard_folder) {
            Ok((head, begin)) => return Ok(Loaded { head, begin, skipped }),
            Err(error) => skipped.push((path, error)),
        }
    }
    let position = WalPosition { file: 0, offset: 0 };
    let begin = SnapshotBegin { position, note: Vec::new() };
    Ok(Loaded { head: Head::new(disk, shard_folder)?, begin, skipped })
}

/// A block's type, and where its bytes are.
struct Block<'a> {
    offset: usize,
    kind: u8,
    compressed: &'a [u8],
}

fn read_file(disk: &dyn Disk, path: &Path, shard_folder: &Path) -> Result<(Head, SnapshotBegin), LoadError> {
    let bytes = disk.read(path)?;
    let blocks = split(&bytes)?;
    let has_gaps = bytes.starts_with(&FILE_HEADER);
    let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
        return Err(LoadError::Damaged { offset: 0 });
    };
    let damaged = |block: &Block<'_>| LoadError::Damaged { offset: block.offset };
    if first.kind != BLOCK_BEGIN || last.kind != BLOCK_END {
        return Err(damaged(last));
    }
    let begin = read_begin(&decompress(first)?).ok_or_else(|| damaged(first))?;
    let (series, sealed) = read_end(&decompress(last)?).ok_or_else(|| damaged(last))?;
    let mut head = Head::with_sealed_end(disk, shard_folder, Some(sealed))?;
    for block in &blocks[1..blocks.len() - 1] {
        let raw = decompress(block)?;
        let mut rest = raw.as_slice();
        while !rest.is_empty() {
            let gone = if has_gaps { varint::take_u64(&mut rest).ok_or_else(|| damaged(block))? } else { 0 };
            if u64::from(head.series_end().0) + gone >= u64::from(series) {
                return Err(damaged(block));
            }
            head.add_gone_series(gone as u32);
            head.restore_state(&mut rest).map_err(|_| damaged(block))?;
        }
    }
    if has_gaps {
        head.add_gone_series(series.saturating_sub(head.series_end().0));
    }
    if head.series_end().0 != series {
        return Err(damaged(last));
    }
    Ok((head, begin))
}

fn split(bytes: &[u8]) -> Result<Vec<Block<'_>>, LoadError> {
    if ![FILE_HEADER].iter().chain(&OLD_FILE_HEADERS).any(|header| bytes.starts_with(header)) {
        return Err(LoadError::Damaged { offset: 0 });
    }
    let mut blocks = Vec::new();
    let mut offset = FILE_HEADER.len();
    while offset < bytes.len() {
        let block = take_block(&bytes[offset..], offset).ok_or(LoadError::Damaged { offset })?;
        let known = [BLOCK_BEGIN, BLOCK_SERIES, BLOCK_END].contains(&block.kind);
        if !known || blocks.last().is_some_and(|last: &Block<'_>| last.kind == BLOCK_END) {
            return Err(LoadError::Damaged { offset });
        }
        offset += BLOCK_HEADER_BYTES + block.compressed.len();
        blocks.push(block);
    }
    Ok(blocks)
}

fn take_block(bytes: &[u8], offset: usize) -> Option<Block<'_>> {
    let (header, rest) = bytes.split_at_checked(BLOCK_HEADER_BYTES)?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let compressed = rest.get(..word(5) as usize)?;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..9]), compressed);
    (crc == word(9)).then_some(Block { offset, kind: header[0], compressed })
}

fn decompress(block: &Block<'_>) -> Result<Vec<u8>, LoadError> {
    let damaged = LoadError::Damaged { offset: block.offset };
    match snap::raw::decompress_len(block.compressed) {
        Ok(len) if len <= BLOCK_BYTES_MAX => {}
        _ => return Err(damaged),
    }
    snap::raw::Decoder::new().decompress_vec(block.compressed).map_err(|_| damaged)
}

fn read_begin(mut raw: &[u8]) -> Option<SnapshotBegin> {
    let file = varint::take_u64(&mut raw)?;
    let offset = varint::take_u64(&mut raw)?;
    Some(SnapshotBegin { position: WalPosition { file, offset }, note: raw.to_vec() })
}

fn read_end(mut raw: &[u8]) -> Option<(u32, Location)> {
    let mut number = || u32::try_from(varint::take_u64(&mut raw)?).ok();
    Some((number()?, Location { file: number()?, offset: number()? }))
}
