//! Writes a snapshot.

use std::io;
use std::path::{Path, PathBuf};

use super::{
    BLOCK_BEGIN, BLOCK_END, BLOCK_HEADER_BYTES, BLOCK_SERIES, FILE_HEADER, SnapshotBegin, file_number,
    file_path,
};
use crate::disk::{Disk, DiskFile};
use crate::head::Head;
use crate::index::SeriesRef;
use crate::sealed::Location;
use crate::varint;

/// A block is ended at this size; it holds at least one series.
const BLOCK_BYTES: usize = 256 << 10;

/// Encodes the states of series from `first` on, for one block; tells which number comes next: at the end, that of no
/// series so far.
pub fn encode_block(head: &Head, first: SeriesRef) -> (Vec<u8>, SeriesRef) {
    let mut out = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8);
    let mut next = first;
    for series in head.series_from(first) {
        if out.len() >= BLOCK_BYTES {
            return (out, next);
        }
        varint::put_u64(&mut out, u64::from(series.0 - next.0));
        head.put_state(series, &mut out);
        next = SeriesRef(series.0 + 1);
    }
    (out, head.series_end())
}

/// What a snapshot ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// The number after that of the newest series.
    pub series: u32,
    /// The end of the sealed chunks that it may refer to. These bytes must be on disk.
    pub sealed: Location,
}

/// A snapshot that is being written. Dropped before [`SnapshotWriter::finish`], it leaves a file that nobody
/// reads and the next one removes.
pub struct SnapshotWriter<'d> {
    disk: &'d dyn Disk,
    folder: PathBuf,
    number: u64,
    unfinished: PathBuf,
    file: Box<dyn DiskFile>,
    len: u64,
    compressor: snap::raw::Encoder,
}

impl<'d> SnapshotWriter<'d> {
    /// Begins the snapshot that follows those in `folder`.
    pub fn begin(disk: &'d dyn Disk, folder: &Path, begin: &SnapshotBegin) -> io::Result<Self> {
        disk.create_dir_all(folder)?;
        let mut number = 1;
        for path in disk.list(folder)? {
            if let Some(n) = file_number(&path) {
                number = number.max(n + 1);
            } else if path.extension().is_some_and(|e| e == "unfinished") {
                disk.remove(&path)?;
            }
        }
        let unfinished = file_path(folder, number).with_extension("unfinished");
        let file = disk.create(&unfinished)?;
        let folder = folder.to_owned();
        let compressor = snap::raw::Encoder::new();
        let mut writer = SnapshotWriter { disk, folder, number, unfinished, file, len: 0, compressor };
        writer.append(&FILE_HEADER)?;
        let mut raw = Vec::new();
        varint::put_u64(&mut raw, begin.position.file);
        varint::put_u64(&mut raw, begin.position.offset);
        raw.extend_from_slice(&begin.note);
        writer.block(BLOCK_BEGIN, &raw)?;
        Ok(writer)
    }

    /// Adds a block that [`encode_block`] made. Blocks come in order of series.
    pub fn series(&mut self, encoded: &[u8]) -> io::Result<()> {
        self.block(BLOCK_SERIES, encoded)
    }

    /// Makes the snapshot durable and valid, and removes those before the previous one. Gives the number of
    /// bytes it has.
    pub fn finish(mut self, end: SnapshotEnd) -> io::Result<u64> {
        let mut raw = Vec::new();
        for number in [end.series, end.sealed.file, end.sealed.offset] {
            varint::put_u64(&mut raw, u64::from(number));
        }
        self.block(BLOCK_END, &raw)?;
        self.file.sync_data()?;
        self.disk.rename(&self.unfinished, &file_path(&self.folder, self.number))?;
        self.disk.sync_dir(&self.folder)?;
        for path in self.disk.list(&self.folder)? {
            if file_number(&path).is_some_and(|number| number + 1 < self.number) {
                self.disk.remove(&path)?;
            }
        }
        Ok(self.len)
    }

    fn block(&mut self, kind: u8, raw: &[u8]) -> io::Result<()> {
        let mut block = vec![0; BLOCK_HEADER_BYTES + snap::raw::max_compress_len(raw.len())];
        let compressed =
            self.compressor.compress(raw, &mut block[BLOCK_HEADER_BYTES..]).map_err(io::Error::other)?;
        block.truncate(BLOCK_HEADER_BYTES + compressed);
        block[0] = kind;
        block[1..5].copy_from_slice(&(raw.len() as u32).to_le_bytes());
        block[5..9].copy_from_slice(&(compressed as u32).to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&block[..9]), &block[BLOCK_HEADER_BYTES..]);
        block[9..13].copy_from_slice(&crc.to_le_bytes());
        self.append(&block)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}
