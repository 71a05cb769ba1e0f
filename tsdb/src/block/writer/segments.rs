//! Writes chunks into files that end before they get too long.

use std::path::PathBuf;
use std::sync::Arc;

use super::append_file::AppendFile;
use crate::block::error::BlockError;
use crate::block::segment::{Chunk, ChunkRef, FILE_HEADER, put_chunk};
use crate::disk::Disk;

/// What a chunk takes beside its data, at most.
const CHUNK_OVERHEAD_BYTES: u64 = 10;

pub(super) struct SegmentWriter {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    bytes_max: u64,
    file: Option<AppendFile>,
    /// Lengths of files that are complete.
    full: Vec<u64>,
    /// The longest chunk with what belongs to it.
    pub(super) chunk_bytes_max: u64,
}

impl SegmentWriter {
    pub(super) fn new(disk: Arc<dyn Disk>, folder: PathBuf, bytes_max: u64) -> Self {
        SegmentWriter { disk, folder, bytes_max, file: None, full: Vec::new(), chunk_bytes_max: 0 }
    }

    /// Appends a chunk.
    pub(super) fn put(&mut self, chunk: Chunk<'_>) -> Result<ChunkRef, BlockError> {
        let bytes = chunk.data.len() as u64 + CHUNK_OVERHEAD_BYTES;
        if self.file.as_ref().is_some_and(|file| file.len() + bytes > self.bytes_max) {
            self.close_file()?;
        }
        if self.file.is_none() {
            let path = self.folder.join(segment_name(self.full.len()));
            let mut file = AppendFile::create(self.disk.as_ref(), &path)?;
            file.put_bytes(&FILE_HEADER)?;
            self.file = Some(file);
        }
        let file = self.file.as_mut().expect("it was just opened");
        let (segment, offset) = (u32::try_from(self.full.len()), u32::try_from(file.len()));
        let (Ok(segment), Ok(offset)) = (segment, offset) else {
            return Err(BlockError::Refused("chunks take more room than references reach"));
        };
        file.put(|out| put_chunk(out, chunk))?;
        self.chunk_bytes_max = self.chunk_bytes_max.max(file.len() - u64::from(offset));
        Ok(ChunkRef::new(segment, offset))
    }

    /// Makes all files durable; gives their names and lengths.
    pub(super) fn finish(&mut self) -> Result<Vec<(String, u64)>, BlockError> {
        self.close_file()?;
        Ok(self.full.iter().enumerate().map(|(number, len)| (segment_name(number), *len)).collect())
    }

    fn close_file(&mut self) -> Result<(), BlockError> {
        if let Some(mut file) = self.file.take() {
            file.sync()?;
            self.full.push(file.len());
        }
        Ok(())
    }
}

fn segment_name(number: usize) -> String {
    format!("{:06}", number + 1)
}
