//! Checks a whole block: every checksum, every order, and that its parts agree.
//!
//! What it finds is a list, since one bad chunk says nothing about the others. Only where the index cannot be read, or
//! series cannot be told apart any more, does it end early, and that is in the list, too. Memory: the index's header, 4 bytes a
//! series.

use super::error::{BlockError, BlockFile, damaged};
use super::index::{ChunkMeta, Got, IndexHeader, SeriesEntry, parse_postings, parse_series};
use super::reader::{Block, ChunkReader};
use super::segment::{FILE_HEADER, check_segment_header};
use super::window::read_range;
use crate::winner::Value;

/// No more findings than this are listed.
const FINDINGS_MAX: usize = 1000;

/// What is wrong with a block, at most 1000 things; empty if nothing is.
pub fn verify(block: &Block) -> Vec<BlockError> {
    let mut check = Check { block, findings: Vec::new(), total: Total::default() };
    let end = check.run();
    check.note(end);
    check.findings
}

struct Check<'a> {
    block: &'a Block,
    findings: Vec<BlockError>,
    total: Total,
}

/// What the series add up to.
#[derive(Default)]
struct Total {
    series: u64,
    chunks: u64,
    floats: u64,
    histograms: u64,
    /// Labels of all series: how many, and the sum of their [`mix`]es.
    labels: u64,
    mixed: u64,
    /// Where the chunks so far end, per segment.
    ends: Vec<u64>,
}

/// One number for a label of a series; equal sums over two sets mean that the sets are equal, but for a chance of 2^-64.
fn mix(name: &str, value: &str, series: u32) -> u64 {
    let text = xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), u64::from(series));
    xxhash_rust::xxh3::xxh3_64_with_seed(value.as_bytes(), text)
}

impl Check<'_> {
    fn note<T>(&mut self, result: Result<T, BlockError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(finding) => {
                if self.findings.len() < FINDINGS_MAX {
                    self.findings.push(finding);
                }
                None
            }
        }
    }

    fn wrong(&mut self, file: BlockFile, offset: u64, what: &'static str) {
        self.note::<()>(Err(damaged(file, offset, what)));
    }

    fn run(&mut self) -> Result<(), BlockError> {
        for (number, segment) in (0..).zip(&self.block.segments) {
            let file = BlockFile::Segment(number);
            let head = read_range(segment.as_ref(), file, 0..FILE_HEADER.len() as u64);
            self.note(head.and_then(|head| check_segment_header(&head, number)));
            self.total.ends.push(FILE_HEADER.len() as u64);
        }
        // Symbols, the table of postings and their orders are checked by reading them.
        let header = self.block.header()?;
        let all = header.postings().all()?;
        let list = read_range(self.block.index.as_ref(), BlockFile::Index, all.clone())?;
        let all = parse_postings(&list, all.start)?;
        self.series(&header, &all);
        self.postings(&header, &all);
        for series in self.block.tombstones.series() {
            if u32::try_from(series).is_ok_and(|series| all.binary_search(&series).is_ok()) {
                continue;
            }
            self.wrong(BlockFile::Tombstones, 0, "something is deleted of a series that is not there");
        }
        self.segments_end();
        self.stats();
        Ok(())
    }

    fn series(&mut self, header: &IndexHeader, all: &[u32]) {
        let block = self.block;
        let mut reader = block.chunks();
        let mut series = SeriesEntry::default();
        let mut labels: Vec<(String, String)> = Vec::new();
        let mut last = Vec::new();
        for reference in all {
            let range = header.series_range(*reference, u64::from(u32::MAX));
            let offset = range.start;
            // Most entries are short; the rest is read if it is needed.
            let short = header.series_range(*reference, 4 << 10);
            let mut parsed = read_range(block.index.as_ref(), BlockFile::Index, short)
                .and_then(|bytes| parse_series(&bytes, offset, &mut series));
            if let Ok(Got::Needs(_)) = parsed {
                parsed = read_range(block.index.as_ref(), BlockFile::Index, range)
                    .and_then(|bytes| parse_series(&bytes, offset, &mut series));
            }
            match self.note(parsed) {
                None => continue,
                Some(Got::Needs(_)) => {
                    self.wrong(BlockFile::Index, offset, "a series is longer than its place");
                    continue;
                }
                Some(Got::All(())) => {}
            }
            self.total.series += 1;
            labels.clear();
            for (name, value) in &series.labels {
                let symbols = header.symbols();
                let label = symbols.get(*name).and_then(|name| Ok((name, symbols.get(*value)?)));
                if let Some((name, value)) = self.note(label) {
                    self.total.labels += 1;
                    self.total.mixed = self.total.mixed.wrapping_add(mix(name, value, *reference));
                    labels.push((name.to_owned(), value.to_owned()));
                }
            }
            if !labels.is_sorted_by(|a, b| a.0 < b.0) {
                self.wrong(BlockFile::Index, offset, "labels are not in order");
            }
            if self.total.series > 1 && last >= labels {
                self.wrong(BlockFile::Index, offset, "series are not in order of labels");
            }
            std::mem::swap(&mut last, &mut labels);
            self.chunks(&mut reader, &series.chunks, offset);
        }
    }

    fn chunks(&mut self, reader: &mut ChunkReader<'_>, chunks: &[ChunkMeta], series: u64) {
        let meta = &self.block.meta;
        let (begin_ms, end_ms) = (meta.min_ms, meta.end_ms);
        if chunks.is_empty() {
            self.wrong(BlockFile::Index, series, "a series without chunks");
        }
        for pair in chunks.windows(2) {
            if pair[0].max_ms >= pair[1].min_ms {
                self.wrong(BlockFile::Index, series, "chunks overlap");
            }
        }
        for place in chunks {
            self.total.chunks += 1;
            if place.min_ms < begin_ms || place.max_ms >= end_ms {
                self.wrong(BlockFile::Index, series, "a chunk reaches out of the block's time");
            }
            let (mut times, mut floats, mut histograms) = (None, 0, 0);
            let mut in_order = true;
            let decoded = reader.read(place.at).and_then(|chunk| {
                chunk.decode(place.at, |t_ms, value| {
                    in_order &= times.is_none_or(|(_, last)| last < t_ms);
                    times = Some((times.map_or(t_ms, |(first, _)| first), t_ms));
                    match value {
                        Value::Float(_) => floats += 1,
                        Value::Histogram(_) => histograms += 1,
                    }
                })?;
                Ok(chunk.file_bytes())
            });
            self.total.floats += floats;
            self.total.histograms += histograms;
            let (file, offset) = (place.at.file(), place.at.offset());
            let Some(bytes) = self.note(decoded) else { continue };
            if !in_order {
                self.wrong(file, offset, "samples are not in order of time");
            }
            if times != Some((place.min_ms, place.max_ms)) {
                self.wrong(file, offset, "a chunk has other times than the index says");
            }
            if let Some(end) = self.total.ends.get_mut(place.at.segment() as usize) {
                let expected = std::mem::replace(end, offset + bytes);
                if expected != offset {
                    self.wrong(file, expected, "chunks do not follow one another as their series do");
                }
            }
        }
    }

    fn segments_end(&mut self) {
        for (number, segment) in (0..).zip(&self.block.segments) {
            let end = self.total.ends[number as usize];
            if end != segment.len() && self.findings.is_empty() {
                self.wrong(BlockFile::Segment(number), end, "bytes that belong to no chunk");
            }
        }
    }

    fn postings(&mut self, header: &IndexHeader, all: &[u32]) {
        let (mut entries, mut mixed) = (0u64, 0u64);
        let names: Vec<&str> = header.postings().names().collect();
        for name in names {
            for list in header.postings().lists(name) {
                let Some(list) = self.note(list) else { continue };
                let begin = list.range.start;
                let bytes = read_range(self.block.index.as_ref(), BlockFile::Index, list.range);
                let parsed = bytes.and_then(|bytes| parse_postings(&bytes, begin));
                let Some(series) = self.note(parsed) else { continue };
                for series in series {
                    if all.binary_search(&series).is_err() {
                        self.wrong(
                            BlockFile::Index,
                            begin,
                            "a posting list names a series that is not there",
                        );
                    }
                    entries += 1;
                    mixed = mixed.wrapping_add(mix(name, list.value, series));
                }
            }
        }
        if (entries, mixed) != (self.total.labels, self.total.mixed) {
            self.wrong(
                BlockFile::Index,
                header.toc().postings,
                "posting lists and the labels of series differ",
            );
        }
    }

    fn stats(&mut self) {
        let stats = &self.block.meta.stats;
        let total = &self.total;
        let samples = total.floats + total.histograms;
        // Not told by Prometheus before 2.45.
        let kinds_are_told = stats.num_float_samples + stats.num_histogram_samples > 0;
        let agree = [
            stats.num_samples == samples,
            stats.num_series == total.series,
            stats.num_chunks == total.chunks,
            stats.num_tombstones == self.block.tombstones.count() || stats.num_tombstones == 0,
            !kinds_are_told || stats.num_float_samples == total.floats,
            !kinds_are_told || stats.num_histogram_samples == total.histograms,
        ];
        if agree.contains(&false) {
            self.wrong(BlockFile::Meta, 0, "the statistics are not those of the data");
        }
        if self.block.meta.min_ms >= self.block.meta.end_ms {
            self.wrong(BlockFile::Meta, 0, "the block ends before it begins");
        }
    }
}
