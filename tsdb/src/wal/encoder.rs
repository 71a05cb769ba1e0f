//! Turns batches into a lane's bytes.

use super::batch::{BatchName, Sample, put_samples};
use super::format::{FILE_HEADER, RecordType, put_record};
use super::histograms::HistogramSection;
use crate::head::WalBase;
use crate::histogram::Histogram;
use crate::index::SeriesRef;
use crate::varint;

/// A good length for files: short enough to be removed piece by piece, long enough that files are few.
pub const FILE_BYTES: u64 = 64 << 20;

/// A frame ends when it has so many samples for each base: differences from a base grow as it ages.
const FRAME_SAMPLES_PER_BASE: u64 = 64;

/// A frame is no shorter, so that small lanes are not mostly bases.
const FRAME_SAMPLES_MIN: u64 = 1 << 16;

/// Numbers a stream within a lane, in one run of the process. A name has one number for the whole run: which streams
/// damage may concern is told from where a file names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u32);

/// A place in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WalPosition {
    /// The file's number.
    pub file: u64,
    /// The first byte, from the file's beginning.
    pub offset: u64,
}

/// Bytes for a file, to be appended to it.
#[derive(Debug)]
pub struct Piece {
    /// The file's number.
    pub file: u64,
    /// What to append.
    pub bytes: Vec<u8>,
}

/// A lane's encoder. Bytes gather in it until they are taken.
pub struct LaneEncoder {
    /// A file that is longer takes no more records.
    file_bytes_max: u64,
    file: u64,
    /// Bytes of the file that were taken before.
    taken_bytes: u64,
    pending: Vec<u8>,
    /// Ends of earlier files that nobody has taken yet.
    finished: Vec<Piece>,
    /// Streams that the current file has named.
    named: Vec<bool>,
    frame: u32,
    frame_samples: u64,
    frame_bases: u64,
    batch: Batch,
}

/// The batch that is being put together.
#[derive(Default)]
struct Batch {
    new_series: Vec<u8>,
    new_count: u64,
    first_new: u32,
    samples: Vec<Sample>,
    histograms: HistogramSection,
}

impl LaneEncoder {
    /// An encoder that begins with the file of this number; none of that number exists. A file that has
    /// reached `file_bytes_max` (usually [`FILE_BYTES`]) is followed by the next.
    pub fn new(first_file: u64, file_bytes_max: u64) -> Self {
        LaneEncoder {
            file_bytes_max,
            file: first_file,
            taken_bytes: 0,
            pending: Vec::new(),
            finished: Vec::new(),
            named: Vec::new(),
            frame: 1,
            frame_samples: 0,
            frame_bases: 0,
            batch: Batch::default(),
        }
    }

    /// Where the next record goes.
    pub fn position(&self) -> WalPosition {
        WalPosition { file: self.file, offset: self.taken_bytes + self.pending.len() as u64 }
    }

    /// Bytes that wait to be taken.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len() + self.finished.iter().map(|piece| piece.bytes.len()).sum::<usize>()
    }

    /// Adds a series that was just made to the batch. Numbers of a stream ascend by one.
    pub fn new_series(&mut self, series: SeriesRef, canonical_labels: &[u8]) {
        let batch = &mut self.batch;
        if batch.new_count == 0 {
            batch.first_new = series.0;
        }
        debug_assert_eq!(u64::from(series.0), u64::from(batch.first_new) + batch.new_count);
        batch.new_count += 1;
        varint::put_u64(&mut batch.new_series, canonical_labels.len() as u64);
        batch.new_series.extend_from_slice(canonical_labels);
    }

    /// Adds a sample to the batch. `base` is the series' own.
    #[inline]
    pub fn sample(&mut self, series: SeriesRef, t_ms: i64, value: u64, base: &mut WalBase) {
        let full = base.frame != self.frame;
        if full {
            *base = WalBase { value, frame: self.frame };
            self.frame_bases += 1;
        }
        let xor = if full { value } else { value ^ base.value };
        self.batch.samples.push(Sample { series: series.0, t_ms, xor, full });
    }

    /// Adds a histogram to the batch.
    pub fn histogram(&mut self, series: SeriesRef, t_ms: i64, histogram: &Histogram) {
        self.batch.histograms.put(series.0, t_ms, histogram);
    }

    /// Forgets what was added to the batch.
    pub fn abandon_batch(&mut self) {
        self.batch.new_series.clear();
        self.batch.new_count = 0;
        self.batch.samples.clear();
        self.batch.histograms.clear();
    }

    /// Whether the batch holds nothing.
    pub fn batch_is_empty(&self) -> bool {
        self.batch.new_count == 0 && self.batch.samples.is_empty() && self.batch.histograms.bytes().is_empty()
    }

    /// Ends the batch and appends it to the lane. An empty one is appended too: a replica that had every sample
    /// of a batch already must still be able to say after a restart that it holds the batch.
    pub fn finish_batch(&mut self, stream: StreamId, stream_name: &[u8], name: BatchName) {
        self.begin_buffer();
        self.name_stream(stream, stream_name);
        let (batch, frame) = (&self.batch, self.frame);
        let histograms = batch.histograms.bytes();
        let kind = if histograms.is_empty() { RecordType::Batch } else { RecordType::BatchWithHistograms };
        put_record(&mut self.pending, kind, |out| {
            varint::put_u64(out, u64::from(stream.0));
            out.extend_from_slice(&name.boot.to_le_bytes());
            varint::put_u64(out, name.number);
            varint::put_u64(out, u64::from(frame));
            varint::put_u64(out, batch.new_count);
            if batch.new_count > 0 {
                varint::put_u64(out, u64::from(batch.first_new));
                out.extend_from_slice(&batch.new_series);
            }
            if !histograms.is_empty() {
                varint::put_u64(out, histograms.len() as u64);
                out.extend_from_slice(histograms);
            }
            put_samples(out, &batch.samples);
        });
        self.frame_samples += self.batch.samples.len() as u64;
        self.abandon_batch();
        self.turn_over();
    }

    /// Appends that a stream takes no more batches. No batch is begun.
    pub fn seal(&mut self, stream: StreamId, stream_name: &[u8]) {
        debug_assert!(self.batch_is_empty());
        self.begin_buffer();
        self.name_stream(stream, stream_name);
        put_record(&mut self.pending, RecordType::Seal, |out| varint::put_u64(out, u64::from(stream.0)));
        self.turn_over();
    }

    /// Begins a new frame, with no batch begun. Whoever lost the bases of series that are in the current one must do
    /// so before the next sample: a second base of a series in one frame, if it were damaged, would go unnoticed, and
    /// what builds on it would be read against the first.
    pub fn begin_frame(&mut self) {
        debug_assert!(self.batch_is_empty());
        self.frame += 1;
        (self.frame_samples, self.frame_bases) = (0, 0);
    }

    /// A buffer's first record says that all before it is on disk: it is not written earlier.
    fn begin_buffer(&mut self) {
        if !self.pending.is_empty() {
            return;
        }
        if self.taken_bytes == 0 {
            self.pending.extend_from_slice(&FILE_HEADER);
        }
        put_record(&mut self.pending, RecordType::Commit, |_| {});
    }

    fn name_stream(&mut self, stream: StreamId, name: &[u8]) {
        let at = stream.0 as usize;
        if self.named.len() <= at {
            self.named.resize(at + 1, false);
        }
        if !self.named[at] {
            self.named[at] = true;
            put_record(&mut self.pending, RecordType::Stream, |out| {
                varint::put_u64(out, u64::from(stream.0));
                out.extend_from_slice(name);
            });
        }
    }

    /// Begins the next frame or file when this one is long enough.
    fn turn_over(&mut self) {
        let worn = self.frame_samples >= FRAME_SAMPLES_MIN.max(self.frame_bases * FRAME_SAMPLES_PER_BASE);
        if self.position().offset >= self.file_bytes_max {
            let bytes = std::mem::take(&mut self.pending);
            self.finished.push(Piece { file: self.file, bytes });
            self.file += 1;
            self.taken_bytes = 0;
            self.named.clear();
        } else if !worn {
            return;
        }
        // Frames are numbered through the whole run: a base in a series' state is never taken for a newer one.
        self.begin_frame();
    }

    /// Takes all bytes, in order of files; `buffer` is what gathers the next ones.
    pub fn take(&mut self, buffer: Vec<u8>) -> Vec<Piece> {
        debug_assert!(buffer.is_empty());
        let mut pieces = std::mem::take(&mut self.finished);
        if !self.pending.is_empty() {
            let bytes = std::mem::replace(&mut self.pending, buffer);
            self.taken_bytes += bytes.len() as u64;
            pieces.push(Piece { file: self.file, bytes });
        }
        pieces
    }
}
