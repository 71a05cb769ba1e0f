//! A histogram as bytes, for the log and for snapshots (`docs/format/histogram.md`).

use super::layout::spans_of;
use super::{CounterReset, Histogram, Kind, STALE_NAN, Side, Span};
use crate::varint;

const FLOAT: u8 = 1;
const HINT_SHIFT: u8 = 1;
const STALE: u8 = 8;
const NEGATIVE: u8 = 16;
const BOUNDS: u8 = 32;

const HINTS: [CounterReset; 4] =
    [CounterReset::Unknown, CounterReset::Reset, CounterReset::NotReset, CounterReset::Gauge];

impl Histogram {
    /// Appends the histogram's bytes.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let has_negative = !self.negative.spans.is_empty();
        let begin = flag(self.kind == Kind::Float, FLOAT) | (self.counter_reset as u8) << HINT_SHIFT;
        if self.is_stale() {
            return out.push(begin | STALE);
        }
        out.push(begin | flag(has_negative, NEGATIVE) | flag(!self.bounds.is_empty(), BOUNDS));
        varint::put_i64(out, i64::from(self.schema));
        out.extend_from_slice(&self.zero_threshold.to_bits().to_le_bytes());
        out.extend_from_slice(&self.sum.to_le_bytes());
        put_word(out, self.kind, self.count);
        put_word(out, self.kind, self.zero_count);
        self.put_side(&self.positive, out);
        if has_negative {
            self.put_side(&self.negative, out);
        }
        if !self.bounds.is_empty() {
            varint::put_u64(out, self.bounds.len() as u64);
            out.extend(self.bounds.iter().flat_map(|bound| bound.to_bits().to_le_bytes()));
        }
    }

    /// Bytes that are the same for all histograms of the [same data](Self::same_data) and for no others, to put
    /// histograms in an order: those of `docs/format/histogram.md`, without the sender's word on a counter reset,
    /// with the buckets that have observations in as few spans as there can be, and without negative zeros in
    /// threshold and bounds.
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let side = |side: &Side| {
            let filled = || side.iter().filter(|(_, count)| !self.kind.is_zero(*count));
            let spans = spans_of(filled().map(|(index, _)| index));
            Side { spans, counts: filled().map(|(_, count)| count).collect() }
        };
        let canonical = Histogram {
            counter_reset: CounterReset::Unknown,
            zero_threshold: self.zero_threshold + 0.0,
            positive: side(&self.positive),
            negative: side(&self.negative),
            bounds: self.bounds.iter().map(|bound| bound + 0.0).collect(),
            ..*self
        };
        let mut bytes = Vec::new();
        canonical.put(&mut bytes);
        bytes
    }

    fn put_side(&self, side: &Side, out: &mut Vec<u8>) {
        varint::put_u64(out, side.spans.len() as u64);
        for span in &side.spans {
            varint::put_i64(out, i64::from(span.offset));
            varint::put_u64(out, u64::from(span.length));
        }
        let mut before = 0;
        for &count in &side.counts {
            match self.kind {
                Kind::Integer => varint::put_i64(out, count.wrapping_sub(before) as i64),
                Kind::Float => put_word(out, self.kind, count),
            }
            before = count;
        }
    }

    /// Takes a histogram from the front; `None` if there is none.
    pub(crate) fn take(from: &mut &[u8]) -> Option<Histogram> {
        let [flags] = take_array(from)?;
        let kind = if flags & FLOAT == 0 { Kind::Integer } else { Kind::Float };
        let counter_reset = HINTS[usize::from(flags >> HINT_SHIFT & 3)];
        if flags & STALE != 0 {
            return Some(Histogram { counter_reset, ..Histogram::stale(kind) });
        }
        let mut histogram = Histogram {
            kind,
            counter_reset,
            schema: i32::try_from(varint::take_i64(from)?).ok()?,
            zero_threshold: f64::from_bits(u64::from_le_bytes(take_array(from)?)),
            sum: u64::from_le_bytes(take_array(from)?),
            count: take_word(from, kind)?,
            zero_count: take_word(from, kind)?,
            positive: take_side(from, kind)?,
            ..Histogram::default()
        };
        if flags & NEGATIVE != 0 {
            histogram.negative = take_side(from, kind)?;
        }
        if flags & BOUNDS != 0 {
            let bounds = take_count(from)?;
            let bound = || take_array(from).map(|bytes| f64::from_bits(u64::from_le_bytes(bytes)));
            histogram.bounds = std::iter::repeat_with(bound).take(bounds).collect::<Option<_>>()?;
        }
        // A stale marker has its own form.
        (histogram.sum != STALE_NAN).then_some(histogram)
    }
}

fn put_word(out: &mut Vec<u8>, kind: Kind, word: u64) {
    match kind {
        Kind::Integer => varint::put_u64(out, word),
        Kind::Float => out.extend_from_slice(&word.to_le_bytes()),
    }
}

fn take_word(from: &mut &[u8], kind: Kind) -> Option<u64> {
    match kind {
        Kind::Integer => varint::take_u64(from),
        Kind::Float => take_array(from).map(u64::from_le_bytes),
    }
}

fn take_side(from: &mut &[u8], kind: Kind) -> Option<Side> {
    let mut side = Side::default();
    let mut buckets = 0u64;
    for _ in 0..take_count(from)? {
        let offset = i32::try_from(varint::take_i64(from)?).ok()?;
        let length = u32::try_from(varint::take_u64(from)?).ok()?;
        buckets += u64::from(length);
        side.spans.push(Span { offset, length });
    }
    // Each takes a byte at least.
    if buckets > from.len() as u64 {
        return None;
    }
    let mut before = 0u64;
    for _ in 0..buckets {
        before = match kind {
            Kind::Integer => before.wrapping_add(varint::take_i64(from)? as u64),
            Kind::Float => take_word(from, kind)?,
        };
        side.counts.push(before);
    }
    Some(side)
}

/// A number of items, each of at least one byte, that must follow.
fn take_count(from: &mut &[u8]) -> Option<usize> {
    let count = varint::take_u64(from)?;
    if count > from.len() as u64 { None } else { Some(count as usize) }
}

fn take_array<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*array)
}
