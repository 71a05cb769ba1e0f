//! Open chunks of histograms, kept beside the series: most series are floats, and their state is one cache line.
//!
//! A histogram chunk is cut by size rather than by count, as Prometheus does it: one sample may take two bytes
//! or a thousand.

use std::collections::HashMap;

use super::append::WINDOW_MS;
use super::state::{BadState, put_bytes, take_array, take_bytes};
use crate::chunk::CHUNK_BYTES_MAX;
use crate::chunk::histogram::{self, Encoder, Fit};
use crate::histogram::{CounterReset, Histogram};
use crate::varint;

/// The length that a chunk should have.
const TARGET_BYTES: usize = 1024;

/// A chunk that is cut for its size holds so many samples at least.
const SAMPLES_MIN: u16 = 10;

/// A chunk that takes no more samples.
pub(crate) struct FullChunk {
    pub(crate) encoding: u8,
    pub(crate) data: Vec<u8>,
    pub(crate) min_ms: i64,
    pub(crate) max_ms: i64,
}

/// The open chunk of a series of histograms.
pub(super) struct OpenHistograms {
    pub(super) encoder: Encoder,
    begin_ms: i64,
    /// A sample of this time or later begins the next chunk.
    end_ms: i64,
    /// Whether `end_ms` was chosen after the chunk's size.
    end_is_chosen: bool,
}

impl OpenHistograms {
    /// A chunk that begins with a sample.
    pub(super) fn begin(t_ms: i64, sample: &Histogram) -> Self {
        let header = match sample.counter_reset {
            said @ (CounterReset::Reset | CounterReset::Gauge) => said,
            CounterReset::Unknown | CounterReset::NotReset => CounterReset::Unknown,
        };
        Self::around(Encoder::begin(header, t_ms, sample), t_ms)
    }

    /// A chunk whose first sample is of this time.
    fn around(encoder: Encoder, begin_ms: i64) -> Self {
        OpenHistograms { encoder, begin_ms, end_ms: window_end(begin_ms), end_is_chosen: false }
    }

    /// Appends a sample newer than all before; gives the chunk that is full, if one is.
    pub(super) fn append(&mut self, t_ms: i64, sample: &Histogram) -> Option<FullChunk> {
        let fit = self.encoder.fit(sample);
        let fit = match fit {
            Fit::Same | Fit::Wider { .. } if self.is_full(t_ms, sample) => {
                Fit::New(self.encoder.header_of_next())
            }
            fit => fit,
        };
        let header = self.encoder.append_as(fit, t_ms, sample).err()?;
        let next = Self::around(Encoder::begin(header, t_ms, sample), t_ms);
        Some(std::mem::replace(self, next).close())
    }

    /// Prometheus's rule, and one more for samples so large that ten of them fit into no chunk.
    fn is_full(&mut self, t_ms: i64, sample: &Histogram) -> bool {
        let bytes = self.encoder.bytes().len();
        if bytes + sample.chunk_bytes_max() > CHUNK_BYTES_MAX || self.encoder.samples() == u16::MAX {
            return true;
        }
        if !self.end_is_chosen && bytes >= TARGET_BYTES / 4 {
            let fraction = TARGET_BYTES as f64 / bytes as f64;
            self.end_ms = chosen_end(self.begin_ms, self.encoder.t_ms(), self.end_ms, fraction);
            self.end_is_chosen = true;
        }
        (t_ms >= self.end_ms || bytes >= 2 * TARGET_BYTES)
            && (self.encoder.samples() >= SAMPLES_MIN || t_ms >= window_end(self.begin_ms))
    }

    /// Ends the chunk.
    pub(super) fn close(self) -> FullChunk {
        FullChunk {
            encoding: self.encoder.encoding(),
            data: self.encoder.bytes().to_vec(),
            min_ms: self.begin_ms,
            max_ms: self.encoder.t_ms(),
        }
    }

    /// A chunk of the last sample alone: by it a repeated one is known, and what the header of the next chunk has to say.
    fn last_alone(&self) -> Self {
        let encoder = &self.encoder;
        Self::around(Encoder::begin(encoder.header(), encoder.t_ms(), encoder.last()), encoder.t_ms())
    }

    /// The chunk that comes behind this one and begins with a sample.
    fn next(&self, t_ms: i64, sample: &Histogram) -> Self {
        let header = match self.encoder.fit(sample) {
            Fit::New(header) => header,
            Fit::Same | Fit::Wider { .. } => self.encoder.header_of_next(),
        };
        Self::around(Encoder::begin(header, t_ms, sample), t_ms)
    }

    /// The first sample's time.
    pub(super) fn begin_ms(&self) -> i64 {
        self.begin_ms
    }

    /// Appends what a snapshot keeps of the chunk.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.push(self.encoder.encoding());
        varint::put_i64(out, self.begin_ms);
        varint::put_i64(out, self.end_ms);
        out.push(u8::from(self.end_is_chosen));
        put_bytes(out, self.encoder.bytes());
    }

    /// Takes what [`OpenHistograms::put`] wrote from the front.
    pub(super) fn take(from: &mut &[u8]) -> Result<Self, BadState> {
        let kind = histogram::kind_of(take_array::<1>(from)?[0]).ok_or(BadState)?;
        let begin_ms = varint::take_i64(from).ok_or(BadState)?;
        let end_ms = varint::take_i64(from).ok_or(BadState)?;
        let end_is_chosen = take_array::<1>(from)? != [0];
        let encoder = Encoder::resume(take_bytes(from)?, kind).map_err(|_| BadState)?;
        Ok(OpenHistograms { encoder, begin_ms, end_ms, end_is_chosen })
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.encoder.heap_bytes()
    }
}

/// The end of the window of time that a chunk lies in.
fn window_end(t_ms: i64) -> i64 {
    t_ms.div_euclid(WINDOW_MS).saturating_add(1).saturating_mul(WINDOW_MS)
}

/// Divides the time that is left in the window so that the chunks in it become about equally long.
fn chosen_end(begin_ms: i64, newest_ms: i64, window_end_ms: i64, fraction: f64) -> i64 {
    let window = window_end_ms.saturating_sub(begin_ms) as f64;
    let chunks = window / (newest_ms.saturating_sub(begin_ms).saturating_add(1) as f64 * fraction);
    if chunks <= 1.0 { window_end_ms } else { (begin_ms as f64 + window / chunks.floor()) as i64 }
}

/// Encodes samples in order of time into as few chunks as they fit into.
pub(crate) fn encode_all(samples: &[(i64, Box<Histogram>)]) -> Vec<FullChunk> {
    let mut chunks = Vec::new();
    let mut open: Option<OpenHistograms> = None;
    for (t_ms, sample) in samples {
        match &mut open {
            None => open = Some(OpenHistograms::begin(*t_ms, sample)),
            Some(open) => chunks.extend(open.append(*t_ms, sample)),
        }
    }
    chunks.extend(open.map(OpenHistograms::close));
    chunks
}

/// The open chunks of all series of histograms, and the last samples of those whose open chunks were released.
#[derive(Default)]
pub(super) struct HistogramSeries {
    open: HashMap<u32, Box<OpenHistograms>>,
    /// Chunks of one sample, which a block has: nobody reads them.
    released: HashMap<u32, Box<OpenHistograms>>,
    bytes: usize,
}

impl HistogramSeries {
    /// A series' open chunk.
    pub(super) fn open(&self, series: u32) -> Option<&OpenHistograms> {
        self.open.get(&series).map(Box::as_ref)
    }

    /// The last sample of a series whose open chunk was released, as a chunk.
    pub(super) fn released(&self, series: u32) -> Option<&OpenHistograms> {
        self.released.get(&series).map(Box::as_ref)
    }

    /// The encoder behind the last sample of a series, if that is a histogram and known.
    pub(super) fn last(&self, series: u32) -> Option<&Encoder> {
        self.open(series).or_else(|| self.released(series)).map(|chunk| &chunk.encoder)
    }

    /// Appends a sample newer than all before to a series; gives the chunk that is full, if one is.
    pub(super) fn append(&mut self, series: u32, t_ms: i64, sample: &Histogram) -> Option<FullChunk> {
        let Some(open) = self.open.get_mut(&series) else {
            let next = match self.take_released(series) {
                Some(last) => last.next(t_ms, sample),
                None => OpenHistograms::begin(t_ms, sample),
            };
            self.insert(series, next);
            return None;
        };
        let before = open.memory_bytes();
        let full = open.append(t_ms, sample);
        self.bytes = self.bytes - before + open.memory_bytes();
        full
    }

    pub(super) fn insert(&mut self, series: u32, open: OpenHistograms) {
        self.bytes += open.memory_bytes();
        self.open.insert(series, Box::new(open));
    }

    /// Keeps the last sample of a series, as a chunk, whose open chunk was released.
    pub(super) fn insert_released(&mut self, series: u32, last: OpenHistograms) {
        self.bytes += last.memory_bytes();
        self.released.insert(series, Box::new(last));
    }

    /// Drops a series' open chunk but for what it tells about the last sample.
    pub(super) fn release(&mut self, series: u32) {
        if let Some(open) = self.open.remove(&series) {
            self.bytes -= open.memory_bytes();
            self.insert_released(series, open.last_alone());
        }
    }

    /// Drops the last sample of a series whose open chunk was released.
    pub(super) fn forget(&mut self, series: u32) {
        self.take_released(series);
    }

    fn take_released(&mut self, series: u32) -> Option<OpenHistograms> {
        // Most heads have none.
        if self.released.is_empty() {
            return None;
        }
        let last = self.released.remove(&series)?;
        self.bytes -= last.memory_bytes();
        Some(*last)
    }

    /// Ends a series' open chunk, if there is one.
    pub(super) fn close(&mut self, series: u32) -> Option<FullChunk> {
        self.forget(series);
        let open = self.open.remove(&series)?;
        self.bytes -= open.memory_bytes();
        Some(open.close())
    }

    /// Bytes in use.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{Side, Span};

    /// A scraped histogram of 20 buckets, some of which move.
    fn sample(step: u64) -> Histogram {
        let counts: Vec<u64> =
            (0..20).map(|bucket| step * (bucket % 7) + step * step % (bucket + 2)).collect();
        let counts: Vec<u64> = counts.iter().map(|count| count + step * 30).collect();
        let positive = Side { spans: vec![Span { offset: -5, length: 20 }], counts };
        let count = positive.counts.iter().sum();
        Histogram { schema: 3, count, sum: (step as f64 * 0.37).to_bits(), positive, ..Histogram::default() }
    }

    fn chunks_of(step_ms: i64, steps: u64) -> Vec<FullChunk> {
        // In the middle of a window of time.
        let begin_ms = 1_700_000_000_000 / WINDOW_MS * WINDOW_MS + WINDOW_MS / 3;
        let sample = |step: u64| (begin_ms + step as i64 * step_ms, Box::new(sample(step)));
        encode_all(&(0..steps).map(sample).collect::<Vec<_>>())
    }

    #[test]
    fn chunks_are_cut_at_about_the_target_size_and_never_span_windows() {
        let chunks = chunks_of(15_000, 3000);
        let window = |t_ms: i64| t_ms.div_euclid(WINDOW_MS);
        for pair in chunks.windows(2) {
            let (chunk, next) = (&pair[0], &pair[1]);
            assert!(chunk.max_ms < next.min_ms);
            assert_eq!(window(chunk.min_ms), window(chunk.max_ms));
            // The division into equal parts may miss the target by half, and the last part of a window may be short.
            let is_last_of_window = window(next.min_ms) != window(chunk.min_ms);
            let bytes = chunk.data.len();
            assert!(bytes <= 2 * TARGET_BYTES + 100, "{bytes} bytes");
            assert!(bytes >= TARGET_BYTES / 2 || is_last_of_window, "{bytes} bytes");
        }
    }

    #[test]
    fn a_slow_series_has_chunks_of_few_samples_only_at_the_ends_of_windows() {
        // One sample in ten minutes: twelve in a window, less than the target.
        let chunks = chunks_of(600_000, 100);
        let windows = chunks.iter().map(|chunk| chunk.min_ms.div_euclid(WINDOW_MS));
        let mut windows: Vec<i64> = windows.collect();
        let all = windows.len();
        windows.dedup();
        assert_eq!(windows.len(), all, "one chunk a window");
    }

    #[test]
    fn the_chunk_behind_a_released_one_says_whether_the_counter_was_reset() {
        let gauge = |step| Histogram { counter_reset: CounterReset::Gauge, ..sample(step) };
        let stale = || Histogram::stale(crate::histogram::Kind::Integer);
        for (last, next, header) in [
            (sample(5), sample(6), CounterReset::NotReset),
            (sample(6), sample(5), CounterReset::Reset),
            (sample(5), Histogram { counter_reset: CounterReset::Reset, ..sample(6) }, CounterReset::Reset),
            (gauge(6), gauge(5), CounterReset::Gauge),
            (gauge(5), sample(6), CounterReset::Unknown),
            (sample(5), gauge(6), CounterReset::Gauge),
            (stale(), sample(5), CounterReset::Unknown),
        ] {
            let mut series = HistogramSeries::default();
            assert!(series.append(7, 1000, &last).is_none());
            series.release(7);
            assert!(series.open(7).is_none());
            assert!(series.append(7, 2000, &next).is_none(), "the block has that one");
            let open = series.open(7).expect("it was appended to");
            assert_eq!((open.encoder.header(), open.begin_ms()), (header, 2000), "{last:?}, {next:?}");
            series.close(7);
            assert_eq!(series.memory_bytes(), 0);
        }
    }
}
