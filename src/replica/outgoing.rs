//! An admitted batch on its way to the other replicas: the request's own buffers, without what was stripped.

use std::iter::Peekable;
use std::sync::Arc;

use gyre_ring::SeriesKey;

use crate::api::push::histogram;
use crate::rpc::samples::{BatchWriter, SampleSource};
use crate::shard::append::{RequestPart, Stripped};
use crate::shard::segment_name;

/// Samples of a request for one segment.
#[derive(Clone)]
pub struct OutgoingBatch {
    /// The segment's name.
    pub segment: Arc<str>,
    /// The samples.
    pub part: Arc<RequestPart>,
    /// Which of them are not in the batch.
    pub stripped: Arc<Stripped>,
    /// Whether labels travel even if the connection has sent them.
    pub repeats_labels: bool,
}

impl SampleSource for OutgoingBatch {
    fn segment(&self) -> &str {
        &self.segment
    }

    fn shard(&self) -> &str {
        segment_name::without_epoch(&self.segment)
    }

    fn series_len(&self) -> usize {
        self.part.entries.len()
    }

    fn write_to(&self, out: &mut BatchWriter<'_>) {
        let mut floats = Left::new(&self.stripped.floats);
        let mut histograms = Left::new(&self.stripped.histograms);
        let part = &*self.part;
        for entry in &part.entries {
            let (samples, messages) = (part.samples(entry), part.histograms(entry));
            let mut is_begun = false;
            // A series of which nothing is left does not travel: the receiver would make it.
            let mut begin = |out: &mut BatchWriter<'_>| {
                if !is_begun {
                    out.series(SeriesKey(entry.key), || part.labels(entry));
                    is_begun = true;
                }
            };
            for sample in samples {
                if floats.has_next() {
                    begin(out);
                    out.sample(sample.t_ms, sample.v_bits);
                }
            }
            for slice in messages {
                let message = part.request.histogram_message(slice);
                // It was decoded when it was admitted, so it decodes.
                if histograms.has_next()
                    && let Ok((t_ms, _)) = histogram::decode(message)
                {
                    begin(out);
                    out.histogram(t_ms, message);
                }
            }
        }
    }

    fn repeats_labels(&self) -> bool {
        self.repeats_labels
    }

    fn memory_bytes(&self) -> usize {
        let (entries, all) = (self.part.entries.len(), self.part.request.series.len().max(1));
        self.part.request.body.len() * entries / all
    }
}

/// Goes through places in order and says which are not stripped.
struct Left<'a> {
    stripped: Peekable<std::slice::Iter<'a, u32>>,
    place: u32,
}

impl<'a> Left<'a> {
    fn new(stripped: &'a [u32]) -> Self {
        Left { stripped: stripped.iter().peekable(), place: 0 }
    }

    /// Whether the next place is left.
    #[inline]
    fn has_next(&mut self) -> bool {
        let place = self.place;
        self.place += 1;
        self.stripped.next_if(|stripped| **stripped == place).is_none()
    }
}
