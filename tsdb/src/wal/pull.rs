//! Batches by name, from a log that is being written to: what a replica that missed some asks a peer for.
//!
//! Files hold no index of batches. The newest are looked through first, since what was missed is mostly recent;
//! going through a file's records costs little beside reading it. What is found is then decoded in the order it
//! was logged, so that the replica that gets it appends rather than inserts. Frames and bases end with a file,
//! so no file is needed to read another.
//!
//! Files that no restart needs are looked through as well, as long as they are kept (`kept.rs`).
//!
//! What may go wrong: a file may be moved or removed at any moment, once snapshots cover it, and a record may be damaged.
//! Neither is an error here: the batch is missing, and whoever wants it must get it elsewhere.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::batch::{Bases, BatchName, take_samples};
use super::encoder::WalPosition;
use super::format::{FILE_HEADER, RecordType, file_path, take_record};
use super::histograms::take_histograms;
use super::kept;
use super::reader::{files, next_record};
use super::record::BatchRecord;
use crate::disk::Disk;
use crate::histogram::Histogram;
use crate::varint;

/// A batch as it was logged.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedBatch {
    /// Its name.
    pub name: BatchName,
    /// Floats.
    pub samples: Vec<LoggedSample>,
    /// Histograms.
    pub histograms: Vec<LoggedHistogram>,
}

/// A float of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedSample {
    /// The series' number in the shard.
    pub series: u32,
    /// Milliseconds since 1970.
    pub t_ms: i64,
    /// The value's bits.
    pub value: u64,
}

/// A histogram of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct LoggedHistogram {
    /// The series' number in the shard.
    pub series: u32,
    /// Milliseconds since 1970.
    pub t_ms: i64,
    /// The histogram.
    pub histogram: Histogram,
}

/// Hands the wanted batches of a stream to `visit`, in the order they were logged, until it breaks off. Only what
/// lies before `end` is read, a place up to which the lane was committed; the lane may be in use.
///
/// Gives those of the wanted batches that the log does not have, or not whole: their files are gone, or damage hit
/// them or a base of theirs. With `visit` breaking off, damage further on remains unseen. A batch that was found and then
/// cannot be read is told to `visit` in its place, by its name alone; of a file that is gone by then, one of them.
///
/// Series are named by their numbers in the shard's head, which knows all series of the log.
///
/// A batch's record lacks those samples that the shard held already when the batch came, from other batches, and
/// those that lost against what it held. So a batch read from here is whole only together with the other batches
/// that this shard held before it: whoever takes *all* batches that this shard holds and he lacks, gets everything.
///
/// Blocks. Holds two files in memory at most, and one batch.
pub fn read_batches(
    disk: &dyn Disk,
    folder: &Path,
    end: WalPosition,
    stream_name: &[u8],
    wanted: &HashSet<BatchName>,
    visit: &mut dyn FnMut(Result<LoggedBatch, BatchName>) -> ControlFlow<()>,
) -> io::Result<HashSet<BatchName>> {
    let mut missing = wanted.clone();
    let mut found_in = Vec::new();
    // In this order: a file that moves meanwhile is found twice rather than never.
    let mut files = files(disk, folder)?;
    files.extend(super::reader::files(disk, &kept::folder(folder))?);
    files.sort();
    files.dedup_by_key(|(number, _)| *number);
    let mut last_read = None;
    while let Some((number, path)) = files.pop().filter(|_| !missing.is_empty()) {
        if number > end.file {
            continue;
        }
        let Some(bytes) = read_file(disk, folder, (number, &path), end)? else { continue };
        let mut found = HashSet::new();
        StreamReader::new(&bytes, stream_name).for_each_batch(|batch, _| {
            if missing.remove(&batch.name) {
                found.insert(batch.name);
            }
            ControlFlow::Continue(())
        });
        if !found.is_empty() {
            // Often the only one: it need not be read again.
            last_read = Some((number, bytes));
            found_in.push((number, path, found));
        }
    }
    for (number, path, mut found) in found_in.into_iter().rev() {
        let bytes = match last_read.take_if(|(last, _)| *last == number) {
            Some((_, bytes)) => Some(bytes),
            None => read_file(disk, folder, (number, &path), end)?,
        };
        let mut stopped = ControlFlow::Continue(());
        if let Some(bytes) = bytes {
            StreamReader::new(&bytes, stream_name).for_each_batch(|record, bases| {
                if !found.contains(&record.name) {
                    // It may have the bases of those that follow.
                    let _ = take_samples(record.samples, record.frame, bases, |_| {});
                    return ControlFlow::Continue(());
                }
                stopped = match LoggedBatch::decode(record, bases) {
                    Some(batch) => {
                        found.remove(&record.name);
                        visit(Ok(batch))
                    }
                    None => visit(Err(record.name)),
                };
                if found.is_empty() { ControlFlow::Break(()) } else { stopped }
            });
        } else if let Some(name) = found.iter().next() {
            stopped = visit(Err(*name));
        }
        if stopped.is_break() {
            break;
        }
        missing.extend(found);
    }
    Ok(missing)
}

/// A file's bytes before `end`; `None` if the file is gone.
fn read_file(
    disk: &dyn Disk,
    lane: &Path,
    (number, path): (u64, &Path),
    end: WalPosition,
) -> io::Result<Option<Vec<u8>>> {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let mut bytes = match disk.read(path) {
        // It may have been put aside.
        Err(error) if gone(&error) => match disk.read(&file_path(&kept::folder(lane), number)) {
            Err(error) if gone(&error) => return Ok(None),
            read => read?,
        },
        read => read?,
    };
    if number == end.file {
        bytes.truncate(usize::try_from(end.offset).unwrap_or(usize::MAX));
    }
    Ok(Some(bytes))
}

impl LoggedBatch {
    /// Decodes a record; `None` if a part of it cannot be had. Either way `bases` learns what the record holds.
    fn decode(record: &BatchRecord<'_>, bases: &mut Bases) -> Option<Self> {
        let mut batch = LoggedBatch { name: record.name, samples: Vec::new(), histograms: Vec::new() };
        let mut is_whole = true;
        take_samples(record.samples, record.frame, bases, |sample| match sample.value {
            Some(value) => {
                batch.samples.push(LoggedSample { series: sample.series, t_ms: sample.t_ms, value })
            }
            None => is_whole = false,
        })?;
        take_histograms(record.histograms, |series, t_ms, histogram| {
            batch.histograms.push(LoggedHistogram { series, t_ms, histogram: histogram.clone() });
        })?;
        is_whole.then_some(batch)
    }
}

/// One stream's batches in a file.
struct StreamReader<'a> {
    bytes: &'a [u8],
    name: &'a [u8],
    /// By the ids that the file gives the stream: a shard that was rebuilt goes on under another one.
    bases: HashMap<u64, Bases>,
}

impl<'a> StreamReader<'a> {
    fn new(bytes: &'a [u8], name: &'a [u8]) -> Self {
        StreamReader { bytes, name, bases: HashMap::new() }
    }

    /// Calls `each` for every batch that can be read, with the bases that came before, until it breaks off.
    fn for_each_batch(&mut self, mut each: impl FnMut(&BatchRecord<'_>, &mut Bases) -> ControlFlow<()>) {
        let mut at = if self.bytes.starts_with(&FILE_HEADER) { FILE_HEADER.len() } else { 0 };
        while at < self.bytes.len() {
            let Some((kind, payload, len)) = take_record(&self.bytes[at..]) else {
                at = next_record(self.bytes, at + 1);
                continue;
            };
            at += len;
            let Some(kind) = RecordType::from_byte(kind) else { continue };
            if kind == RecordType::Stream {
                let mut name = payload;
                if let Some(id) = varint::take_u64(&mut name).filter(|_| name == self.name) {
                    self.bases.insert(id, Bases::default());
                }
            } else if let Some(batch) = BatchRecord::parse(kind, payload)
                && let Some(bases) = self.bases.get_mut(&batch.stream)
                && each(&batch, bases).is_break()
            {
                return;
            }
        }
    }
}
