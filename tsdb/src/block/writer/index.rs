//! Writes an index of version 2: symbols, then series, then posting lists.
//!
//! Memory does not grow with the number of series but by some bytes a symbol pair: symbols are written as they come and read
//! back where the table of postings needs them, and pairs are [sorted](super::postings) through a file.

use std::path::Path;
use std::sync::Arc;

use super::append_file::AppendFile;
use super::postings::PostingsSorter;
use crate::block::error::{BlockError, BlockFile};
use crate::block::index::{ChunkMeta, MAGIC, SeriesEntry, Toc, put_entry};
use crate::block::window::Window;
use crate::disk::Disk;
use crate::varint;

const VERSION: u8 = 2;
const SERIES_ALIGNMENT: u64 = 16;
const POSTINGS_ALIGNMENT: u64 = 4;

/// Symbols between two of which the place is remembered.
const SPARSENESS: u32 = 32;

/// Bytes of a section in front of the first symbol: length and count.
const BEFORE_FIRST_SYMBOL: u64 = 8;

pub(super) struct IndexWriter {
    disk: Arc<dyn Disk>,
    file: AppendFile,
    toc: Toc,
    symbols: u32,
    /// Where every 32nd symbol is.
    sparse: Vec<u64>,
    symbols_crc: u32,
    last_symbol: Vec<u8>,
    is_in_series: bool,
    last_labels: Vec<(u32, u32)>,
    all: Vec<u32>,
    pairs: PostingsSorter,
    scratch: Vec<u8>,
    /// The longest entry of a series.
    pub(super) series_bytes_max: u64,
}

impl IndexWriter {
    /// Begins an index; `spill` is for a temporary file.
    pub(super) fn create(disk: Arc<dyn Disk>, path: &Path, spill: &Path) -> Result<Self, BlockError> {
        let mut file = AppendFile::create(disk.as_ref(), path)?;
        let pairs = PostingsSorter::new(AppendFile::create(disk.as_ref(), spill)?);
        file.put_bytes(&MAGIC)?;
        file.put_bytes(&[VERSION])?;
        let symbols = file.len();
        // Length and count come when they are known.
        file.put_bytes(&[0; BEFORE_FIRST_SYMBOL as usize])?;
        let toc = Toc {
            symbols,
            series: 0,
            label_indices: 0,
            label_indices_table: 0,
            postings: 0,
            postings_table: 0,
            end: 0,
        };
        Ok(IndexWriter {
            disk,
            file,
            toc,
            symbols: 0,
            sparse: Vec::new(),
            symbols_crc: crc32c::crc32c(&[]),
            last_symbol: Vec::new(),
            is_in_series: false,
            last_labels: Vec::new(),
            all: Vec::new(),
            pairs,
            scratch: Vec::new(),
            series_bytes_max: 0,
        })
    }

    /// Adds a symbol; gives its reference, which counts up from 0. All come in order, before the first series.
    pub(super) fn symbol(&mut self, symbol: &[u8]) -> Result<u32, BlockError> {
        if self.is_in_series || (self.symbols > 0 && symbol <= &self.last_symbol[..]) {
            return Err(BlockError::Refused("symbols are not in order"));
        }
        let number = self.symbols;
        self.symbols = number.checked_add(1).ok_or(BlockError::Refused("too many symbols"))?;
        if number.is_multiple_of(SPARSENESS) {
            self.sparse.push(self.file.len());
        }
        self.scratch.clear();
        varint::put_u64(&mut self.scratch, symbol.len() as u64);
        self.scratch.extend_from_slice(symbol);
        self.symbols_crc = crc32c::crc32c_append(self.symbols_crc, &self.scratch);
        self.file.put_bytes(&self.scratch)?;
        self.last_symbol.clear();
        self.last_symbol.extend_from_slice(symbol);
        Ok(number)
    }

    fn end_symbols(&mut self) -> Result<(), BlockError> {
        let section = self.toc.symbols;
        let len = length(self.file.len() - section - 4, "symbols exceed 4 GiB")?;
        let count = self.symbols.to_be_bytes();
        // The count stands in front of what has been checksummed.
        let behind = (self.file.len() - section - BEFORE_FIRST_SYMBOL) as usize;
        let crc = crc32c::crc32c_combine(crc32c::crc32c(&count), self.symbols_crc, behind);
        self.file.put_bytes(&crc.to_be_bytes())?;
        self.file.patch(section, &[len, count].concat())?;
        self.toc.series = self.file.len();
        self.is_in_series = true;
        Ok(())
    }

    /// Adds a series: references of its names and values, in order of names. Series come in order of their labels.
    pub(super) fn series(&mut self, labels: &[(u32, u32)], chunks: &[ChunkMeta]) -> Result<(), BlockError> {
        if !self.is_in_series {
            self.end_symbols()?;
        }
        if !labels.is_sorted_by(|a, b| a.0 < b.0) || labels.iter().any(|l| l.0.max(l.1) >= self.symbols) {
            return Err(BlockError::Refused("a series' labels are not in order, or no symbols"));
        }
        if !self.all.is_empty() && labels <= &self.last_labels[..] {
            return Err(BlockError::Refused("series are not in order of labels"));
        }
        self.file.pad(SERIES_ALIGNMENT)?;
        let begin = self.file.len();
        let number = begin / SERIES_ALIGNMENT;
        let series = u32::try_from(number).map_err(|_| BlockError::Refused("the index exceeds 64 GiB"))?;
        let scratch = &mut self.scratch;
        self.file.put(|out| SeriesEntry::put(labels, chunks, scratch, out))?;
        self.series_bytes_max = self.series_bytes_max.max(self.file.len() - begin);
        for pair in labels {
            self.pairs.add(*pair, series)?;
        }
        self.all.push(series);
        self.last_labels.clear();
        self.last_labels.extend_from_slice(labels);
        Ok(())
    }

    /// Writes the rest, and makes the file durable; gives its length.
    pub(super) fn finish(mut self) -> Result<u64, BlockError> {
        if !self.is_in_series {
            self.end_symbols()?;
        }
        self.toc.label_indices = self.file.len();
        self.file.pad(POSTINGS_ALIGNMENT)?;
        self.toc.postings = self.file.len();
        put_list(&mut self.file, &self.all)?;
        self.all = Vec::new();

        // Per pair: distances of name, value and place from the pair before.
        let mut places = Vec::new();
        let (mut last, mut last_place, mut count) = ((0, 0), self.toc.postings, 1u32);
        let mut sorted = self.pairs.finish(self.disk.as_ref())?;
        let mut list = Vec::new();
        while let Some((name, value)) = sorted.next(&mut list)? {
            self.file.pad(POSTINGS_ALIGNMENT)?;
            let place = self.file.len();
            varint::put_u64(&mut places, u64::from(name - last.0));
            varint::put_i64(&mut places, i64::from(value) - i64::from(last.1));
            varint::put_u64(&mut places, place - last_place);
            (last, last_place) = ((name, value), place);
            count = count.checked_add(1).ok_or(BlockError::Refused("too many label pairs"))?;
            put_list(&mut self.file, &list)?;
        }
        drop(sorted);
        // As Prometheus does it: whoever asks either for the end of the posting lists gets it.
        self.toc.label_indices_table = self.file.len();
        self.toc.postings_table = self.file.len();
        self.file.put_bytes(&[0; 4])?;
        self.file.put_bytes(&count.to_be_bytes())?;
        self.file.flush()?;
        let mut symbols = SymbolReader::open(self.disk.as_ref(), &mut self.file, self.sparse)?;
        let mut crc = crc32c::crc32c(&count.to_be_bytes());
        let mut entry = Vec::new();
        put_entry(&mut entry, b"", b"", self.toc.postings);
        let (mut rest, mut pair, mut place) = (places.as_slice(), (0u32, 0u32), self.toc.postings);
        let mut name = Vec::new();
        let mut name_of = None;
        loop {
            crc = crc32c::crc32c_append(crc, &entry);
            self.file.put_bytes(&entry)?;
            let (Some(by), Some(value), Some(further)) =
                (varint::take_u64(&mut rest), varint::take_i64(&mut rest), varint::take_u64(&mut rest))
            else {
                break;
            };
            pair = (pair.0 + by as u32, (i64::from(pair.1) + value) as u32);
            place += further;
            if name_of != Some(pair.0) {
                name.clear();
                symbols.append(pair.0, &mut name)?;
                name_of = Some(pair.0);
            }
            let mut value = Vec::new();
            symbols.append(pair.1, &mut value)?;
            entry.clear();
            put_entry(&mut entry, &name, &value, place);
        }
        let len =
            length(self.file.len() - self.toc.postings_table - 4, "the table of postings exceeds 4 GiB")?;
        self.file.put_bytes(&crc.to_be_bytes())?;
        let toc = self.toc;
        self.file.put(|out| toc.put(out))?;
        self.file.patch(toc.postings_table, &len)?;
        self.file.sync()?;
        Ok(self.file.len())
    }
}

fn put_list(file: &mut AppendFile, series: &[u32]) -> Result<(), BlockError> {
    let len = length(4 + 4 * series.len() as u64, "a posting list exceeds 4 GiB")?;
    file.put(|out| {
        out.extend(len);
        let begin = out.len();
        out.extend((series.len() as u32).to_be_bytes());
        out.extend(series.iter().flat_map(|series| series.to_be_bytes()));
        let crc = crc32c::crc32c(&out[begin..]);
        out.extend(crc.to_be_bytes());
    })
}

fn length(bytes: u64, too_long: &'static str) -> Result<[u8; 4], BlockError> {
    u32::try_from(bytes).map(u32::to_be_bytes).map_err(|_| BlockError::Refused(too_long))
}

/// Reads symbols of the file that is being written.
struct SymbolReader {
    window: Window,
    sparse: Vec<u64>,
    /// The next symbol, and where it is.
    next: u32,
    at: u64,
}

impl SymbolReader {
    fn open(disk: &dyn Disk, file: &mut AppendFile, sparse: Vec<u64>) -> Result<Self, BlockError> {
        let path = file.path().to_owned();
        let source = disk.open_read(&path).map_err(|source| BlockError::Write { path, source })?;
        let window = Window::new(source, BlockFile::Index, 16 << 10);
        Ok(SymbolReader { window, sparse, next: u32::MAX, at: 0 })
    }

    fn append(&mut self, number: u32, out: &mut Vec<u8>) -> Result<(), BlockError> {
        if number < self.next || number - self.next >= SPARSENESS {
            self.at = self.sparse[(number / SPARSENESS) as usize];
            self.next = number / SPARSENESS * SPARSENESS;
        }
        loop {
            let bytes = self.window.up_to(self.at, varint::LEN_MAX)?;
            let mut rest = bytes;
            let len =
                varint::take_u64(&mut rest).ok_or(BlockError::Refused("the disk does not keep symbols"))?;
            let begin = self.at + (bytes.len() - rest.len()) as u64;
            self.at = begin + len;
            self.next += 1;
            if self.next > number {
                out.extend_from_slice(self.window.get(begin, len as usize)?);
                return Ok(());
            }
        }
    }
}
