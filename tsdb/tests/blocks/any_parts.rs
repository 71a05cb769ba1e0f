//! Index sections and a chunk file of any bytes, with right checksums and a right table of contents, so that what lies
//! behind the checksums is reached: everything is read, checked and compacted without a panic. Fuzzed, too.

use std::path::Path;
use std::sync::Arc;

use gyre_tsdb::block::{Block, BlockError, Meta, Tombstones, Ulid, compact, verify};
use gyre_tsdb::disk::SimDisk;

/// Index version, symbols, entries of series, a posting list, the table of postings, chunks: what they hold between length and
/// checksum. Entries and chunks are several, each begun by its length.
pub struct Parts<'a> {
    pub version: u8,
    pub symbols: &'a [u8],
    pub series: &'a [u8],
    pub postings: &'a [u8],
    pub table: &'a [u8],
    pub chunks: &'a [u8],
}

fn put_section(out: &mut Vec<u8>, payload: &[u8]) -> u64 {
    let at = out.len() as u64;
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out.extend(crc32c::crc32c(payload).to_be_bytes());
    at
}

/// Pieces of at most 127 bytes, each begun by its length.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first()?;
        let (piece, rest) = rest.split_at(usize::from(len & 0x7f).min(rest.len()));
        bytes = rest;
        Some(piece)
    })
}

fn put_piece(out: &mut Vec<u8>, piece: &[u8]) {
    out.push(piece.len() as u8);
    out.extend(piece);
    out.extend(crc32c::crc32c(piece).to_be_bytes());
}

fn block(parts: &Parts<'_>) -> Block {
    let mut index = vec![0xba, 0xaa, 0xd7, 0x00, 1 + parts.version % 2];
    let symbols = put_section(&mut index, parts.symbols);
    let series = index.len() as u64;
    for piece in pieces(parts.series) {
        index.resize(index.len().next_multiple_of(16), 0);
        put_piece(&mut index, piece);
    }
    let postings = put_section(&mut index, parts.postings);
    let table = put_section(&mut index, parts.table);
    let toc: Vec<u8> =
        [symbols, series, postings, table, postings, table].iter().flat_map(|at| at.to_be_bytes()).collect();
    index.extend(&toc);
    index.extend(crc32c::crc32c(&toc).to_be_bytes());
    let mut segment = vec![0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0];
    for piece in pieces(parts.chunks) {
        // An encoding and its data: the length leaves the encoding out.
        if let Some((_, data)) = piece.split_first() {
            segment.push(data.len() as u8);
            segment.extend(piece);
            segment.extend(crc32c::crc32c(piece).to_be_bytes());
        }
    }
    Block {
        meta: Meta::of_head(Ulid::new(1, 1), 0, 1 << 40),
        index: Arc::new(index),
        segments: vec![Arc::new(segment)],
        tombstones: Tombstones::default(),
    }
}

fn read(block: &Block) -> Result<u64, BlockError> {
    let header = block.header()?;
    for name in header.postings().names() {
        for list in header.postings().lists(name) {
            let list = list?;
            assert_eq!(header.postings().list(name, list.value)?.as_ref(), Some(&list));
        }
    }
    let mut stream = block.series()?;
    let mut chunks = block.chunks();
    let mut samples = 0;
    while let Some((_, series)) = stream.advance()? {
        header.put_labels(series, &mut Vec::new())?;
        for place in &series.chunks {
            chunks.read(place.at)?.decode(place.at, |_, _| samples += 1)?;
        }
    }
    Ok(samples)
}

/// Does everything with these parts; gives the number of samples, if all could be read.
pub fn reading_survives(parts: &Parts<'_>) -> Option<u64> {
    let block = block(parts);
    let samples = read(&block);
    let findings = verify(&block);
    assert!(samples.is_ok() || !findings.is_empty());
    let blocks = [block];
    for part in [false, true] {
        let metas = [&blocks[0].meta];
        let meta = if part {
            Meta::of_part(Ulid::new(2, 2), 10, 1000, &metas)
        } else {
            Meta::of_whole(Ulid::new(2, 2), &metas)
        };
        let accepts_some = |labels: gyre_tsdb::labels::Labels<'_>| !labels.as_bytes().len().is_multiple_of(3);
        let filter: Option<gyre_tsdb::block::SeriesFilter<'_>> =
            if part { Some(&accepts_some) } else { None };
        let _ = compact(Arc::new(SimDisk::default()), Path::new("blocks"), &blocks, filter, meta);
    }
    samples.ok()
}
