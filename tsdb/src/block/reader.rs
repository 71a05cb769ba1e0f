//! A block as its files, wherever they are, and ways to read all of it in order.
//!
//! For lookups see [`IndexHeader`], which needs no [`Block`].

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::error::{BlockError, BlockFile, damaged};
use super::index::{
    CRC_BYTES, Got, HEADER_BYTES, IndexHeader, IndexVersion, PostingsTable, SeriesStream, SymbolStream, Toc,
};
use super::meta::Meta;
use super::segment::{Chunk, ChunkRef, FILE_HEADER, check_segment_header, chunk_bytes, parse_chunk};
use super::tombstones::Tombstones;
use super::window::{Window, read_range};
use crate::chunk::{ChunkError, histogram, xor, xor2};
use crate::disk::{Disk, ReadAt};
use crate::histogram::Histogram;
use crate::winner::Value;

/// How much of a file is read at once where it is read from its front to its end.
const STEP_BYTES: usize = 256 << 10;

/// The files of a block.
#[derive(Clone)]
pub struct Block {
    /// `meta.json`.
    pub meta: Meta,
    /// `index`.
    pub index: Arc<dyn ReadAt>,
    /// The files in `chunks/`, in order.
    pub segments: Vec<Arc<dyn ReadAt>>,
    /// `tombstones`, or none.
    pub tombstones: Tombstones,
}

impl Block {
    /// Opens the files in a folder. What they hold is checked where it is read.
    pub fn open(disk: &dyn Disk, folder: &Path) -> Result<Self, BlockError> {
        let read_error = |file| move |source| BlockError::Read { file, offset: 0, source };
        let file = BlockFile::Meta;
        let meta = Meta::parse(&disk.read(&folder.join("meta.json")).map_err(read_error(file))?)?;
        let index = disk.open_read(&folder.join("index")).map_err(read_error(BlockFile::Index))?;
        let file = BlockFile::Segment(0);
        let mut numbers = Vec::new();
        for path in disk.list(&folder.join("chunks")).map_err(read_error(file))? {
            // Prometheus leaves out what is no number, too.
            let number =
                path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse::<u32>().ok());
            numbers.extend(number.map(|number| (number, path)));
        }
        numbers.sort();
        let mut segments = Vec::new();
        for (at, (number, path)) in (0..).zip(numbers) {
            let file = BlockFile::Segment(at);
            if number != at + 1 {
                return Err(damaged(file, 0, "the file is missing"));
            }
            segments.push(disk.open_read(&path).map_err(read_error(file))?);
        }
        let tombstones = match disk.read(&folder.join("tombstones")) {
            Ok(bytes) => Tombstones::parse(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Tombstones::default(),
            Err(error) => return Err(read_error(BlockFile::Tombstones)(error)),
        };
        Ok(Block { meta, index, segments, tombstones })
    }

    /// What lookups in the index need.
    pub fn header(&self) -> Result<IndexHeader, BlockError> {
        IndexHeader::open(self.index.as_ref())
    }

    /// The index's version and table of contents.
    pub fn toc(&self) -> Result<(IndexVersion, Toc), BlockError> {
        let read = |range| read_range(self.index.as_ref(), BlockFile::Index, range);
        let len = self.index.len();
        let toc = Toc::parse(&read(Toc::range(len)?)?, len)?;
        Ok((IndexVersion::parse(&read(0..HEADER_BYTES)?)?, toc))
    }

    /// All series in order, without keeping anything of the index in memory.
    pub fn series(&self) -> Result<SeriesStream, BlockError> {
        let (version, toc) = self.toc()?;
        let all = match version {
            IndexVersion::V1 => self.header()?.postings().all()?,
            IndexVersion::V2 => self.check_table(&toc)?,
        };
        SeriesStream::open(self.index.clone(), version, &toc, &all)
    }

    /// How many symbols there are, by the table's own word.
    pub(super) fn symbol_count(&self) -> Result<u32, BlockError> {
        let (_, toc) = self.toc()?;
        Ok(SymbolStream::open(self.index.clone(), &toc)?.len())
    }

    /// Checks the table of postings, and gives the range of the list of all series: its first entry.
    fn check_table(&self, toc: &Toc) -> Result<std::ops::Range<u64>, BlockError> {
        let begin = toc.postings_table;
        let mut window = Window::new(self.index.clone(), BlockFile::Index, STEP_BYTES);
        let len = window.get(begin, 4)?;
        let len = u64::from(u32::from_be_bytes([len[0], len[1], len[2], len[3]]));
        let end = begin + 4 + len;
        if end + CRC_BYTES as u64 > toc.end {
            return Err(damaged(BlockFile::Index, begin, "a section is longer than its place"));
        }
        let (mut at, mut crc) = (begin + 4, crc32c::crc32c(&[]));
        while at < end {
            let bytes = window.up_to(at, STEP_BYTES.min((end - at) as usize))?;
            crc = crc32c::crc32c_append(crc, bytes);
            at += bytes.len() as u64;
        }
        if window.get(end, CRC_BYTES)? != crc.to_be_bytes() {
            return Err(damaged(BlockFile::Index, begin, "checksum mismatch"));
        }
        PostingsTable::first_list(window.up_to(begin + 4, len.min(64) as usize)?, toc)
    }

    /// Reads chunks one after the other.
    pub fn chunks(&self) -> ChunkReader<'_> {
        ChunkReader { block: self, window: None }
    }
}

/// Reads chunks of a block, fastest in order of their places.
pub struct ChunkReader<'a> {
    block: &'a Block,
    window: Option<(u32, Window)>,
}

impl ChunkReader<'_> {
    /// The chunk at a place.
    pub fn read(&mut self, at: ChunkRef) -> Result<Chunk<'_>, BlockError> {
        let file = at.file();
        if self.window.as_ref().is_none_or(|(segment, _)| *segment != at.segment()) {
            let segment = self.block.segments.get(at.segment() as usize);
            let segment = segment.ok_or_else(|| damaged(file, at.offset(), "the file is missing"))?;
            let mut window = Window::new(segment.clone(), file, STEP_BYTES);
            check_segment_header(window.up_to(0, FILE_HEADER.len())?, at.segment())?;
            self.window = Some((at.segment(), window));
        }
        let (_, window) = self.window.as_mut().expect("it was just set");
        let mut bytes = 16;
        if at.offset() < FILE_HEADER.len() as u64 {
            return Err(damaged(file, at.offset(), "a chunk within the file's header"));
        }
        if let Some(needed) = chunk_bytes(window.up_to(at.offset(), 16)?) {
            if at.offset() + needed > window.len() {
                return Err(damaged(file, at.offset(), "the file ends within a chunk"));
            }
            bytes = needed as usize;
        }
        match parse_chunk(window.up_to(at.offset(), bytes)?, at)? {
            Got::All(chunk) => Ok(chunk),
            Got::Needs(_) => Err(damaged(file, at.offset(), "the file ends within a chunk")),
        }
    }
}

impl Chunk<'_> {
    /// Calls `sample` for each sample with its time, milliseconds. `at` is for errors.
    pub fn decode(&self, at: ChunkRef, mut sample: impl FnMut(i64, Value<'_>)) -> Result<(), BlockError> {
        match decode(self.encoding, self.data, &mut sample) {
            Some(Ok(())) => Ok(()),
            Some(Err(source)) => Err(BlockError::Chunk { file: at.file(), offset: at.offset(), source }),
            None => Err(BlockError::Unsupported {
                file: at.file(),
                offset: at.offset(),
                what: "chunk encoding",
                number: u64::from(self.encoding),
            }),
        }
    }
}

/// Decodes a chunk; `None` if its encoding is not known.
pub(super) fn decode(
    encoding: u8,
    data: &[u8],
    sample: &mut impl FnMut(i64, Value<'_>),
) -> Option<Result<(), ChunkError>> {
    if encoding == xor::ENCODING {
        return Some(xor::decode(data, |t_ms, bits| sample(t_ms, Value::Float(bits))));
    }
    if encoding == xor2::ENCODING {
        return Some(xor2::decode(data, |t_ms, bits| sample(t_ms, Value::Float(bits))));
    }
    let sample = |t_ms: i64, histogram: &Histogram| sample(t_ms, Value::Histogram(histogram));
    if let Some(kind) = histogram::kind_with_starts(encoding) {
        return Some(histogram::decode_with_starts(data, kind, sample));
    }
    Some(histogram::decode(data, histogram::kind_of(encoding)?, sample))
}

/// Whether chunks of an encoding are as a head has them; others are decoded and encoded anew.
pub(super) fn is_of_heads(encoding: u8) -> bool {
    encoding == xor::ENCODING || histogram::kind_of(encoding).is_some()
}
