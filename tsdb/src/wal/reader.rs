//! Reads a lane's files back.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use super::batch::{Bases, BatchName, DecodedSample, take_samples};
use super::damage::Damage;
use super::encoder::WalPosition;
use super::format::{FILE_HEADER, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordType, file_number, take_record};
use super::histograms::take_histograms;
use super::record::BatchRecord;
use crate::disk::Disk;
use crate::histogram::Histogram;
use crate::varint;

/// Takes what a lane's files hold.
pub trait Replay {
    /// Numbers a stream for the other calls.
    fn stream(&mut self, name: &[u8]) -> usize;
    /// Whether the record at this place is news for the stream; if not, it is read for its bases only.
    fn wants(&mut self, stream: usize, at: WalPosition) -> bool;
    /// A batch begins.
    fn batch(&mut self, stream: usize, name: BatchName);
    /// A series was made.
    fn series(&mut self, stream: usize, number: u32, canonical_labels: &[u8]);
    /// A sample was accepted.
    fn sample(&mut self, stream: usize, sample: DecodedSample);
    /// A histogram was accepted.
    fn histogram(&mut self, stream: usize, series: u32, t_ms: i64, histogram: &Histogram);
    /// The stream takes no more batches.
    fn sealed(&mut self, stream: usize);
}

/// What reading a lane came upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Batches read, wanted or not.
    pub batches: u64,
    /// Damaged stretches: acknowledged samples may be lost.
    pub damage: Vec<Damage>,
    /// A torn write at the end, which was cut: nothing acknowledged is lost.
    pub torn: Option<Damage>,
    /// The number of the next file to be written.
    pub next_file: u64,
}

impl ReplayReport {
    /// What can be said of a lane after its files' names: they are in order, and none should be left out.
    fn of(files: &[(u64, PathBuf)]) -> Self {
        let next_file = files.last().map_or(1, |(number, _)| number + 1);
        let mut report = ReplayReport { next_file, ..ReplayReport::default() };
        for pair in files.windows(2) {
            let [(before, _), (number, path)] = pair else { continue };
            if before + 1 < *number {
                report.damage.push(Damage::of_missing_files(path, before + 1..*number));
            }
        }
        report
    }
}

/// Reads what a lane that is in use holds before a place up to which it was committed. Changes nothing.
pub fn replay_until(
    disk: &dyn Disk,
    folder: &Path,
    end: WalPosition,
    to: &mut dyn Replay,
) -> io::Result<ReplayReport> {
    let mut files = files(disk, folder)?;
    files.retain(|(number, _)| *number <= end.file);
    let mut report = ReplayReport::of(&files);
    report.next_file = end.file + 1;
    for (number, path) in files {
        let mut bytes = disk.read(&path)?;
        if number == end.file {
            bytes.truncate(usize::try_from(end.offset).unwrap_or(usize::MAX));
        }
        FileReader { path: &path, number, bytes: &bytes, is_last: false }.read(to, &mut report);
    }
    Ok(report)
}

/// A lane's files in order.
pub(super) fn files(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut files: Vec<(u64, PathBuf)> =
        disk.list(folder)?.into_iter().filter_map(|path| Some((file_number(&path)?, path))).collect();
    files.sort();
    Ok(files)
}

/// Reads all files of a lane in order, and cuts a torn end off the last one. What it has read is durable when it
/// returns.
pub fn replay(disk: &dyn Disk, folder: &Path, to: &mut dyn Replay) -> io::Result<ReplayReport> {
    let files = files(disk, folder)?;
    let mut report = ReplayReport::of(&files);
    let last = files.last().map(|file| file.0);
    for (number, path) in files {
        let bytes = disk.read(&path)?;
        let file = FileReader { path: &path, number, bytes: &bytes, is_last: Some(number) == last };
        let (good_bytes, is_last) = (file.read(to, &mut report), file.is_last);
        if good_bytes < bytes.len() || is_last {
            let mut file = disk.open(&path)?;
            if good_bytes < bytes.len() {
                file.set_len(good_bytes as u64)?;
            }
            // What was read counts as durable from here on, but if the process was killed it may never have been
            // synced. Only the last file can be so: each is synced before the next one is made.
            file.sync_data()?;
        }
    }
    if last.is_some() {
        disk.sync_dir(folder)?;
    }
    Ok(report)
}

struct FileReader<'a> {
    path: &'a Path,
    number: u64,
    bytes: &'a [u8],
    is_last: bool,
}

impl FileReader<'_> {
    /// Reads the file; gives the length of what is to be kept of it.
    fn read(&self, to: &mut dyn Replay, report: &mut ReplayReport) -> usize {
        let mut streams: HashMap<u64, (usize, Bases)> = HashMap::new();
        let mut named = Vec::new();
        let first_damage = report.damage.len();
        let mut good_bytes = self.bytes.len();
        let mut at = if self.bytes.starts_with(&FILE_HEADER) { FILE_HEADER.len() } else { 0 };
        while at < self.bytes.len() {
            let record = take_record(&self.bytes[at..]);
            let understood = record.and_then(|(kind, payload, len)| {
                let kind = RecordType::from_byte(kind)?;
                let position = WalPosition { file: self.number, offset: at as u64 };
                let stream = read_record(kind, payload, position, &mut streams, to)?;
                named.extend(stream.map(|stream| (position.offset, stream)));
                let is_batch = matches!(kind, RecordType::Batch | RecordType::BatchWithHistograms);
                report.batches += u64::from(is_batch);
                Some(len)
            });
            if let Some(len) = understood {
                at += len;
                continue;
            }
            let damage = |end: usize| Damage::of_bytes(self.path, self.number, at as u64..end as u64);
            // A commit mark further on says that these bytes were on disk once: then this is no torn write. Nor is a
            // record that is as it was written, though what it needs was lost, or it is of a later build.
            if self.is_last && record.is_none() && !self.has_commit_after(at) {
                report.torn = Some(damage(self.bytes.len()));
                good_bytes = at;
                break;
            }
            let next = record.map_or_else(|| next_record(self.bytes, at + 1), |(_, _, len)| at + len);
            report.damage.push(damage(next));
            at = next;
        }
        report.damage[first_damage..].iter_mut().for_each(|damage| damage.spare(&named));
        good_bytes
    }

    fn has_commit_after(&self, from: usize) -> bool {
        let mut at = next_record(self.bytes, from + 1);
        while let Some((kind, _, len)) = self.bytes.get(at..).and_then(take_record) {
            if kind == RecordType::Commit as u8 {
                return true;
            }
            at += len;
            if take_record(&self.bytes[at..]).is_none() {
                at = next_record(self.bytes, at);
            }
        }
        false
    }
}

/// The next place from `from` on where a valid record begins, or the end.
pub(super) fn next_record(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(found) = find(&bytes[at.min(bytes.len())..], &RECORD_MAGIC) {
        at += found;
        if take_record(&bytes[at..]).is_some() {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

fn find(haystack: &[u8], needle: &[u8; 4]) -> Option<usize> {
    if haystack.len() < RECORD_HEADER_BYTES {
        return None;
    }
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Hands a record on, and gives the stream that it names, if it does; `None` if it cannot be understood.
fn read_record(
    kind: RecordType,
    mut payload: &[u8],
    at: WalPosition,
    streams: &mut HashMap<u64, (usize, Bases)>,
    to: &mut dyn Replay,
) -> Option<Option<usize>> {
    match kind {
        RecordType::Commit => {}
        RecordType::Stream => {
            let id = varint::take_u64(&mut payload)?;
            let stream = to.stream(payload);
            streams.insert(id, (stream, Bases::default()));
            return Some(Some(stream));
        }
        RecordType::Batch | RecordType::BatchWithHistograms => {
            let batch = BatchRecord::parse(kind, payload)?;
            // A stream whose name was lost: its batches are lost with it.
            let (stream, bases) = streams.get_mut(&batch.stream)?;
            let wanted = to.wants(*stream, at);
            if wanted {
                to.batch(*stream, batch.name);
                for (number, labels) in batch.new_series() {
                    to.series(*stream, number, labels);
                }
            }
            take_samples(batch.samples, batch.frame, bases, |sample| {
                if wanted {
                    to.sample(*stream, sample);
                }
            })?;
            if wanted {
                take_histograms(batch.histograms, |series, t_ms, histogram| {
                    to.histogram(*stream, series, t_ms, histogram);
                })?;
            }
        }
        RecordType::Seal => {
            let (stream, _) = streams.get(&varint::take_u64(&mut payload)?)?;
            if to.wants(*stream, at) {
                to.sealed(*stream);
            }
        }
    }
    Some(None)
}
